"""Card of the ``mlp`` workload: what planning needs to know, without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from workloads.card import ModelCard, cuda_pack_size
from workloads.data import images_fingerprint
from workloads.mlp.plan import canonical, derived, faults
from workloads.mlp.settings import SETTINGS
from workloads.mlp.shape import MlpShape, shape_of, tensors_of
from workloads.parametrization import TensorKind
from workloads.settings import completed
from workloads.training import RECORDINGS
from workloads.workload import Card, Config, FirstStudy, Problem, Resolved

if TYPE_CHECKING:
    from workloads.workload import TrainerFactory


class MlpCard(ModelCard):
    """Card of the ``mlp`` workload: a multilayer perceptron that classifies images."""

    name = "mlp"
    version = "1.0.0"
    doc = (
        "A multilayer perceptron that classifies images of digits or of clothes: an input layer, "
        "hidden layers of one width, residual or not, and a readout, with or without biases; "
        "every optimizer but muonclip, which needs attention, and every parametrization."
    )
    settings = SETTINGS
    metrics: Mapping[str, str] = MappingProxyType(
        {
            "val_loss": "Mean loss on held-out images, nats per image.",
            "val_accuracy": "Share of the held-out images that are classified right.",
            "train_loss": "Mean training loss over the last twentieth of the steps, nats per "
            "image.",
        }
    )
    units: Mapping[str, str] = MappingProxyType(
        {"val_loss": "nats per image", "train_loss": "nats per image"}
    )
    recordings: Mapping[str, str] = MappingProxyType(
        {name: doc for name, doc in RECORDINGS.items() if name != "attention_logits"}
    )
    start = FirstStudy(
        scale="width",
        hyperparameter="learning_rate",
        fixed={
            "steps": "80",
            "base_width": "32",
            "activation": "tanh",
            "optimizer": "adamw",
            "clip": "0.0",
            "warmup": "0.2",
        },
        variants={"sp": "{parametrization: sp}", "mup": "{parametrization: mup}"},
        sweep={"width": "[32, 64, 128, 256]", "learning_rate": "{log2: [-10, -3]}"},
    )

    def faults(self, config: Config) -> Iterable[Problem]:
        """Returns every fault of a completed config."""
        return faults(config)

    def resolved(self, config: Config) -> Resolved:
        """Returns the canonical form of a completed, faultless config and what follows."""
        result = canonical(config)
        return Resolved(config=result, derived=derived(result))

    def tensors(self, config: Config) -> Sequence[TensorKind]:
        """Returns the tensors of a completed config."""
        return tensors_of(config)

    def data_fingerprint(self, config: Config) -> str:
        """Returns the SHA-256 of the images that a config trains on.

        Raises:
            DataUnavailableError: they are missing, damaged or not those expected.
        """
        return images_fingerprint(completed(SETTINGS, config)["data"])

    def pack_size(self, config: Config, device: str) -> int:
        """Returns how many trials of this shape train well side by side."""
        shape = shape_of(completed(SETTINGS, config))
        if device != "cuda":
            return cpu_pack_size(shape)
        kept = 4 * (shape.depth + 1) * shape.width + shape.features  # of an example, about
        return cuda_pack_size(
            rows=shape.batch_size,
            width=shape.width,
            params=shape.params,
            kept=shape.batch_size * kept,
            most=64,
        )

    def trainer(self) -> TrainerFactory:
        """Returns the factory of the trainer; imports torch."""
        from workloads.mlp.model import MlpTrainer

        return partial(MlpTrainer, self)


def cpu_pack_size(shape: MlpShape) -> int:
    """Returns how many members pay on a CPU: 8 for small models and steps, else 1.

    A pack saves the overhead of an operation and costs cache. Measured on one thread with AdamW,
    digits and depth 2, time of a member in a pack of 8 over its time alone, by batch size x
    width: 0.33 at 64 x 16, 0.41 at 256 x 16, 0.33 at 16 x 64, 0.40 at 64 x 64, 0.73 at 256 x 64
    and 0.50 at 64 x 128; but 0.82 to 1.0 at 256 x 128, 0.87 to 1.2 at width 256, where weights
    and moments of a pack leave the cache, and up to 1.8 at widths 512 and 1024. Packs of 16 take
    another fifth off the smallest steps and nothing off those of 64 x 64 and more.
    """
    small = shape.params <= 65_536 and shape.batch_size * shape.width <= 16_384
    return 8 if small else 1


MLP: Card = MlpCard()

"""Card of the ``llama`` workload: what planning needs to know, without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from workloads.card import ModelCard, cuda_pack_size
from workloads.data import kind_of
from workloads.llama.plan import canonical, corpus_fingerprint, derived, faults, head_faults
from workloads.llama.settings import SETTINGS
from workloads.llama.shape import LlamaShape, shape_of, tensors_of
from workloads.parametrization import PLACEHOLDERS, TensorKind
from workloads.settings import completed
from workloads.training import RECORDINGS
from workloads.workload import Card, Config, FirstStudy, Problem, Resolved

if TYPE_CHECKING:
    from workloads.workload import TrainerFactory


class LlamaCard(ModelCard):
    """Card of the ``llama`` workload: a language model."""

    name = "llama"
    version = "2.0.0"
    doc = (
        "A Llama-like language model on bytes or tokens: pre-RMSNorm, rotary or learned "
        "positions, per-head QK-norm, SwiGLU or GELU, no biases, readout untied or tied; any "
        "optimizer for the hidden matrices and one for all else, under any parametrization."
    )
    settings = SETTINGS
    rule_defaults = MappingProxyType({"norm_gain": True})
    metrics: Mapping[str, str] = MappingProxyType(
        {
            "val_loss": "Mean loss on held-out documents, nats per token.",
            "val_bits_per_byte": "Mean loss on held-out documents, bits per byte of text.",
            "train_loss": "Mean training loss over the last twentieth of the steps, nats per "
            "token.",
        }
    )
    units: Mapping[str, str] = MappingProxyType(
        {
            "val_loss": "nats per token",
            "val_bits_per_byte": "bits per byte",
            "train_loss": "nats per token",
        }
    )
    recordings = RECORDINGS
    start = FirstStudy(
        scale="width",
        hyperparameter="learning_rate",
        fixed={
            "steps": "200",
            "base_width": "32",
            "mlp": "gelu",
            "optimizer": "adamw",
            "beta2": "0.99",
            "warmup": "0.2",
        },
        variants={"sp": "{parametrization: sp}", "mup": "{parametrization: mup}"},
        sweep={"width": "[32, 64, 128]", "learning_rate": "{log2: [-9, -2]}"},
    )

    def faults(self, config: Config) -> Iterable[Problem]:
        """Returns every fault of a completed config."""
        return faults(config)

    def resolved(self, config: Config) -> Resolved:
        """Returns the canonical form of a completed, faultless config and what follows."""
        shape = shape_of(config)
        result = canonical(config, shape)
        return Resolved(config=result, derived=derived(result, shape))

    def tensors(self, config: Config) -> Sequence[TensorKind]:
        """Returns the tensors of a completed config."""
        return tensors_of(config)

    def rule_faults(self, config: Config) -> Iterable[Problem]:
        """Returns the faults of heads of a given size; else a width need be no multiple of it."""
        if "head_dim" not in config:
            return ()
        return head_faults(completed(SETTINGS, {**PLACEHOLDERS, **config}))

    def unmeasured(self, config: Config) -> Mapping[str, str]:
        """Returns the metrics that a config leaves out: bits per byte of tokens of an unknown
        tokenizer."""
        source = config.get("data", "")
        if kind_of(source) != "bin" or config.get("tokenizer") is not None:
            return {}
        return {
            "val_bits_per_byte": f"how many bytes a token of {source} stands for is unknown; set "
            "tokenizer, or compare val_loss"
        }

    def data_fingerprint(self, config: Config) -> str:
        """Returns the SHA-256 of the text that a config trains on, after checking its size.

        Raises:
            DataUnavailableError: the text is missing, altered, unreadable or too small.
        """
        full = completed(SETTINGS, config)
        return corpus_fingerprint(full)

    def pack_size(self, config: Config, device: str) -> int:
        """Returns how many trials of this shape train well side by side."""
        shape = shape_of(completed(SETTINGS, config))
        if device != "cuda":
            return cpu_pack_size(shape)
        return cuda_pack_size(
            rows=shape.tokens_per_pass,
            width=shape.width,
            params=shape.params,
            kept=kept_numbers(shape),
            most=32,
        )

    def trainer(self) -> TrainerFactory:
        """Returns the factory of the trainer; imports torch."""
        from workloads.llama.model import LlamaTrainer

        return partial(LlamaTrainer, self)


def cpu_pack_size(shape: LlamaShape) -> int:
    """Returns how many members pay on a CPU: 8 for small steps, else 1.

    A pack saves the overhead of an operation and costs cache. Measured on one thread, time of a
    member in a pack of 8 over its time alone, by tokens a pass x width: 0.28 at 64 x 16, 0.53 at
    256 x 32, 0.67 at 256 x 64, 0.84 at 2048 x 16, 0.86 at 512 x 128, 0.93 at 2048 x 32 and
    1024 x 64; but 0.98 at 1024 x 128, 1.00 at 2048 x 64 and 0.93 to 1.12 at 2048 x 128, where
    a pack would only keep the other cores waiting.
    """
    return 8 if shape.tokens_per_pass * shape.width <= 65_536 else 1


def kept_numbers(shape: LlamaShape) -> int:
    """Returns how many numbers are kept for the backward pass, about: depth * (8 D + 3 F) for
    every token of a pass, and 3 V for every one that is read out at once."""
    tokens = shape.tokens_per_pass
    activations = tokens * shape.depth * (8 * shape.width + 3 * shape.mlp_hidden)
    return activations + 3 * min(tokens, shape.tokens_read_out()) * shape.vocabulary


LLAMA: Card = LlamaCard()

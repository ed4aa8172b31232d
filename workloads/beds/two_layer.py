"""Card of the ``two_layer`` workload: a wide layer of ReLUs on inputs of many dimensions, on two
tasks whose best learning rate moves in a known way (arXiv 2512.22768, section on synthetic tasks).

- ``ball``: is |x|^2 above its median? x is from N(0, I). Tuned by Adam under mup, loss and best
  learning rate settle as width^-0.742 and width^-0.388: hardly faster than slow.
- ``k_index``: the root of the mean square of k of the inputs, which are from N(0, 4 / dim). The
  best rate goes up with the width and then leaps down, since there are two basins; a fiftieth
  of the rate for the readout (``readout_rate``) leaves one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from workloads.card import ModelCard
from workloads.optimizers import SPECS, algorithm_settings, choice_settings, power_settings
from workloads.parametrization import (
    Role,
    TensorKind,
    canonical_rules,
    rule_faults,
    rule_results,
    rule_settings,
    tensor_kinds,
)
from workloads.settings import choice, count, positive
from workloads.training import RUN, run_faults, warmup_steps
from workloads.workload import Card, Config, Problem, Resolved, Setting

if TYPE_CHECKING:
    from workloads.workload import TrainerFactory

SETTINGS = (
    Setting(name="width", kind="int", required=True, low=1, doc="Number of ReLUs."),
    choice(
        "task",
        "ball",
        ("ball", "k_index"),
        "ball: is |x|^2 above its median, with the logistic loss; k_index: the root of the mean "
        "square of k inputs, with the squared loss.",
    ),
    count("dim", 64, "Numbers of an input."),
    count("k", 15, "Inputs that count.", {"task": ("k_index",)}),
    count("batch_size", 256, "Examples a step, drawn anew at each."),
    count("steps", 1024, "Optimizer steps of the whole run."),
    count("eval_examples", 8192, "Held-out examples, the same for all trials."),
    positive("readout_rate", 1.0, "Factor on the learning rate of the readout."),
    *choice_settings(),
    *rule_settings({}),
    *algorithm_settings({}, attention=False),
    *power_settings(),
    *RUN,
)


class TwoLayerCard(ModelCard):
    """Card of the ``two_layer`` workload."""

    name = "two_layer"
    version = "1.0.0"
    doc = "A layer of ReLUs and a readout, on two tasks whose best learning rate moves as known."
    theory = (
        "of the task ball loss and best learning_rate settle as width^-0.74 and width^-0.39, "
        "hardly fast; of k_index the best rate leaps between two basins, of which a readout_rate "
        "of 1/50 leaves one (measured in arXiv 2512.22768)"
    )
    settings = SETTINGS
    metrics: Mapping[str, str] = MappingProxyType(
        {
            "val_loss": "Mean loss on held-out examples: logistic, in nats (ball), or squared.",
            "train_loss": "Mean training loss over the last twentieth of the steps.",
        }
    )

    def faults(self, config: Config) -> Iterable[Problem]:
        """Yields every fault of a completed config."""
        yield from run_faults(config, ("steps",))
        left = SPECS[config["optimizer"]].without_clip
        if left is not None:
            yield Problem(
                keys=("optimizer",),
                message=f"optimizer {config['optimizer']} scales down queries and keys, and there "
                f"are none; use {left}, which is what is left of it",
            )
        if config.get("base_depth") is not None:
            yield Problem(
                keys=("base_depth",),
                message=f"base_depth {config['base_depth']} asks for a rule over depth, and there "
                "is one layer; remove it",
            )
        if config["task"] == "k_index" and config["k"] > config["dim"]:
            yield Problem(
                keys=("k", "dim"),
                message=f"k is {config['k']}, of {config['dim']} inputs; it has to be at most dim",
            )
        yield from rule_faults(config, tensors_of(config), config["steps"])

    def resolved(self, config: Config) -> Resolved:
        """Returns the canonical form of a completed, faultless config and what follows."""
        result = dict(config)
        result["evals"] = min(config["evals"], config["steps"])
        result = canonical_rules(result, tensors_of)
        params = config["width"] * (config["dim"] + 2) + 1
        examples = config["steps"] * config["batch_size"]
        derived = {
            "params": params,
            "steps": config["steps"],
            "tokens": examples,
            "flops": 6 * config["width"] * (config["dim"] + 1) * examples,
            "flops_per_token": 2 * config["width"] * (config["dim"] + 1),
            "warmup_steps": warmup_steps(config),
            **rule_results(result, tensors_of),
        }
        for name, group in derived["groups"].items():
            if name in ("readout", "vector.readout"):
                group["learning_rate"] *= config["readout_rate"]
        return Resolved(config=result, derived=derived)

    def tensors(self, config: Config) -> Sequence[TensorKind]:
        """Returns the tensors of a completed config."""
        return tensors_of(config)

    def data_fingerprint(self, config: Config) -> str:
        """Returns ``none``: examples are drawn from the seed."""
        return "none"

    def pack_size(self, config: Config, device: str) -> int:
        """Returns 8 for small layers, as for an ``mlp``, else 1."""
        return 8 if config["width"] * config["batch_size"] <= 16_384 else 1

    def trainer(self) -> TrainerFactory:
        """Returns the factory of the trainer; imports torch."""
        from workloads.beds.two_layer_model import TwoLayerTrainer

        return partial(TwoLayerTrainer, self)


def tensors_of(config: Config) -> tuple[TensorKind, ...]:
    """Returns the kinds of tensors of a completed config, as scaling rules see them: the layer is
    an ``embedding`` with the spread (2 / dim)^(1/2), the readout has width^(-1/2) at the base
    width, and the biases are ``vector``."""
    width = config["width"]
    return _tensors(width, config.get("base_width") or width, config["dim"])


@lru_cache(maxsize=256)
def _tensors(width: int, base: int, dim: int) -> tuple[TensorKind, ...]:
    def sizes(at: int) -> dict[str, tuple[int, int]]:
        vectors = {"vector": (1, at), "vector.readout": (1, 1)}
        return {"embedding": (dim, at), "readout": (at, 1), **vectors}

    stds: dict[Role, float] = {
        "embedding": (2 / dim) ** 0.5,
        "readout": base**-0.5,
        "vector": 0.0,
    }
    return tensor_kinds(sizes(width), sizes(base), stds, {"vector.readout": "readout"})


TWO_LAYER: Card = TwoLayerCard()

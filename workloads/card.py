"""What the cards of models that train have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from workloads.parametrization import PLACEHOLDERS, TensorKind, rule_table
from workloads.rule_table import RuleTable
from workloads.settings import completed, missing
from workloads.workload import Card, Config, Problem, Resolved, Setting, ShortRun

if TYPE_CHECKING:
    from workloads.workload import TrainerFactory


class ModelCard(ABC):
    """Base of a card whose configs are completed, checked for faults, then resolved.

    Attributes:
        settings: all settings but ``seed``.
        horizons: settings that give the length of a run.
        rule_defaults: what a rule is shown with where a config does not say.
    """

    settings: tuple[Setting, ...]
    horizons: tuple[str, ...] = ("steps",)
    rule_defaults: Mapping[str, Any] = MappingProxyType({})

    @abstractmethod
    def faults(self, config: Config) -> Iterable[Problem]:
        """Returns every fault of a completed config."""

    @abstractmethod
    def resolved(self, config: Config) -> Resolved:
        """Returns the canonical form of a completed, faultless config and what follows."""

    @abstractmethod
    def tensors(self, config: Config) -> Sequence[TensorKind]:
        """Returns the tensors of a completed config."""

    def rule_faults(self, config: Config) -> Iterable[Problem]:
        """Returns the faults of a config, as given, for which it has no rule."""
        return ()

    def problems(self, config: Config) -> list[Problem]:
        """Returns every fault of a combination of settings; empty if there is none.

        Raises:
            ValueError: a setting is unknown or not of its type.
        """
        absent = missing(self.settings, config)
        if absent:
            return [Problem(keys=(name,), message=f"{name} is required") for name in absent]
        return list(self.faults(completed(self.settings, config)))

    def resolve(self, config: Config) -> Resolved:
        """Returns the canonical config and its derived quantities.

        Raises:
            ValueError: the config has problems; the message lists them all.
        """
        full = completed(self.settings, config)
        problems = list(self.faults(full))
        if problems:
            raise ValueError("; ".join(problem.message for problem in problems))
        return self.resolved(full)

    def parallel_problems(self, config: Config, processes: int) -> list[Problem]:
        """Returns what is wrong with a batch that does not divide into so many equal parts."""
        size = completed(self.settings, config)["batch_size"]
        if size % processes == 0:
            return []
        near = [each for each in (size // processes, size // processes + 1) if each]
        parts = math.gcd(size, processes)
        return [
            Problem(
                keys=("batch_size",),
                message=f"batch_size {size} does not divide into equal parts for {processes} "
                f"devices; use {' or '.join(str(each * processes) for each in near)}, or "
                f"{'1 device' if parts == 1 else f'{parts} devices'}",
            )
        ]

    def parallel_trainer(self, processes: int) -> TrainerFactory:
        """Returns the factory of a trainer in so many processes."""
        from workloads.training import ParallelTraining

        return partial(ParallelTraining, cast(Card, self), processes=processes)

    def short_run(self, config: Config, steps: int) -> ShortRun:
        """Returns the run by which a config is checked: no warmup, no decay of rates or weights,
        no evaluation before the end."""
        settings = {name: value for name, value in config.items() if name not in self.horizons}
        for name in ("weight_decay_rule", "weight_decay_timescale"):
            settings.pop(name, None)
        flat = {"warmup": 0.0, "final_ratio": 1.0, "weight_decay": 0.0, "compile": False}
        found = self.resolve({**settings, **flat, "steps": steps + 1, "evals": 1})
        ntk = found.config["parametrization"] == "ntk"
        initial = {"readout": -0.5} if ntk else {}
        return ShortRun(config=found.config, derived=found.derived, initial=initial)

    def rules(self, config: Config) -> RuleTable:
        """Returns the scaling rule of a config, in which only ``width`` is required.

        Raises:
            ValueError: the config has faults; the message lists them all.
        """
        full = completed(self.settings, {**PLACEHOLDERS, **self.rule_defaults, **config})
        return rule_table(full, self.tensors(full), tuple(self.rule_faults(config)))


def cuda_pack_size(*, rows: int, width: int, params: int, kept: int, most: int) -> int:
    """Returns how many members fill a GPU without filling its memory, from 1; an estimate.

    Occupancy: the smallest matrix product of a step has (rows / 128) x (width / 128) output
    tiles, and a large GPU runs about 132 tiles at a time; two waves leave none of it idle.
    Memory: 16 bytes a parameter (weight, gradient, two moments) and 4 for each number that is
    kept for the backward pass; half of 16 GiB.

    Args:
        rows: of the products, tokens or examples of a pass.
        width: of the model.
        params: parameters of a member.
        kept: numbers of a member that are kept for the backward pass.
        most: the largest size.
    """
    tiles = max(1, rows // 128) * max(1, width // 128)
    return max(1, min(most, 2 * 132 // tiles, (8 << 30) // (16 * params + 4 * kept)))

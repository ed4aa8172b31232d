"""What workloads that know the loss of a trial and train nothing have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from workloads.settings import completed, missing
from workloads.workload import (
    Config,
    Measurement,
    Member,
    Problem,
    Resolved,
    Setting,
    TrainerFactory,
)

LossOf = Callable[[Config, int], float]
"""Returns the loss of a canonical config and a seed; one that is not finite has diverged."""


class AnswerCard(ABC):
    """Base of a card whose trials are answered from a formula, in one step.

    Attributes:
        settings: all settings but ``seed``.
    """

    settings: tuple[Setting, ...]

    def faults(self, config: Config) -> Iterable[Problem]:
        """Returns every fault of a completed config; none unless a card says so."""
        return ()

    @abstractmethod
    def costs(self, config: Config) -> Mapping[str, float]:
        """Returns ``params``, ``tokens`` and ``flops`` of a completed config."""

    @abstractmethod
    def loss_of(self, config: Config, seed: int) -> float:
        """Returns the loss of a canonical config; one that is not finite has diverged."""

    def problems(self, config: Config) -> list[Problem]:
        """Returns what is missing, or else every fault."""
        absent = missing(self.settings, config)
        if absent:
            return [Problem(keys=(name,), message=f"{name} is required") for name in absent]
        return list(self.faults(completed(self.settings, config)))

    def resolve(self, config: Config) -> Resolved:
        """Returns the completed config, and one step with its costs."""
        full = completed(self.settings, config)
        return Resolved(config=full, derived={"steps": 1, **self.costs(full)})

    def data_fingerprint(self, config: Config) -> str:
        """Returns ``none``: there are no files."""
        return "none"

    def pack_size(self, config: Config, device: str) -> int:
        """Returns 16: starting costs more than an answer."""
        return 16

    def trainer(self) -> TrainerFactory:
        """Returns the factory of a trainer that knows the answer."""
        return partial(AnswerTrainer, self.loss_of)


class AnswerTrainer:
    """Answers all members of a pack in one step."""

    def __init__(
        self, loss_of: LossOf, members: Sequence[Member], *, threads: int, device: str
    ) -> None:
        self._losses = [loss_of(member.config, member.seed) for member in members]

    def run(self) -> Iterator[Sequence[Measurement]]:
        """Yields once: the loss of each member is its ``val_loss``."""
        yield [
            Measurement(
                member=index,
                step=1,
                tokens=1,
                metrics={"val_loss": loss} if math.isfinite(loss) else {},
                mark=math.isfinite(loss),
                status="completed" if math.isfinite(loss) else "diverged",
            )
            for index, loss in enumerate(self._losses)
        ]

    def save(self, member: int, path: Path) -> None:
        """Writes an empty file: there is nothing to go on from."""
        path.write_bytes(b"")

    def device_name(self) -> str:
        """Returns ``cpu``: nothing else is used."""
        return "cpu"

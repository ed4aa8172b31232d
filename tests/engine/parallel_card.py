"""A planted workload that uses several devices in a way of its own, and says what it was told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from workloads.planted import PlantedCard, PlantedTrainer
from workloads.workload import Config, Member, Problem

if TYPE_CHECKING:
    from workloads.workload import TrainerFactory


@dataclass
class ParallelCard(PlantedCard):
    """The planted card, on any even number of devices.

    Attributes:
        told: the devices that each trainer was made for.
        closed: how many trainers were closed.
    """

    told: list[int] = field(default_factory=list)
    closed: int = 0

    def parallel_problems(self, config: Config, processes: int) -> list[Problem]:
        """Returns the same for every config: an odd number will not do."""
        if processes % 2 == 0:
            return []
        return [Problem(keys=("steps",), message=f"{processes} devices are no pairs")]

    def parallel_trainer(self, processes: int) -> TrainerFactory:
        """Returns the factory of a trainer that counts."""
        return partial(ParallelTrainer, self, processes)


class ParallelTrainer(PlantedTrainer):
    """The planted trainer."""

    def __init__(
        self, card: ParallelCard, processes: int, members: Sequence[Member], **options: Any
    ) -> None:
        super().__init__(members, **options)
        card.told.append(processes)
        self._card = card

    def close(self) -> None:
        """Counts."""
        self._card.closed += 1


CARD = ParallelCard()
NAME = "parallel_card:CARD"

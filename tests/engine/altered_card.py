"""A planted workload whose data, trainer and steps a test can spoil."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.planted import PlantedCard, PlantedTrainer
from workloads.workload import Config, DataUnavailableError, Measurement, Member

if TYPE_CHECKING:
    from workloads.workload import TrainerFactory


class AlteredCard(PlantedCard):
    """The planted card with switches.

    Attributes:
        fingerprint: what the data look like now; None is missing data.
        last_step: step after which a trainer stops without a word; None is never.
        save_fault: raised by every saving of a checkpoint.
        looked: how often the data were looked at.
    """

    fingerprint: str | None = "as planned"
    last_step: int | None = None
    save_fault: Exception | None = None
    looked = 0

    def data_fingerprint(self, config: Config) -> str:
        """Returns what the test says."""
        self.looked += 1
        if self.fingerprint is None:
            raise DataUnavailableError("the corpus is gone")
        return self.fingerprint

    def trainer(self) -> TrainerFactory:
        """Returns the factory of the trainer with switches."""
        return AlteredTrainer


class AlteredTrainer(PlantedTrainer):
    """The planted trainer, as the card's switches say."""

    def __init__(self, members: Sequence[Member], **options: Any) -> None:
        super().__init__(members, **options)
        self._taken = 0

    def run(self) -> Iterator[Sequence[Measurement]]:
        """Yields once a step until it breaks off."""
        for measurements in super().run():
            yield measurements
            self._taken += 1
            if self._taken == CARD.last_step:
                return

    def save(self, member: int, path: Path) -> None:
        """Writes, or fails to."""
        if CARD.save_fault is not None:
            raise CARD.save_fault
        super().save(member, path)


CARD = AlteredCard()
NAME = "altered_card:CARD"

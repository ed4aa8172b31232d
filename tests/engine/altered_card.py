"""A planted workload whose data, trainer and steps a test can spoil."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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
        deed: is called by every trainer before its first step.
        final: metrics of every completed trial; None leaves them as they are.
        looked: how often the data were looked at.
    """

    fingerprint: str | None = "as planned"
    last_step: int | None = None
    save_fault: Exception | None = None
    final: Mapping[str, float] | None = None
    looked = 0

    def deed(self) -> None:
        """Does nothing, unless a test puts something else here."""

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
        CARD.deed()
        for measurements in super().run():
            yield [self._altered(each) for each in measurements]
            self._taken += 1
            if self._taken == CARD.last_step:
                return

    @staticmethod
    def _altered(said: Measurement) -> Measurement:
        if CARD.final is None or said.status != "completed":
            return said
        return replace(said, metrics=CARD.final)

    def save(self, member: int, path: Path) -> None:
        """Writes, or fails to."""
        if CARD.save_fault is not None:
            raise CARD.save_fault
        super().save(member, path)


CARD = AlteredCard()
NAME = "altered_card:CARD"

"""The planted workload with an evaluation after every step, its trials side by side in packs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from workloads.planted import PlantedCard, PlantedTrainer
from workloads.workload import Config, Measurement, TrainerFactory


class MarkedCard(PlantedCard):
    """Card of the planted workload that measures on the way."""

    def pack_size(self, config: Config, device: str) -> int:
        return 16

    def trainer(self) -> TrainerFactory:
        return MarkedTrainer


class MarkedTrainer(PlantedTrainer):
    """Turns the training losses of the planted trainer into evaluations."""

    def run(self) -> Iterator[Sequence[Measurement]]:
        for items in super().run():
            yield [
                replace(item, metrics={"val_loss": item.metrics["train_loss"]}, mark=True)
                if item.status == "running"
                else item
                for item in items
            ]


CARD = MarkedCard()

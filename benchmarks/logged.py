"""The planted workload, with a line in a log for every trial: when, and in which process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.orchestration import Log
from workloads.planted import PlantedCard
from workloads.workload import Measurement, Member, TrainerFactory


class LoggedCard(PlantedCard):
    """Card of the logged workload."""

    name = "logged"

    def trainer(self) -> TrainerFactory:
        """Returns the factory of the logged trainer."""
        return LoggedTrainer


class LoggedTrainer:
    """One step that computes for ``step_seconds`` and writes its line."""

    def __init__(self, members: Sequence[Member], *, threads: int, device: str) -> None:
        self._seconds = float(members[0].config["step_seconds"])

    def run(self) -> Iterator[Sequence[Measurement]]:
        """Yields the only measurement."""
        Log(Path(os.environ["BENCHMARK_LOG"])).trial(self._seconds)
        yield [
            Measurement(member=0, step=1, tokens=1, metrics={"val_loss": 1.0}, status="completed")
        ]

    def save(self, member: int, path: Path) -> None:
        """Writes nothing of use: a trial is one step."""
        path.write_text("")

    def device_name(self) -> str:
        """Returns ``cpu``."""
        return "cpu"


LOGGED = LoggedCard()

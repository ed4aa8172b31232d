"""A workload whose every step is written down, so that a test knows who trained what when.

The witness is a file that the variable SWEEPER_TEST_WITNESS names. A line is the time in
nanoseconds (one clock for all processes of a machine), the process, the trial and the step; each
is written with one call, so that lines of many processes never mix and none is held back.
The short form pretends to train, so that its programs load no torch; PAUSE is then a step's time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.mlp.card import MlpCard
from workloads.planted import PlantedCard
from workloads.workload import Measurement, Member, Trainer

if TYPE_CHECKING:
    from workloads.workload import TrainerFactory

VARIABLE = "SWEEPER_TEST_WITNESS"
PAUSE = "SWEEPER_TEST_PAUSE"
"""Variable with the seconds that a step takes at least; none where it is not set."""


class WitnessedPerceptron(MlpCard):
    """The perceptron's card; only who is told of the steps differs."""

    def trainer(self) -> TrainerFactory:
        """Returns the factory of trainers that are watched."""
        return partial(WitnessedTrainer, super().trainer())


class WitnessedSurface(PlantedCard):
    """The planted surface's card; only who is told of the steps differs."""

    def trainer(self) -> TrainerFactory:
        """Returns the factory of trainers that are watched."""
        return partial(WitnessedTrainer, super().trainer())


class WitnessedTrainer:
    """A trainer that writes down every step of another one before it is heard of."""

    def __init__(self, inner: TrainerFactory, members: Sequence[Member], **options: Any) -> None:
        self._trainer: Trainer = inner(members, **options)
        self._pause = float(os.environ.get(PAUSE, "0"))
        self._trials = [_name(member) for member in members]
        self._steps = [_first_step(member) for member in members]
        self._file = os.environ.get(VARIABLE)

    def run(self) -> Iterator[Sequence[Measurement]]:
        """Yields what the trainer does."""
        for measurements in self._trainer.run():
            time.sleep(self._pause)
            self._steps = [step + 1 for step in self._steps]
            if self._file is not None:
                self._write(self._file)
            yield measurements

    def _write(self, file: str) -> None:
        now, pid = time.monotonic_ns(), os.getpid()
        lines = [
            f"{now} {pid} {trial} {step}\n"
            for trial, step in zip(self._trials, self._steps, strict=True)
        ]
        place = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(place, "".join(lines).encode("ascii"))
        finally:
            os.close(place)

    def save(self, member: int, path: Path) -> None:
        """Writes a checkpoint."""
        self._trainer.save(member, path)

    def device_name(self) -> str:
        """Returns what the trainer trains on."""
        return self._trainer.device_name()


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Steps of a trial that one process trained in one go.

    Attributes:
        trial: name of the trial.
        pid: the process.
        began, ended: time of the first and of the last step, nanoseconds.
        first, last: the first and the last step.
    """

    trial: str
    pid: int
    began: int
    ended: int
    first: int
    last: int


class Witness:
    """Reads what was written down, each line once.

    Args:
        file: of the variable.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._found: list[Stretch] = []
        self._open: dict[tuple[str, int], int] = {}
        self._read = 0
        file.touch()

    def stretches(self) -> list[Stretch]:
        """Returns what was trained so far, in the order in which it began."""
        with self.file.open("rb") as lines:
            lines.seek(self._read)
            for line in lines:
                if line.endswith(b"\n"):
                    self._read += len(line)
                    self._add(line.decode("ascii"))
        return list(self._found)

    def _add(self, line: str) -> None:
        moment, pid, trial, step = line.split()
        now, number, who = int(moment), int(step), (trial, int(pid))
        at = self._open.get(who)
        if at is not None and self._found[at].last + 1 == number:
            self._found[at] = replace(self._found[at], ended=now, last=number)
            return
        self._open[who] = len(self._found)
        self._found.append(
            Stretch(trial=trial, pid=int(pid), began=now, ended=now, first=number, last=number)
        )


def trained_twice_at_once(found: Sequence[Stretch]) -> list[tuple[Stretch, Stretch]]:
    """Returns pairs of stretches of one trial in two processes that overlap in time."""
    ordered = sorted(found, key=lambda item: (item.trial, item.began))
    return [
        (one, other)
        for index, one in enumerate(ordered)
        for other in ordered[index + 1 :]
        if one.trial == other.trial and one.pid != other.pid and other.began < one.ended
    ]


def trained_again(found: Sequence[Stretch], steps: int) -> int:
    """Returns how often a trial of so many steps was trained to its end once more."""
    ends = [part.trial for part in found if part.last == steps]
    return len(ends) - len(set(ends))


def _name(member: Member) -> str:
    text = json.dumps([dict(member.config), member.seed], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _first_step(member: Member) -> int:
    """The steps that are done, from the name that the engine gives to a checkpoint."""
    if member.checkpoint is None:
        return 0
    digits = re.search(r"step-(\d+)", member.checkpoint.name)
    assert digits is not None, member.checkpoint
    return int(digits.group(1))


PERCEPTRON = WitnessedPerceptron()

SURFACE = WitnessedSurface()

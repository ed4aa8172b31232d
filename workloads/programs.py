"""What is known of workloads that run a program of somebody else's, such as a script: of cards
when a study is planned, of trainers on a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from workloads.workload import Card, Config, Measurement


@dataclass(frozen=True, kw_only=True)
class Objection:
    """Something wrong with what a study states.

    Attributes:
        place: keys and indices of a list, from the top of the study.
        message: what is wrong, what is allowed and what to do.
    """

    place: tuple[str | int, ...]
    message: str


@runtime_checkable
class Programmed(Protocol):
    """A card whose trials are what a study itself says, under keys of its own (``command``,
    ``settings`` and so on): code, which runs once the user has said that it may."""

    @property
    def program_files(self) -> tuple[str, ...]:
        """All files whose content decides results, relative to the working folder."""
        ...

    @property
    def taken(self) -> frozenset[str]:
        """Names that settings may not have, since they mean something else."""
        ...

    def programmed(
        self, stated: Config, *, metric: str, scale: str, values: Mapping[str, Sequence[Any]]
    ) -> Card | list[Objection]:
        """Returns the card of what a study states, or what is wrong with that; runs nothing.

        Args:
            stated: the keys that the study has of those that only such cards have.
            metric: the study's objective.
            scale: the setting along which optima are tracked.
            values: all values that the study gives each setting, as written.
        """
        ...

    def changes(self, before: Config, now: Config) -> list[str]:
        """Returns how the files of two trials of one config differ, given what was derived of
        each, a clause a difference; empty where that is not known."""
        ...


class TrialFailedError(Exception):
    """A trial failed, and the message is all that is to be said of it: a line, and more below."""


class OutOfMemoryError(TrialFailedError, MemoryError):
    """The same of a shortage of memory."""


class NotNowError(Exception):
    """No checkpoint can be written at this moment; it is asked for again."""


@runtime_checkable
class RunsProgram(Protocol):
    """A trainer of one member that runs a program which was not written for it: it says as much
    as it likes, begins where it likes, and prints."""

    def has_checkpoint(self) -> bool:
        """Returns whether there is a checkpoint to write that was not written before; never of
        one that cannot go on. ``save`` may raise NotNowError all the same."""
        ...

    def wind_up(self) -> Sequence[Measurement]:
        """Asks the program to end, and ends it after a grace; returns what it said till then.

        Raises:
            TrialFailedError: it had failed before it was asked.
        """
        ...

    def output(self) -> str:
        """Returns what it has printed: the beginning and the end of it, if it is much."""
        ...

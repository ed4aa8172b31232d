"""What a worker knows of trainers that run a program of somebody else's, such as a script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from workloads.workload import Measurement


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

"""Every error that sweeper raises on purpose, and the exit code each one means.

    SweeperError
    |-- RequestError              what was asked is wrong: exit code 2
    |   |-- StudyError            the study file has faults (all of them, each with its place)
    |   |-- UnknownNameError      no such study, variant, metric or setting
    |   `-- AnalysisRefusal       the data cannot carry the statement that was asked for
    |-- EnvironmentFault          the world is in the way: exit code 4
    |   |-- StoreError            the store cannot be opened, read, written or migrated
    |   |   |-- StoreAway         it is locked, or its server does not answer: it may come back
    |   |   |-- StoreReadOnly     this user may not write there, and perhaps read
    |   |   `-- StoreMoved        its database was moved, removed or replaced while in use
    |   |-- ClusterError          Ray cannot be started or joined
    |   `-- DataError             a corpus or file that a workload needs is missing or altered
    `-- Interrupted               a signal ended the run; running it again goes on: exit code 3

A fault in sweeper itself is an AssertionError or whatever Python raises: it keeps its traceback.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

HANGING = "hanging"
"""Name of a thread that hangs in a call for good, and must not have the last word."""


class SweeperError(Exception):
    """Base of all errors that the command line prints without a traceback."""

    exit_code = 2


class RequestError(SweeperError):
    """What was asked is wrong; nothing was done."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault of a study file: where it stands, what stands there, what is allowed.

    Attributes:
        file: path of the file as the user gave it.
        line: line number from 1; None where the fault is an absence.
        key: dotted path of the key, for example ``sweep.learning_rate``.
        message: what is wrong, the value included, what is allowed and what to do.
    """

    file: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


MAX_FAULTS = 50
"""Faults that a message lists; of more, it gives the number."""


class StudyError(RequestError):
    """A study file has faults; all of them are reported at once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.line or 0, fault.key)))
        said = [str(fault) for fault in self.faults[:MAX_FAULTS]]
        if len(self.faults) > MAX_FAULTS:
            said.append(f"... and {len(self.faults) - MAX_FAULTS} more faults")
        super().__init__("\n".join(said))


class UnknownNameError(RequestError):
    """A name that does not exist, with the nearest known ones."""

    def __init__(self, kind: str, name: str, known: Sequence[str]) -> None:
        super().__init__(f"no {kind} named {shown(name)}; {suggestion(name, known)}")


class AnalysisRefusal(RequestError):
    """The data cannot carry the statement that was asked for; says what would."""


class EnvironmentFault(SweeperError):
    """The store, the cluster or the data is out of reach; the request may be right."""

    exit_code = 4


class StoreError(EnvironmentFault):
    """The store cannot be opened, read, written or migrated."""


class StoreAway(StoreError):
    """The store is locked by another program, or its server does not answer; a run waits."""


class StoreReadOnly(StoreError):
    """This user may not write there; what only reads goes on."""


class StoreMoved(StoreError):
    """The database at the path is not the one that was opened; a run ends."""


class ClusterError(EnvironmentFault):
    """Ray cannot be started or joined."""


class DataError(EnvironmentFault):
    """A corpus or file that a workload needs is missing or is not the one expected."""


class Interrupted(SweeperError):
    """A signal ended the run before all was done; the same command goes on."""

    exit_code = 3


MAX_LISTED = 16
"""Known names that a suggestion lists; of more, the nearest ones."""


def suggestion(name: str, known: Sequence[str]) -> str:
    """Returns "did you mean ...? known: ..." for an unknown name."""
    if not known:
        return "there are none yet"
    asked = name[:100]  # comparing takes the square of the length
    close = get_close_matches(asked, known, n=1, cutoff=0.6)
    listed = get_close_matches(asked, known, n=MAX_LISTED, cutoff=0.0)
    more = f" and {len(known) - len(listed)} more" if len(known) > len(listed) else ""
    listing = ", ".join(sorted(listed)) + more
    return f"did you mean {close[0]!r}? known: {listing}" if close else f"known: {listing}"


def shown(value: object) -> str:
    """Returns a value as messages show it: its repr, shortened where it is long."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:80]}..."


def no_file(path: Path) -> str | None:
    """Returns why what stands at a path is not read, a pipe or a device, which may never end;
    None for a file or folder, for nothing at all, and for what a shell hands over as ``<(...)``.

    Raises:
        OSError: the path cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    if stat.S_ISFIFO(mode) and os.path.realpath(path).startswith("/proc/"):
        return None
    what = "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
    return f"is {what} and no file; write what it gives to a file, and name that"

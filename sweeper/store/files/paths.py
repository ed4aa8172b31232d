"""The names of a store's files, and which of them are there."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeper.store.files.protocol import TEMPORARY_PREFIX, FileStore

_KEY = re.compile(r"[0-9a-f]{64}")
_CURVE = re.compile(r".*/([0-9a-f]{64})\.(\d+)\.parquet")
_WITHDRAWN = re.compile(r".*/([0-9a-f]{64})\.\d+\.withdrawn\.parquet")
_STEP = re.compile(r".*/step-(\d+)\.pt")
_JOURNAL = ".journal.json"
_OUTPUT = re.compile(r".*/([0-9a-f]{64})\.(\d+)\.log")


@dataclass(frozen=True, kw_only=True)
class CurveFile:
    """The curve file of an attempt.

    Attributes:
        key: key of the trial in its name.
        attempt: number of the attempt in its name.
        name: the file.
    """

    key: str
    attempt: int
    name: str


@dataclass(frozen=True)
class Paths:
    """Names the files of a store; plain and picklable, so workers are given it.

    Whatever lists files raises StoreError if a folder is there and cannot be read.

    Attributes:
        files: where the files are.
    """

    files: FileStore

    # Curves -----------------------------------------------------------------------------------

    @staticmethod
    def curve(key: str, attempt: int) -> str:
        """Returns the Parquet file of an attempt's curve."""
        return f"curves/{key[:2]}/{key}.{attempt}.parquet"

    @staticmethod
    def withdrawn(curve: str) -> str:
        """Returns the name that a curve file gets when its result is withdrawn."""
        return f"{curve.removesuffix('.parquet')}.withdrawn.parquet"

    def curve_files(self) -> Iterator[CurveFile]:
        """Yields the whole curve files that are there, sorted by key and attempt; none is
        opened, and those of withdrawn results are left out."""
        for folder in self._folders("curves/"):
            yield from self._curves_in(folder)

    def curves_of(self, key: str, *, attempts: int = 0) -> list[str]:
        """Returns the whole curve files of a trial, the first attempt first; those of withdrawn
        results are left out.

        Args:
            key: key of the trial.
            attempts: how many it has had for certain, whose files are asked for by name where
                listings may be late.
        """
        folder = f"curves/{key[:2]}/"
        listed = [file.name for file in self._curves_in(folder, begin=f"{folder}{key}.")]
        if not self.files.lists_late:
            return listed
        named = (self.curve(key, number) for number in range(1, attempts + 1))
        found = {*listed, *self._there(named, known=listed)}
        return sorted(found, key=lambda name: int(name.split(".")[1]))

    def withdrawn_files(self) -> Iterator[tuple[str, str]]:
        """Yields key and name of the curve files whose results were withdrawn, sorted."""
        for folder in self._folders("curves/"):
            for name in self.files.names(folder):
                if (match := _WITHDRAWN.fullmatch(name)) is not None:
                    yield match[1], name

    # Checkpoints ------------------------------------------------------------------------------

    @staticmethod
    def checkpoint_folder(key: str) -> str:
        """Returns the folder of a trial's checkpoints, whichever attempt wrote them."""
        return f"checkpoints/{key[:2]}/{key}/"

    @classmethod
    def checkpoint(cls, key: str, step: int) -> str:
        """Returns the checkpoint file of a trial after so many optimizer steps."""
        return f"{cls.checkpoint_folder(key)}step-{step:09d}.pt"

    @staticmethod
    def journal(checkpoint: str) -> str:
        """Returns the journal beside a checkpoint."""
        return f"{checkpoint.removesuffix('.pt')}{_JOURNAL}"

    @staticmethod
    def step_of(checkpoint: str) -> int:
        """Returns the step in the name of a checkpoint that :meth:`checkpoint` named."""
        match = _STEP.fullmatch(checkpoint)
        assert match is not None, f"{checkpoint} is not the name of a checkpoint"
        return int(match[1])

    def checkpoint_folders(self) -> Iterator[tuple[str, str]]:
        """Yields key and folder of the trials that have checkpoints, sorted."""
        for folder in self._folders("checkpoints/"):
            for name in self._folders(folder):
                if _KEY.fullmatch(key := name.removeprefix(folder)[:-1]):
                    yield key, name

    @classmethod
    def newest(cls, key: str) -> str:
        """Returns the file that names the last checkpoint of a trial, where listings may be
        late."""
        return f"{cls.checkpoint_folder(key)}newest"

    def checkpoints_of(self, key: str) -> list[str]:
        """Returns the whole checkpoints of a trial, the last step last."""
        folder = self.checkpoint_folder(key)
        names = self.files.names(folder)
        found = {*filter(_STEP.fullmatch, names)}
        if self.files.lists_late:
            named = [*self._journals(names), *self._newest(key)]
            found |= {*self._there(named, known=found)}
        return sorted(found, key=self.step_of)

    def _newest(self, key: str) -> list[str]:
        try:
            with self.files.open(self.newest(key)) as source:
                name = self.checkpoint_folder(key) + source.read().decode(errors="replace")
        except OSError:
            return []
        return [name] if _STEP.fullmatch(name) else []

    @staticmethod
    def _journals(names: Iterable[str]) -> list[str]:
        """The checkpoints whose journals are among the names."""
        found = (f"{n.removesuffix(_JOURNAL)}.pt" for n in names if n.endswith(_JOURNAL))
        return [name for name in found if _STEP.fullmatch(name)]

    def _there(self, names: Iterable[str], *, known: Collection[str]) -> list[str]:
        """Those of the names that a late listing lacked although they are there."""
        wanted = dict.fromkeys(name for name in names if name not in known)
        return [name for name in wanted if self.files.info(name) is not None]

    def kept_step(self, key: str) -> int:
        """Returns the step of a trial's newest checkpoint; 0 without one."""
        checkpoints = self.checkpoints_of(key)
        return self.step_of(checkpoints[-1]) if checkpoints else 0

    def lone_journals_of(self, key: str) -> list[str]:
        """Returns the journals of a trial whose checkpoint is not there, the last step last."""
        names = self.files.names(self.checkpoint_folder(key))
        lone = {name for name in self._journals(names) if name not in names}
        if self.files.lists_late:
            lone -= {*self._there(lone, known=())}
        return [self.journal(name) for name in sorted(lone, key=self.step_of)]

    # Output of programs -----------------------------------------------------------------------

    @staticmethod
    def output(key: str, attempt: int) -> str:
        """Returns the file of what the program of an attempt has printed."""
        return f"logs/{key[:2]}/{key}.{attempt}.log"

    def outputs_of(self, key: str) -> dict[int, str]:
        """Returns the files of what programs of a trial have printed, by attempt, in order."""
        return {attempt: name for found, attempt, name in self._outputs(key[:2]) if found == key}

    def output_files(self) -> Iterator[tuple[str, str]]:
        """Yields key and name of the files of what programs have printed, sorted."""
        for folder in self._folders("logs/"):
            yield from ((key, name) for key, _, name in self._outputs(folder[5:-1]))

    def _outputs(self, begin: str) -> list[tuple[str, int, str]]:
        matches = map(_OUTPUT.fullmatch, self.files.names(f"logs/{begin}/"))
        return sorted((m[1], int(m[2]), m[0]) for m in matches if m is not None)

    # Recorded results ------------------------------------------------------------------------

    @staticmethod
    def table(digest: str) -> str:
        """Returns the CSV file of results that a study replays, by the SHA-256 of its bytes."""
        return f"tables/{digest}.csv"

    def find_table(self, name: str) -> Path:
        """Returns the file of a table that a config calls ``sha256:DIGEST``."""
        return self.files.local(self.table(name.removeprefix("sha256:")))

    # Unfinished files -------------------------------------------------------------------------

    def unfinished_of(self, key: str) -> list[str]:
        """Returns the unfinished files of a trial."""
        own = self._unfinished_in(self.checkpoint_folder(key))
        shared = self._unfinished_in(f"curves/{key[:2]}/")  # by trials whose keys begin alike
        return sorted([*own, *(name for name in shared if f"-{key}." in name)])

    def unfinished_files(self) -> Iterator[tuple[str | None, str]]:
        """Yields the files that somebody began and did not finish, each with the key of the trial
        that it is of; None where its name does not say."""
        folders = ["", *self._folders("curves/"), *self._folders("logs/")]
        folders += [folder for _, folder in self.checkpoint_folders()]
        for folder in folders:
            for name in self._unfinished_in(folder):
                key = _KEY.search(name.removeprefix(folder)) or _KEY.search(folder)
                yield None if key is None else key.group(), name

    def _unfinished_in(self, folder: str) -> list[str]:
        begun = f"{folder}{TEMPORARY_PREFIX}"
        return [name for name in self.files.names(folder) if name.startswith(begun)]

    def _folders(self, folder: str) -> list[str]:
        return [name for name in self.files.names(folder) if name.endswith("/")]

    def _curves_in(self, folder: str, *, begin: str = "") -> list[CurveFile]:
        found = [
            CurveFile(key=match[1], attempt=int(match[2]), name=name)
            for name in self.files.names(folder)
            if name.startswith(begin) and (match := _CURVE.fullmatch(name)) is not None
        ]
        return sorted(found, key=lambda file: (file.key, file.attempt))

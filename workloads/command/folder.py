"""The folder of a program's checkpoints: packed as one file, and unpacked where it goes on."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from pathlib import Path
from typing import Any

from workloads.programs import NotNowError

REST_SECONDS = 2.0
"""How long nothing in the folder of a running program has to have changed."""

PATIENCE_SECONDS = 20.0
"""After so long a folder that is never at rest is packed as it is."""

STATE = "state.json"
FILES = "files"

Snapshot = dict[str, tuple[int, int, int]]


class CheckpointFolder:
    """The folder in which a program keeps its checkpoints.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._packed: Snapshot = self.files()
        self._restless: float | None = None

    def files(self) -> Snapshot:
        """Returns the files that are there, each with what changes when it does."""
        found: Snapshot = {}
        for folder, _, names in os.walk(self.path):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    each = os.lstat(path)
                except OSError:
                    continue
                found[os.path.relpath(path, self.path)] = (
                    each.st_ino,
                    each.st_size,
                    each.st_mtime_ns,
                )
        return found

    def is_ready(self, *, running: bool) -> bool:
        """Returns whether there is something to pack that was not packed before, and it is at
        rest, or has been restless for too long.

        Args:
            running: the program may write there.
        """
        files = self.files()
        if not files or files == self._packed:
            return False
        now = time.time()
        written = max(each[2] for each in files.values()) / 1e9
        if running and now - written < REST_SECONDS:
            self._restless = self._restless or now
            return now - self._restless > PATIENCE_SECONDS
        return True

    def pack(self, target: Path, state: dict[str, Any], *, running: bool) -> None:
        """Writes all of it as one file, with what else is to be known when it is unpacked.

        Raises:
            NotNowError: the program wrote there meanwhile.
        """
        before = self.files()
        text = json.dumps(state).encode()
        with tarfile.open(target, "w") as archive:
            entry = tarfile.TarInfo(STATE)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
            try:
                archive.add(self.path, FILES, filter=_plain)
            except OSError as fault:
                if fault.errno is None or isinstance(fault, FileNotFoundError):
                    raise NotNowError(f"a file was cut short or removed: {fault}") from fault
                raise
        patient = self._restless and time.time() - self._restless > PATIENCE_SECONDS
        if running and self.files() != before and not patient:
            raise NotNowError("the program wrote a checkpoint meanwhile")
        self._packed, self._restless = before, None

    def unpack(self, source: Path) -> dict[str, Any]:
        """Fills the folder from a file that :meth:`pack` wrote, and returns what stood beside it.

        Raises:
            ValueError: it is none, or names a file outside of the folder.
        """
        try:
            with tarfile.open(source) as archive:
                told = archive.extractfile(STATE)
                assert told is not None
                state: dict[str, Any] = json.load(told)
                for member in archive.getmembers():
                    if member.name.startswith(f"{FILES}/"):
                        member.name = member.name.removeprefix(f"{FILES}/")
                        if member.islnk():
                            member.linkname = member.linkname.removeprefix(f"{FILES}/")
                        archive.extract(member, self.path, filter="data")
        except (tarfile.TarError, KeyError, ValueError, AssertionError, EOFError) as fault:
            raise ValueError(f"it is no folder of a program's checkpoints: {fault}") from fault
        self._packed = self.files()
        return state


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leaves out what is no file, folder or link, such as a socket."""
    return entry if entry.isfile() or entry.isdir() or entry.issym() or entry.islnk() else None

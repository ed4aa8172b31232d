"""Files that are renamed together with a change of the database, all or none."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from sweeper.store.paths import disk_fault, flush


class Renaming:
    """Context that takes its renamings back if its body raises.

    It is entered before the transaction that it goes with. A process that dies between the two
    leaves a file under its new name and the database as it was, which `sweeper verify` mends.
    """

    def __init__(self) -> None:
        self._done: list[tuple[Path, Path]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            for source, target in reversed(self._done):
                os.replace(target, source)

    def move(self, source: Path, target: Path) -> None:
        """Renames a file or folder; one that is not there is left out.

        Raises:
            StoreError: its folder cannot be written.
        """
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
            self._done.append((source, target))
            flush(target.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise disk_fault("rename", source, error) from error

"""The files of a store in a local folder, as paths: to damage, to age and to look at them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sweeper.store.files.local import LocalFiles
from sweeper.store.files.paths import Paths


@dataclass(frozen=True)
class OnDisk:
    """The files under a folder; every method is that of :class:`Paths`."""

    root: Path

    @property
    def paths(self) -> Paths:
        return Paths(LocalFiles(self.root))

    @property
    def database(self) -> Path:
        return self.root / "sweeper.db"

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def curve(self, key: str, attempt: int) -> Path:
        return self.root / Paths.curve(key, attempt)

    def withdrawn(self, curve: Path) -> Path:
        return self.root / Paths.withdrawn(self.name(curve))

    def curves_of(self, key: str) -> list[Path]:
        return [self.root / name for name in self.paths.curves_of(key)]

    def curve_paths(self) -> list[Path]:
        return [self.root / file.name for file in self.paths.curve_files()]

    def checkpoint_folder(self, key: str) -> Path:
        return self.root / Paths.checkpoint_folder(key)

    def checkpoint(self, key: str, step: int) -> Path:
        return self.root / Paths.checkpoint(key, step)

    def journal(self, checkpoint: Path) -> Path:
        return self.root / Paths.journal(self.name(checkpoint))

    def checkpoints_of(self, key: str) -> list[Path]:
        return [self.root / name for name in self.paths.checkpoints_of(key)]

    def steps_of(self, key: str) -> list[int]:
        return [Paths.step_of(name) for name in self.paths.checkpoints_of(key)]


def on_disk(paths: Paths) -> OnDisk:
    """Returns the files of a store in a local folder."""
    assert isinstance(paths.files, LocalFiles)
    return OnDisk(paths.files.root)

"""The folder of a report: names of its files, each written whole."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from sweeper.errors import EnvironmentFault

LONGEST_SLUG = 80
PAGE = "index.html"

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def slug(name: str) -> str:
    """Returns a name as a part of a file name on any system: letters, digits, ``.``, ``_``,
    ``-``, and no dot in front."""
    return _UNSAFE.sub("_", name).strip("._-")[:LONGEST_SLUG] or "unnamed"


@dataclass(frozen=True)
class Folder:
    """Writes the files of one report.

    Attributes:
        root: the folder; made with the first file.
        archive: the zip archive that it is to become, or None.
    """

    root: Path
    archive: Path | None = None
    _names: dict[str, str] = field(default_factory=dict)

    def stem(self, study: str) -> str:
        """Returns the beginning of a study's file names; no two studies share one, on file
        systems that do not tell upper from lower case too."""
        wanted = stem = slug(study)
        count = 1
        while self._names.setdefault(stem.lower(), study) != study:
            count += 1
            stem = f"{wanted}-{count}"
        return stem

    def png(self, name: str, image: bytes) -> str:
        """Writes an image; returns its file name."""
        return self._write(f"{name}.png", image)

    def csv(self, name: str, table: pd.DataFrame) -> str:
        """Writes a table as UTF-8 CSV (infinite as ``inf``, unknown as empty); returns its file
        name. Text that a spreadsheet would take for a formula has an apostrophe before it."""
        texts = {
            column: table[column].map(_no_formula)
            for column in table.columns
            if not is_numeric_dtype(table[column])
        }
        safe = table.assign(**texts).rename(columns=_no_formula)
        return self._write(f"{name}.csv", safe.to_csv(index=False).encode())

    def page(self, text: str) -> Path:
        """Writes the page; returns its path."""
        return self.root / self._write(PAGE, text.encode(errors="backslashreplace"))

    def _write(self, name: str, content: bytes) -> str:
        path = self.root / name
        aside = path.with_name(f".tmp-{uuid.uuid4().hex[:12]}-{name}")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(content)
            os.replace(aside, path)
        except OSError as error:
            if aside.exists():
                aside.unlink()
            raise _unwritable(path, error) from error
        return name


@contextmanager
def written_folder(out: Path, *, zipped: bool) -> Iterator[Folder]:
    """Context that gives the folder of a report; if it is to be ``zipped``, one beside its place
    that becomes the archive ``out.zip`` at the end, with all files below one folder.

    Raises:
        EnvironmentFault: the archive cannot be written.
    """
    if not zipped:
        yield Folder(out)
        return
    archive = out if out.suffix == ".zip" else out.with_name(f"{out.name}.zip")
    with TemporaryDirectory(prefix="sweeper-report-") as scratch:
        folder = Folder(Path(scratch) / archive.stem, archive)
        yield folder
        try:
            archive.parent.mkdir(parents=True, exist_ok=True)
            whole = shutil.make_archive(f"{scratch}/whole", "zip", scratch, archive.stem)
            aside = archive.with_name(f".tmp-{uuid.uuid4().hex[:12]}-{archive.name}")
            try:
                shutil.copyfile(whole, aside)
                os.replace(aside, archive)
            finally:
                aside.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(archive, error) from error


def _unwritable(path: Path, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(
        f"cannot write {path}: {error.strerror or error}; check that the disk has space "
        "and that the folder may be written, or choose another one with --out"
    )


def _no_formula(cell: Any) -> Any:
    """Returns a cell of a table with an apostrophe before text that begins like a formula."""
    if not isinstance(cell, str) or not cell.lstrip().startswith(("=", "+", "-", "@")):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell

"""What a place holds that results are imported from, and its sheet: a table, a storage of Optuna,
or the runs of an experiment tracker."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sweeper.errors import no_file
from sweeper.imports.bounds import LIMITS, Limits, refusal
from sweeper.imports.files import open_table, sheet_of_records
from sweeper.imports.optuna import JOURNAL, SQLITE, read_storage
from sweeper.imports.sheet import Sheet, Wanted
from sweeper.imports.trackers import runs_at, runs_in_table, sheet_of_runs

_LOCAL = re.compile(r"sqlite(\+\w+)?:///")


def place_of(text: str) -> Path | str:
    """Returns the file that is meant by a name or the URL of a file; other URLs as they are."""
    if (local := _LOCAL.match(text)) is not None:
        return Path(text[local.end() :].partition("?")[0])
    if text.startswith("file://"):
        return Path(unquote(urlsplit(text).path))
    return text if "://" in text else Path(text)


def open_sheet(path: Path | str, limits: Limits = LIMITS, wanted: Wanted | None = None) -> Sheet:
    """Returns what a place holds as a sheet.

    Args:
        path: a file or folder, told by its content; text is the URL of a database of Optuna, of
            a tracking server of MLflow, or a project of W&B, ``wandb://ENTITY/PROJECT``.
        limits: what it may hold at most.
        wanted: what is asked of it.

    Raises:
        RequestError: there is no such place, it cannot be read, or is too large.
        EnvironmentFault: a server is out of reach or out of order.
    """
    wanted = wanted or Wanted()
    found = runs_at(path, wanted, limits)
    if found is not None:
        return sheet_of_runs(found, wanted, limits)
    if isinstance(path, str) or _begin(path).startswith((SQLITE, JOURNAL)):
        return _storage(path, limits)
    sheet = open_table(path, limits)
    found = runs_in_table(sheet, wanted, limits)
    return sheet if found is None else sheet_of_runs(found, wanted, limits)


def _begin(path: Path) -> bytes:
    """The beginning of a file that may be a database."""
    if no_file(path) is not None or not path.is_file():
        return b""  # what is wrong is said where it is read as a table
    with path.open("rb") as source:
        return source.read(len(SQLITE))


def _storage(place: Path | str, limits: Limits) -> Sheet:
    """A storage of Optuna, a row a trial."""
    found = read_storage(place)
    path = place if isinstance(place, Path) else Path(found.shown)
    if not found.records:
        raise refusal(path, "holds no trials")
    sheet = sheet_of_records(path, limits, lambda: iter(found.records))
    rows = hashlib.sha256(repr(found.records).encode()).hexdigest()
    return replace(sheet, goals=found.goals, sha256=rows if isinstance(place, str) else None)

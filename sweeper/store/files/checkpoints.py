"""Checkpoints on disk: written whole with a journal beside them, verified before they are used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeper.outcome import Mark
from sweeper.store.files.paths import Paths, remove_files, temporary
from sweeper.store.files.sealed import mark_rows, marks_of, number, seal, unseal

KEPT = 2
"""Checkpoints of a trial that stay: the newest, and the one before in case that one is bad."""

_VERSION = 1
"""Version of the journal; a change of what it holds must raise this."""


@dataclass(frozen=True, kw_only=True)
class Journal:
    """What was measured up to a checkpoint, so that a resumed trial ends with the same curve,
    marks and device seconds as an undisturbed one.

    Attributes:
        key: key of the trial.
        step: optimizer steps done.
        tokens: tokens seen.
        device_seconds: seconds of device time of all these steps.
        curve: one row of values by name a curve point.
        marks: metrics at token marks.
    """

    key: str
    step: int
    tokens: int
    device_seconds: float
    curve: tuple[Mapping[str, float], ...]
    marks: tuple[Mark, ...]


def write_checkpoint(path: Path, journal: Journal, save: Callable[[Path], None]) -> None:
    """Writes a checkpoint and the journal beside it, both aside and then into place.

    The journal holds the SHA-256 of the checkpoint and of itself. It comes into place first,
    so that a checkpoint always has one.

    Args:
        path: where to, from :meth:`Paths.checkpoint`.
        journal: what was measured up to here.
        save: writes the checkpoint as one file under the name that it is given.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    with temporary(path) as aside:
        save(aside)
        document = {
            "version": _VERSION,
            "checkpoint": _sha256(aside),
            **vars(journal),
            "marks": mark_rows(journal.marks),
        }
        with temporary(Paths.journal(path)) as journal_aside:
            journal_aside.write_text(seal(document), encoding="utf-8")


def read_journal(path: Path, *, key: str) -> Journal:
    """Returns the journal of a checkpoint once both are known to be whole and unaltered.

    Args:
        path: the checkpoint.
        key: key of the trial whose checkpoint it has to be.

    Raises:
        ValueError: the checkpoint must not be used; the message is the reason.
    """
    beside = Paths.journal(path)
    try:
        document = unseal(beside.read_bytes())
        journal = _journal(document)
        stated = document["checkpoint"]
    except FileNotFoundError as fault:
        raise ValueError(f"its journal {beside.name} is missing") from fault
    except (OSError, KeyError, TypeError, ValueError) as fault:
        raise ValueError(f"its journal {beside.name} cannot be used: {fault}") from fault
    if journal.key != key:
        raise ValueError(f"its journal {beside.name} is of another trial, {journal.key[:12]}")
    if journal.step != Paths.step_of(path):
        raise ValueError(f"its journal {beside.name} is of another step, {journal.step}")
    try:
        found = _sha256(path)
    except OSError as fault:
        raise ValueError(f"it cannot be read: {fault.strerror or fault}") from fault
    if found != stated:
        raise ValueError("it is damaged: its SHA-256 is not the one in its journal")
    return journal


def forget_older(paths: Paths, key: str, step: int) -> None:
    """Removes checkpoints older than that of ``step``, but for the newest of them.

    Later ones are left alone: they are another worker's that has taken the trial over.

    Raises:
        StoreError: the folder cannot be read or written.
    """
    older = [path for path in paths.checkpoints_of(key) if Paths.step_of(path) < step]
    for path in older[: max(0, len(older) - KEPT + 1)]:
        # The journal first: a journal without its checkpoint would look like a loss.
        remove_files([Paths.journal(path), path])


def _journal(document: Mapping[str, object]) -> Journal:
    fields = dict(document)
    if fields.pop("version", None) != _VERSION:
        raise ValueError(f"it is not of version {_VERSION}")
    del fields["checkpoint"]
    rows: list[dict[str, float]] = fields.pop("curve")  # type: ignore[assignment]
    marks: list[dict[str, object]] = fields.pop("marks")  # type: ignore[assignment]
    return Journal(
        curve=tuple({name: number(value) for name, value in row.items()} for row in rows),
        marks=marks_of(marks),
        **fields,  # type: ignore[arg-type]
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()

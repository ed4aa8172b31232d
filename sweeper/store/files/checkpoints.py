"""Checkpoints on disk: written whole with a journal beside them, verified before they are used."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sweeper.outcome import Mark
from sweeper.store.files.paths import Paths
from sweeper.store.files.protocol import FileStore
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


def write_checkpoint(
    files: FileStore, name: str, journal: Journal, save: Callable[[Path], None]
) -> None:
    """Writes a checkpoint and the journal beside it, both aside and then into place.

    The journal holds the SHA-256 of the checkpoint and of itself. It comes into place first,
    so that a checkpoint always has one.

    Args:
        files: where to.
        name: what it is called, from :meth:`Paths.checkpoint`.
        journal: what was measured up to here.
        save: writes the checkpoint as one file under the name that it is given.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    with files.write(name) as aside:
        save(aside)
        with aside.open("rb") as source:
            digest = _sha256(source)
        document = {
            "version": _VERSION,
            "checkpoint": digest,
            **vars(journal),
            "marks": mark_rows(journal.marks),
        }
        with files.write(Paths.journal(name)) as journal_aside:
            journal_aside.write_text(seal(document), encoding="utf-8")
    if files.lists_late:
        with files.write(Paths.newest(journal.key)) as newest:
            newest.write_text(name.rpartition("/")[2], encoding="utf-8")


def read_journal(files: FileStore, name: str, *, key: str) -> Journal:
    """Returns the journal of a checkpoint once both are known to be whole and unaltered.

    Args:
        files: where the checkpoint is.
        name: the checkpoint.
        key: key of the trial whose checkpoint it has to be.

    Raises:
        ValueError: the checkpoint must not be used; the message is the reason.
    """
    journal_name = Paths.journal(name)
    beside = journal_name.rpartition("/")[2]
    try:
        with files.open(journal_name) as source:
            document = unseal(source.read())
        journal = _journal(document)
        stated = document["checkpoint"]
    except FileNotFoundError as fault:
        raise ValueError(f"its journal {beside} is missing") from fault
    except (OSError, LookupError, TypeError, AttributeError, ValueError, RecursionError) as fault:
        raise ValueError(f"its journal {beside} cannot be used: {fault}") from fault
    if journal.key != key:
        raise ValueError(f"its journal {beside} is of another trial, {journal.key[:12]}")
    if journal.step != Paths.step_of(name):
        raise ValueError(f"its journal {beside} is of another step, {journal.step}")
    try:
        with files.open(name) as source:
            found = _sha256(source)
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
    older = [name for name in paths.checkpoints_of(key) if paths.step_of(name) < step]
    for name in older[: max(0, len(older) - KEPT + 1)]:
        # The journal first: a journal without its checkpoint would look like a loss.
        paths.files.remove(paths.journal(name))
        paths.files.remove(name)


def discard_checkpoints(paths: Paths, key: str) -> None:
    """Removes the checkpoints of a trial whose result is accepted.

    Raises:
        StoreError: the folder cannot be removed, or a late worker is writing there.
    """
    paths.files.remove(paths.checkpoint_folder(key))


def _journal(document: Mapping[str, object]) -> Journal:
    fields = dict(document)
    if fields.pop("version", None) != _VERSION:
        raise ValueError(f"it is not of version {_VERSION}")
    del fields["checkpoint"]
    rows: list[dict[str, float]] = fields.pop("curve")  # type: ignore[assignment]
    marks: list[dict[str, object]] = fields.pop("marks")  # type: ignore[assignment]
    journal = Journal(
        curve=tuple({name: number(value) for name, value in row.items()} for row in rows),
        marks=marks_of(marks),
        **fields,  # type: ignore[arg-type]
    )
    numbers = (journal.device_seconds, *(value for row in journal.curve for value in row.values()))
    if not (
        all(type(each) is int and each >= 0 for each in (journal.step, journal.tokens))
        and all(type(each) in (int, float) for each in numbers)
        and 0 <= journal.device_seconds < math.inf
    ):
        raise ValueError("it holds values of another kind")
    return journal


def _sha256(source: BinaryIO) -> str:
    return hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type]

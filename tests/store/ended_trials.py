"""Trials that ended as a worker ends them: with a curve file that holds the outcome."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memory_files import MemoryFiles
from sample_store import outcome

from sweeper.outcome import Outcome, OutcomeKind
from sweeper.store.files.checkpoints import Journal, write_checkpoint
from sweeper.store.files.curves import write_curve
from sweeper.store.files.s3 import S3Files
from sweeper.store.store import Store


def finish(
    store: Store, key: str, kind: OutcomeKind = "completed", attempt: int = 1, **fields: Any
) -> Outcome:
    """Writes the curve file of an attempt, as its worker does; nothing is recorded."""
    name = store.paths.curve(key, attempt)
    fields.setdefault("curve", name)
    report = outcome(key, kind, attempt=attempt, **fields)
    if report.accepted:
        columns = {"step": [1], "tokens": [64], "train_loss": [3.0]}
        write_curve(store.paths.files, name, columns, outcome=report)
    return report


def end(store: Store, key: str, kind: OutcomeKind = "completed", attempt: int = 1) -> str:
    """Ends an attempt and records it; returns the curve's file."""
    report = finish(store, key, kind, attempt)
    store.record(report, objective=report.metrics.get("val_loss"))
    return store.paths.curve(key, attempt)


def checkpoint(store: Store, key: str, step: int) -> str:
    """Writes a checkpoint of a trial after so many steps; returns its file."""
    name = store.paths.checkpoint(key, step)
    journal = Journal(key=key, step=step, tokens=step, device_seconds=1.0, curve=(), marks=())

    def save(aside: Path) -> None:
        aside.write_bytes(b"weights after %d" % step)

    write_checkpoint(store.paths.files, name, journal, save)
    return name


def put(store: Store, name: str, content: bytes) -> str:
    """Writes a file over, or anew; returns its name."""
    with store.paths.files.write(name) as aside:
        aside.write_bytes(content)
    return name


def content_of(store: Store, name: str) -> bytes:
    """Returns the bytes of a file."""
    with store.paths.files.open(name) as source:
        return source.read()


def there(store: Store, *names: str) -> list[bool]:
    """Returns whether each of the files, or folders, is there."""
    files = store.paths.files
    return [bool(files.names(name) if name.endswith("/") else files.info(name)) for name in names]


def aged(store: Store, name: str, days: float = 2.0) -> str:
    """Makes a file, or the files of a folder and that, some days old; returns its name."""
    files, past = store.paths.files, time.time() - days * 86_400
    for each in [name, *files.infos(name)] if name.endswith("/") else [name]:
        if isinstance(files, MemoryFiles):
            files.times[each] = past
        elif isinstance(files, S3Files):
            if not each.endswith("/"):
                _age_in_bucket(f"{files.root}/{each}", past)
        else:
            os.utime(files.local(each), (past, past))
    return name


def _age_in_bucket(path: str, past: float) -> None:
    """Has the S3 server of the tests, which runs in this process, say another time of writing."""
    from moto.s3.models import s3_backends

    bucket, _, key = path.partition("/")
    (account,) = s3_backends
    s3_backends[account]["aws"].buckets[bucket].keys[key].last_modified = datetime.fromtimestamp(
        past, UTC
    ).replace(tzinfo=None)

"""Runs of W&B on a disk: offline ones, and what a client keeps of those that it sent.

A file ``run-ID.wandb`` is a log in the manner of LevelDB, records in blocks, each record a message
of W&B's own package. Columns are those of a project (``wandb``).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sweeper.imports.bounds import Limits, reading, refusal, require_bounded, walk
from sweeper.imports.json_records import record_of
from sweeper.imports.sheet import Wanted
from sweeper.imports.trackers.runs import Run, Tracked
from sweeper.imports.trackers.wandb import STATE, STEP

BLOCK_BYTES = 1 << 15
HEADER_BYTES = 7
"""Of a file, and of each piece of a record."""

_FULL, _FIRST, _LAST = 1, 2, 4
_OWN = ("_wandb", "_step", "_runtime", "_timestamp")


def run_files(folder: Path) -> list[Path]:
    """Returns the files of runs below a folder."""
    found = (place / file for place, _, files in walk(folder) for file in files)
    return [path for path in found if path.name.startswith("run-") and path.suffix == ".wandb"]


def is_folder(folder: Path) -> bool:
    """Returns whether there are files of runs below a folder."""
    return bool(run_files(folder))


def read_folder(folder: Path, wanted: Wanted, limits: Limits) -> Tracked:
    """Returns the runs of a folder. One whose file has no end counts as running.

    Raises:
        RequestError: wandb is not installed, or a file is cut off or damaged.
    """
    if find_spec("wandb") is None:
        raise refusal(
            folder,
            "files of runs are read by W&B's own package, which is not installed: pip install "
            "'sweeper[wandb]'",
        )
    runs: dict[str, Run] = {}
    files = run_files(folder)
    for file in files:
        require_bounded(file, limits)
        run = _run(file, wanted)
        runs[run.said["id"] if isinstance(run.said["id"], str) else file.name] = run
    again = len(files) - len(runs)
    notes = (f"{again} of {len(files)} files hold a run that a later one holds again",)
    return Tracked(
        path=folder,
        runs=list(runs.values()),
        step=STEP,
        state=STATE,
        notes=notes if again else (),
    )


def _run(file: Path, wanted: Wanted) -> Run:
    messages: Any = import_module("wandb.proto.wandb_internal_pb2")
    run = Run(name=file.stem, said={"name": file.stem, "id": file.stem.removeprefix("run-")})
    run.said[STATE] = "running"
    summary: dict[str, Any] = {}
    for number, packed in enumerate(_records(file), start=1):
        try:
            record = messages.Record.FromString(packed)
        except Exception as fault:  # of protobuf, which has one of its own for each back end
            raise refusal(file, f"record {number} is none of W&B's; move the run away") from fault
        kind = record.WhichOneof("record_type")
        if kind == "run":
            _describe(run, record.run)
        elif kind == "config":
            _configure(run, record.config)
        elif kind == "summary":
            summary |= _values(record.summary.update)
        elif kind == "exit":
            run.said[STATE] = "failed" if record.exit.exit_code else "finished"
        elif kind == "history":
            values = _values(record.history.item)
            step = int(values.get(STEP, record.history.step.num))
            for name, value in _numbers(values):
                run.log(name, step, value, follow=wanted.follows(name))
    if wanted.step is None:
        last = {f"summary.{name}": value for name, value in run.last.items()}
        for name, text in record_of(_kept(summary)).items():
            run.said[f"summary.{name}"] = text
        run.last = {name: value for name, value in last.items() if name not in run.said}
    else:
        run.last |= dict(_numbers(summary))
    return run


def _describe(run: Run, record: Any) -> None:
    run.said |= {"id": record.run_id, "name": record.display_name or record.run_id}
    run.name = f"{run.said['name']} ({record.run_id})"
    more = {"group": record.run_group, "job_type": record.job_type, "sweep": record.sweep_id}
    run.said |= {column: text for column, text in more.items() if text}
    _configure(run, record.config)


def _configure(run: Run, config: Any) -> None:
    found = record_of(_kept(_values(config.update)))
    run.said |= {f"config.{name}": value for name, value in found.items()}


def _values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def _kept(values: dict[str, Any]) -> dict[str, Any]:
    """Values without W&B's own and without media."""
    return {
        name: value
        for name, value in values.items()
        if name not in _OWN and not (isinstance(value, dict) and "_type" in value)
    }


def _numbers(values: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, text in record_of(_kept(values)).items():
        try:
            yield name, float(str(text))
        except ValueError:
            continue


def _records(file: Path) -> Iterator[bytes]:
    """Yields the records of a file, each piece with its sum checked.

    Raises:
        RequestError: a record is cut off or was changed.
    """
    number, part = 1, b""
    with reading(file), file.open("rb") as source:
        if source.read(HEADER_BYTES)[:4] != b":W&B":
            raise refusal(file, "is no file of a run of W&B; move the run away")
        while True:
            left = BLOCK_BYTES - source.tell() % BLOCK_BYTES
            if left < HEADER_BYTES:
                source.seek(left, 1)
                continue
            header = source.read(HEADER_BYTES)
            if not header and not part:
                return
            length = int.from_bytes(header[4:6], "little")
            content = source.read(length)
            if len(header) < HEADER_BYTES or len(content) < length:
                raise refusal(
                    file,
                    f"record {number} is cut off; a run that is still written ends so: wait for "
                    "it, or move its folder away",
                )
            kind = header[6]
            total = zlib.crc32(content, zlib.crc32(header[6:7]))
            if total != int.from_bytes(header[:4], "little") or not _FULL <= kind <= _LAST:
                raise refusal(file, f"record {number} is damaged; move the run's folder away")
            part = content if kind in (_FULL, _FIRST) else part + content
            if kind in (_FULL, _LAST):
                yield part
                number, part = number + 1, b""

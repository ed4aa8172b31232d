"""Runs of W&B on a disk, as its client writes them: a log of messages in blocks."""

from __future__ import annotations

import json
import math
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tracked import Take

from sweeper.errors import RequestError
from sweeper.imports.bounds import Limits
from sweeper.imports.sheet import Wanted
from sweeper.imports.trackers.wandb_files import BLOCK_BYTES, read_folder
from sweeper.store.store import Store

messages: Any = import_module("wandb.proto.wandb_internal_pb2")


def log(records: list[bytes]) -> bytes:
    """Records as a log: split over blocks, each piece with its sum, length and kind."""
    found = bytearray(b":W&B\xe1\xbe\x00")
    for record in records:
        first, rest = True, record
        while first or rest:
            left = BLOCK_BYTES - len(found) % BLOCK_BYTES
            if left < 7:
                found += bytes(left)
                continue
            piece, rest = rest[: left - 7], rest[left - 7 :]
            kind = (1 if not rest else 2) if first else (4 if not rest else 3)
            total = zlib.crc32(piece, zlib.crc32(bytes([kind])))
            found += total.to_bytes(4, "little") + len(piece).to_bytes(2, "little")
            found += bytes([kind]) + piece
            first = False
    return bytes(found)


def add(items: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        item = items.add()
        item.value_json = json.dumps(value)
        if "." in name:
            item.nested_key.extend(name.split("."))
        else:
            item.key = name


def run(folder: Path, name: str, lr: float, losses: list[float], code: int | None = 0) -> Path:
    start, end = messages.Record(), messages.Record()
    start.run.run_id, start.run.display_name = f"id{name}", name
    add(start.run.config.update, {"lr": lr, "model": {"width": 64}, "_wandb": {"x": 1}})
    rows = []
    for step, loss in enumerate(losses):
        row = messages.Record()
        values = {"_step": 10 * step, "val/loss": loss, "info.grad": 0.5, "note": "x" * 20_000}
        add(row.history.item, values | {"plot": {"_type": "image-file"}})
        rows.append(row)
    last = messages.Record()
    add(last.summary.update, {"val/loss": losses[-1], "best": min(losses), "_runtime": 5})
    all_of_it = [start, *rows, last]
    if code is not None:
        end.exit.exit_code = code
        all_of_it.append(end)
    path = folder / f"offline-run-2026_{name}/run-id{name}.wandb"
    path.parent.mkdir(parents=True)
    path.write_bytes(log([record.SerializeToString() for record in all_of_it]))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run(tmp_path / "wandb", "a", 0.1, [4.0, 3.0, 2.0])
    run(tmp_path / "wandb", "b", 0.2, [4.0, 3.0, math.nan], code=1)
    run(tmp_path / "wandb", "c", 0.4, [4.0], code=1)
    run(tmp_path / "wandb", "d", 0.8, [4.0, 3.0], code=None)
    return tmp_path / "wandb"


def test_runs_are_read_with_their_ends_and_curves(store: Store, take: Take, folder: Path) -> None:
    done = take(folder, "val/loss", step="_step")
    assert done.trials == {"completed": 1, "diverged": 1, "failed": 1, "missing": 1}
    assert done.columns == {"width": "config.model.width", "lr": "config.lr"}
    assert set(store.marks("theirs")["step"]) == {0, 10, 20}
    best = take(folder, "best", replace=True)
    assert best.columns["best"] == "summary.best" and best.trials["completed"] == 1


def test_nested_names_are_joined_and_media_are_left_out(folder: Path) -> None:
    one = read_folder(folder, Wanted(step="_step"), Limits()).runs[0]
    assert set(one.last) == {"val/loss", "info.grad", "best"}
    assert set(one.said) == {"id", "name", "state", "config.lr", "config.model.width"}


def test_a_run_that_lies_there_twice_counts_once(folder: Path) -> None:
    run(folder / "synced", "a", 0.1, [4.0, 3.0, 1.0])
    found = read_folder(folder, Wanted(), Limits())
    assert len(found.runs) == 4
    assert found.notes == ("1 of 5 files hold a run that a later one holds again",)


def test_a_file_that_is_cut_off_or_damaged_is_named_with_its_record(folder: Path) -> None:
    path = folder / "offline-run-2026_a/run-ida.wandb"
    whole = path.read_bytes()
    for content, says in (
        (whole[:-3], "record 6 is cut off"),
        (whole[:40_000], "record 3 is cut off"),
        (whole[:-1] + b"x", "record 6 is damaged"),
        (b"text" + whole, "is no file of a run of W&B"),
        (log([b"\xff\xff"]), "record 1 is none of W&B's"),
    ):
        path.write_bytes(content)
        with pytest.raises(RequestError, match=says) as told:
            read_folder(folder, Wanted(), Limits())
        assert str(path) in str(told.value)


def test_without_the_package_the_message_says_how_to_get_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.imports.trackers.wandb_files.find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"pip install 'sweeper\[wandb\]'"):
        read_folder(folder, Wanted(), Limits())

"""A study as offline runs of Weights & Biases, read back with the client's own messages."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeper import Store
from sweeper.exports import export_study

BLOCK = 32768


def records(file: Path) -> Iterator[Any]:
    """Yields the records of an offline run: LevelDB's log format, after seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, held = file.read_bytes(), 7, b""
    while at < len(data):
        left = BLOCK - at % BLOCK
        _, size, kind = struct.unpack("<IHB", data[at : at + 7]) if left >= 7 else (0, 0, 0)
        if kind == 0:
            at += left
            continue
        held += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(held)
            held = b""
            yield record


def told(file: Path) -> dict[str, Any]:
    """Returns what an offline run says: its own message, config, history and summary."""
    found: dict[str, Any] = {"history": {}, "summary": {}, "exit": None}
    for record in records(file):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["run"] = record.run
            update = record.run.config.update
            found["config"] = {item.key: json.loads(item.value_json) for item in update}
        elif kind == "history":
            row = {i.nested_key[0]: json.loads(i.value_json) for i in record.history.item}
            found["history"][record.history.step.num] = row
        elif kind == "summary":
            for item in record.summary.update:
                name = item.key or item.nested_key[0]
                found["summary"][name] = json.loads(item.value_json)
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
    return found


def test_the_client_finds_config_history_summary_and_how_a_run_ended(
    store: Store, rows: Any, losses: Any, tmp_path: Path
) -> None:
    before, hooks = dict(os.environ), (sys.exit, sys.excepthook)
    out = tmp_path / "out"
    done = export_study(store, "small", "wandb", out)
    assert dict(os.environ) == before
    assert (sys.exit, sys.excepthook) == hooks, "its client changes them"
    assert done.said == f"wandb sync {out}/offline-run-* uploads it"

    runs = {}
    for folder in out.glob("offline-run-*"):
        (file,) = folder.glob("*.wandb")
        said = told(file)
        runs[said["config"]["key"]] = said
    assert set(runs) == set(rows)
    for key, said in runs.items():
        row, config, run = rows[key], said["config"], said["run"]
        assert (run.project, run.run_group) == ("small", row["variant"])
        assert [*run.tags] == [config["outcome"]] == [row["outcome"]]
        assert config["learning_rate"] == row["learning_rate"]
        assert (config["variant"], config["seed"]) == (row["variant"], row["seed"])
        assert said["exit"] == (0 if row["outcome"] in ("completed", "dominated") else 1)
        told_losses = {
            step: each["train_loss"]
            for step, each in said["history"].items()
            if "train_loss" in each
        }
        assert told_losses == {s: v for s, v in losses.get(key, {}).items() if v == v}
        if row["outcome"] == "completed":
            assert said["summary"]["val_loss"] == row["objective"]
            assert said["history"][6]["val_loss"] == row["objective"]
            times = [each["_timestamp"] for each in said["history"].values()]
            assert times == sorted(times) and times[-1] < said["run"].start_time.seconds + 60

    again = tmp_path / "again"
    export_study(store, "small", "wandb", again)
    ids = [{path.name.rpartition("-")[2] for path in each.glob("off*")} for each in (out, again)]
    assert ids[0] == ids[1] and len(ids[0]) == 5

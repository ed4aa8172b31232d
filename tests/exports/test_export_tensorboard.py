"""A study as runs of TensorBoard, read back by its own reader."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from sweeper import Store
from sweeper.exports import export_study


def single(value: float) -> float:
    """Returns a number in single precision, as TensorBoard keeps it."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


def test_tensorboard_reads_scalars_by_step_and_hyperparameters(
    store: Store, rows: Any, losses: Any, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import api_pb2, metadata

    out = tmp_path / "runs"
    done = export_study(store, "small", "tensorboard", out)

    assert (sum(done.trials.values()), done.said) == (5, f"tensorboard --logdir {out} shows it")
    folders = sorted(path.parent for path in out.rglob("events.*"))
    assert {folder.parent.name for folder in folders} == {"good", "bad"}
    seen = {}
    for folder in folders:
        events = EventAccumulator(str(folder))
        events.Reload()
        plugins = events.SummaryMetadata
        begun = metadata.parse_session_start_info_plugin_data(
            plugins("_hparams_/session_start_info").plugin_data.content
        )
        ended = metadata.parse_session_end_info_plugin_data(
            plugins("_hparams_/session_end_info").plugin_data.content
        )
        said = begun.hparams
        key = said["key"].string_value
        row = seen[key] = rows[key]
        assert said["outcome"].string_value == row["outcome"]
        assert said["variant"].string_value == folder.parent.name == row["variant"]
        assert said["learning_rate"].number_value == row["learning_rate"]
        assert said["seed"].number_value == row["seed"]
        good = row["outcome"] in ("completed", "dominated")
        assert ended.status == (api_pb2.STATUS_SUCCESS if good else api_pb2.STATUS_FAILURE)
        assert ended.end_time_secs >= begun.start_time_secs > 1.7e9
        tags = events.Tags()["scalars"]
        if key in losses:
            told = {e.step: e.value for e in events.Scalars("train_loss")} if losses[key] else {}
            assert told == {step: single(v) for step, v in losses[key].items() if v == v}
        if row["outcome"] == "completed":
            last = events.Scalars("val_loss")[-1]
            assert (last.step, last.value) == (6, single(row["objective"]))
        if row["outcome"] == "failed":
            assert not tags and "planted bug" in said["error"].string_value
    assert set(seen) == set(rows)

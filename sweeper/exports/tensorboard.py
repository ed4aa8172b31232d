"""A folder of runs that ``tensorboard --logdir`` shows: scalars by step, and the dashboard of
hyperparameters.

A run is a folder ``VARIANT/width=64,...``, with one file of events. TensorBoard keeps scalars in
single precision. Settings, variant, seed, key and outcome are its hyperparameters; a trial that
diverged or failed has the status of a failure there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.exports.base import Source, Written
from sweeper.exports.runs import Run, runs_of

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

SUFFIX = "-tensorboard"
FOLDER = True
NEEDS = ("tensorboard", "tensorboard")

VERSION = "brain.Event:2"
"""What the first event of a file says, by which TensorBoard knows it."""


def write(source: Source, path: Path) -> Written:
    """Writes a study as runs of TensorBoard.

    Raises:
        OSError: a file cannot be written.
    """
    count = 0
    variants: dict[str, None] = {}
    for run in runs_of(source):
        folder = path / _named(run.variant) / f"{_named(run.name)}-{run.id[:8]}"
        folder.mkdir(parents=True)
        _write_events(folder / f"events.out.tfevents.{int(run.started)}.sweeper", _events(run))
        variants[run.variant] = None
        count += 1
    said = "tensorboard --logdir {file} shows it"
    return Written(parts=tuple(variants), trials=count, said=said)


def _named(text: str) -> str:
    """The text as a name of a folder, on any system."""
    return re.sub(r"[^\w.,=+-]", "_", text, flags=re.ASCII).lstrip(".")[:150] or "_"


def _write_events(file: Path, events: Iterable[Event]) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    with file.open("wb") as stream:
        writer = RecordWriter(stream)
        for event in events:
            writer.write(event.SerializeToString())


def _events(run: Run) -> Iterable[Event]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import summary_v2

    yield Event(wall_time=run.started, file_version=VERSION)
    known: dict[str, Any] = {**run.about, **run.params}
    known |= {"variant": run.variant, "seed": run.seed, "key": run.key, "outcome": run.outcome}
    begun = summary_v2.hparams_pb(known, trial_id=run.id, start_time_secs=run.started)
    yield Event(wall_time=run.started, step=0, summary=begun)
    for step, values in run.history.items():
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        yield Event(wall_time=run.time_at(step), step=step, summary=Summary(value=scalars))
    yield Event(wall_time=run.ended, summary=_end(run))


def _end(run: Run) -> Summary:
    """The end of a run, for the dashboard of hyperparameters."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    statuses: Mapping[str, int] = {
        "completed": api_pb2.STATUS_SUCCESS,
        "dominated": api_pb2.STATUS_SUCCESS,
    }
    end = plugin_data_pb2.SessionEndInfo(
        status=statuses.get(run.outcome, api_pb2.STATUS_FAILURE), end_time_secs=run.ended
    )
    said = plugin_data_pb2.HParamsPluginData(session_end_info=end)
    about = metadata.create_summary_metadata(said)
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG, metadata=about, tensor=metadata.NULL_TENSOR
    )
    return Summary(value=[value])

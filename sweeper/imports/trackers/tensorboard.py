"""Folders of TensorBoard: one run a folder, its settings from the HParams plugin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sweeper.imports.bounds import Limits, reading, refusal, require_bounded, walk
from sweeper.imports.sheet import Wanted
from sweeper.imports.trackers.runs import Run, Tracked
from sweeper.imports.trackers.settings import settings_beside
from sweeper.words import plural

STEP, STATE = "step", "state"
"""Columns of every run."""

_FILE = "tfevents"
_STATES = {1: "finished", 2: "failed", 3: "running"}
_PARTS = frozenset(
    {"train", "training", "val", "valid", "validation", "eval", "evaluation", "test"}
)
"""Folders that are parts of the run that they lie in, as Keras makes them."""


def event_files(folder: Path) -> dict[Path, list[Path]]:
    """Returns the event files below a folder, by the folder that each lies in."""
    found = {}
    for place, _, files in walk(folder):
        own = [place / file for file in files if _FILE in file]
        if own:
            found[place] = own
    return found


def is_folder(folder: Path) -> bool:
    """Returns whether there are event files below a folder."""
    return any(_FILE in file for _, _, files in walk(folder) for file in files)


def read_folder(folder: Path, wanted: Wanted, limits: Limits) -> Tracked:
    """Returns the runs of a folder.

    A folder below another run is a part of it, its tags under the folder's name, as PyTorch's
    ``add_scalars`` and Keras make them; a part that holds nothing but settings and the metrics
    beside them, as PyTorch's ``add_hparams`` makes them, gives them to its run.

    Raises:
        RequestError: tensorboard is not installed, or a file is broken off or no event file.
    """
    if find_spec("tensorboard") is None:
        raise refusal(
            folder,
            "event files are read by TensorBoard's own package, which is not installed: pip "
            "install 'sweeper[tensorboard]'",
        )
    parts = []
    for place, files in event_files(folder).items():
        parts.append(part := _Part(place))
        for file in files:
            require_bounded(file, limits)
            _read(file, part, wanted, place.relative_to(folder).as_posix())
    runs, left_out = _runs(folder, parts, limits)
    ended = any(part.ended for part in parts)
    notes = [f"left out: {plural(left_out, 'folder')} around runs, with scalars of its own"]
    return Tracked(
        path=folder,
        runs=runs,
        step=STEP,
        state=STATE if ended else None,
        notes=tuple(notes) if left_out else (),
    )


@dataclass
class _Part:
    """What the event files of one folder hold."""

    folder: Path
    settings: dict[str, str] | None = None
    ended: str | None = None
    metrics: Run = field(default_factory=lambda: Run(name="", said={}))


def _runs(folder: Path, parts: list[_Part], limits: Limits) -> tuple[list[Run], int]:
    """Returns the runs that folders are or are parts of, and how many only hold others."""
    by_place = {part.folder: part for part in parts}
    inner = Counter(above for part in parts if part.settings for above in part.folder.parents)
    around = {place for place in by_place if inner[place] > 1}
    if any(part.folder != folder and part.folder.name not in _PARTS for part in parts):
        around.add(folder)
    left_out = len(around & by_place.keys())
    for place in around:
        by_place.pop(place, None)
    whole: dict[Path, Run] = {}
    for place, part in by_place.items():
        home = _home(place, folder, by_place)
        name = home.relative_to(folder).as_posix() if home != folder else folder.name
        run = whole.setdefault(home, Run(name=name, said={"name": name}))
        prefix = place.relative_to(home).as_posix() + "/" if place != home else ""
        if prefix and part.settings is not None:
            prefix = ""
        _join(run, part, prefix)
    ended = any(part.ended for part in parts)
    for home, run in whole.items():
        run.said |= settings_beside(home, limits)
        if ended:
            run.said.setdefault(STATE, "running")
    return list(whole.values()), left_out


def _home(place: Path, root: Path, known: Mapping[Path, _Part]) -> Path:
    """The folder of the run that a folder is a part of, its own if it is none."""
    home = place
    for above in place.parents:
        if above == root.parent:
            break
        if above in known:
            home = above
    if home != root and home.name in _PARTS:
        home = home.parent
    return home


def _join(run: Run, part: _Part, prefix: str) -> None:
    for name, value in (part.settings or {}).items():
        run.said[f"config.{name}"] = value
    if part.ended:
        run.said[STATE] = part.ended
    metrics = part.metrics
    for tag, last in metrics.last.items():
        run.last.setdefault(f"{prefix}{tag}", last)
    for tag, series in metrics.series.items():
        run.series.setdefault(f"{prefix}{tag}", series)
    if metrics.length is not None:
        run.length = max(metrics.length, run.length or 0)


# One file -------------------------------------------------------------------------------------


def _read(file: Path, part: _Part, wanted: Wanted, name: str) -> None:
    """Adds what an event file holds to the part of some name, which may be asked for as well."""
    from tensorboard.compat.proto.event_pb2 import Event

    scalars: set[str] = set()
    for number, record in enumerate(_records(file), start=1):
        try:
            event = Event.FromString(record)
        except Exception as fault:  # of protobuf, which has one of its own for each back end
            raise refusal(
                file, f"record {number} is no event of TensorBoard; move the run away"
            ) from fault
        for value in event.summary.value:
            plugin = value.metadata.plugin_data
            if plugin.plugin_name == "hparams":
                _settings(value, part)
            elif plugin.plugin_name == "scalars" or value.HasField("simple_value"):
                scalars.add(value.tag)
            if value.tag in scalars:  # TensorFlow names the plugin of a tag once
                follow = wanted.follows(f"{name}/{value.tag}")
                part.metrics.log(value.tag, event.step, _number(value), follow=follow)


def _number(value: Any) -> float:
    if value.HasField("simple_value"):
        return float(value.simple_value)
    if value.tensor.float_val:
        return float(value.tensor.float_val[0])
    from tensorboard.util import tensor_util

    return float(tensor_util.make_ndarray(value.tensor).reshape(-1)[0])


def _settings(value: Any, part: _Part) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    data = HParamsPluginData.FromString(value.metadata.plugin_data.content)
    kind = data.WhichOneof("data")
    if kind == "session_end_info":
        part.ended = _STATES.get(data.session_end_info.status)
    elif kind == "session_start_info":
        found = {}
        for name, each in data.session_start_info.hparams.items():
            which = each.WhichOneof("kind")
            setting = getattr(each, which) if which else ""
            found[name] = repr(setting) if isinstance(setting, float) else str(setting)
        part.settings = found


def _records(file: Path) -> Iterator[bytes]:
    """Yields the records of an event file, each with its sum checked.

    Raises:
        RequestError: a record is broken off or changed.
    """
    from tensorboard.compat.tensorflow_stub import errors
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

    number = 0
    with reading(file):
        reader = PyRecordReader_New(str(file))
        try:
            while True:
                number += 1
                reader.GetNext()
                yield reader.record()
        except errors.OutOfRangeError:
            return
        except errors.DataLossError as fault:
            why = "is cut off" if "truncated" in str(fault) else "is damaged"
            raise refusal(
                file,
                f"record {number} {why}; a run that is still written ends so: wait for it, or "
                "move its folder away",
            ) from fault
        finally:
            reader.file_handle.close()

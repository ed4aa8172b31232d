"""Folders of TensorBoard, as PyTorch, Keras and others write them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, summary_v2
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util
from tracked import Take

from sweeper.errors import RequestError
from sweeper.imports.bounds import Limits
from sweeper.imports.sheet import Wanted
from sweeper.imports.trackers.runs import Tracked
from sweeper.imports.trackers.tensorboard import read_folder
from sweeper.store.store import Store


def scalar(tag: str, value: float, *, tensor: bool = False) -> Summary.Value:
    """A scalar as PyTorch writes it, or as TensorFlow does."""
    if not tensor:
        return Summary.Value(tag=tag, simple_value=value)
    found = Summary.Value(tag=tag, tensor=tensor_util.make_tensor_proto(value, dtype="float32"))
    found.metadata.plugin_data.plugin_name = "scalars"
    return found


def write(
    folder: Path,
    tags: dict[str, list[float]],
    hparams: dict[str, object] | None = None,
    *,
    tensor: bool = False,
    end: int | None = None,
) -> Path:
    """Writes an event file, a value of each tag at the steps 0, 1, 2, and returns it."""
    writer = EventFileWriter(str(folder))
    if hparams is not None:
        writer.add_event(Event(summary=summary_v2.hparams_pb(hparams)))
    for tag, values in tags.items():
        for step, value in enumerate(values):
            each = scalar(tag, value, tensor=tensor)
            if tensor and step:  # TensorFlow names the plugin of a tag once
                each.ClearField("metadata")
            writer.add_event(Event(step=step, summary=Summary(value=[each])))
    if end is not None:
        writer.add_event(Event(summary=ended(end)))
    writer.close()
    return next(folder.glob("*tfevents*"))


def ended(status: int) -> Summary:
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    data = plugin_data_pb2.HParamsPluginData(
        session_end_info=plugin_data_pb2.SessionEndInfo(status=status)
    )
    value = Summary.Value(tag=metadata.SESSION_END_INFO_TAG)
    value.metadata.CopyFrom(metadata.create_summary_metadata(data))
    return Summary(value=[value])


def read(folder: Path, *, step: str | None = None) -> Tracked:
    asked = Wanted(names=("loss", "lr", "width"), objective="loss", step=step)
    return read_folder(folder, asked, Limits())


@pytest.mark.parametrize("tensor", [False, True])
def test_settings_are_those_of_the_hparams_plugin_and_scalars_are_curves(
    store: Store, take: Take, tmp_path: Path, tensor: bool
) -> None:
    for width in (64, 128):
        for lr in (0.25, 0.5, 1.0):
            settings = {"lr": lr, "width": width, "amp": True, "opt": "adam"}
            losses = [4.0, 3.0, 2.0 + lr, math.nan if lr == 1 else 1.0 + lr]
            write(tmp_path / f"tb/w{width}/lr{lr}", {"val/loss": losses}, settings, tensor=tensor)

    done = take(tmp_path / "tb", "loss", step="step", variant=("opt",))

    assert done.trials == {"completed": 4, "diverged": 2, "failed": 0, "missing": 0}
    assert done.columns == {
        "opt": "config.opt",
        "width": "config.width",
        "lr": "config.lr",
        "loss": "val/loss",
    }
    assert done.curves == 6
    frame = store.frame("theirs")
    assert set(frame["width"]) == {64, 128}
    results = frame[frame["outcome"] == "completed"]
    assert sorted(results["loss"]) == [1.25, 1.25, 1.5, 1.5]
    curves = store.marks("theirs")
    assert set(curves["step"]) == {0, 1, 2, 3}


def test_settings_are_read_from_the_folders_names(take: Take, tmp_path: Path) -> None:
    from sweeper.imports.request import NamePattern

    for lr in (0.25, 0.5):
        write(tmp_path / f"tb/sgd/lr={lr},w=64", {"loss": [3.0, lr]})
    done = take(tmp_path / "tb", "loss", in_names=NamePattern("*lr={lr},w={width}"))
    assert done.trials["completed"] == 2


def test_parts_of_a_run_are_one_run(tmp_path: Path) -> None:
    for lr in (0.25, 0.5):  # as Keras has them
        write(tmp_path / f"keras/{lr}/train", {"epoch_loss": [3.0]}, tensor=True)
        write(tmp_path / f"keras/{lr}/validation", {"epoch_loss": [lr]}, tensor=True)
        write(tmp_path / f"torch/{lr}", {"loss": [lr]})  # as PyTorch's add_scalars, add_hparams
        write(tmp_path / f"torch/{lr}/loss_train", {"loss": [9.0]})
        write(tmp_path / f"torch/{lr}/1700.5", {"hparam/loss": [lr]}, {"lr": lr}, end=1)
    asked = Wanted(names=("validation/epoch_loss",), step="step")
    (one, _) = read_folder(tmp_path / "keras", asked, Limits()).runs
    assert list(one.series) == ["validation/epoch_loss"]
    keras, torch = read(tmp_path / "keras").runs, read(tmp_path / "torch").runs
    assert [run.name for run in keras] == ["0.25", "0.5"]
    assert keras[0].last == {"train/epoch_loss": 3.0, "validation/epoch_loss": 0.25}
    assert [(run.name, run.said["config.lr"]) for run in torch] == [
        ("0.25", "0.25"),
        ("0.5", "0.5"),
    ]
    assert torch[0].last == {"loss": 0.25, "loss_train/loss": 9.0, "hparam/loss": 0.25}


def test_a_folder_around_runs_is_none(tmp_path: Path) -> None:
    write(tmp_path, {"loss": [1.0]})
    for lr in (0.25, 0.5):
        write(tmp_path / f"{lr}", {"loss": [lr]}, {"lr": lr})
    found = read(tmp_path)
    assert [run.name for run in found.runs] == ["0.25", "0.5"]
    assert found.notes == ("left out: 1 folder around runs, with scalars of its own",)


def test_how_a_session_ended_is_its_state_and_a_session_without_an_end_runs(
    tmp_path: Path,
) -> None:
    ends = {"a": api_pb2.STATUS_SUCCESS, "b": api_pb2.STATUS_FAILURE, "c": None}
    for name, end in ends.items():
        write(tmp_path / name, {"loss": [1.0]}, {"lr": 0.1}, end=end)
    found = read(tmp_path)
    assert [run.said["state"] for run in found.runs] == ["finished", "failed", "running"]
    assert found.state == "state"


def test_settings_beside_the_events_are_read(tmp_path: Path) -> None:
    write(tmp_path / "version_0", {"loss": [1.0]})
    (tmp_path / "version_0/hparams.yaml").write_text("lr: 0.1\nnet: !!python/name:a.b ''\n")
    (tmp_path / "version_0/config.json").write_text('{"width": {"value": 64}}')
    (tmp_path / "version_0/tokenizer.json").write_text('{"vocabulary": {"a": 1}}')
    (run,) = read(tmp_path).runs
    assert run.said == {
        "name": "version_0",
        "hparams.lr": "0.1",
        "hparams.net": "",
        "config.width": "64",
    }
    (tmp_path / "version_0/hparams.yaml").write_text("lr: 0.1\nnet: [\n")
    with pytest.raises(RequestError, match=r"hparams\.yaml: line 3: is not YAML"):
        read(tmp_path)


def test_files_of_a_run_that_was_started_again_are_one_curve(tmp_path: Path) -> None:
    first = write(tmp_path / "a", {"loss": [9.0, 8.0, 7.0]})
    first.rename(first.with_name("events.out.tfevents.1.first"))
    write(tmp_path / "a", {"loss": [5.0, 4.0, 3.0, 2.0]})
    (run,) = read(tmp_path, step="step").runs
    assert run.series["loss"].curve()[1].tolist() == [5.0, 4.0, 3.0, 2.0]


def test_a_file_that_is_cut_off_or_damaged_is_named_with_its_record(tmp_path: Path) -> None:
    file = write(tmp_path / "a", {"loss": [3.0, 2.0, 1.0]})
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    with pytest.raises(RequestError, match=rf"{file.name}: record 4 is cut off"):
        read(tmp_path)
    file.write_bytes(whole[:-6] + b"xx" + whole[-4:])
    with pytest.raises(RequestError, match=rf"{file.name}: record 4 is damaged"):
        read(tmp_path)
    with pytest.raises(RequestError, match="event file of one run; name the folder"):
        from sweeper.imports.sources import open_sheet

        open_sheet(file)


def test_without_the_package_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", {"loss": [3.0]})
    monkeypatch.setattr("sweeper.imports.trackers.tensorboard.find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"pip install 'sweeper\[tensorboard\]'"):
        read(tmp_path)

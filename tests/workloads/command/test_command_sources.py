"""Results in files: of every kind, while they grow, and none of those that were there before."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workloads.command import sources
from workloads.command.results import Results, Row
from workloads.command.sources import Source, sources_of
from workloads.programs import TrialFailedError


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., Source]:
    """Returns what makes the source of a file or folder of results."""

    def make(**where: Any) -> Source:
        _, found = sources_of(Results(**where), tmp_path / "report.jsonl")
        return found

    return make


def test_a_csv_file_is_followed_line_by_line(
    source: Callable[..., Source], tmp_path: Path
) -> None:
    path = tmp_path / "out.csv"
    found = source(file=str(path))
    assert found.rows() == []
    path.write_text("step, val_loss,note\r\n1,2.5,good\r\n2,", encoding="utf-8")
    assert found.rows() == [{"step": 1, "val_loss": 2.5}]
    with path.open("a") as file:
        file.write("2.25,\n3,nan,")
    assert found.rows() == [{"step": 2, "val_loss": 2.25}]
    assert str(found.rows(last=True)) == "[{'step': 3.0, 'val_loss': nan}]"
    assert found.rows(last=True) == []


def test_lines_of_json_in_a_file_are_followed(
    source: Callable[..., Source], tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    found = source(file=str(path))
    path.write_text('{"step": 1, "a": {"b": 2}}\nnot json\n{"step"', encoding="utf-8")
    assert found.rows() == [{"step": 1, "a/b": 2}]
    with path.open("a") as file:
        file.write(': 2, "c": 1}')
    assert found.rows() == []
    assert found.rows(last=True) == [{"step": 2, "c": 1}]


def test_a_file_that_is_gone_on_with_gives_its_new_lines_alone(
    source: Callable[..., Source], tmp_path: Path
) -> None:
    path = tmp_path / "out.csv"
    path.write_text("step,val_loss\n1,9\n", encoding="utf-8")
    found = source(file=str(path))
    assert found.rows() == []
    with path.open("a") as file:
        file.write("step,val_loss\n2,8\n")
    assert found.rows() == [{"step": 2, "val_loss": 8}], "some write the heading once more"


@pytest.mark.parametrize("how", ["truncated", "replaced"])
def test_a_file_that_is_written_anew_is_read_from_its_beginning(
    how: str, source: Callable[..., Source], tmp_path: Path
) -> None:
    path = tmp_path / "out.csv"
    path.write_text("step,val_loss\n1,9\n2,9\n3,9\n", encoding="utf-8")
    found = source(file=str(path))
    new = path if how == "truncated" else tmp_path / "aside"
    new.write_text("step,val_loss\n1,8\n", encoding="utf-8")
    os.replace(new, path)
    assert found.rows() == [{"step": 1, "val_loss": 8}]


@pytest.mark.parametrize(
    ("document", "rows"),
    [
        ([{"step": 1, "val_loss": 2}, {"step": 2, "val_loss": 1}, "x"], 2),
        ({"step": [1, 2], "val_loss": [2, 1]}, 2),
        ({"val_loss": 1.5, "config": {"lr": 0.1}}, 1),
        ({"history": [3, 2], "val_loss": 2}, 3),
    ],
)
def test_a_json_document_may_have_any_of_the_usual_forms(
    document: Any, rows: int, source: Callable[..., Source], tmp_path: Path
) -> None:
    path = tmp_path / "out.json"
    found = source(file=str(path))
    path.write_text(json.dumps(document)[:-4], encoding="utf-8")
    assert found.rows() == [], "half written"
    path.write_text(json.dumps(document), encoding="utf-8")
    first = found.rows()
    assert len(first) == rows
    assert first[-1]["val_loss"] > 0
    assert found.rows() == []


def test_a_json_document_that_grows_gives_what_is_new(
    source: Callable[..., Source], tmp_path: Path
) -> None:
    path = tmp_path / "out.json"
    path.write_text('[{"val_loss": 7}]', encoding="utf-8")
    found = source(file=str(path))
    assert found.rows() == [], "it was there before"
    path.write_text('[{"val_loss": 3}]', encoding="utf-8")
    assert found.rows() == [{"val_loss": 3}]
    path.write_text('[{"val_loss": 3}, {"val_loss": 2}]', encoding="utf-8")
    assert found.rows(last=True) == [{"val_loss": 2}]


def test_a_parquet_file_is_read_once_it_is_whole(
    source: Callable[..., Source], tmp_path: Path
) -> None:
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "out.parquet"
    found = source(file=str(path))
    path.write_bytes(b"PAR1")
    assert found.rows() == []
    parquet.write_table(pyarrow.table({"step": [1, 2], "val_loss": [2.0, None]}), path)
    assert found.rows(last=True) == [{"step": 1, "val_loss": 2.0}, {"step": 2}]


@pytest.mark.parametrize("name", ["out.json", "out.parquet"])
def test_a_file_that_stays_unreadable_fails_its_trial(
    name: str, source: Callable[..., Source], tmp_path: Path
) -> None:
    found = source(file=str(tmp_path / name))
    (tmp_path / name).write_text("{", encoding="utf-8")
    assert found.rows() == []
    with pytest.raises(TrialFailedError, match=f"the results in .*{name} cannot be read"):
        found.rows(last=True)


def test_events_of_tensorboard_are_followed_of_either_style(
    source: Callable[..., Source], tmp_path: Path
) -> None:
    import tensorboardX as writers
    from tensorboard import summary as summaries

    old = writers.SummaryWriter(str(tmp_path / "runs" / "before"))
    old.add_scalar("loss", 9.0, 1)
    old.close()
    found = source(tensorboard=str(tmp_path / "runs"))
    with writers.SummaryWriter(str(tmp_path / "runs" / "now")) as first:
        first.add_scalar("loss", 2.0, 1)
        first.add_scalar("eval/loss", 2.5, 1)
        first.add_text("note", "hello", 1)
    assert found.rows() == [{"step": 1, "loss": 2.0, "eval/loss": 2.5}]
    second = summaries.Writer(str(tmp_path / "runs" / "now"))
    second.add_scalar("loss", 1.5, 2)
    second.flush()
    assert found.rows() == [{"step": 2, "loss": 1.5}]
    second.add_scalar("loss", 1.25, 3)
    second.close()
    assert found.rows(last=True) == [{"step": 3, "loss": 1.25}]


def test_an_offline_run_of_wandb_is_read(source: Callable[..., Source], tmp_path: Path) -> None:
    code = """
import sys, wandb
with wandb.init(mode="offline", project="p", dir=sys.argv[1]) as run:
    for step in range(3):
        run.log({"eval/loss": 1 / (step + 1), "nested": {"a": step}, "text": "x" * 40_000}, step)
    run.summary["best"] = 3
"""
    found = source(wandb=str(tmp_path))
    environment = {**os.environ, "WANDB_SILENT": "true", "HOME": str(tmp_path)}
    words = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(words, check=True, capture_output=True, env=environment)
    rows = found.rows(last=True)
    assert [row for row in rows if "step" in row] == [
        {"step": step, "eval/loss": 1 / (step + 1), "nested/a": step} for step in range(3)
    ]
    assert {"best": 3.0} in rows
    assert found.rows(last=True) == []


@pytest.mark.parametrize(
    ("where", "package"), [("tensorboard", "tensorboard"), ("wandb", "wandb")]
)
def test_a_package_that_is_missing_is_named_with_its_line(
    where: str,
    package: str,
    source: Callable[..., Source],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name.partition('.')[0]!r}")

    monkeypatch.setattr(sources, "import_module", missing)
    found = source(**{where: str(tmp_path)})
    (tmp_path / "events.out.tfevents.1").write_bytes(b"")
    (tmp_path / "run-1.wandb").write_bytes(b"")
    with pytest.raises(TrialFailedError, match=f"pip install {package}$"):
        found.rows()


def test_planning_loads_nothing_heavy() -> None:
    code = (
        "import sys; from workloads.command.results import Results; "
        "Results(file='a.parquet').problem(); "
        "from workloads.command.trainer import CommandTrainer; "
        "assert not {'pyarrow', 'wandb', 'tensorboard', 'numpy', 'pandas'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"lines": "(", "names": {}}, "is no regular expression"),
        ({"lines": "loss: .*"}, "names no number"),
        ({"diverged": "["}, "results.diverged: '\\[' is no regular expression"),
        ({"lines": "(?P<a>.)", "file": "a.csv"}, "lines and file are two sources"),
        ({"file": "out.txt"}, r"has to end with one of .csv, .json, .jsonl and .parquet"),
        ({"wandb": " "}, "results.wandb is empty"),
        ({"names": {"val_loss": "loss", "train_loss": "loss"}}, "'loss' is given two names"),
    ],
)
def test_results_that_cannot_be_used_say_why(stated: dict[str, Any], words: str) -> None:
    problem = Results(**stated).problem()
    assert problem is not None and re.search(words, problem), problem


def test_results_that_can_be_used_have_no_problem() -> None:
    for stated in (
        {},
        {"lines": r"step:(?P<step>\d+).* val_loss:(?P<val_loss>[\d.]+)"},
        {"file": "out/{key}.CSV"},
        {"tensorboard": "runs"},
        {"wandb": "wandb", "names": {"val_loss": "eval/loss"}, "diverged": "nan"},
    ):
        assert Results(**stated).problem() is None  # type: ignore[arg-type]


def test_every_match_of_a_line_counts() -> None:
    read = Results(lines=r"a=(?P<a>\S+)|b=(?P<b>\S+)").reader_of_lines()
    row: Row | None = read("a=1 b=2e-3 c=3")
    assert row == {"a": 1.0, "b": 0.002}
    assert read("nothing") is None
    assert read("a=x") is None

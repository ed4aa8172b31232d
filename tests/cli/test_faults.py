"""What goes wrong is said in one message, with the exit code of its kind and no traceback."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cli_harness import Answer, Sweeper

from sweeper.cli import main


def assert_refused(answer: Answer, code: int, *words: str) -> None:
    assert answer.code == code, answer.err
    assert "Traceback" not in answer.err + answer.out
    for word in words:
        assert word in answer.err


def test_every_fault_of_a_study_file_is_told_at_once(sweeper: Sweeper, study: Path) -> None:
    text = study.read_text().replace("scale: width", "scale: widht")
    study.write_text(text.replace("exponent", "exponnet"), encoding="utf-8")
    for command in ("run", "plan"):
        answer = sweeper(command, study)
        assert_refused(answer, 2, "planted.yaml:4", "planted.yaml:11", "widht", "exponnet")


def test_a_study_file_that_is_not_there_is_named(sweeper: Sweeper) -> None:
    assert_refused(sweeper("run", "nowhere.yaml"), 2, "nowhere.yaml")


def test_an_unknown_study_suggests_the_nearest(sweeper: Sweeper, finished: Path) -> None:
    for command in ("status", "drift", "report"):
        assert_refused(sweeper(command, "plantde"), 2, "plantde", "did you mean 'planted'?")


def test_an_unknown_command_or_option_is_refused(sweeper: Sweeper) -> None:
    assert sweeper("rnu").code == 2
    assert sweeper("run", "x.yaml", "--executor", "slurm").code == 2


def test_an_unknown_hyperparameter_is_refused(sweeper: Sweeper, finished: Path) -> None:
    assert_refused(sweeper("drift", "planted", "--hp", "momentum"), 2, "momentum", "learning_rate")


def test_a_study_without_results_is_no_statement(sweeper: Sweeper, study: Path) -> None:
    study.write_text(study.read_text() + "budget: {trials: 1}\n")
    run = sweeper("run", study, "--executor", "inline")
    assert run.code == 0
    assert "no statement about the optimum" in run.out
    assert_refused(sweeper("drift", "planted"), 2, "width 32")


def test_a_missing_store_is_an_environment_fault(sweeper: Sweeper) -> None:
    for command in (["status"], ["drift", "x"], ["report", "x"], ["sql", "select 1"]):
        assert_refused(sweeper(*command, "--store", "not-here"), 4, "not-here")


def test_an_unwritable_store_is_an_environment_fault(
    sweeper: Sweeper, study: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    answer = sweeper("run", study, "--executor", "inline", "--store", tmp_path / "file" / "store")
    assert_refused(answer, 4, "file", "--store")


def test_a_database_that_is_none_is_an_environment_fault(
    sweeper: Sweeper, study: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "sweeper.db").write_bytes(b"not a database" * 1000)
    answer = sweeper("run", study, "--executor", "inline", "--store", tmp_path / "bad")
    assert_refused(answer, 4, "sweeper.db")


LLAMA = """\
name: corpus
workload: llama
scale: width
fixed: {data: "text:no-such-book.txt", steps: 2, head_dim: 16}
sweep: {width: [16, 32], learning_rate: {log2: [-7, -5]}}
"""


def test_a_missing_corpus_is_an_environment_fault(sweeper: Sweeper, tmp_path: Path) -> None:
    (tmp_path / "corpus.yaml").write_text(LLAMA, encoding="utf-8")
    for command in ("plan", "run"):
        assert_refused(sweeper(command, "corpus.yaml"), 4, "no-such-book.txt")


@pytest.fixture
def taken_port() -> Iterator[int]:
    """Returns a port on which something listens that is not Ray."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.slow
@pytest.mark.ray
def test_a_port_that_is_taken_by_something_else_is_an_environment_fault(
    sweeper: Sweeper, study: Path, taken_port: int
) -> None:
    answer = sweeper("run", study, "--address", f"127.0.0.1:{taken_port}")
    assert_refused(answer, 4, str(taken_port), "without --address")


def test_a_study_may_be_named_as_a_file(sweeper: Sweeper, study: Path, tmp_path: Path) -> None:
    text = study.read_text(encoding="utf-8")
    study.write_text(text.replace("name: planted", "name: like.yaml"), encoding="utf-8")
    assert sweeper("run", study, "--executor", "inline").code == 0
    assert sweeper("drift", "like.yaml").code == 0
    assert "no study or file named 'lik.yaml'; did you" in sweeper("drift", "lik.yaml").err


def test_a_plan_outlives_a_probe_that_raises(sweeper: Sweeper, study: Path) -> None:
    text = study.read_text(encoding="utf-8").replace("steps: 3", "steps: 3, misbehave: bug")
    study.write_text(text, encoding="utf-8")
    answer = sweeper("plan", study)
    assert answer.code == 0
    said = " ".join(answer.out.split())
    assert "trials to run" in said and "unknown" in said
    assert said.count("warning: ") == 1
    assert (
        "a trial with width 32, by which its time would be told, failed: RuntimeError: planted "
        in said
    )


def test_an_answer_is_said_where_only_ascii_is(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["sweeper", "drift", "planted"])
    with (tmp_path / "out").open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        with pytest.raises(SystemExit) as end:
            main()
    assert not end.value.code
    assert "claim -0.5 \\xb1 0.25: holds" in (tmp_path / "out").read_text(encoding="ascii")


def test_an_answer_to_a_closed_output_goes_nowhere(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "argv", ["sweeper", "drift", "planted"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    sys.stdout.close()


def test_a_full_disk_behind_the_answer_is_an_environment_fault(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with suppress(OSError), Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        monkeypatch.setattr(sys, "argv", ["sweeper", "drift", "planted"])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 4
        assert "the answer cannot be written: No space left" in capsys.readouterr().err

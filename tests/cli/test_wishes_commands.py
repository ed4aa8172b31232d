"""`sweeper stop`, `pause`, `resume` and `watch`, as typed, and what a run says of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_harness import Sweeper

from sweeper.store.owner import Owner
from sweeper.store.records import Stand
from sweeper.store.store import Store

STUDY = """\
name: handled
workload: planted
scale: width
fixed: {steps: 60, step_seconds: 0.02}
variants:
  plain: {}
  steep: {cliff: 3}
sweep:
  width: [32, 64]
  learning_rate: [0.03]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "handled.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return path


@pytest.fixture
def planned(sweeper: Sweeper, file: Path, tmp_path: Path) -> Iterator[Store]:
    """Yields the store of the study, of which nothing was run yet."""
    from sweeper.engine.run import Run
    from sweeper.study.study import load_study

    with Store.open(tmp_path / "store", create=True) as store:
        Run(load_study(file), store, executor="inline")
        yield store


def program(*arguments: object) -> subprocess.Popen[str]:
    """Starts the program in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "sweeper", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


def test_a_study_that_is_stopped_from_elsewhere_ends_with_exit_code_3(
    planned: Store, sweeper: Sweeper, file: Path
) -> None:
    file.write_text(STUDY.replace("steps: 60", "steps: 2000"), encoding="utf-8")
    run = program("run", file, "--executor", "inline", "--log", "json")
    until(lambda: planned.activity("handled").running)
    until(lambda: planned.controllers_of("handled"))
    answer = sweeper("stop", "handled")
    assert answer.code == 0
    assert "study handled is stopped; sweeper resume handled lifts it" in answer.out
    assert f"process {run.pid} on " in answer.out
    assert "ends with exit code 3 within 5 s" in answer.out
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (3, "")
    lines = [json.loads(line) for line in err.splitlines()]
    assert all({"time", "level", "event"} <= line.keys() for line in lines)
    events = [line["event"] for line in lines]
    assert events[0] == "run_started" and events[-2:] == ["run_ended", "error"]
    assert {"trial_started", "trial_stopped", "checkpoint", "note"} <= set(events)
    started = lines[events.index("trial_started")]
    assert started["study"] == "handled" and started["variants"] == ["plain"]
    assert (started["width"], started["level"]) == (32, "info")
    assert lines[-1]["exit_code"] == 3
    assert "sweeper resume handled, and then sweeper run" in lines[-1]["text"]
    again = sweeper("run", file, "--executor", "inline")
    assert again.code == 2
    assert "study handled was stopped by " in again.err and "Traceback" not in again.err


def test_what_is_held_back_is_said_by_status_and_lifted_again(
    planned: Store, sweeper: Sweeper
) -> None:
    plain = "select trial_key from study_trials where variant = 'plain'"
    key = planned.query(plain).rows[0][0]
    stopped = sweeper("stop", "handled", "--variant", "steep", "--json").document
    assert [made["variant"] for made in stopped["made"]] == ["steep"]
    assert (stopped["stopped"], stopped["running"], stopped["controllers"]) == (2, 0, [])
    paused = sweeper("pause", "handled", "--key", key[:8])
    assert f"trial {key[:12]} of study handled is paused" in paused.out
    assert "nobody runs the study now" in paused.out
    assert "1 trial waits and will not be started" in paused.out
    assert "besides: variant steep of study handled was stopped by " in paused.out
    status = sweeper("status", "handled")
    assert "variant steep of study handled was stopped by " in status.out
    assert "handled: 2 trials are stopped\nhandled: 1 trial is paused\n" in status.out
    document = sweeper("status", "handled", "--json").document
    assert document["declared"] == document["pending"] == 4
    assert [(w["wish"], w["variant"], w["key"]) for w in document["wishes"]] == [
        ("stop", "steep", None),
        ("pause", None, key),
    ]
    assert "still: trial" in sweeper("resume", "handled", "--variant", "steep").out
    assert "lifted: trial" in sweeper("resume", "handled").out
    nothing = sweeper("resume", "handled")
    assert (nothing.code, nothing.out) == (
        0,
        "handled: nothing was stopped or paused\n"
        "4 trials wait, and nobody runs the study: sweeper run with its file goes on\n",
    )


def test_a_run_without_a_stopped_variant_is_done_and_says_what_is_left(
    planned: Store, sweeper: Sweeper, file: Path
) -> None:
    sweeper("stop", file, "--variant", "steep")
    answer = sweeper("run", file, "--executor", "inline", "--json")
    assert answer.code == 0
    assert (answer.document["run"]["finished"], answer.document["run"]["stopped"]) == (2, 2)
    again = sweeper("run", file, "--executor", "inline")
    assert again.code == 0
    assert "2 trials are stopped; sweeper status handled says by whom" in again.out
    assert "running again goes on" not in again.out


@pytest.mark.parametrize("command", ["stop", "pause", "resume", "watch"])
def test_unknown_names_are_refused_in_one_sentence(
    command: str, planned: Store, sweeper: Sweeper
) -> None:
    answer = sweeper(command, "handeld")
    assert (answer.code, answer.out) == (2, "")
    assert "no study named 'handeld'; did you mean 'handled'?" in answer.err
    if command != "watch":
        answer = sweeper(command, "handled", "--variant", "stepe")
        assert answer.code == 2 and "did you mean 'steep'?" in answer.err
        answer = sweeper(command, "handled", "--key", "zz")
        assert answer.code == 2 and "a key is 6 to 64 digits" in answer.err


def test_a_trial_of_another_study_goes_on_and_the_answer_says_so(
    planned: Store, sweeper: Sweeper, file: Path, tmp_path: Path
) -> None:
    twin = tmp_path / "twin.yaml"
    twin.write_text(STUDY.replace("handled", "twin"), encoding="utf-8")
    sweeper("run", twin, "--executor", "inline")
    (key,) = planned.query("select key from trials order by key limit 1").rows[0]
    sweeper("retry", "twin", "--key", key)
    owner = Owner.here()
    planned.claim([key], owner=owner, lease_s=60)
    said = {
        "executor": "ray",
        "lease_s": 60,
        "doing": "running",
        "slots": 1,
        "trials": {},
        "left_seconds": None,
    }
    planned.report(owner, "twin", **said)  # type: ignore[arg-type]
    answer = sweeper("stop", "handled", "--key", key)
    assert "1 trial of it that study twin has too and runs now: goes on there" in answer.out
    planned.release(owner)


def test_watch_looks_once_and_ends_when_nothing_is_left(
    planned: Store, sweeper: Sweeper, file: Path
) -> None:
    key = planned.query("select key from trials where width = 32").rows[0][0]
    owner = Owner.here()
    planned.claim([key], owner=owner, lease_s=60)
    stands = {key: Stand(step=30, loss=2.125)}
    planned.report(
        owner,
        "handled",
        executor="ray",
        lease_s=60,
        doing="running",
        slots=1,
        trials=stands,
        left_seconds=None,
    )
    document = sweeper("watch", "handled", "--once", "--json").document
    (trial,) = document["trials"]
    assert (trial["step"], trial["steps"], trial["loss"]) == (30, 60, 2.125)
    assert (trial["scale"], trial["settings"]) == (32, {"learning_rate": 0.03})
    assert (document["running"], document["pending"], document["over"]) == (1, 3, False)
    assert document["controllers"][0]["alive"]
    table = sweeper("watch", "handled", "--once").out
    assert "30/60" in table and "2.125" in table and "0/4 trials" in table
    planned.release(owner)
    sweeper("run", file, "--executor", "inline")
    answer = sweeper("watch", "handled")
    assert answer.code == 0
    assert "handled: 4/4 trials (0 diverged), 0 running, 0 pending, 0 failed" in answer.out
    assert sweeper("watch", "handled", "--json").document["over"]


def test_control_c_ends_a_watch_quietly(planned: Store, sweeper: Sweeper) -> None:
    watch = program("watch", "handled", "--json", "--every", "0.2")
    assert watch.stdout is not None
    first = json.loads(watch.stdout.readline())
    assert (first["pending"], first["rate"], first["left_seconds"]) == (4, None, None)
    watch.send_signal(signal.SIGINT)
    rest, err = watch.communicate(timeout=30)
    assert (watch.returncode, err) == (0, "")
    assert all(json.loads(line)["study"] == "handled" for line in rest.splitlines())


def test_a_log_of_lines_holds_the_mistakes_of_the_request_too(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    answer = sweeper("run", tmp_path / "none.yaml", "--log", "json")
    (line,) = [json.loads(text) for text in answer.err.splitlines()]
    assert (answer.code, line["event"], line["exit_code"]) == (2, "error", 2)
    assert "none.yaml" in line["text"]
    plain = sweeper("run", tmp_path / "none.yaml")
    assert plain.err.startswith("sweeper: ")


def test_an_address_for_metrics_without_a_port_is_refused(sweeper: Sweeper, file: Path) -> None:
    answer = sweeper("run", file, "--metrics-host", "0.0.0.0")
    assert (answer.code, answer.out) == (2, "")
    assert "give --metrics-port, for example 9464" in answer.err

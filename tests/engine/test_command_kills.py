"""Controllers and workers killed under trials that are processes: nothing lost, nothing left
running, no row of a curve twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_card import NAME, program
from engine_program import Program
from pyarrow import parquet

from sweeper.store.store import Store
from sweeper.study.study import Study

STEPS = 8

SCRIPT = """# killed
import json, os, subprocess, sys, time
rate, folder, steps = float(sys.argv[1]), sys.argv[2], int(sys.argv[3])
subprocess.Popen(["sleep", "600"], start_new_session=True)
path = os.path.join(folder, "state.json")
step = json.load(open(path))["step"] if os.path.exists(path) else 0
while step < steps:
    step += 1
    print(json.dumps({"step": step, "val_loss": rate + 1 / step}), flush=True)
    if step == 3:
        json.dump({"step": step}, open(path + ".new", "w"))
        os.replace(path + ".new", path)
    time.sleep(0 if rate < 0.3 else 0.15 if step < 4 else 0.6)
"""
"""Leaves a process in a session of its own. At the smaller rate it is soon at its end; else it
writes its state after three steps, and takes its time."""


def study(*, rates: list[float]) -> Study:
    text = program(SCRIPT, "{learning_rate}", "{checkpoint}", "{steps}", resumable=True)
    return Study.from_document(
        {
            "name": "killed",
            "workload": NAME,
            "scale": "width",
            "fixed": {"program": text, "steps": STEPS},
            "sweep": {"width": [32], "learning_rate": rates},
        }
    )


def await_that(holds: Callable[[], object], run: Program) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert run.process.poll() is None, run.said
        assert time.monotonic() < until, run.said
        time.sleep(0.02)


def trials_at_work(run: Program) -> list[str]:
    return [line for line in run.descendants() if "# killed" in line or "sleep 600" in line]


def checkpoints(run: Program) -> list[int]:
    """The steps of whole checkpoints that are kept of trials."""
    paths = run.files.paths
    steps = [paths.kept_step(key) for key, _ in paths.checkpoint_folders()]
    return [step for step in steps if step]


def check(run: Program, rates: list[float]) -> None:
    """Checks that every trial has one result, with every row of its curve and every mark once."""
    with Store.open(run.store, create=False) as store:
        frame = store.frame("killed")
        assert list(frame["outcome"]) == ["completed"] * len(rates)
        assert sorted(frame["loss"]) == [rate + 1 / STEPS for rate in rates]
        assert store.query("select count(*) from attempts where accepted").rows == [(len(rates),)]
        steps = [*range(1, STEPS + 1)]
        for key, rate in zip(frame["key"], frame["learning_rate"], strict=True):
            (name,) = store.paths.curves_of(key)
            curve = parquet.read_table(Path(store.paths.files.shown(name))).to_pydict()
            assert curve["step"] == steps
            assert curve["val_loss"] == [rate + 1 / step for step in steps]
            marks = store.marks("killed")
            assert sorted(marks[marks["key"] == key]["step"]) == steps
        assert store.verify().left == 0


def test_a_controller_is_killed_inline(tmp_path: Path) -> None:
    rates = [0.25, 0.5]
    run = Program(tmp_path, study(rates=rates), "inline")
    run.start()
    run.await_results(1)
    await_that(lambda: len(trials_at_work(run)) == 2, run)
    run.kill()  # before there is a checkpoint: it begins anew
    run.await_silence()
    run.start()
    await_that(lambda: checkpoints(run), run)
    (kept,) = checkpoints(run)
    assert len(trials_at_work(run)) == 2, "the script and what it left in a session of its own"
    run.kill()
    run.await_silence()
    run.start()
    assert run.wait() == 0, run.said
    run.await_silence()
    assert kept >= 3
    check(run, rates)
    with Store.open(run.store, create=False) as store:
        states = store.query("select state from attempts order by id").rows
    assert [state for (state,) in states] == [
        "completed",
        "lost_worker",
        "lost_worker",
        "completed",
    ]


@pytest.mark.ray
def test_a_worker_and_then_the_controller_are_killed_on_ray(tmp_path: Path) -> None:
    rates = [0.5]
    run = Program(tmp_path, study(rates=rates), "ray")
    run.start()
    await_that(lambda: len(trials_at_work(run)) == 2, run)
    before = trials_of(run)
    (worker,) = {parent_of(pid) for pid in before} & {*run.workers()}
    os.kill(worker, signal.SIGKILL)
    await_that(lambda: not before & trials_of(run), run)
    await_that(lambda: checkpoints(run), run)
    run.kill()
    run.await_silence()
    rest = Program(tmp_path, study(rates=rates), "inline", store=run.store)  # starts faster
    rest.start()
    assert rest.wait() == 0, rest.said
    rest.await_silence()
    check(rest, rates)


def trials_of(run: Program) -> set[int]:
    return {*run.pids("# killed"), *run.pids("sleep 600")}


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0

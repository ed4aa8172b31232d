"""Ray's own processes stopped or killed under a run: trials go on without them as long as they
can, a signal ends the run in time, a death in words, and nothing is lost or trained twice."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_program import Program
from long_form import LONG
from torture_program import Bits, await_curves, curves, digits, instants, settled, sound
from witnessed_card import Witness, trained_twice_at_once

from sweeper.store.store import Store
from sweeper.study.study import Study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("taskset") is None, reason="taskset is not installed here"),
]

PARTS = {"GCS": "gcs/gcs_server", "raylet": "raylet/raylet", "mailbox": "ray::Mailbox"}

STOPPED_SECONDS = 20.0 if LONG else 1.0
"""How long a process is stopped before it may go on; a slot saves its trials after ten."""

FORMS = [
    (("GCS", "raylet"), signal.SIGSTOP),
    (("GCS",), signal.SIGSTOP),
    (("raylet",), signal.SIGSTOP),
    (("mailbox",), signal.SIGSTOP),
    (("GCS", "raylet", "mailbox"), signal.SIGSTOP),
    (("raylet",), signal.SIGKILL),
]
"""What befalls a run that is to end afterwards; the death of the GCS ends the first test."""


def hit(run: Program, part: str, number: signal.Signals) -> None:
    """Sends a signal to a process of a run's own Ray."""
    (pid,) = run.pids(PARTS[part])
    os.kill(pid, number)


def started(program: Callable[..., Program], study: Study) -> Program:
    """Returns a run that has trained something, on two processors: how long a study lasts must not
    depend on how many there are."""
    two = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))
    run = program(study, "ray", prefix=["taskset", "--cpu-list", two])
    run.start()
    await_curves(run, 1)
    assert run.alive, run.said
    return run


def completed(
    run: Program,
    program: Callable[..., Program],
    study: Study,
    calm: Callable[[Study], Bits],
    witness: Witness,
) -> None:
    """Asserts that another run brings a study to its end, and that nothing was repeated."""
    run.await_silence()
    assert curves(run) < len(calm(study)), "the study is too short"
    rest = program(study)
    rest.start()
    assert rest.wait(300) == 0, rest.said
    sound(rest, {0})
    trained = witness.stretches()
    assert not trained_twice_at_once(trained)
    with Store.open(run.store, create=False) as store:
        settled(store, study, calm(study))
        kinds = "select state, error from attempts where state not in ('completed', 'diverged')"
        lost = store.query(kinds).rows
    blamed = [error for state, error in lost if state == "lost_worker" and "process" not in error]
    assert not blamed, "no trial is to blame"


def test_ray_stopped_for_a_while_costs_nothing_and_the_death_of_its_head_ends_in_words(
    program: Callable[..., Program],
    calm: Callable[[Study], Bits],
    witness: Witness,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where nothing of Ray's lies yet
    study = digits(160 if LONG else 28)
    run = started(program, study)
    for part in ("GCS", "raylet", "mailbox"):
        hit(run, part, signal.SIGSTOP)
        time.sleep(STOPPED_SECONDS)
        if part == "GCS":
            await_curves(run, curves(run) + 1)  # trials go on without it
        hit(run, part, signal.SIGCONT)
    await_curves(run, curves(run) + 1)
    hit(run, "GCS", signal.SIGKILL)
    assert run.wait(60) == 4, run.said
    sound(run, {4})
    said = run.said.strip().splitlines()[-1]
    assert said.startswith("sweeper: Ray's head process (GCS) at 127.0.0.1:"), said
    assert "has died; run the same command again" in said
    token = tmp_path / ".ray" / "auth_token"
    assert (token.stat().st_mode & 0o777, len(token.read_text())) == (0o600, 64)
    completed(run, program, study, calm, witness)


@pytest.mark.parametrize(("parts", "number"), FORMS if LONG else FORMS[:1])
def test_a_run_whose_ray_hangs_or_dies_ends_in_time_and_loses_nothing(
    parts: tuple[str, ...],
    number: signal.Signals,
    program: Callable[..., Program],
    calm: Callable[[Study], Bits],
    witness: Witness,
) -> None:
    study = digits(120 if LONG else 28)
    run = started(program, study)
    for part in parts:
        hit(run, part, number)
    time.sleep(instants("stuck").uniform(0, STOPPED_SECONDS))
    if number == signal.SIGSTOP:
        run.process.send_signal(signal.SIGTERM)
    code = 3 if number == signal.SIGSTOP else 4
    assert run.wait(45) == code, run.said
    sound(run, {code})
    if "mailbox" not in parts:
        assert "go on from their last one" not in run.said, "slots wrote checkpoints"
    completed(run, program, study, calm, witness)

"""Ray's own processes stopped or killed under a run: trials go on without them as long as they
can, a signal ends the run in time, a death in words, and nothing is lost or trained twice."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_program import Program
from engine_studies import adds_up, attempts_of, losses, planted
from long_form import LONG
from on_disk import on_disk
from torture_program import await_curves, curves, instants, leftovers, overlaps, sound

from sweeper.engine.run import Run
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
    (("GCS",), signal.SIGSTOP),
    (("raylet",), signal.SIGSTOP),
    (("mailbox",), signal.SIGSTOP),
    (("GCS", "raylet", "mailbox"), signal.SIGSTOP),
    (("raylet",), signal.SIGKILL),
]
"""What befalls a run that is to end afterwards."""


PAUSE_SECONDS = 0.05
"""What a step idles, so that a trial takes a second on a busy machine too."""


def slow(seeds: int) -> Study:
    """Returns a study of six trials a seed, of 20 steps each."""
    sweep = {"seed": list(range(seeds))}
    study = planted(fixed={"steps": 20}, sweep=sweep, resources={"pack": 1})
    return Study.from_document(study.document | {"workload": "witnessed_card:SURFACE"})


def hit(run: Program, part: str, number: signal.Signals) -> None:
    """Sends a signal to a process of a run's own Ray."""
    (pid,) = run.pids(PARTS[part])
    os.kill(pid, number)


def started(program: Callable[..., Program], study: Study) -> Program:
    """Returns a run that has trained something, on two processors: how long a study lasts must
    not depend on how many there are."""
    two = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))
    prefix = ["taskset", "--cpu-list", two]
    run = program(study, "ray", pause=PAUSE_SECONDS, prefix=prefix)
    had = curves(run)
    run.start()
    await_curves(run, had + 1)
    assert run.alive, run.said
    return run


def ended(run: Program, code: int) -> str:
    """Returns the last words of a run that ends in time, and leaves nobody behind."""
    assert run.wait(45) == code, run.said
    sound(run, {code})
    run.await_silence()
    return run.said.strip().splitlines()[-1]


def completed(program: Callable[..., Program], study: Study, seeds: int, folder: Path) -> None:
    """Asserts that another run brings a study to its end, and that nothing was repeated."""
    rest = program(study, pause=0.0)
    assert curves(rest) < len(study_losses(folder, seeds)), "the study is too short"
    rest.start()
    assert rest.wait(300) == 0, rest.said
    sound(rest, {0})
    with Store.open(rest.store, create=False) as store:
        assert adds_up(store, study.name)
        assert losses(store, study.name) == study_losses(folder, seeds)
        found = attempts_of(store, "trial_key, state, error")
        assert not overlaps(store)
        assert not leftovers(on_disk(store.paths).root)
    done = [key for key, state, _ in found if state == "completed"]
    assert len(done) == len(set(done)), "nothing was trained to its end twice"
    lost = [error for _, state, error in found if state == "lost_worker"]
    assert all("has ended" in error for error in lost), "no trial is to blame for a worker"


def study_losses(folder: Path, seeds: int) -> dict[tuple[Any, ...], tuple[str, str]]:
    """Returns what trials that nobody disturbs come to."""
    with Store.open(folder / "calm", create=True) as store:
        Run(slow(seeds), store, executor="inline").execute()
        return losses(store, "planted")


def test_ray_stopped_costs_nothing_and_its_death_or_a_signal_ends_the_run_in_time(
    program: Callable[..., Program], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where nothing of Ray's lies yet
    seeds = 30 if LONG else 6
    study = slow(seeds)
    run = started(program, study)
    for part in ("GCS", "raylet", "mailbox"):
        hit(run, part, signal.SIGSTOP)
        time.sleep(STOPPED_SECONDS)
        if part == "GCS":
            await_curves(run, curves(run) + 1)  # trials go on without it
        hit(run, part, signal.SIGCONT)
    await_curves(run, curves(run) + 1)
    hit(run, "GCS", signal.SIGKILL)
    said = ended(run, 4)
    assert said.startswith("sweeper: Ray's head process (GCS) at 127.0.0.1:"), said
    assert "has died; run the same command again" in said
    token = tmp_path / ".ray" / "auth_token"
    assert (token.stat().st_mode & 0o777, len(token.read_text())) == (0o600, 64)

    again = started(program, study)
    hit(again, "GCS", signal.SIGSTOP)
    hit(again, "raylet", signal.SIGSTOP)
    time.sleep(instants("stuck").uniform(0, STOPPED_SECONDS))
    again.process.send_signal(signal.SIGTERM)
    assert ended(again, 3).startswith("sweeper: interrupted with"), "slots wrote checkpoints"
    completed(program, study, seeds, tmp_path)


@pytest.mark.skipif(not LONG, reason="the long form; the test above has the short one")
@pytest.mark.parametrize(("parts", "number"), FORMS)
def test_a_run_whose_ray_hangs_or_dies_ends_in_time_and_loses_nothing(
    parts: tuple[str, ...],
    number: signal.Signals,
    program: Callable[..., Program],
    tmp_path: Path,
) -> None:
    study = slow(14)
    run = started(program, study)
    for part in parts:
        hit(run, part, number)
    time.sleep(instants("stuck").uniform(0, STOPPED_SECONDS))
    if number == signal.SIGSTOP:
        run.process.send_signal(signal.SIGTERM)
    ended(run, 3 if number == signal.SIGSTOP else 4)
    completed(program, study, 14, tmp_path)

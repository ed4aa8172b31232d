"""The whole program told to stop, and what is left of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_program import Program
from engine_studies import adds_up, losses, planted

from sweeper.engine.run import Run
from sweeper.store.store import Store
from sweeper.study.study import Study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EXECUTORS = ["inline", pytest.param("ray", marks=pytest.mark.ray)]

SWEEP = {"width": [32], "learning_rate": [0.01, 0.02], "seed": [0, 1, 2]}

STUDY = Study.from_document(
    planted(fixed={"steps": 20}, sweep=SWEEP).document | {"workload": "witnessed_card:SURFACE"}
)

PAUSE_SECONDS = 0.04
"""What a step idles: a trial takes 0.8 seconds."""


def undisturbed(folder: Path) -> dict[tuple[Any, ...], tuple[str, str]]:
    """Returns the losses of the same trials, trained in one go."""
    with Store.open(folder, create=True) as store:
        Run(STUDY, store, executor="inline").execute()
        return losses(store, STUDY.name)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_signal_ends_a_run_gracefully_and_another_goes_on(
    executor: str,
    number: signal.Signals,
    program: Callable[..., Program],
    tmp_path: Path,
) -> None:
    run = program(STUDY, executor, pause=PAUSE_SECONDS)
    run.start()
    run.await_results(1)
    if number == signal.SIGINT:
        os.killpg(run.process.pid, number)  # as a terminal does: to Ray's processes too
    else:
        run.process.send_signal(number)
    assert run.wait(30) == 3, run.said
    assert "trials to go; nothing is lost" in run.said
    assert "Traceback" not in run.said
    run.await_silence()
    with Store.open(run.store) as store:
        account = store.account(STUDY.name)
        assert (account.running, account.failed) == (0, 0)
        assert adds_up(store, STUDY.name)
        states = {row[0] for row in store.query("select state from attempts").rows}
    assert states <= {"completed", "stopped"}
    rest = program(STUDY, pause=0.0)  # Ray going on is tested with kills
    rest.start()
    assert rest.wait() == 0, rest.said
    with Store.open(run.store) as store:
        assert losses(store, STUDY.name) == undisturbed(tmp_path / "calm")


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_second_interrupt_ends_the_program_at_once(
    executor: str, program: Callable[..., Program]
) -> None:
    study = planted(fixed={"steps": 2, "step_seconds": 30}, sweep={"width": [32]})
    run = program(study, executor)
    run.start()
    until = time.monotonic() + 60
    while "running" not in run.said or " 0 running" in run.said.splitlines()[-1]:
        assert time.monotonic() < until, run.said
        time.sleep(0.1)
    run.process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert run.process.poll() is None, "the step is long, and the first signal waits for it"
    began = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    assert run.wait(20) == 3
    assert time.monotonic() - began < 5
    run.await_silence()

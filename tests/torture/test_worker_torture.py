"""Workers killed and nodes torn off while one controller runs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
from engine_program import Program, marked_processes
from long_form import LONG, ROUNDS
from torture_nodes import Nodes
from torture_program import (
    STEPS,
    TRIAL_SECONDS,
    Bits,
    instants,
    settled,
    share,
    small_study,
    sound,
)
from witnessed_card import Witness, trained_again, trained_twice_at_once

from sweeper.store.store import Store
from sweeper.study.study import Study

KILLS = ROUNDS if LONG else share(3)

HANG_SECONDS = 20 if LONG else 10
"""Silence after which a worker is ended; loading its workload takes some of it."""

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(180 + 20 * ROUNDS)]


def test_workers_killed_again_and_again_cost_nothing_but_the_time_since_their_checkpoints(
    program: Callable[..., Program], calm: Callable[[Study], Bits], witness: Witness
) -> None:
    study = small_study(6 * KILLS)
    chance = instants("workers")
    run = program(study, "ray")
    run.start()
    killed: set[int] = set()
    for _ in range(KILLS):
        pid = chance.choice(await_workers(run, killed))
        await_trials(run, witness, pid, chance.randrange(1, 4))
        time.sleep(chance.uniform(0, TRIAL_SECONDS))
        assert run.alive, f"the study is too short: {run.said}"
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)
    assert run.wait(120 + 10 * KILLS) == 0, run.said
    sound(run, {0})
    run.await_silence()
    trained = witness.stretches()
    assert not trained_twice_at_once(trained)
    assert trained_again(trained, STEPS) <= max(1, KILLS // 10)
    assert killed <= {part.pid for part in trained}, "all of them had begun to work"
    if KILLS >= 10:  # fewer kills may all hit before a first checkpoint
        assert any(part.first > 1 for part in trained), "killed trials go on from checkpoints"
    with Store.open(run.store, create=False) as store:
        settled(store, study, calm(study))
        states = dict(store.query("select state, count(*) from attempts group by state").rows)
    assert set(states) == {"completed", "lost_worker"}
    assert 0 < states["lost_worker"] <= 2 * KILLS


def await_workers(run: Program, killed: set[int]) -> list[int]:
    """Returns the processes of slots that live and were not killed, once there are any."""
    until = time.monotonic() + 90
    while not (found := [pid for pid in run.workers() if pid not in killed]):
        assert run.alive, f"the study is too short: {run.said}"
        assert time.monotonic() < until, run.said
        time.sleep(0.05)
    return found


def at_work(run: Program, witness: Witness) -> list[int]:
    """Returns the processes of slots that have begun a trial, once there are any."""
    until = time.monotonic() + 90
    while not (found := {*run.workers()} & {part.pid for part in witness.stretches()}):
        assert run.alive, f"the study is too short: {run.said}"
        assert time.monotonic() < until, run.said
        time.sleep(0.05)
    return sorted(found)


def await_trials(run: Program, witness: Witness, pid: int, count: int) -> None:
    """Returns once a slot has begun so many trials."""
    until = time.monotonic() + 90
    while sum(part.pid == pid for part in witness.stretches()) < count:
        assert run.alive, f"the study is too short: {run.said}"
        assert time.monotonic() < until, run.said
        time.sleep(0.05)


def test_a_worker_that_hangs_is_ended_and_its_trial_goes_on_elsewhere(
    program: Callable[..., Program], calm: Callable[[Study], Bits], witness: Witness
) -> None:
    study = small_study(12)
    run = program(study, "ray", options=["--hang-seconds", str(HANG_SECONDS)])
    run.start()
    pid = instants("hanging").choice(at_work(run, witness))
    os.kill(pid, signal.SIGSTOP)
    assert run.wait(180) == 0, run.said
    sound(run, {0})
    run.await_silence()
    trained = witness.stretches()
    assert not trained_twice_at_once(trained)
    assert [part for part in trained if part.pid == pid], "it was at work"
    with Store.open(run.store, create=False) as store:
        settled(store, study, calm(study))
        lost = store.query("select state, error from attempts where not accepted").rows
    ((state, error),) = lost
    assert state == "lost_worker"
    assert "said nothing for" in error


def test_a_node_torn_off_in_the_middle_leaves_the_study_to_the_others(
    nodes: Nodes, program: Callable[..., Program], calm: Callable[[Study], Bits], witness: Witness
) -> None:
    study = small_study(12, times=2)  # long enough that Ray hears of it in the middle
    run = program(study, "ray", options=["--address", nodes.cluster.address])
    run.start()
    chance = instants("nodes")
    node = chance.choice(nodes.others)
    until = time.monotonic() + 90
    while not nodes.pids_on(node) & {part.pid for part in witness.stretches()}:
        assert run.alive, run.said
        assert time.monotonic() < until, run.said
        time.sleep(0.1)
    time.sleep(chance.uniform(0, TRIAL_SECONDS))
    there = nodes.pids_on(node)
    nodes.tear_off(node)
    assert run.wait(180) == 0, run.said
    sound(run, {0})
    trained = witness.stretches()
    assert not trained_twice_at_once(trained)
    assert there & {part.pid for part in trained}, "somebody worked there"
    left = there & set(marked_processes(nodes.mark))
    assert not left, "a worker ends with its node"
    with Store.open(run.store, create=False) as store:
        settled(store, study, calm(study))
        states = {state for (state,) in store.query("select state from attempts").rows}
    assert states <= {"completed", "lost_node"}, "its worker was not to blame"

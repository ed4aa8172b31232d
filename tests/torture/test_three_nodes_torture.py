"""Three nodes, PostgreSQL and S3 under one study, and all that befalls them in turn."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from engine_program import MARK, Program
from engine_studies import attempts_of
from fault_proxy import FaultProxy
from long_form import LONG
from torture_nodes import Nodes
from torture_program import STEPS, Bits, settled, small_study, sound
from witnessed_card import PAUSE, Witness, trained_again

from sweeper.store.store import Store
from sweeper.study.study import Study

CUT_SECONDS = 60.0 if LONG else 0.0
"""How long a node is cut off at least, beyond the time after which it is given up."""

DOWN_SECONDS = 30.0 if LONG else 3.0
"""How long the server of the database is away, and the bucket answers 503."""

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.postgres, pytest.mark.timeout(2400)]


@pytest.fixture
def bucket(
    s3: str, s3_server: tuple[str, int], lone_postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultProxy]:
    """Yields what all of this test's processes reach their bucket through."""
    proxy = FaultProxy(*s3_server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("SWEEPER_FILES", s3)
    if LONG:
        monkeypatch.setenv(PAUSE, "0.01")  # some minutes for three slots on an idle machine, too
    yield proxy
    proxy.close()


def test_a_study_on_three_nodes_ends_as_if_nothing_had_happened(
    lone_postgres: Any,
    bucket: FaultProxy,
    nodes: Nodes,
    program: Callable[..., Program],
    calm: Callable[[Study], Bits],
    witness: Witness,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node dies, one joins, the database is restarted, the bucket answers 503, and a node is cut
    off and comes back."""
    study = small_study(100 if LONG else 56, times=2)
    options = ["--address", nodes.cluster.address, "--checkpoint-seconds", "0.5"]
    run = program(study, "ray", store=lone_postgres.get_uri(), options=options)
    run.start()
    doomed, cut = nodes.others
    await_work(run, nodes, witness, doomed)
    nodes.tear_off(doomed)
    more(run)
    nodes.join()
    await_work(run, nodes, witness, nodes.others[-1])
    os.kill(lone_postgres.get_pid(), signal.SIGQUIT)
    time.sleep(DOWN_SECONDS)
    with monkeypatch.context() as patch:
        patch.delenv(MARK)  # it is no process of the cluster
        lone_postgres.ensure_postgres_running()
    more(run)
    bucket.busy_for(DOWN_SECONDS)
    time.sleep(DOWN_SECONDS)
    more(run)
    await_work(run, nodes, witness, cut)
    before = lost(run)
    stopped = cut_off_at_work(run, nodes, witness, cut)
    await_lost(run, before)
    time.sleep(CUT_SECONDS)
    more(run)
    go_on(stopped)
    assert run.alive, f"the study is too short: {run.said}"
    assert run.wait(1200) == 0, run.said
    sound(run, {0})
    assert trained_again(witness.stretches(), 2 * STEPS) <= 1, "what was cut off ends in a second"
    monkeypatch.delenv(PAUSE)
    with Store.open(run.store, create=False) as store:
        settled(store, study, calm(study))
        states = [state for (state,) in attempts_of(store)]
    # An attempt that was given up with its node may still have had a result on its way.
    assert set(states) <= {"completed", "lost_node"}, "no trial and no worker was to blame"
    assert len(states) > len(calm(study)), "what a node had in hand was tried again"


def await_work(run: Program, nodes: Nodes, witness: Witness, node: Any) -> None:
    """Returns once a node has trained something and still trains."""
    until = time.monotonic() + 90
    while not nodes.pids_on(node) & {part.pid for part in witness.stretches()}:
        assert run.alive, run.said
        assert time.monotonic() < until, run.said
        time.sleep(0.1)


def cut_off_at_work(run: Program, nodes: Nodes, witness: Witness, node: Any) -> list[int]:
    """Stops a node in the middle of a trial; returns its processes."""
    until = time.monotonic() + 90
    while True:
        stopped = nodes.cut_off(node)
        time.sleep(0.1)
        last = {part.pid: part.last for part in witness.stretches() if part.pid in stopped}
        if any(step < 2 * STEPS for step in last.values()):
            return stopped
        go_on(stopped)
        assert run.alive, f"the study is too short: {run.said}"
        assert time.monotonic() < until, run.said
        time.sleep(0.5)


def go_on(stopped: list[int]) -> None:
    """Lets processes go on that are still there."""
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def lost(run: Program) -> set[int]:
    """Returns the attempts that are given up with their node."""
    with Store.open(run.store, create=False, read_only=True) as store:
        text = "select id from attempts where state = 'lost_node'"
        return {attempt for (attempt,) in store.query(text).rows}


def await_lost(run: Program, before: set[int]) -> None:
    """Returns once more attempts are given up with their node than were before."""
    until = time.monotonic() + 90
    while not lost(run) - before:
        assert run.alive, f"the study is too short: {run.said}"
        assert time.monotonic() < until, run.said
        time.sleep(0.2)


def more(run: Program) -> None:
    """Returns once the run has got further."""
    until, had = time.monotonic() + 90, len(run.results())
    while len(run.results()) <= had:
        assert run.alive, f"the study is too short: {run.said}"
        assert time.monotonic() < until, run.said
        time.sleep(0.2)

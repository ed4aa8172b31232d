"""Machines with addresses of their own, and a network between them that is cut."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import witnessed_card
from engine_program import SLOTS, Program
from engine_studies import attempts_of
from long_form import LONG
from torture_network import Network
from torture_program import Bits, await_curves, curves, settled, small_study, sound
from witnessed_card import Witness

from sweeper.store.store import Store
from sweeper.study.study import Study

STEP_SECONDS = 0.02
CUT_SECONDS = 60.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.postgres,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not LONG, reason="the long form: it takes some minutes"),
]


@pytest.fixture
def network(
    witness: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Network]:
    """Yields three machines with a token of Ray's, whose workers find the workload and write down
    what they train."""
    token = tmp_path / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    environ = {
        "PYTHONPATH": str(Path(witnessed_card.__file__).parent),
        witnessed_card.VARIABLE: str(witness.file),
        witnessed_card.PAUSE: str(STEP_SECONDS),
    }
    made = Network(("head", "one", "two"), environ)
    try:
        made.start_head()
        made.start_node("one")
        made.start_node("two")
        yield made
    finally:
        made.shutdown()


def test_a_cut_network_a_dead_machine_and_a_restarted_server_cost_no_result(
    network: Network,
    lone_postgres: Any,
    program: Callable[..., Program],
    calm: Callable[[Study], Bits],
    witness: Witness,
) -> None:
    """The machine that was cut off trains on for a while: what it reports later counts once."""
    study = small_study(40, times=1)
    run = program(
        study,
        "ray",
        store=lone_postgres.get_uri(),
        options=["--address", network.address],
        prefix=network.inside("head"),
        pause=STEP_SECONDS,
    )
    run.start()
    await_work(run, network, witness, "two")
    network.pull("two")
    began, had = time.monotonic(), curves(run)
    os.kill(lone_postgres.get_pid(), signal.SIGQUIT)
    time.sleep(5)
    lone_postgres.ensure_postgres_running()
    await_curves(run, had + 1)
    time.sleep(max(0.0, began + CUT_SECONDS - time.monotonic()))
    assert run.alive, f"the study is too short: {run.said}"
    network.plug("two")
    network.await_silence("two")  # the head has given it up, and so it ends
    network.start_node("two")
    await_work(run, network, witness, "two")
    await_work(run, network, witness, "one")
    network.kill("one")
    assert run.alive, f"the study is too short: {run.said}"
    assert run.wait(600) == 0, run.said
    sound(run, {0})
    with Store.open(run.store, create=False) as store:
        settled(store, study, calm(study))
        states = [state for (state,) in attempts_of(store)]
    assert {*states} <= {"completed", "lost_node"}, states
    print(f"{len(states)} attempts, {states.count('lost_node')} lost with their machine")


def await_work(run: Program, network: Network, witness: Witness, name: str) -> None:
    """Returns once the slots that are on a machine now have trained something."""
    until = time.monotonic() + 120
    while not {*network.pids(name, *SLOTS)} & {part.pid for part in witness.stretches()}:
        assert run.alive, f"the study is too short: {run.said}"
        assert time.monotonic() < until, run.said
        time.sleep(0.2)

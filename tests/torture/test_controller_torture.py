"""The controller killed at random instants, again and again, until the study is done."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine_program import Program
from long_form import LONG, ROUNDS
from torture_program import (
    STEPS,
    TRIAL_SECONDS,
    Bits,
    await_curves,
    curves,
    instants,
    lost_pids,
    settled,
    share,
    small_study,
    sound,
)
from witnessed_card import Witness, trained_again, trained_twice_at_once

from sweeper.store.store import Store
from sweeper.study.study import Study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180 + 20 * ROUNDS)]


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yields the temporary folder of the programs, with a short name: Ray makes sockets in it."""
    with tempfile.TemporaryDirectory(prefix="sw-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


START_SECONDS = 3.0
"""About what a program takes until it trains."""


@pytest.mark.parametrize(
    ("executor", "database", "rounds"),
    [
        pytest.param("inline", "sqlite", ROUNDS, id="inline, sqlite"),
        pytest.param(
            "inline",
            "postgres",
            share(2) if LONG else share(4),
            id="inline, postgres",
            marks=pytest.mark.postgres,
        ),
        pytest.param(
            "ray", "sqlite", share(5) if LONG else 1, id="ray, sqlite", marks=pytest.mark.ray
        ),
    ],
)
def test_a_controller_killed_again_and_again_loses_nothing_and_repeats_nothing(
    executor: str,
    database: str,
    rounds: int,
    locate: Callable[[str], str],
    program: Callable[..., Program],
    calm: Callable[[Study], Bits],
    witness: Witness,
    scratch: Path,
) -> None:
    study = small_study(max(6, 3 * rounds))  # a kill may wait for two of them
    chance = instants("controller")
    location = locate(database)
    run = program(study, executor, store=location)
    killed = [strike(run, chance, witness) for _ in range(rounds)]
    before = set(run.results())
    run.start()
    assert run.wait(120 + 10 * rounds) == 0, run.said
    sound(run, {0})
    assert run.answer["run"]["reused"] == len(before)
    assert run.answer["run"]["finished"] == len(calm(study)) - len(before)
    run.await_silence()
    trained = witness.stretches()
    assert not trained_twice_at_once(trained)
    assert not [*scratch.rglob("sweeper-*"), *scratch.rglob("session_2*")], "what was killed left"
    # A kill may fall between the last step and the result's file; after that nothing is repeated.
    assert trained_again(trained, STEPS) <= max(1, rounds // 10)
    if rounds >= 10:  # fewer kills may all hit before a first checkpoint
        assert any(part.first > 1 for part in trained), "killed trials go on from checkpoints"
    with Store.open(location, create=False) as store:
        settled(store, study, calm(study))
        assert lost_pids(store) <= set(killed), "nobody who lived was given up"


def strike(run: Program, chance: random.Random, witness: Witness) -> int:
    """Starts a program, kills it at a random instant and returns its number; one kill in four
    falls into its start, the others into its work."""
    had, size = curves(run), witness.file.stat().st_size
    run.start()
    pid = run.process.pid
    if chance.random() < 0.25:
        time.sleep(chance.uniform(0, START_SECONDS))
    else:
        until = time.monotonic() + 90
        while witness.file.stat().st_size == size:
            assert run.alive, run.said
            assert time.monotonic() < until, run.said
            time.sleep(0.01)
        await_curves(run, had + chance.randrange(3))
        time.sleep(chance.uniform(0, TRIAL_SECONDS))
    assert run.alive, f"the study is too short: {run.said}"
    run.kill()
    run.await_silence()
    return pid

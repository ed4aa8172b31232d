"""Two controllers on one store, either of them killed at random instants."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from engine_program import Program
from long_form import LONG
from torture_program import (
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
from witnessed_card import Witness, trained_twice_at_once

from sweeper.store.store import Store
from sweeper.study.study import Study

KILLS = share(2) if LONG else share(3)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + 20 * KILLS)]


@pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def test_two_controllers_never_train_one_trial_at_once_though_either_may_be_killed(
    database: str,
    locate: Callable[[str], str],
    program: Callable[..., Program],
    calm: Callable[[Study], Bits],
    witness: Witness,
) -> None:
    location = locate(database)
    study = small_study(6 * KILLS + 6)  # neither is done before both have loaded
    chance = instants("sharing")
    both = [program(study, store=location) for _ in range(2)]
    killed: set[int] = set()
    for run in both:
        run.start()
    for _ in range(KILLS):
        victim, other = chance.sample(both, 2)
        await_curves(victim, curves(victim) + chance.randrange(3))
        time.sleep(chance.uniform(0, 2 * TRIAL_SECONDS))
        assert victim.alive, f"the study is too short: {victim.said}"
        killed.add(victim.process.pid)
        victim.kill()
        victim.start()
        if not other.alive:
            sound(other, {0, 1})  # it found all of the rest taken by the one that was killed
            other.start()
    while len(both[0].results()) < len(calm(study)):
        for run in both:
            if not run.alive:
                sound(run, {0, 1})
                run.start()
        time.sleep(0.2)
    for run in both:
        run.wait()
        sound(run, {0, 1})
        run.await_silence()
    trained = witness.stretches()
    assert not trained_twice_at_once(trained)
    assert len({part.pid for part in trained}) > 1, "the work was shared"
    with Store.open(location, create=False) as store:
        settled(store, study, calm(study))
        assert lost_pids(store) <= killed, "nobody who lived was given up"

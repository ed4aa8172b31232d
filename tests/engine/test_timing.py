"""How long a trial takes, and from what that is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import parallel_card
import pytest
from engine_studies import planted

from sweeper.engine.run import Run
from sweeper.engine.timing import Timings
from sweeper.engine.worker.environment import processor
from sweeper.store.store import Store
from sweeper.study.plan import expand, shape_settings
from sweeper.study.study import Study

STEP = 0.01


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


def study(**sections: Any) -> Study:
    return planted(fixed={"steps": 40, "step_seconds": STEP}, **sections)


def timings(plans: Study, store: Store, *, probe: bool = True) -> Timings:
    return Timings(plans, store, expand(plans), probe=probe)


def test_without_a_probe_or_a_finished_trial_nothing_is_known(store: Store) -> None:
    plans = study()
    trial = expand(plans)[0].trial
    assert timings(plans, store, probe=False).seconds(trial) == (None, "unknown")


def test_a_probe_times_the_steps_of_a_shape(store: Store) -> None:
    plans = study()
    trial = expand(plans)[0].trial
    seconds, source = timings(plans, store).seconds(trial)
    assert source == "probe"
    assert seconds is not None
    assert seconds >= 40 * STEP


def test_a_probe_is_kept_and_never_made_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = study()
    trial = expand(plans)[0].trial
    first = timings(plans, store).seconds(trial)
    kept = store.probe_for(
        workload="planted",
        workload_version=trial.version,
        shape=shape_settings(plans, trial.config),
        device=processor(),
        threads=1,
        pack=1,
    )
    assert kept is not None
    assert kept.step_seconds * 40 == pytest.approx(first[0])
    assert kept.steps == 20
    monkeypatch.setattr("workloads.planted.PlantedCard.trainer", None)
    assert timings(plans, store).seconds(trial) == first


def test_one_probe_serves_every_trial_of_its_shape(store: Store) -> None:
    plans = study()
    known = timings(plans, store)
    answers = {known.seconds(item.trial) for item in expand(plans) if item.scale == 32}
    assert len(answers) == 1
    assert len(store.query("select * from probes").rows) == 1


def test_finished_trials_are_preferred_over_a_probe(store: Store) -> None:
    plans = study()
    trial = expand(plans)[0].trial
    timings(plans, store).seconds(trial)
    Run(
        planted(fixed={"steps": 40, "step_seconds": STEP}, budget={"trials": 2}),
        store,
        executor="inline",
    ).execute()
    spent = store.device_seconds([item.trial.key for item in expand(plans)])
    seconds, source = timings(plans, store).seconds(trial)
    assert source == "finished trials"
    assert seconds == pytest.approx(sum(spent.values()) / len(spent))
    assert timings(plans, store, probe=False).seconds(trial) == (seconds, source)


def test_every_device_of_a_trial_counts(store: Store) -> None:
    parallel_card.CARD.closed = 0
    resources = {"cpus": 2, "processes": 2}
    plans = study(workload=parallel_card.NAME, resources=resources)
    seconds, source = timings(plans, store).seconds(expand(plans)[0].trial)
    ((device, step_seconds),) = store.query("select device, step_seconds from probes").rows
    assert (device, source) == (f"2 x {processor()}", "probe")
    assert seconds == pytest.approx(2 * 40 * step_seconds)
    assert parallel_card.CARD.closed == 1
    alone = study(workload=parallel_card.NAME)
    timings(alone, store).seconds(expand(alone)[0].trial)
    assert len(store.query("select * from probes").rows) == 2, "of one device it takes another"


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_trial_shorter_than_a_probe_is_timed_as_it_is(steps: int, store: Store) -> None:
    plans = planted(fixed={"steps": steps, "step_seconds": STEP})
    seconds, _ = timings(plans, store).seconds(expand(plans)[0].trial)
    assert seconds is not None
    assert seconds >= steps * STEP


def test_the_members_of_a_pack_share_its_time(store: Store) -> None:
    plans = study(resources={"pack": 4})
    seconds, _ = timings(plans, store).seconds(expand(plans)[0].trial)
    ((whole_pack, size),) = store.query("select step_seconds, pack from probes").rows
    assert size == 4
    assert whole_pack >= STEP
    assert seconds == pytest.approx(40 * whole_pack / 4)

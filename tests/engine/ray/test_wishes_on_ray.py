"""A study on Ray that is paused and resumed from the store, and what its slots are called."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from engine_studies import losses, planted

from sweeper.engine.messages import Event, Started
from sweeper.engine.policy import Limits
from sweeper.engine.ray.slot import Slot
from sweeper.engine.run import Run, RunSummary
from sweeper.store.store import Store

pytestmark = pytest.mark.ray


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 90
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


def test_a_paused_study_gives_its_slots_back_and_goes_on_from_its_checkpoints(
    ray_cluster: Any, tmp_path: Path
) -> None:
    sweep = {"width": [32], "learning_rate": [0.03, 0.06, 0.12], "steps": [100]}
    study = planted(sweep=sweep, fixed={"step_seconds": 0.03})
    begun: list[Started] = []

    def see(event: Event) -> None:
        if isinstance(event, Started):
            begun.append(event)

    with Store.open(tmp_path / "store", create=True) as store:
        limits = Limits(lease_seconds=2.0)
        run = Run(study, store, address=ray_cluster.address, limits=limits, observe=see)
        ended: list[RunSummary] = []
        working = threading.Thread(target=lambda: ended.append(run.execute()))
        working.start()
        until(lambda: len(begun) == 2)
        titles = set()
        for event in begun:
            until(lambda event=event: "sweeper" in psutil.Process(event.pid).cmdline()[0])
            titles.add(psutil.Process(event.pid).cmdline()[0])
        assert titles == {f"ray::sweeper planted width=32 slot {n}" for n in (0, 1)}
        until(lambda: any(each.stand for each in store.activity("planted").running))
        store.make_wish("planted", "pause", by="ann@lab")
        until(lambda: [each.doing for each in store.controllers_of("planted")] == ["paused"])
        assert store.account("planted").running == 0
        until(lambda: not any(psutil.pid_exists(event.pid) for event in begun))
        stopped = store.query("select step from attempts where step > 0 and state = 'stopped'")
        assert stopped.rows, "they were under way"
        store.lift_wishes("planted")
        working.join(timeout=120)
        assert [each.finished for each in ended] == [3]
        with Store.open(tmp_path / "calm", create=True) as calm:
            Run(planted(sweep=sweep), calm, executor="inline").execute()
            assert losses(store, "planted") == losses(calm, "planted")


def test_a_slot_is_called_by_study_resources_and_number() -> None:
    slot = Slot.__new__(Slot)
    assert repr(slot) == "slot", "one that could not be set up has a name, too"
    slot._name, slot._study = "cpu1-gpu0.5-slot3", "muon_width"
    assert repr(slot) == "sweeper muon_width cpu1-gpu0.5 slot 3"

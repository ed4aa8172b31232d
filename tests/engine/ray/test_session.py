"""What only Ray can do: lose workers, gain nodes, share processors. Workers that are killed are
among the torture tests."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from engine_studies import RATES, adds_up, attempts_of, bits, losses, planted

from sweeper.engine.messages import Event, Started
from sweeper.engine.policy import MAX_DEATHS, Limits
from sweeper.engine.ray.exchange import Exchange
from sweeper.engine.ray.slot import Slot
from sweeper.engine.run import Run
from sweeper.errors import ClusterError, EnvironmentFault
from sweeper.store.store import Store
from sweeper.study.study import Study

pytestmark = pytest.mark.ray


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


def joined(study: Study, store: Store, cluster: Any, **options: Any) -> Run:
    return Run(study, store, executor="ray", address=cluster.address, **options)


def calm_bits(study: Study, folder: Path) -> list[tuple[Any, ...]]:
    with Store.open(folder, create=True) as store:
        Run(study, store, executor="inline").execute()
        return bits(store, study.name)


def test_a_trial_that_killed_its_worker_goes_on_from_its_checkpoint(
    ray_cluster: Any, store: Store, tmp_path: Path
) -> None:
    fixed = {"steps": 20, "step_seconds": 0.02}
    sweep = {"width": [32], "learning_rate": RATES[:2]}
    study = planted(fixed=fixed | {"misbehave": "die_once"}, sweep=sweep)
    run = joined(study, store, ray_cluster, checkpoint_seconds=0.05)
    summary = run.execute()
    assert (summary.finished, summary.failed) == (2, 0)
    assert [note for note in run.progress.view().notes if "slot" in note and "died" in note]
    assert sorted(attempts_of(store)) == [("completed",)] * 2 + [("lost_worker",)] * 2
    with Store.open(tmp_path / "calm", create=True) as other:
        Run(planted(fixed=fixed, sweep=sweep), other, executor="inline").execute()
        assert losses(store, "planted") == losses(other, "planted")


def test_a_trial_that_always_kills_its_worker_is_given_up_and_the_others_finish(
    ray_cluster: Any, store: Store
) -> None:
    study = planted(
        sweep={"width": [32], "learning_rate": RATES[:1], "misbehave": ["die", "never"]},
        resources={"pack": 2},
    )
    summary = joined(study, store, ray_cluster).execute()
    assert (summary.finished, summary.failed) == (1, 1)
    assert not summary.interrupted
    account = store.account(study.name)
    assert (account.done, account.failed, account.running) == (1, 1, 0)
    assert adds_up(store, study.name)
    assert "given up" in account.causes[0].cause
    per_trial = store.query("select count(*) from attempts group by trial_key").rows
    assert max(count for (count,) in per_trial) <= MAX_DEATHS + 1


@pytest.mark.timeout(120)
def test_the_mailbox_dying_ends_the_run_with_its_reason_and_loses_no_result(
    ray_cluster: Any, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = planted(fixed={"steps": 20, "step_seconds": 0.05}, sweep={"width": [32]})
    mailboxes: list[Any] = []

    def keep(dispatcher: Any, mailbox: Any, stopped: Any, **options: Any) -> Exchange:
        mailboxes.append(mailbox)
        return Exchange(dispatcher, mailbox, stopped, **options)

    monkeypatch.setattr("sweeper.engine.ray.session.Exchange", keep)

    def kill(event: Event) -> None:
        if isinstance(event, Started) and event.order == 3:
            ray.kill(mailboxes[0])

    run = joined(study, store, ray_cluster, observe=kill)
    with pytest.raises(ClusterError, match="broke off"):
        run.execute()
    account = store.account(study.name)
    assert account.running == 0
    assert adds_up(store, study.name)
    rest = joined(study, store, ray_cluster).execute()
    assert rest.finished == 3 - account.done
    assert bits(store, study.name) == calm_bits(study, tmp_path / "calm")


def test_half_a_processor_each_makes_four_slots_on_two_and_all_are_used(
    ray_cluster: Any, store: Store
) -> None:
    # A trial a slot, which sleeps for longer than the last slot starts after the first.
    study = planted(
        fixed={"steps": 20, "step_seconds": 1.0},
        sweep={"width": [32], "learning_rate": RATES[:1], "seed": [0, 1, 2, 3]},
        resources={"cpus": 0.5},
    )
    summary = joined(study, store, ray_cluster).execute()
    assert summary.finished == 4
    assert len(summary.slots) == 4


def test_nodes_that_join_get_slots_and_trials_that_fit_nowhere_yet_wait_for_them(
    ray_cluster: Any, store: Store
) -> None:
    study = planted(
        fixed={"steps": 10, "step_seconds": 0.05},
        sweep={"width": [32, 64]},
        resources={"cpus": {32: 1, 64: 3}},
    )
    run = joined(study, store, ray_cluster)
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=3"]
    node = subprocess.Popen(
        [*command, f"--address={ray_cluster.address}"], stdout=subprocess.DEVNULL
    )
    try:
        summary = run.execute()
    finally:
        node.terminate()
        node.wait(timeout=30)
    assert summary.finished == 6
    assert any("wait for nodes" in note for note in run.progress.view().notes)
    assert {slot.split("-slot")[0] for slot in summary.slots} == {"cpu1-gpu0", "cpu3-gpu0"}


def test_a_slot_that_waits_for_a_node_does_not_hold_up_the_end(
    ray_cluster: Any, store: Store
) -> None:
    study = planted(sweep={"width": [32, 64]}, resources={"cpus": {32: 1, 64: 64}})
    run = joined(study, store, ray_cluster)

    def stop_when_small_ones_are_done() -> None:
        until = time.monotonic() + 60
        while len(run.progress.finished) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        run.stop()

    watcher = threading.Thread(target=stop_when_small_ones_are_done)
    watcher.start()
    summary = run.execute()
    watcher.join()
    assert summary.interrupted
    assert summary.finished == 3
    assert adds_up(store, study.name)
    assert store.account(study.name).pending == 3


def test_workers_that_cannot_start_end_the_run_with_their_reason(
    ray_cluster: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BrokenSlot(Slot):
        def setup(self, config: dict[str, Any]) -> None:
            raise RuntimeError("the disk is upside down")

    monkeypatch.setattr("sweeper.engine.ray.session.Slot", BrokenSlot)
    with pytest.raises(EnvironmentFault, match=r"died idle: .*the disk is upside down"):
        joined(planted(), store, ray_cluster, limits=Limits(idle_deaths=3)).execute()
    account = store.account("planted")
    assert (account.pending, account.running) == (6, 0)


@pytest.mark.parametrize("kind", ["closed port", "no such host"])
def test_a_cluster_that_does_not_answer_is_told_before_ray_tries_for_minutes(
    kind: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.init", lambda **options: pytest.fail("Ray was asked"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    address = f"127.0.0.1:{port}" if kind == "closed port" else "no-such-host.invalid:6379"
    with pytest.raises(ClusterError, match="no Ray cluster answers") as caught:
        Run(planted(), store, executor="ray", address=address).execute()
    assert address in str(caught.value)
    assert store.account("planted").running == 0

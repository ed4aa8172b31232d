"""Nodes that fail or hang while others work; several Ray nodes on one machine. Nodes that die are
among the torture tests."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sick_card
from engine_studies import attempts_of, planted
from ray._raylet import GcsClient
from ray.core.generated import autoscaler_pb2

from sweeper.engine.messages import Event, Started
from sweeper.engine.notice import FILE_VARIABLE
from sweeper.engine.policy import STREAK, Limits
from sweeper.engine.ray.exchange import READY_PER_SLOT
from sweeper.engine.run import Run
from sweeper.store.store import Store
from sweeper.study.study import Study

pytestmark = [pytest.mark.ray, pytest.mark.slow]

Nodes = Callable[..., Any]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yields a cluster whose head has one processor, and whose workers know the test's card."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    head = {"num_cpus": 1, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield made
    finally:
        made.shutdown()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


def sick(**changes: Any) -> Study:
    document = planted(**changes).document | {"workload": sick_card.NAME}
    return Study.from_document(document)


def test_a_node_that_fails_everything_is_quarantined_and_its_trials_run_elsewhere(
    cluster: Any, store: Store
) -> None:
    cluster.add_node(num_cpus=1, env_vars={sick_card.SICK: "fails"})
    study = sick(fixed={"steps": 4, "step_seconds": 0.1}, sweep={"seed": [0, 1, 2, 3]})
    places: set[str] = set()

    def keep(event: Event) -> None:
        if isinstance(event, Started):
            places.add(event.place)

    run = Run(study, store, executor="ray", address=cluster.address, observe=keep)
    summary = run.execute()
    assert len(places) == 2, "both nodes were given trials"
    assert (summary.finished, summary.failed) == (24, 0)
    account = store.account(study.name)
    assert (account.done, account.failed, account.pending) == (24, 0, 0)
    notes = " ".join(run.progress.view().notes)
    assert re.search(r"is quarantined: the last \d+ trials there failed", notes)
    bugs = [excused for state, excused in attempts_of(store, "state, excused") if state == "bug"]
    assert bugs.count(True) >= 2
    # What lay ready for both slots may be gone before the third failure is known.
    most = STREAK + 2 * READY_PER_SLOT * 2
    assert STREAK <= len(bugs) <= most, "it is given nothing more while the other one is asked"


def test_a_worker_that_hangs_is_ended_and_its_trial_runs_elsewhere(
    cluster: Any, store: Store
) -> None:
    cluster.add_node(num_cpus=1, env_vars={sick_card.SICK: "hangs"})
    study = sick(fixed={"steps": 4, "step_seconds": 0.2}, sweep={"width": [32], "seed": [0, 1]})
    run = Run(
        study, store, executor="ray", address=cluster.address, limits=Limits(hang_seconds=4.0)
    )
    summary = run.execute()
    assert (summary.finished, summary.failed) == (6, 0)
    lost = attempts_of(store, "state, error")
    errors = [error for state, error in lost if state == "lost_worker"]
    assert errors
    assert all("said nothing for 4 seconds and was ended" in error for error in errors)


def test_a_node_that_will_be_taken_away_gives_its_trials_to_the_others(
    cluster: Any, store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "preempted"
    cluster.add_node(num_cpus=1, env_vars={FILE_VARIABLE: str(file)})
    home = cluster.head_node.node_id[:8]
    study = planted(
        fixed={"steps": 100, "step_seconds": 0.05}, sweep={"width": [32], "seed": [0, 1]}
    )
    begun: list[str] = []

    def keep(event: Event) -> None:
        if isinstance(event, Started):
            begun.append(event.place)
            if home not in event.place:
                file.touch()

    run = Run(study, store, executor="ray", address=cluster.address, observe=keep)
    summary = run.execute()
    assert (summary.finished, summary.failed, summary.interrupted) == (6, 0, False)
    assert sum(home not in place for place in begun) == 1, "it is given nothing more"
    states = [state for (state,) in attempts_of(store)]
    assert sorted(states) == ["completed"] * 6 + ["stopped"]
    assert any(f"{file} has appeared" in note for note in run.progress.view().notes)


def test_a_node_that_ray_drains_gives_its_trials_to_the_others_without_blame(
    cluster: Any, store: Store
) -> None:
    node = cluster.add_node(num_cpus=1)
    study = planted(
        fixed={"steps": 40, "step_seconds": 0.1}, sweep={"width": [32], "seed": [0, 1, 2]}
    )
    places: list[str] = []

    def keep(event: Event) -> None:
        if not isinstance(event, Started):
            return
        places.append(event.place)
        if "draining" not in places and node.node_id[:8] in event.place:
            drain(cluster, node)
            places.append("draining")

    run = Run(study, store, executor="ray", address=cluster.address, observe=keep)
    summary = run.execute()
    assert (summary.finished, summary.failed) == (9, 0)
    states = {state for (state,) in attempts_of(store)}
    assert states == {"completed", "stopped"}
    assert any("Ray drains this node" in note for note in run.progress.view().notes)
    assert places[-1] != "draining", "trials began elsewhere afterwards"
    assert node.node_id[:8] not in places[-1]


def drain(cluster: Any, node: Any) -> None:
    """Says what a cloud says through its autoscaler before it takes a node away."""
    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    soon = int(1000 * time.time()) + 60_000
    accepted, why = GcsClient(address=cluster.address).drain_node(
        node.node_id, reason, "spot", soon
    )
    assert accepted, why

"""The metrics of a run beside those of Ray, scraped from the port of a node."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_studies import planted
from prometheus_client.parser import text_string_to_metric_families

from sweeper.engine.run import Run
from sweeper.store.store import Store

pytest.importorskip("opencensus", reason="Ray's metrics agent is in ray[default]")

pytestmark = pytest.mark.ray


@pytest.fixture
def node() -> Iterator[tuple[str, int]]:
    """Yields the address of a cluster of one node, and the port of its metrics."""
    from ray.cluster_utils import Cluster

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings: dict[str, Any] = {
        "num_cpus": 1,
        "include_dashboard": False,
        "metrics_export_port": port,
    }
    settings["_system_config"] = {"metrics_report_interval_ms": 500}
    cluster = Cluster(initialize_head=True, head_node_args=settings)
    try:
        yield cluster.address, port
    finally:
        cluster.shutdown()


def scraped(address: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Returns the samples of sweeper at an address: values by name and labels of ours."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found: dict[str, Any] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if "sweeper_" in sample.name:
                ours = {n: v for n, v in sample.labels.items() if n in ("study", "state")}
                found.setdefault(sample.name, {})[tuple(sorted(ours.items()))] = sample.value
    return found


def test_rays_metrics_have_those_of_a_run(
    tmp_path: Path, node: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, port = node
    monkeypatch.setattr("sweeper.engine.ray.meters.PUSH_SECONDS", 0.5)
    study = planted(
        sweep={"width": [32], "learning_rate": [0.1], "steps": [200]}, fixed={"step_seconds": 0.5}
    )
    with Store.open(tmp_path / "store", create=True) as store:
        run = Run(study, store, address=address)
        working = threading.Thread(target=run.execute)
        working.start()
        found: dict[str, Any] = {}
        until = time.monotonic() + 90
        place = (("state", "running"), ("study", "planted"))
        while time.monotonic() < until:
            found = scraped(f"127.0.0.1:{port}")
            if found.get("ray_sweeper_trials", {}).get(place) == 1.0:
                break
            time.sleep(0.5)
        run.stop()
        working.join()
    assert found["ray_sweeper_trials"][place] == 1.0

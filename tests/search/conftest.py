"""A Ray cluster of our own, beside whatever else may run on the machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Any]:
    """Yields a cluster of one node with two processors, to be joined by its address."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    node = {"num_cpus": 2, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=node)
    try:
        yield cluster
    finally:
        cluster.shutdown()

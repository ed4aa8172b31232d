"""Where ``/proc`` hides processes, or speaks of other ones: what it does not say for certain is
left to the lease, whoever else is killed or hidden."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sample_store import save
from torture_program import needs

from sweeper.store.owner import Owner
from sweeper.store.store import Store

CLAIM = """
import json, os, sys
location, keys, lease, user = sys.argv[1:]
from sweeper.store.owner import Owner
from sweeper.store.store import Store
with Store.open(location) as store:
    if user:  # only now: it may not write in the folders of this one
        os.setuid(int(user))
    claims = store.claim(json.loads(keys), owner=Owner.here(), lease_s=float(lease))
    print(len(claims), flush=True)
    sys.stdin.read()
"""

BOTH = """
import subprocess, sys, time
script, location, keys, lease, user, kill = sys.argv[1:]
command = [sys.executable, "-c", script, location, keys, lease]
first = subprocess.Popen([*command, ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(first.stdout.readline(), flush=True)
if kill:
    first.kill()
    first.wait()
    time.sleep(float(lease))
subprocess.run([*command, user], input="", text=True)
first.communicate("")
"""

HIDING = 'mount -t proc -o hidepid={} proc /proc && exec "$@"'
"""Mounts a /proc that hides the processes of other users from each."""

NOBODY = "65534"


@contextmanager
def claiming(
    prefix: list[str], location: Path, keys: list[str], *, lease: float = 60, user: str = ""
) -> Iterator[tuple[Any, int]]:
    """Yields a process that claims keys and stays, and how many it was given."""
    inner = [sys.executable, "-c", CLAIM, str(location), json.dumps(keys), str(lease), user]
    child = subprocess.Popen(
        [*prefix, *inner], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        yield child, int(child.stdout.readline())
    finally:
        child.kill()
        child.communicate(timeout=30)


def one_after_another(
    shell: list[str],
    location: Path,
    keys: list[str],
    *,
    lease: float,
    user: str = "",
    kill: bool = False,
) -> list[str]:
    """Returns how many trials each of two processes in one namespace could claim, the second
    while the first one stays, or after it was killed and its lease has lapsed."""
    outer = [*shell, sys.executable, "-c", BOTH, CLAIM, str(location), json.dumps(keys)]
    said = subprocess.run(
        [*outer, str(lease), user, "kill" if kill else ""],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not said.stderr
    return said.stdout.split()


@pytest.fixture
def keys(tmp_path: Path) -> list[str]:
    """Returns the trials of a store in ``tmp_path / "store"``."""
    with Store.open(tmp_path / "store", create=True) as store:
        return save(store, 4)


@needs("unshare", "-m", "sh", "-c", HIDING.format(2), "sh")
@pytest.mark.parametrize("hidepid", [1, 2])
def test_a_hidden_controller_of_another_user_keeps_its_claims(hidepid: int) -> None:
    """Both in one mount, as on a cluster's login node."""
    shell = ["unshare", "-m", "sh", "-c", HIDING.format(hidepid), "sh"]
    with tempfile.TemporaryDirectory(prefix="sweeper-proc-") as folder:
        place = Path(folder)
        place.chmod(0o755)  # the other user looks after the database too
        with Store.open(place / "store", create=True) as store:
            keys = save(store, 4)
        given = one_after_another(shell, place / "store", keys, lease=60, user=NOBODY)
    assert given == ["4", "0"]


@needs("unshare", "-T", "--boottime", "100000", "--fork")
def test_a_controller_in_another_namespace_of_time_keeps_its_claims(
    tmp_path: Path, keys: list[str]
) -> None:
    there = ["unshare", "-T", "--boottime", "100000", "--fork"]
    with (
        claiming(there, tmp_path / "store", keys) as (_, held),
        claiming([], tmp_path / "store", keys) as (_, given),
    ):
        assert (held, given) == (4, 0)


@needs("unshare", "-pf", "--mount-proc")
def test_a_controller_in_another_namespace_of_processes_keeps_its_claims(
    tmp_path: Path, keys: list[str]
) -> None:
    there = ["unshare", "-pf", "--kill-child", "--mount-proc"]
    with (
        claiming(there, tmp_path / "store", keys) as (_, held),
        claiming([], tmp_path / "store", keys) as (_, given),
    ):
        assert (held, given) == (4, 0)


@needs("unshare", "-pf")
@pytest.mark.parametrize(("lease", "kill", "given"), [(0.5, True, "4"), (60, False, "0")])
def test_under_the_hosts_proc_a_killed_controller_keeps_its_claims_no_longer_than_its_lease(
    tmp_path: Path, keys: list[str], lease: float, kill: bool, given: str
) -> None:
    """Both in a namespace of processes that sees the /proc of the host, where they have other
    numbers."""
    shell = ["unshare", "-pf", "--kill-child"]
    claims = one_after_another(shell, tmp_path / "store", keys, lease=lease, kill=kill)
    assert claims == ["4", given]


def test_one_that_can_be_seen_is_given_up_at_once(tmp_path: Path, keys: list[str]) -> None:
    with claiming([], tmp_path / "store", keys, lease=3600) as (_, held):
        assert held == 4
    with Store.open(tmp_path / "store") as store:
        assert len(store.claim(keys, owner=Owner.here(), lease_s=60)) == 4

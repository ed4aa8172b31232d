"""What a killed process, a full disk, a held lock and a lost connection leave behind."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from on_disk import on_disk
from sample_store import outcome, save, spawn
from store_places import written

from sweeper.errors import StoreError
from sweeper.store.database import Database
from sweeper.store.owner import Owner, signature
from sweeper.store.store import Store

RECORD_ONE_BY_ONE = """
import json, sys
from sweeper.outcome import Outcome
from sweeper.store.owner import Owner, signature
from sweeper.store.store import Store
with Store.open(sys.argv[1]) as store:
    for item in store.claim(json.loads(sys.argv[2]), owner=Owner.here(), lease_s=3600):
        done = Outcome(key=item.key, attempt=item.attempt, kind="completed",
                       metrics={"val_loss": 2.5})
        assert store.record(done, objective=2.5)
        print(item.key, flush=True)
"""

RECORD_IN_GROUPS = """
import json, sys
from sweeper.outcome import Mark, Outcome
from sweeper.store.owner import Owner, signature
from sweeper.store.store import Store
with Store.open(sys.argv[1]) as store:
    claims = store.claim(json.loads(sys.argv[2]), owner=Owner.here(), lease_s=3600)
    marks = tuple(Mark(step=i, tokens=i, metric="val_loss", value=1.0) for i in range(20))
    for start in range(0, len(claims), 10):
        store.record_many([
            (Outcome(key=item.key, attempt=item.attempt, kind="completed", marks=marks), 1.0)
            for item in claims[start : start + 10]
        ])
        print(start, flush=True)
"""

FILL_THE_DISK = """
import json, resource, signal, sys
from sweeper.errors import StoreError
from sweeper.outcome import Outcome
from sweeper.store.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Store.open(sys.argv[1]) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    for key in json.loads(sys.argv[2]):
        try:
            store.record(Outcome(key=key, attempt=1, kind="completed",
                                 environment={"padding": "x" * 4000}), objective=1.0)
        except StoreError as error:
            print(f"refused {error}", flush=True)
            break
        print(key, flush=True)
"""

MAKE_A_STORE = """
import sys
from sweeper.store.records import StudyRecord
from sweeper.store.store import Store
print("ready", flush=True)
sys.stdin.readline()
with Store.open(sys.argv[1], create=True) as store:
    store.save_study(StudyRecord(name=sys.argv[2], question="", workload="w", scale="width",
                                 metric="loss", goal="min", document={}), [])
"""


@pytest.mark.parametrize("kill_after", [0, 3, 17])
def test_everything_recorded_before_a_kill_is_there_and_the_rest_goes_on_at_once(
    store: Store, location: str, kill_after: int
) -> None:
    keys = save(store, 40)
    child = spawn(RECORD_ONE_BY_ONE, location, json.dumps(keys))
    seen = [child.stdout.readline().strip() for _ in range(kill_after)]
    child.kill()
    seen += [line.strip() for line in child.stdout if line.endswith("\n")]
    child.wait(timeout=30)
    child.stdin.close()
    child.stdout.close()

    with Store.open(location, create=False) as reopened:
        done = reopened.results_of(keys)
        assert set(seen) <= set(done)
        assert len(done) - len(seen) in (0, 1)  # the last one may not have been told
        owner = Owner.here()
        claims = reopened.claim(keys, owner=owner, lease_s=60)
        assert {item.key for item in claims} == set(keys) - set(done)
        for item in claims:
            assert reopened.record(outcome(item.key, attempt=item.attempt), objective=2.5)
        assert reopened.account("widths").done == 40
        accepted = "select count(*), count(distinct trial_key) from attempts where accepted"
        assert reopened.query(accepted).rows == [(40, 40)]


def test_a_group_is_recorded_whole_or_not_at_all(store: Store, location: str) -> None:
    keys = save(store, 400)
    child = spawn(RECORD_IN_GROUPS, location, json.dumps(keys))
    assert child.stdout.readline() == "0\n"
    time.sleep(0.03)
    child.kill()
    child.stdout.read()
    child.wait(timeout=30)
    child.stdin.close()
    child.stdout.close()

    (results,) = store.query("select count(*) from results").rows[0]
    (marks,) = store.query("select count(*) from marks").rows[0]

    assert results >= 10
    assert results % 10 == 0
    assert marks == 20 * results


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX does")
def test_a_full_disk_is_told_and_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    place = tmp_path / "store"
    with Store.open(place, create=True) as store:
        keys = save(store, 400)
    child = spawn(FILL_THE_DISK, str(place), json.dumps(keys))
    *recorded, refused = child.stdout.read().splitlines()
    child.stdin.close()
    child.stdout.close()
    child.wait(timeout=30)

    assert refused.startswith(f"refused store {place / 'sweeper.db'}: ")
    assert "free some space" in refused
    with Store.open(place, create=False) as store:
        assert set(recorded) == set(store.results_of(keys))
        assert len(store.claim(keys, owner=Owner.here(), lease_s=60)) == 400 - len(recorded)


def test_processes_that_make_one_store_at_once_agree_on_it(location: str) -> None:
    names = ["study-0", "study-1"]
    children = [spawn(MAKE_A_STORE, location, name) for name in names]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        assert child.wait(timeout=60) == 0
        child.stdin.close()
        child.stdout.close()

    with Store.open(location, create=False) as store:
        assert sorted(item.name for item in store.studies()) == names


def test_the_half_made_store_of_a_killed_process_is_cleared_away(tmp_path: Path) -> None:
    code = "from sweeper.store.owner import signature; print(signature())"
    command = [sys.executable, "-c", code]
    dead = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    theirs = [tmp_path / f".tmp-{dead}-sweeper.db", tmp_path / f".tmp-{dead}-sweeper.db-wal"]
    alive = tmp_path / f".tmp-{signature()}-sweeper.db"
    for path in (*theirs, alive):
        path.touch()
    with Store.open(tmp_path, create=True):
        assert not any(path.exists() for path in theirs)
        assert alive.exists(), "another process is at it"


def test_a_long_reader_does_not_hold_up_the_writer(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        keys = save(store, 2)
        reader = sqlite3.connect(on_disk(store.paths).database, isolation_level=None)
        reader.execute("begin")
        assert reader.execute("select count(*) from results").fetchone() == (0,)

        assert store.record(outcome(keys[0]), objective=2.5)

        assert reader.execute("select count(*) from results").fetchone() == (0,)
        reader.close()
        assert store.account("widths").done == 1


def test_a_lock_that_is_never_given_back_is_told(location: str) -> None:
    with Store.open(location, create=True) as opened:
        place = opened.database.location
    with Store(Database(place, busy_seconds=0.1)) as store:
        save(store, 1)
        with written(location):
            assert store.account("widths").pending == 1
            with pytest.raises(StoreError, match=r"another program has been writing"):
                save(store, 2)
        save(store, 2)
        assert store.account("widths").declared == 2


@pytest.mark.postgres
def test_a_server_that_dropped_its_connections_is_found_again(postgres: str) -> None:
    import psycopg

    with Store.open(postgres, create=True) as store:
        keys = save(store, 1)
        with psycopg.connect(postgres, autocommit=True) as link:
            link.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = 'sweeper'"
            )

        assert store.record(outcome(keys[0], attempt=0), objective=2.5)


@pytest.mark.postgres
def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError, match=r"check that the server runs") as caught:
        Store.open("postgresql://me:secret@127.0.0.1:1/db", create=True)

    assert "postgresql+psycopg://me:***@127.0.0.1:1/db" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.postgres
def test_a_database_that_does_not_exist_is_told(postgres_server: str) -> None:
    with pytest.raises(StoreError, match=r"does not exist.*the name of the database"):
        Store.open(postgres_server.replace("/postgres?", "/nowhere?"), create=True)

"""A backup is a whole store of one moment, also while runs go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ended_trials import checkpoint, end, finish, put
from sample_store import ELSEWHERE, dump, save

from sweeper import load_study
from sweeper import run as sweep
from sweeper.errors import RequestError
from sweeper.store.store import Store

SLOW = """\
name: slow
question: Does a backup hold?
workload: planted
scale: width
fixed: {steps: 20, noise: 0.003, step_seconds: 0.01}
sweep:
  width: [32, 64]
  learning_rate: {log2: [-6, -2]}
"""


@pytest.fixture
def kept(location: str) -> dict[str, str]:
    """Returns the keys of a store's trials: one done, one failed, one in hand, one to be run."""
    with Store.open(location, create=True) as store:
        done, failed, running, waiting = keys = save(store, 4)
        store.claim(keys[:2], owner=ELSEWHERE, lease_s=-1)
        end(store, done)
        end(store, failed, "bug")
        checkpoint(store, running, 10)
        store.claim([running], owner=ELSEWHERE, lease_s=3600)
        finish(store, running)  # it has written its curve, and nobody has recorded it yet
        put(store, store.paths.table("ab" * 32), b"loss\n1\n")
        put(store, "checks/widths/0123.json", b"{}")
    return {"done": done, "failed": failed, "running": running, "waiting": waiting}


def test_a_backup_has_all_rows_and_files_of_its_moment_and_is_sound(
    kept: dict[str, str], location: str, tmp_path: Path
) -> None:
    with Store.open(location, read_only=True) as store:
        before = dump(store)
        done = store.backup(tmp_path / "copy")
        assert dump(store) == before, "nothing of the store is changed"

    assert (done.running, done.missing_curves) == (1, 0)
    assert done.rows["attempts"] == 3 and done.rows["results"] == 1
    names = {path.name for path in (tmp_path / "copy").iterdir()}
    assert names == {"sweeper.db", "curves", "checkpoints", "tables", "checks"}
    with Store.open(tmp_path / "copy") as copy:
        assert copy.verify().findings == ()
        after = dump(copy)
        for table in set(before) - {"attempts"}:
            assert after[table] == before[table], table
        curves = [each.key for each in copy.paths.curve_files()]
        assert curves == [kept["done"]]
        assert copy.paths.kept_step(kept["running"]) == 10
        account = copy.account("widths")
        assert (account.done, account.failed, account.running, account.pending) == (1, 1, 0, 2)
        claimed = copy.claim([kept["running"]], owner=ELSEWHERE, lease_s=-1)
        assert [item.attempt for item in claimed] == [2]


def test_a_result_that_is_withdrawn_while_files_are_copied_is_kept_as_it_was(
    kept: dict[str, str], location: str, tmp_path: Path
) -> None:
    def withdraw(said: str) -> None:
        if said.endswith("files"):
            with Store.open(location) as other:
                other.retry("widths", keys=[kept["done"]])

    with Store.open(location, read_only=True) as store:
        done = store.backup(tmp_path / "copy", note=withdraw)
    assert done.missing_curves == 0
    with Store.open(tmp_path / "copy") as copy:
        assert copy.verify().findings == ()
        assert copy.account("widths").done == 1


def test_a_folder_that_holds_something_is_left_alone(
    kept: dict[str, str], location: str, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine", encoding="utf-8")
    with Store.open(location, read_only=True) as store:
        with pytest.raises(RequestError, match="is not empty"):
            store.backup(mine)
        assert [path.name for path in mine.iterdir()] == ["notes.txt"]
        store.backup(tmp_path / "copy")
        with pytest.raises(RequestError, match="holds a store, which a backup does not overwrite"):
            store.backup(tmp_path / "copy")
        with pytest.raises(RequestError, match="give a folder"):
            store.backup("s3://bucket/copy")


KILLED = """
import os, signal, sys
from sweeper.store.store import Store
def note(text):
    if text.endswith(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
with Store.open(sys.argv[1], read_only=True) as store:
    store.backup(sys.argv[2], note=note)
"""


def test_a_backup_that_is_killed_is_none_and_the_next_one_goes_on(
    tmp_path: Path,
) -> None:
    place, there = tmp_path / "store", tmp_path / "copy"
    with Store.open(place, create=True) as store:
        keys = save(store, 2)
        store.claim(keys[:1], owner=ELSEWHERE, lease_s=-1)
        end(store, keys[0])
        killed = subprocess.run([sys.executable, "-c", KILLED, place, there, "files"])
        assert killed.returncode == -signal.SIGKILL
        assert not (there / "sweeper.db").exists() and any(there.iterdir())
        put_aside = there / "curves" / "zz" / "of-a-moment-before.parquet"
        put_aside.parent.mkdir(parents=True)
        put_aside.touch()

        assert store.backup(there).files == 1
    assert not put_aside.exists()
    assert {path.name for path in there.iterdir()} == {"sweeper.db", "curves"}


@pytest.mark.parametrize("where", ["sqlite", pytest.param("server", marks=pytest.mark.postgres)])
def test_backups_that_are_made_while_a_run_goes_on_are_sound_and_go_on(
    where: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = tmp_path / "store" if where == "sqlite" else request.getfixturevalue("postgres")
    (tmp_path / "slow.yaml").write_text(SLOW, encoding="utf-8")
    command = [sys.executable, "-m", "sweeper", "run", str(tmp_path / "slow.yaml")]
    command += ["--executor", "inline", "--store", str(place), "--checkpoint-seconds", "0.05"]
    with Store.open(place, create=True) as store, (tmp_path / "log").open("w") as log:
        run = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ)
        try:
            counts = _counts_of_backups(store, run, tmp_path)
            assert run.wait(120) == 0, (tmp_path / "log").read_text(encoding="utf-8")
        finally:
            run.kill()
            run.wait()
    assert len(counts) > 1 and counts == sorted(counts) and counts[-1] < 10
    last = tmp_path / f"copy-{len(counts) - 1}"
    with Store.open(last) as copy:
        sweep(load_study(tmp_path / "slow.yaml"), copy, executor="inline")
        assert (copy.account("slow").done, copy.verify().findings) == (10, ())


def _counts_of_backups(store: Store, run: Any, folder: Path) -> list[int]:
    """Makes backups until a run ends, each sound; returns the number of results in each."""
    counts: list[int] = []
    while run.poll() is None and len(counts) < 3:
        names = [record.name for record in store.studies()]
        if not names or store.account("slow").done <= (counts[-1] if counts else 0):
            time.sleep(0.05)
            continue
        store.backup(folder / f"copy-{len(counts)}")
        assert run.poll() is None
        with Store.open(folder / f"copy-{len(counts)}") as copy:
            assert copy.verify().findings == ()
            account = copy.account("slow")
            assert account.running == 0 and account.done + account.pending == account.declared
            counts.append(account.done)
    return counts

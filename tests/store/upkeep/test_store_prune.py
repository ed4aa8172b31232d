"""What nothing needs is removed, and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ended_trials import checkpoint, end
from sample_store import ELSEWHERE, members, save, study, trials

from sweeper.errors import UnknownNameError
from sweeper.store.store import Store
from sweeper.store.upkeep.prune import OLD_SECONDS


def aged(path: Path) -> Path:
    """Makes a file, or a folder with its files, two days old."""
    past = time.time() - 2 * OLD_SECONDS
    for each in (*path.glob("*"), path):
        os.utime(each, (past, past))
    return path


def unfinished(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".tmp-0123456789ab-{name}"
    path.write_bytes(b"begun")
    return path


def test_checkpoints_go_with_the_result_and_of_others_the_newest_good_one_stays(
    store: Store,
) -> None:
    keys = save(store, 3)
    needless = checkpoint(store, keys[0], 10).parent
    end(store, keys[0])
    old, good, bad = (checkpoint(store, keys[1], step) for step in (10, 20, 30))
    bad.write_bytes(b"half")
    alone = checkpoint(store, keys[2], 10)

    found = store.prune()

    assert {item.path for item in found} == {
        needless,
        *(path for each in (old, bad) for path in (each, store.paths.journal(each))),
    }
    assert not needless.exists()
    assert store.paths.checkpoints_of(keys[1]) == [good]
    assert alone.exists()
    assert all(store.paths.journal(path).exists() for path in (good, alone))
    assert store.prune() == []


def test_damaged_checkpoints_stay_where_no_good_one_is(store: Store) -> None:
    keys = save(store, 1)
    for step in (10, 20):
        checkpoint(store, keys[0], step).write_bytes(b"half")

    assert store.prune() == []


def test_files_of_running_trials_are_never_touched(store: Store) -> None:
    keys = save(store, 1)
    for step in (10, 20):
        checkpoint(store, keys[0], step)
    aged(unfinished(store.paths.checkpoint_folder(keys[0]), "step-000000030.pt"))
    store.claim(keys, owner=ELSEWHERE, lease_s=60)

    assert store.prune() == []


def test_a_trial_that_was_claimed_meanwhile_keeps_its_files(store: Store) -> None:
    from sweeper.store.upkeep.prune import remove

    keys = save(store, 1)
    for step in (10, 20):
        checkpoint(store, keys[0], step)
    planned = store.prune(dry_run=True)
    store.claim(keys, owner=ELSEWHERE, lease_s=60)

    assert len(planned) == 2
    assert remove(store._database, planned) == []
    assert len(store.paths.checkpoints_of(keys[0])) == 2


def test_unfinished_files_go_when_their_writer_is_dead_or_they_are_a_day_old(
    store: Store,
) -> None:
    keys = save(store, 1)
    curves = store.paths.curves
    dead = unfinished(curves / keys[0][:2], f"{keys[0]}.1.parquet")
    old = aged(unfinished(curves / "ff", f"{'f' * 64}.1.parquet"))
    young = unfinished(curves / "ee", f"{'e' * 64}.1.parquet")
    database = unfinished(store.paths.root, "sweeper.db")

    assert {item.path for item in store.prune()} == {dead, old}

    assert [path.exists() for path in (dead, old, young, database)] == [False, False, True, True]
    aged(database)
    assert [item.path for item in store.prune()] == [database]


def test_checkpoints_of_trials_that_are_not_known_go_after_a_day(store: Store) -> None:
    save(store, 1)
    young, old = checkpoint(store, "f" * 64, 10), checkpoint(store, "e" * 64, 10)
    aged(old.parent)

    assert [item.path for item in store.prune()] == [old.parent]
    assert young.exists()


def test_checkpoints_of_hidden_trials_go_only_when_asked_for(store: Store) -> None:
    keys = save(store, 2)
    store.save_study(study(), members(trials(1)))
    kept, hidden = (checkpoint(store, key, 10) for key in keys)

    assert store.prune() == []
    assert [item.path for item in store.prune(hidden=True)] == [hidden.parent]
    assert kept.exists()


def test_a_trial_that_another_study_declares_is_not_hidden(store: Store) -> None:
    keys = save(store, 1)
    store.save_study(study("other"), members(trials(1)))
    store.save_study(study(), [])
    checkpoint(store, keys[0], 10)

    assert store.prune(hidden=True) == []


def test_withdrawn_curves_go_only_when_asked_for_and_are_counted(store: Store) -> None:
    keys = save(store, 1)
    curve = end(store, keys[0])
    size = curve.stat().st_size
    store.retry("widths", keys=[keys[0]])

    assert store.prune() == []
    (item,) = store.prune(withdrawn=True, dry_run=True)
    assert (item.kind, item.files, item.size) == ("withdrawn", 1, size)
    assert item.path.exists()
    store.prune(withdrawn=True)
    assert not item.path.exists()


def test_a_study_limits_what_is_looked_at(store: Store) -> None:
    keys = save(store, 2)
    store.save_study(study("other"), members(trials(2)[1:]))
    for key in keys:
        checkpoint(store, key, 10)
        end(store, key)

    assert [item.key for item in store.prune("other")] == [keys[1]]
    with pytest.raises(UnknownNameError, match="'nothing'"):
        store.prune("nothing")
    assert len(store.prune("widths")) == 1

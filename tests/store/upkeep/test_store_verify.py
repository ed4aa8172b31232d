"""Damage of every kind is found and, where something is left to rebuild it from, mended."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from ended_trials import aged, checkpoint, content_of, end, finish, put, there
from sample_store import ELSEWHERE, dump, save

from sweeper.errors import StoreError
from sweeper.store.owner import Owner
from sweeper.store.store import Store

Damage = Callable[[Store, list[str]], object]


def sql(store: Store, statement: str) -> None:
    with store.database.write() as connection:
        connection.exec_driver_sql(statement)


def answers(store: Store) -> object:
    """What people and reports see: everything but when and by whom it was written."""
    columns = "trial_key, outcome, objective, metrics, step, tokens, flops, device, curve"
    return (
        store.query(f"select {columns} from results order by trial_key").rows,
        store.query("select trial_key, step, metric, value from marks order by 1, 2, 3").rows,
        store.query(
            "select trial_key, number, state, accepted from attempts order by trial_key, number"
        ).rows,
        store.query("select key, width, learning_rate, params from trials order by key").rows,
    )


def filled(store: Store) -> list[str]:
    """Two trials with results, one that failed, one that waits."""
    keys = save(store, 4)
    store.claim(keys[:3], owner=Owner.here(), lease_s=60)
    end(store, keys[0])
    end(store, keys[1], "diverged")
    end(store, keys[2], "bug")
    checkpoint(store, keys[3], 10)
    return keys


REBUILT: dict[str, tuple[str, Damage]] = {
    "a column altered": (
        "columns",
        lambda store, keys: sql(store, f"update trials set width = 5 where key = '{keys[0]}'"),
    ),
    "a flag taken away": (
        "attempt",
        lambda store, keys: sql(store, _FLAG.format("false", keys[0])),
    ),
    "a flag too many": ("attempt", lambda store, keys: sql(store, _FLAG.format("true", keys[2]))),
    "a metric altered": (
        "disagreement",
        lambda store, keys: sql(
            store, f"update results set metrics = '{{}}', step = 3 where trial_key = '{keys[0]}'"
        ),
    ),
    "an objective altered": (
        "objective",
        lambda store, keys: sql(
            store, f"update results set objective = 0 where trial_key = '{keys[0]}'"
        ),
    ),
    "marks removed": (
        "disagreement",
        lambda store, keys: sql(store, f"delete from marks where trial_key = '{keys[0]}'"),
    ),
    "a result removed": ("unrecorded", lambda store, keys: _forget(store, keys[0])),
    "a withdrawal half done": (
        "curve",
        lambda store, keys: store.paths.files.rename(
            store.paths.curve(keys[0], 1), store.paths.withdrawn(store.paths.curve(keys[0], 1))
        ),
    ),
}

_FLAG = "update attempts set accepted = {} where trial_key = '{}'"


def _forget(store: Store, key: str) -> None:
    sql(store, f"delete from marks where trial_key = '{key}'")
    sql(store, f"delete from results where trial_key = '{key}'")


def test_a_store_that_is_whole_gives_no_finding_and_is_not_changed(store: Store) -> None:
    filled(store)
    before = dump(store)

    found = store.verify(repair=True)

    assert found.findings == ()
    assert (found.trials, found.results, found.curves, found.checkpoints) == (4, 2, 2, 1)
    assert dump(store) == before


@pytest.mark.parametrize("damage", REBUILT)
def test_what_can_be_rebuilt_is_found_left_alone_and_mended_when_asked(
    store: Store, damage: str
) -> None:
    kind, spoil = REBUILT[damage]
    keys = filled(store)
    right = answers(store)
    spoil(store, keys)
    spoilt = dump(store)

    report = store.verify()
    assert kind in {finding.kind for finding in report.findings}
    assert report.left == len(report.findings) > 0
    assert dump(store) == spoilt

    assert store.verify(repair=True).left == 0
    assert store.verify().findings == ()
    assert answers(store) == right


def test_a_result_that_was_never_recorded_is_taken_from_its_curve_file(store: Store) -> None:
    keys = save(store, 2)
    store.claim(keys[:1], owner=ELSEWHERE, lease_s=-1)
    finish(store, keys[0], loss=2.25)
    finish(store, keys[1], attempt=4)
    assert store.orphans() == 2

    found = store.verify(repair=True)

    assert {finding.kind for finding in found.findings} == {"stale", "unrecorded"}
    assert store.orphans() == 0 == found.left
    assert store.account("widths").done == 2
    assert store.frame("widths")["loss"].tolist() == [2.25, 2.5]
    assert store.query("select objective from results order by objective").rows == [
        (2.25,),
        (2.5,),
    ]
    assert store.verify().findings == ()


def test_what_a_running_trial_has_just_written_is_no_finding(store: Store) -> None:
    keys = save(store, 1)
    store.claim(keys, owner=Owner.here(), lease_s=60)
    finish(store, keys[0])
    put(store, checkpoint(store, keys[0], 5), b"half")
    put(store, f"curves/{keys[0][:2]}/.tmp-abc-{keys[0]}.1.parquet", b"")

    assert store.verify(repair=True).findings == ()


@pytest.mark.parametrize("how", ["removed", "truncated", "overwritten"])
def test_a_curve_that_is_lost_is_told_with_what_to_do(store: Store, how: str) -> None:
    keys = filled(store)
    curve = store.paths.curve(keys[0], 1)
    if how == "removed":
        store.paths.files.remove(curve)
    else:
        whole = content_of(store, curve)
        half, zeros = whole[: len(whole) // 2], b"\0" * len(whole)
        put(store, curve, half if how == "truncated" else zeros)

    found = store.verify(repair=True)

    (finding,) = found.findings
    assert (finding.kind, finding.key, found.left) == ("curve", keys[0], 1)
    assert f"sweeper retry STUDY --key {keys[0][:12]}" in finding.remedy
    assert store.account("widths").done == 1


def test_a_lost_curve_is_replaced_by_that_of_another_attempt_at_the_same_result(
    store: Store,
) -> None:
    keys = filled(store)
    end(store, keys[0], attempt=2)
    store.paths.files.remove(store.paths.curve(keys[0], 1))

    assert store.verify(repair=True).left == 0

    assert store.query("select curve from results where outcome = 'completed'").rows == [
        (store.paths.curve(keys[0], 2),)
    ]
    assert store.verify().findings == ()


def test_a_key_that_is_not_the_hash_of_its_content_is_told_and_not_mended(store: Store) -> None:
    keys = filled(store)
    sql(store, f"update trials set seed = 99 where key = '{keys[0]}'")

    found = store.verify(repair=True)

    assert [(finding.kind, finding.repaired) for finding in found.findings] == [("key", False)]


def test_damaged_checkpoints_and_leftovers_are_removed_and_good_ones_stay(store: Store) -> None:
    keys = filled(store)
    good, bad = checkpoint(store, keys[3], 20), checkpoint(store, keys[3], 30)
    put(store, bad, b"\0" * len(content_of(store, bad)))
    lone = checkpoint(store, keys[3], 40)
    store.paths.files.remove(lone)
    checkpoint(store, keys[0], 10)
    needless = store.paths.checkpoint_folder(keys[0])
    begun = store.paths.checkpoint_folder(keys[3]) + ".tmp-0123456789ab-step-000000050.pt"
    put(store, begun, b"begun")

    found = store.verify(repair=True)

    assert sorted(finding.kind for finding in found.findings) == [
        "checkpoint",
        "checkpoint",
        "checkpoint",
        "temporary",
    ]
    assert found.left == 0
    assert there(store, good, bad, lone, needless, begun) == [True] + 4 * [False]
    assert there(store, store.paths.journal(bad)) == [False]
    assert store.verify().findings == ()


def test_files_of_trials_that_are_not_known_are_told(store: Store) -> None:
    keys = filled(store)
    finish(store, "f" * 64)
    checkpoint(store, "e" * 64, 10)

    found = store.verify(repair=True)

    assert {(finding.kind, finding.key) for finding in found.findings} == {
        ("unknown", "f" * 64),
        ("unknown", "e" * 64),
    }
    assert store.verify("widths").findings == ()
    assert store.orphans() == 1
    assert store.account("widths").done + store.account("widths").diverged == len(keys[:2])


def _pages_overwritten(file: Path) -> None:
    with sqlite3.connect(file) as link:
        link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = link.execute("PRAGMA page_size").fetchone()[0]
        root = link.execute("select rootpage from sqlite_master where name = 'trials'").fetchone()[
            0
        ]
    link.close()
    with file.open("r+b") as target:
        target.seek((root - 1) * page)
        target.write(b"\xff" * page)


def test_a_damaged_database_is_refused_by_a_checked_opening_and_by_verify(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        save(store, 300)
        file = tmp_path / "sweeper.db"
    _pages_overwritten(file)

    with pytest.raises(StoreError, match=r"(malformed|invalid|corrupt|btree).*move it away"):
        Store.open(tmp_path, checked=True)
    with (
        pytest.raises(StoreError, match="damaged; nothing was changed"),
        Store.open(tmp_path) as store,
    ):
        store.verify()


def test_rows_that_refer_to_nothing_are_told(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        keys = filled(store)
        with sqlite3.connect(tmp_path / "sweeper.db") as link:
            link.execute("delete from trials where key = ?", [keys[3]])
        link.close()

        found = store.verify(repair=True)

    kinds = [finding.kind for finding in found.findings]
    assert kinds == ["dangling", "unknown"]
    assert "1 rows refer to rows of trials" in found.findings[0].what


def test_a_new_database_is_not_made_under_the_log_of_a_lost_one(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        save(store, 1)
        file = tmp_path / "sweeper.db"
    log = Path(f"{file}-wal")
    file.unlink()
    log.write_bytes(b"frames")

    with pytest.raises(StoreError, match=r"its log sweeper\.db-wal is there.*move the log away"):
        Store.open(tmp_path, create=True)

    assert not file.exists()
    log.unlink()
    with Store.open(tmp_path, checked=True, create=True) as store:
        assert store.orphans() == 0


def test_output_of_a_trial_that_is_not_known_is_told_once_it_is_a_day_old(store: Store) -> None:
    keys = filled(store)
    for key in (keys[0], "e" * 64, "f" * 64):
        put(store, store.paths.output(key, 1), b"printed")
    aged(store, store.paths.output("f" * 64, 1))
    (found,) = store.verify().findings
    assert (found.kind, found.repair) == ("unknown", None)
    assert "f" * 64 in found.where

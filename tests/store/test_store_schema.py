"""The schema: made by migrations, never mistaken, never started over in silence."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from old_stores import restore_baseline
from on_disk import on_disk
from sample_store import save, study
from store_places import written

from sweeper.errors import StoreError
from sweeper.store import schema
from sweeper.store.records import Stand
from sweeper.store.store import Store
from sweeper.store.tables import SCHEMA, SCHEMA_TABLE, metadata

FIXTURES = Path(__file__).parent / "fixtures"


def test_migrations_and_tables_agree(location: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    Store.open(location, create=True).close()
    with written(location) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": SCHEMA_TABLE})
        assert compare_metadata(context, metadata) == []


def test_the_last_migration_is_the_schema_that_the_code_reads() -> None:
    from alembic.script import ScriptDirectory

    assert ScriptDirectory(str(schema.MIGRATIONS)).get_current_head() == SCHEMA
    assert SCHEMA in schema.known_revisions()


def test_opening_a_current_store_does_not_migrate_it(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store.open(location, create=True).close()
    monkeypatch.setattr("alembic.command.upgrade", None)

    Store.open(location).close()


def test_a_database_of_the_first_released_schema_opens_with_all_it_holds(location: str) -> None:
    restore_baseline(location, "0001")

    with Store.open(location, create=False) as store:
        account = store.account("baseline")
        frame = store.frame("baseline")
        assert (account.declared, account.done, account.diverged, account.failed) == (4, 1, 1, 1)
        assert account.hidden == 1
        assert account.causes[0].cause == "bug: ValueError: größe"
        assert frame["outcome"].tolist() == ["completed", "diverged", "failed", "missing"]
        assert frame["loss"].tolist()[0] == 2.5
        assert store.marks("baseline")["value"].tolist() == [3.5]
        assert store.estimates("baseline", "learning_rate")[0].value == 0.25
        kept = store.query(
            "select number, state, attempts.metrics, results.metrics from attempts "
            "left join results on attempt_id = attempts.id order by attempts.id"
        ).rows
        assert [row[:2] for row in kept] == [(1, "completed"), (1, "diverged"), (1, "bug")]
        assert all(row[2] == row[3] for row in kept)
        assert "2.5" in str(kept[0][2])
        assert not any(row[0] for row in store.query("select excused from attempts").rows)
        assert store.save_study(study("baseline"), []).hidden == 4


def test_a_database_of_the_second_schema_opens_with_all_it_holds(location: str) -> None:
    restore_baseline(location, "0002")

    with Store.open(location, create=False) as store:
        account = store.account("baseline")
        assert (account.declared, account.done, account.diverged) == (4, 1, 1)
        assert (account.failed, account.pending, account.hidden) == (1, 1, 1)
        frame = store.frame("baseline")
        assert frame["outcome"].tolist() == ["completed", "diverged", "failed", "missing"]
        assert frame["attempts"].tolist() == [2, 1, 1, 1]
        kept = store.query("select number, state, metrics, excused from attempts order by id").rows
        assert [row[:2] for row in kept] == [
            (1, "completed"),
            (1, "diverged"),
            (1, "bug"),
            (2, "completed"),
            (1, "bug"),
        ]
        assert "2.25" in str(kept[3][2])
        assert [bool(row[3]) for row in kept] == [False] * 4 + [True]


def test_a_database_of_the_third_schema_opens_with_all_it_holds(location: str) -> None:
    restore_baseline(location, "0003")

    with Store.open(location, create=False) as store:
        wishes = store.wishes_of("baseline")
        assert [(wish.kind, wish.variant, wish.made_by) for wish in wishes] == [
            ("stop", None, "ann@nowhere"),
            ("pause", "default", "ann@nowhere"),
            ("stop", None, "bob@nowhere"),
        ]
        key = wishes[2].key
        (controller,) = store.controllers_of("baseline")
        assert (controller.slots, controller.doing, controller.alive) == (2, "running", False)
        assert key is not None and controller.trials[key] == Stand(step=5, loss=3.5)
        assert controller.left_seconds is None


def test_a_database_of_the_fourth_schema_opens_with_all_it_holds(location: str) -> None:
    restore_baseline(location, "0004")

    with Store.open(location) as store:
        (controller,) = store.controllers_of("baseline")
        assert controller.left_seconds == 90.0
        assert store.account("baseline").done == 1
        assert store.verify("baseline").trials == 5


def test_every_schema_has_a_fixture() -> None:
    kept = {path.stem.removeprefix("baseline-") for path in FIXTURES.glob("baseline-*.sql")}

    assert kept == schema.known_revisions()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_schema_is_refused(location: str, read_only: bool) -> None:
    Store.open(location, create=True).close()
    with written(location) as connection:
        connection.exec_driver_sql(f"update {SCHEMA_TABLE} set version_num = '9999'")

    with pytest.raises(StoreError, match=r"'9999' and this sweeper knows up to .*upgrade sweeper"):
        Store.open(location, read_only=read_only, create=True)


def test_an_older_schema_is_not_migrated_by_a_reader(location: str) -> None:
    restore_baseline(location, "0001")

    with pytest.raises(
        StoreError,
        match=r"is older than .*opened for reading alone; `sweeper status` migrates it where",
    ):
        Store.open(location, read_only=True)


def test_another_programs_database_is_left_alone(location: str) -> None:
    Store.open(location, create=True).close()
    with written(location) as connection:
        connection.exec_driver_sql(f"drop table {SCHEMA_TABLE}")

    with pytest.raises(StoreError, match=r"tables of another program.*database of its own"):
        Store.open(location, create=True)


@pytest.mark.parametrize("cut", ["emptied", "overwritten", "halved"])
def test_a_damaged_file_is_told_and_never_started_over(tmp_path: Path, cut: str) -> None:
    with Store.open(tmp_path, create=True) as store:
        save(store, 200)
        file = on_disk(store.paths).database
    size = file.stat().st_size
    if cut == "overwritten":
        file.write_bytes(b"\0" * size)
    else:
        os.truncate(file, 0 if cut == "emptied" else size // 2)
    before = file.read_bytes()

    with (
        pytest.raises(StoreError, match=rf"store {file}: .*(backup|damaged)"),
        Store.open(tmp_path, create=True) as store,
    ):
        store.frame("widths")

    assert file.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match=r"file/store/sweeper\.db: Not a directory; check that"):
        Store.open(tmp_path / "file" / "store", create=True)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody may write")
def test_a_folder_that_may_not_be_written_is_told() -> None:
    with pytest.raises(StoreError, match=r"cannot create /proc/store/sweeper\.db: .*--store"):
        Store.open("/proc/store", create=True)


def test_a_failed_creation_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(StoreError, match="No space left on device"):
        Store.open(tmp_path, create=True)

    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_hard_links_holds_a_store_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    with Store.open(tmp_path, create=True) as store:
        save(store, 1)

    assert [path.name for path in tmp_path.iterdir()] == ["sweeper.db"]


def test_a_store_copied_to_another_folder_is_the_same_store(tmp_path: Path) -> None:
    with Store.open(tmp_path / "one", create=True) as store:
        save(store, 3)

    shutil.copytree(tmp_path / "one", tmp_path / "two")

    with Store.open(tmp_path / "two", read_only=True) as copy:
        assert copy.account("widths").pending == 3


def test_a_store_in_a_folder_that_may_not_be_written_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(tmp_path, create=True) as store:
        save(store, 3)
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    with Store.open(tmp_path, read_only=True) as reader:
        assert reader.account("widths").pending == 3
        assert reader.query("select count(*) from trials").rows == [(3,)]

    assert [path.name for path in tmp_path.iterdir()] == ["sweeper.db"]

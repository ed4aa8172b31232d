"""Which complaints of a database may pass by themselves."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from sweeper.errors import StoreAway, StoreMoved, StoreReadOnly
from sweeper.store.faults import has_locks, store_fault

SOCKET_GONE = (
    'connection is bad: connection to server on socket "/tmp/.s.PGSQL.5432" failed: '
    "No such file or directory\n\tIs the server running locally and accepting connections on "
    "that socket?"
)


@pytest.mark.parametrize(
    "words",
    [
        "database is locked",
        "consuming input failed: server closed the connection unexpectedly",
        "terminating connection due to administrator command",
        SOCKET_GONE,
        'connection to server at "host", port 5432 failed: Connection refused',
        "could not receive data from server: Connection reset by peer",
        "the database system is starting up",
        'connection failed: FATAL: too many connections for role "us"',
        "FATAL: sorry, too many clients already",
        "canceling statement due to statement timeout",
    ],
)
def test_a_store_that_is_away_is_told_from_one_that_is_wrong(words: str) -> None:
    fault = store_fault("here", RuntimeError(words))
    assert isinstance(fault, StoreAway)
    assert str(fault).startswith("store here: ")


@pytest.mark.parametrize(
    "words",
    [
        'connection failed: connection to server at "host" failed: FATAL: password authentication '
        'failed for user "me"',
        'connection failed: connection to server on socket "/tmp" failed: FATAL: role "me" does '
        "not exist",
        "database disk image is malformed",
        "unable to open database file",
        "database or disk is full",
    ],
)
def test_what_no_waiting_mends_is_not_waited_for(words: str) -> None:
    fault = store_fault("here", RuntimeError(words))
    assert not isinstance(fault, StoreAway)
    assert "; " in str(fault), "it says what to do"


@pytest.mark.parametrize(
    "words",
    [
        'connection failed: connection to server at "host" failed: FATAL: database "d" does not '
        "exist DETAIL: It seems to have just been dropped or renamed.",
        'relation "attempts" does not exist LINE 1: UPDATE attempts SET state=$1',
        "no such table: attempts",
    ],
)
def test_a_database_that_was_dropped_or_emptied_ends_a_run(words: str) -> None:
    fault = store_fault("here", RuntimeError(words))
    assert isinstance(fault, StoreMoved)
    assert "dropped or emptied" in str(fault) and "password" not in str(fault)


@pytest.mark.parametrize("name", ["SQLITE_BUSY", "SQLITE_IOERR_LOCK", "SQLITE_IOERR_SHMLOCK"])
def test_a_file_system_without_locks_is_named_as_such(tmp_path: Path, name: str) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = name
    file = tmp_path / "sweeper.db"
    file.touch()
    fault = store_fault("here", error, file, can_lock=lambda file: False)
    assert "cannot lock files" in str(fault)
    assert "a local disk, or use PostgreSQL" in str(fault)
    assert not isinstance(fault, StoreAway), "nobody waits for it"
    assert "free some space" in str(store_fault("here", error, file))
    assert has_locks(file)


def test_a_full_server_is_no_wrong_password() -> None:
    said = str(store_fault("here", RuntimeError('FATAL: too many connections for role "us"')))
    assert "takes no more connections" in said and "password" not in said


@pytest.mark.parametrize(
    "words", ["attempt to write a readonly database", "permission denied for table studies"]
)
def test_what_may_not_be_written_is_a_kind_of_its_own(words: str) -> None:
    assert isinstance(store_fault("here", RuntimeError(words)), StoreReadOnly)


def test_a_file_system_mounted_for_reading_alone_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorname = "SQLITE_CANTOPEN"
    file = tmp_path / "sweeper.db"
    file.touch()
    monkeypatch.setattr("os.access", lambda *asked: False)
    fault = store_fault("here", error, file, can_lock=lambda file: True)
    assert isinstance(fault, StoreReadOnly)
    file.unlink()
    assert not isinstance(store_fault("here", error, file), StoreReadOnly)

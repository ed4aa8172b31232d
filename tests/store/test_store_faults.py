"""Which complaints of a database may pass by themselves."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from sweeper.errors import StoreAway, StoreMoved, StoreReadOnly
from sweeper.store.faults import file_system, has_locks, network_warning, store_fault

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
    assert re.search(r"the file system there, \w+, cannot lock files", str(fault))
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


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /data rw shared:2 - nfs4 server:/data rw,vers=4.2
31 30 0:41 / /data/near rw - xfs /dev/sdb rw
32 22 0:42 / /with\\040space rw - fuse.sshfs host:/x rw
33 22 0:43 / /data2 rw - cifs //host/x rw
"""


@pytest.mark.parametrize(
    ("place", "kind", "warned"),
    [
        ("/home/x/sweeper.db", "ext4", False),
        ("/data/sweeper.db", "nfs4", True),
        ("/data/near/sweeper.db", "xfs", False),
        ("/data2/sweeper.db", "cifs", True),
        ("/with space/sweeper.db", "fuse.sshfs", True),
    ],
)
def test_a_file_system_that_other_machines_share_is_said_by_name(
    tmp_path: Path, place: str, kind: str, warned: bool
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS, encoding="utf-8")

    assert file_system(Path(place), mounts) == kind
    warning = network_warning(Path(place), mounts)
    assert (warning is not None) == warned
    assert warning is None or (f"lies on {kind}" in warning and "PostgreSQL" in warning)
    assert network_warning(Path(place), tmp_path / "nothing") is None

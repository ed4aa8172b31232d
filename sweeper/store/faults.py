"""What a database's complaint means, and what to do about it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sweeper.errors import StoreAway, StoreError, StoreMoved, StoreReadOnly

DAMAGED = (
    "the file is damaged; nothing was changed. Restore it from a backup, or move it away (with "
    "the files sweeper.db-wal and sweeper.db-shm, if they are there) and run the studies again: "
    "finished results are taken over from their curve files"
)
"""What to do about a database file that cannot be read."""

UTF8 = (
    "sweeper needs a database in UTF-8; make one with: create database NAME encoding 'UTF8' "
    "template template0"
)
"""What to do about a database of another encoding."""

_READ_ONLY = ("readonly database", "read-only transaction", "permission denied", "read-only file")
"""Words of complaints about writing where one may not."""

_ADVICE: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("is not a database", "malformed", "file is encrypted", "invalid page in block"),
        DAMAGED,
    ),
    (
        ("disk is full", "disk i/o error", "no space left"),
        "free some space on its disk and run the same command again: what was recorded is kept",
    ),
    (
        ("database is locked", "table is locked", "lock timeout"),
        "another program has been writing for 30 seconds; close it (a database browser with an "
        "open edit?) and run the same command again",
    ),
    (
        ("unable to open database file",),
        "check that its folder exists and that you may write there, or choose another with "
        "--store or SWEEPER_STORE; a database with a log (-wal) beside it, in a folder where you "
        "may not write, is read from a copy of both",
    ),
    (
        ("permission denied for ",),
        "this role lacks a right; have the owner of the database grant it (docs/store.md), or "
        "choose another store with --store or SWEEPER_STORE",
    ),
    (
        _READ_ONLY,
        "you may not write there; ask for permission or choose another store with --store or "
        "SWEEPER_STORE",
    ),
    (
        ("foreign key",),
        "a trial has to be saved with its study before it is claimed or recorded",
    ),
    (
        ("unsupported startup parameter",),
        "a pooler stands before the server, which takes no options of a session: leave options "
        "out of the URL, and set them for the role (alter role ... set ...)",
    ),
    (
        ("too many clients", "too many connections", "connection slots are reserved"),
        "the server takes no more connections: close others, or raise its max_connections (or "
        "the limit of the role or database), then run the same command again",
    ),
    (
        ("statement timeout",),
        "the server ends a statement sooner than a writer may have to wait for another; set "
        "statement_timeout to 0, or above 30 s, for this role or in the options of the URL",
    ),
    (
        ("not representable", "has no equivalent in encoding", "sql_ascii"),
        UTF8,
    ),
    (
        ("password authentication", "no password supplied", "role ", "does not exist"),
        "check the user, the password and the name of the database in the URL",
    ),
    (
        ("connection", "could not translate host", "timeout expired", "server closed"),
        "check that the server runs and that this machine reaches it, then run the same command "
        "again",
    ),
)

_GONE = re.compile(
    r"database .* does not exist|relation .* does not exist|schema .* does not exist|no such table"
)
"""Complaints about a database that was dropped or emptied; waiting brings nothing back."""

_LOCKING = ("SQLITE_BUSY", "SQLITE_IOERR", "SQLITE_PROTOCOL", "SQLITE_CANTOPEN", "SQLITE_LOCKED")
"""Complaints of SQLite that a file system without locks may be behind."""

_REFUSED = re.compile(
    r"password authentication|no password supplied|no pg_hba.conf entry|not permitted to log in"
    r"|role .* does not exist"
)
"""Words of a server that refuses a user, who is refused again however long he waits."""

_PASSING = (
    "database is locked",
    "table is locked",
    "lock timeout",
    "connection refused",
    "connection failed",
    "connection is lost",
    "connection timeout",
    "connection reset",
    "is the server running",  # libpq's question where the socket of a stopped server is gone
    "consuming input failed",
    "terminating connection",
    "server closed",
    "starting up",
    "shutting down",
    "in recovery mode",
    "timeout expired",
    "statement timeout",
    "too many clients",
    "too many connections",
    "connection slots are reserved",
)
"""Words of complaints that may pass by themselves."""


_PROBE = """
import errno, fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1 << 40)
    except OSError as fault:
        sys.exit(9 if fault.errno not in (errno.EAGAIN, errno.EACCES) else 0)
"""
"""Locks a byte that nobody else locks. In a process of its own: SQLite would lose its locks of a
file that is opened and closed beside it."""


def has_locks(file: Path) -> bool:
    """Returns False if the file system of a file certainly cannot lock it."""
    command = [sys.executable, "-I", "-c", _PROBE, str(file)]
    try:
        return subprocess.run(command, capture_output=True, timeout=20).returncode != 9
    except (OSError, subprocess.TimeoutExpired):
        return True


_SHARED = (
    "9p afs beegfs ceph cifs fuse fuseblk glusterfs gpfs lustre nfs nfs4 panfs pvfs2 smb3 smbfs "
    "virtiofs wekafs"
)
"""File systems that other machines may share, on which SQLite's locks and its log, which is
memory that processes share, hold for one machine alone, if at all. FUSE may be anything."""

_MOUNTS = Path("/proc/self/mountinfo")


def file_system(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """Returns the kind of file system that a path lies on, such as ``ext4`` or ``nfs4``; None
    where the system does not say."""
    place = os.path.realpath(path)
    found: tuple[int, str] | None = None
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4])
        inside = place == point or place.startswith(f"{point.rstrip('/')}/")
        if inside and (found is None or len(point) >= found[0]):
            found = len(point), after.split()[0]
    return found[1] if found else None


def network_warning(file: Path, mounts: Path = _MOUNTS) -> str | None:
    """Returns what a person should know of an SQLite database on a network file system; None on
    any other."""
    kind = file_system(file, mounts)
    if kind is None or kind.partition(".")[0] not in _SHARED.split():
        return None
    return (
        f"{file} lies on {kind}, a file system that other machines may share: an SQLite "
        "database there is for this machine alone, and may be damaged if another one opens it; "
        "keep it on a local disk, or use PostgreSQL (--store postgresql://...); curves and "
        "checkpoints may be shared (SWEEPER_FILES)"
    )


def _is_read_only(file: Path | None, name: str) -> bool:
    """Whether SQLite could not open a file since it cannot make its log beside it, as where a
    file system is mounted for reading alone."""
    if file is None or not name.startswith("SQLITE_CANTOPEN"):
        return False
    return file.exists() and not os.access(file.parent, os.W_OK)


def store_fault(
    where: str,
    error: BaseException,
    file: Path | None = None,
    *,
    can_lock: Callable[[Path], bool] = has_locks,
) -> StoreError:
    """Returns the error for a database's complaint: the place, its words, and what to do.

    Args:
        where: the store as it may be shown, without a password.
        error: what the driver raised.
        file: of an SQLite database.
        can_lock: tells whether a file can be locked.
    """
    name = getattr(error, "sqlite_errorname", "") or ""
    if file is not None and name.startswith(_LOCKING) and not can_lock(file):
        kind_of_disk = file_system(file)
        named = f", {kind_of_disk}," if kind_of_disk else ""
        return StoreError(
            f"store {where}: the file system there{named} cannot lock files ({error}), which "
            "SQLite needs; put the store on a local disk, or use PostgreSQL (--store "
            "postgresql://...)"
        )
    words = " ".join(str(error).split()) or type(error).__name__
    lowered = words.lower()
    kind: type[StoreError] = StoreError
    if _GONE.search(lowered):
        return StoreMoved(
            f"store {where}: {words}; check the name of the database; if it was dropped or "
            "emptied while it was in use, put it back, or an empty one in its place, and run the "
            "same command again: what is missing is taken over from its curve files"
        )
    passing = any(fragment in lowered for fragment in _PASSING)
    if passing and not _REFUSED.search(lowered):
        kind = StoreAway
    elif any(fragment in lowered for fragment in _READ_ONLY) or _is_read_only(file, name):
        kind = StoreReadOnly
    for fragments, advice in _ADVICE:
        if any(fragment in lowered for fragment in fragments):
            return kind(f"store {where}: {words}; {advice}")
    return kind(f"store {where}: {words}")

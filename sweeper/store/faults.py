"""What a database's complaint means, and what to do about it."""

from __future__ import annotations

from sweeper.errors import StoreAway, StoreError

DAMAGED = (
    "the file is damaged; nothing was changed. Restore it from a backup, or move it away (with "
    "the files sweeper.db-wal and sweeper.db-shm, if they are there) and run the studies again: "
    "finished results are taken over from their curve files"
)
"""What to do about a database file that cannot be read."""

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
        "--store or SWEEPER_STORE",
    ),
    (
        ("readonly database", "read-only transaction", "permission denied", "read-only file"),
        "you may not write there; ask for permission or choose another store with --store or "
        "SWEEPER_STORE",
    ),
    (
        ("foreign key",),
        "a trial has to be saved with its study before it is claimed or recorded",
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
)
"""Words of complaints that may pass by themselves."""


def store_fault(where: str, error: BaseException) -> StoreError:
    """Returns the error for a database's complaint: the place, its words, and what to do.

    Args:
        where: the store as it may be shown, without a password.
        error: what the driver raised.
    """
    words = " ".join(str(error).split()) or type(error).__name__
    lowered = words.lower()
    kind = StoreAway if any(fragment in lowered for fragment in _PASSING) else StoreError
    for fragments, advice in _ADVICE:
        if any(fragment in lowered for fragment in fragments):
            return kind(f"store {where}: {words}; {advice}")
    return kind(f"store {where}: {words}")

"""What a database's complaint means, and what to do about it."""

from __future__ import annotations

from sweeper.errors import StoreError

_ADVICE: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("is not a database", "malformed", "file is encrypted", "invalid page in block"),
        "the file is damaged; nothing was changed. Restore it from a backup, or save what can be "
        "read with `sqlite3 sweeper.db .recover`, or move it away to start a new store",
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


def store_fault(where: str, error: BaseException) -> StoreError:
    """Returns the error for a database's complaint: the place, its words, and what to do.

    Args:
        where: the store as it may be shown, without a password.
        error: what the driver raised.
    """
    words = " ".join(str(error).split()) or type(error).__name__
    lowered = words.lower()
    for fragments, advice in _ADVICE:
        if any(fragment in lowered for fragment in fragments):
            return StoreError(f"store {where}: {words}; {advice}")
    return StoreError(f"store {where}: {words}")

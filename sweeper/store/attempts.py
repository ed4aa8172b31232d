"""Leases: who runs which trial now, and what happens when nobody answers any more."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from sweeper.errors import StoreError
from sweeper.outcome import ACCEPTED
from sweeper.store.database import current_time, present_in, rows_in
from sweeper.store.owner import Owner
from sweeper.store.records import Claim, Holder
from sweeper.store.tables import attempts, results, trials

RUNNING = "running"
"""State of an attempt that has not ended; every other state is the kind of its outcome."""


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """A running attempt of another machine: its id and host, when its lease ends by the clock of
    that host, and whether it has ended by the clock of this one."""

    attempt: int
    host: str
    expires_at: datetime | None
    lapsed: bool


def claim(
    connection: Connection,
    keys: Iterable[str],
    *,
    owner: Owner,
    lease_s: float,
    given_up: Collection[Elsewhere] | None = None,
) -> list[Claim]:
    """Claims every key without an accepted result that nobody alive is running.

    A running attempt is given up (``lost_worker``) when its lease has lapsed, or at once when
    its owner was a process of this machine that has ended. Of several processes that claim a key
    at once, one is given it. What the owner runs already it is given again as the same attempt:
    the one that asks once more did not hear of its commit.

    Args:
        connection: inside a writing transaction.
        keys: keys of saved trials; a key given twice is claimed once.
        owner: who will run them.
        lease_s: seconds for which the claim holds unless :func:`heartbeat` renews it.
        given_up: of the attempts that :func:`held_elsewhere` tells of, those whose lease has been
            seen to stand still; no other of them is taken over. None goes by the clock alone.

    Returns:
        The claims, in the order of the keys.

    Raises:
        StoreError: a key belongs to no saved trial.
    """
    wanted = list(dict.fromkeys(keys))
    require_trials(connection, wanted)
    taken = present_in(connection, results.c.trial_key, wanted)
    wanted = [key for key in wanted if key not in taken]
    claims = _held_of(connection, owner, wanted, lease_s)
    taken = close_lost(connection, [key for key in wanted if key not in claims], given_up)
    now = current_time(connection)
    numbers = last_numbers(connection, wanted)
    fence = next_fence(connection)
    free = [key for key in wanted if key not in taken and key not in claims]
    new = [
        Claim(key=key, attempt=numbers.get(key, 0) + 1, fence=fence + index)
        for index, key in enumerate(free)
    ]
    if new:
        rows = [attempt_row(item, owner, now, lease_s=lease_s) for item in new]
        connection.execute(insert(attempts), rows)
    claims |= {item.key: item for item in new}
    return [claims[key] for key in wanted if key in claims]


def _held_of(
    connection: Connection, owner: Owner, keys: Sequence[str], lease_s: float
) -> dict[str, Claim]:
    """What an owner runs of these keys, renewed."""
    running = select(attempts).where(_held_by(owner))
    held = list(rows_in(connection, running, attempts.c.trial_key, keys))
    if held:
        expires = current_time(connection) + timedelta(seconds=lease_s)
        renewed = update(attempts).where(attempts.c.id == bindparam("at_id"))
        connection.execute(renewed.values(expires_at=expires), [{"at_id": row.id} for row in held])
    return {
        row.trial_key: Claim(key=row.trial_key, attempt=row.number, fence=row.fence)
        for row in held
    }


def heartbeat(connection: Connection, owner: Owner, lease_s: float) -> frozenset[str]:
    """Renews the leases of an owner; returns the keys that it still holds. What it had claimed
    and is not among them has ended, or was given to somebody else."""
    expires = current_time(connection) + timedelta(seconds=lease_s)
    renewed = update(attempts).where(_held_by(owner)).values(expires_at=expires)
    held = connection.execute(renewed.returning(attempts.c.trial_key))
    return frozenset(held.scalars())


def holders(connection: Connection, keys: Sequence[str]) -> dict[str, Holder]:
    """Returns who runs which of the trials now, by key; what nobody alive runs is left out."""
    running = select(attempts).where(attempts.c.state == RUNNING)
    now, is_alive = current_time(connection), liveness()
    return {
        row.trial_key: Holder(host=row.host, pid=row.pid, expires_at=row.expires_at)
        for row in rows_in(connection, running, attempts.c.trial_key, keys)
        if lost_reason(row, now, is_alive) is None
    }


def held_elsewhere(connection: Connection, keys: Sequence[str]) -> dict[str, Elsewhere]:
    """Returns running attempts of other machines, by key, where leases go by the clock of each;
    on a server all go by the server's."""
    if connection.dialect.name != "sqlite":
        return {}
    running, now = select(attempts).where(attempts.c.state == RUNNING), current_time(connection)
    return {
        row.trial_key: _elsewhere(row, now)
        for row in rows_in(connection, running, attempts.c.trial_key, keys)
        if not _owner_of(row).shares_clock()
    }


def _elsewhere(row: Row[Any], now: datetime) -> Elsewhere:
    lapsed = row.expires_at is None or row.expires_at <= now
    return Elsewhere(attempt=row.id, host=row.host, expires_at=row.expires_at, lapsed=lapsed)


def release(connection: Connection, owner: Owner) -> int:
    """Closes what an owner still runs as ``stopped``, so that anybody may claim it; returns the
    number of attempts."""
    now, statement = current_time(connection), update(attempts).where(_held_by(owner))
    return connection.execute(
        statement.values(state="stopped", ended_at=now, expires_at=None)
    ).rowcount


def lost_reason(
    row: Row[Any], now: datetime, is_alive: Callable[[Owner], bool | None]
) -> str | None:
    """Returns why a running attempt is given up; None while its owner may still be working.

    A process that is certainly there keeps its lease whatever the clock says: it may have been
    stopped, or the clock set forward.
    """
    owner = _owner_of(row)
    alive = is_alive(owner)
    if alive:
        return None
    if alive is False:
        return f"process {owner.pid} on {owner.host} has ended"
    if row.expires_at is None or row.expires_at <= now:
        return f"the lease of {owner.id} ended at {row.expires_at}"
    return None


def liveness() -> Callable[[Owner], bool | None]:
    """Returns :meth:`Owner.is_alive`, which asks the system once per owner."""
    return functools.cache(Owner.is_alive)


def require_trials(connection: Connection, keys: Sequence[str]) -> None:
    """Raises StoreError if a key belongs to no saved trial."""
    known = present_in(connection, trials.c.key, keys)
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise StoreError(
            f"{len(unknown)} of {len(keys)} trials are not in the store, the first is "
            f"{unknown[0]!r}; save their study first"
        )


def last_numbers(connection: Connection, keys: Sequence[str]) -> dict[str, int]:
    """Returns the number of the last attempt of each trial that has one."""
    key, last = attempts.c.trial_key, func.max(attempts.c.number).label("last")
    rows = rows_in(connection, select(key, last).group_by(key), key, keys)
    return {row.trial_key: row.last for row in rows}


def with_result(connection: Connection, keys: Iterable[str]) -> set[str]:
    """Returns the trials of which an attempt ended with a result, accepted or withdrawn."""
    key = attempts.c.trial_key
    ended = select(key).where(attempts.c.state.in_(ACCEPTED))
    return {row.trial_key for row in rows_in(connection, ended, key, keys)}


def next_fence(connection: Connection) -> int:
    """Returns a fencing number above those of all attempts."""
    return (connection.execute(select(func.max(attempts.c.fence))).scalar() or 0) + 1


def attempt_row(
    item: Claim, owner: Owner, now: datetime, *, lease_s: float | None
) -> dict[str, Any]:
    """Returns the row of a running attempt; without a lease it is one that ends at once."""
    return {
        "trial_key": item.key,
        "number": item.attempt,
        "fence": item.fence,
        "owner": owner.id,
        "host": owner.host,
        "pid": owner.pid,
        "process": owner.started,
        "state": RUNNING,
        "started_at": now,
        "expires_at": None if lease_s is None else now + timedelta(seconds=lease_s),
        "accepted": False,
    }


def _held_by(owner: Owner) -> Any:
    return (attempts.c.owner == owner.id) & (attempts.c.state == RUNNING)


def _owner_of(row: Row[Any]) -> Owner:
    return Owner(id=row.owner, host=row.host, pid=row.pid, started=row.process)


def close_lost(
    connection: Connection,
    keys: Sequence[str],
    given_up: Collection[Elsewhere] | None = None,
) -> set[str]:
    """Closes the attempts whose owner is gone, of other machines' only those that are given up
    (see :func:`claim`); returns the keys that are really running."""
    running = select(attempts).where(attempts.c.state == RUNNING)
    now, is_alive = current_time(connection), liveness()
    if connection.dialect.name != "sqlite":
        given_up = None  # all go by the clock of the server
    alive: set[str] = set()
    lost: list[dict[str, Any]] = []
    for row in rows_in(connection, running, attempts.c.trial_key, keys):
        reason = lost_reason(row, now, is_alive)
        kept = given_up is not None and _elsewhere(row, now) not in given_up
        if reason is None or (kept and not _owner_of(row).shares_clock()):
            alive.add(row.trial_key)
        else:
            lost.append({"at_id": row.id, "to_error": reason})
    if lost:
        statement = update(attempts).where(attempts.c.id == bindparam("at_id"))
        closed = {"state": "lost_worker", "ended_at": now, "expires_at": None}
        connection.execute(statement.values(error=bindparam("to_error"), **closed), lost)
    return alive

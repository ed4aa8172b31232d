"""Which processes run a study, and what they last said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from sweeper.store.attempts import liveness, lost_reason
from sweeper.store.database import current_time
from sweeper.store.owner import Owner
from sweeper.store.records import Controller, Doing, Stand
from sweeper.store.tables import controllers


def report(
    connection: Connection,
    owner: Owner,
    study: str,
    *,
    executor: str,
    lease_s: float,
    doing: Doing,
    slots: int,
    trials: Mapping[str, Stand],
    left_seconds: float | None,
) -> None:
    """Keeps what a controller says of itself. With its first word those of the same study that
    have ended without one are closed.

    Args:
        connection: inside a writing transaction.
        owner: the controller, as it claims trials.
        study: name of the study that it runs.
        executor: ``ray`` or ``inline``.
        lease_s: seconds after which a controller of another machine that has not spoken again is
            taken for lost.
        doing: what it does.
        slots: workers that have worked for it.
        trials: how far those are that it runs, by key.
        left_seconds: how long the rest of the study will take it, if it knows.
    """
    now = current_time(connection)
    said = {
        "seen_at": now,
        "expires_at": now + timedelta(seconds=lease_s),
        "doing": doing,
        "slots": slots,
        "trials": {key: [stand.step, stand.loss] for key, stand in trials.items()},
        "left_seconds": left_seconds,
    }
    here = controllers.c.owner == owner.id
    if connection.execute(update(controllers).where(here).values(said)).rowcount:
        return
    _close_lost(connection, study, now)
    row = {
        "owner": owner.id,
        "study": study,
        "host": owner.host,
        "pid": owner.pid,
        "process": owner.started,
        "executor": executor,
        "started_at": now,
    }
    connection.execute(insert(controllers).values(row | said))


def leave(connection: Connection, owner: Owner) -> None:
    """Notes that a controller has ended."""
    now = current_time(connection)
    ended: dict[str, Any] = {"ended_at": now, "expires_at": None, "trials": {}}
    connection.execute(update(controllers).where(controllers.c.owner == owner.id).values(ended))


def controllers_of(connection: Connection, study: str | None = None) -> list[Controller]:
    """Returns the controllers that have not said that they ended, of one study or of all, in the
    order of their start; those that are lost are among them, and not alive."""
    now, is_alive = current_time(connection), liveness()
    return [_controller(row, now, is_alive) for row in _open(connection, study)]


def _open(connection: Connection, study: str | None) -> list[Row[Any]]:
    statement = select(controllers).where(controllers.c.ended_at.is_(None))
    if study is not None:
        statement = statement.where(controllers.c.study == study)
    ordered = statement.order_by(controllers.c.started_at, controllers.c.owner)
    return list(connection.execute(ordered))


def _controller(
    row: Row[Any], now: datetime, is_alive: Callable[[Owner], bool | None]
) -> Controller:
    said = {key: Stand(step=step, loss=loss) for key, (step, loss) in row.trials.items()}
    return Controller(
        owner=row.owner,
        study=row.study,
        host=row.host,
        pid=row.pid,
        executor=row.executor,
        doing=row.doing,
        slots=row.slots,
        trials=said,
        left_seconds=row.left_seconds,
        started_at=row.started_at,
        seen_at=row.seen_at,
        alive=lost_reason(row, now, is_alive) is None,
    )


def _close_lost(connection: Connection, study: str, now: datetime) -> None:
    is_alive = liveness()
    lost = [
        {"at_owner": row.owner, "to_ended": row.seen_at}
        for row in _open(connection, study)
        if lost_reason(row, now, is_alive) is not None
    ]
    if lost:
        closed = update(controllers).where(controllers.c.owner == bindparam("at_owner"))
        values: dict[str, Any] = {"ended_at": bindparam("to_ended"), "expires_at": None}
        connection.execute(closed.values(values), lost)

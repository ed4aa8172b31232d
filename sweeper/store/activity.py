"""What a study does at this moment, from the database alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, func, or_, select

from sweeper.outcome import FAILED
from sweeper.store.accounts import account, failures_of
from sweeper.store.attempts import RUNNING, liveness, lost_reason
from sweeper.store.controllers import controllers_of
from sweeper.store.database import current_time, rows_in
from sweeper.store.records import Account, Controller, Stand, StudyRecord, Wish
from sweeper.store.studies import find_study
from sweeper.store.tables import attempts, results, study_trials, trials
from sweeper.store.wishes import Place, held_back, wishes_of

WINDOW_SECONDS = 600.0
"""How far back a rate looks."""


@dataclass(frozen=True, kw_only=True)
class RunningTrial:
    """A trial that a live process works on.

    Attributes:
        key: its key.
        variants: where it stands in the study.
        config, seed: what is trained.
        attempt: number of the attempt.
        steps: optimizer steps of the whole trial; None where it does not say.
        stand: how far it is, as its controller said last; None before it has.
        host, pid: the controller's process.
        study: the study that its controller runs; None if the controller does not say.
        started_at: when the attempt began.
    """

    key: str
    variants: tuple[str, ...]
    config: Mapping[str, Any]
    seed: int
    attempt: int
    steps: int | None
    stand: Stand | None
    host: str
    pid: int | None
    study: str | None
    started_at: datetime


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How fast a study goes, over the last minutes.

    Attributes:
        seconds: how far back was looked.
        trials, tokens, flops: per second; what a trial has done counts by its share in them.
    """

    seconds: float
    trials: float
    tokens: float
    flops: float


@dataclass(frozen=True, kw_only=True)
class Activity:
    """What a study does.

    Attributes:
        study: the study.
        at: when, by the clock of the database.
        account: where its trials stand.
        running: trials that run, in the order of their start.
        controllers: processes that run it; those that are lost are among them, and not alive.
        wishes: what people want of it.
        stopped, paused: of the pending and running trials those that are held back.
        flops_left: training FLOPs of what is still to be done, without what is stopped.
        rate: how fast it goes; None where nothing has run lately.
    """

    study: StudyRecord
    at: datetime
    account: Account
    running: tuple[RunningTrial, ...]
    controllers: tuple[Controller, ...]
    wishes: tuple[Wish, ...]
    stopped: int
    paused: int
    flops_left: float
    rate: Rate | None

    @property
    def left_seconds(self) -> float | None:
        """Estimated seconds to the end of what is proposed so far: as its controllers say, several
        of them sharing the rest, or else by FLOPs; None where it is unknown, or nobody is at it.
        """
        account = self.account
        may_run = account.pending + account.running - self.stopped - self.paused > 0
        at_work = may_run and any(each.alive for each in self.controllers)
        said = [each.left_seconds for each in self.controllers if each.alive]
        if at_work and (known := [seconds for seconds in said if seconds is not None]):
            return 0.0 if 0 in known else 1 / math.fsum(1 / seconds for seconds in known)
        if self.rate is None or not self.rate.flops or not at_work:
            return None
        return self.flops_left / self.rate.flops

    @property
    def over(self) -> bool:
        """Whether nothing is left to wait for: nobody is at it, and nothing waits but what is
        stopped or has no room in the budget."""
        waits = self.account.pending - self.stopped if self.account.ceiling is None else 0
        alive = any(each.alive for each in self.controllers)
        return not (alive or self.account.running or waits > 0)


def activity(connection: Connection, study: str, *, window_s: float = WINDOW_SECONDS) -> Activity:
    """Returns what a study does at this moment.

    Args:
        connection: inside a transaction that sees one moment.
        study: name of the study.
        window_s: how far back the rate looks, in seconds.

    Raises:
        UnknownNameError: there is no such study.
    """
    record, now = find_study(connection, study), current_time(connection)
    working = controllers_of(connection)
    running = _running(connection, study, working, now)
    wanted, failed = wishes_of(connection, study), _failed(connection, study)
    held = held_back(wanted, _open_places(connection, study, failed) if wanted else ())
    stopped = {key for key, wish in held.items() if wish.kind == "stop"}
    done_share = {each.key: _share(each.stand, each.steps) for each in running}
    return Activity(
        study=record,
        at=now,
        account=account(connection, study),
        running=tuple(running),
        controllers=tuple(each for each in working if each.study == study),
        wishes=tuple(wanted),
        stopped=len(stopped),
        paused=len(held) - len(stopped),
        flops_left=_flops_left(connection, study, failed | stopped, done_share),
        rate=_rate(connection, study, done_share, now, window_s),
    )


def held_places(connection: Connection, study: str) -> dict[Place, Wish]:
    """Returns the wish that holds a trial back, by variant and key, for the trials of a study that
    would be run without it."""
    wanted = wishes_of(connection, study)
    places = _open_places(connection, study, _failed(connection, study)) if wanted else []
    held = held_back(wanted, places)
    return {place: held[place[1]] for place in places if place[1] in held}


def _open_places(connection: Connection, study: str, failed: Collection[str]) -> list[Place]:
    """Returns every place of a study whose trial may still be run: declared, without a result,
    and not failed."""
    statement = (
        select(study_trials.c.variant, study_trials.c.trial_key)
        .outerjoin(results, results.c.trial_key == study_trials.c.trial_key)
        .where(study_trials.c.study == study, ~study_trials.c.hidden)
        .where(results.c.trial_key.is_(None))
    )
    found = [(row.variant, row.trial_key) for row in connection.execute(statement)]
    return [place for place in found if place[1] not in failed]


def _failed(connection: Connection, study: str) -> set[str]:
    """The trials of a study that a plain run leaves alone because they failed."""
    attempted = select(attempts.c.trial_key).where(
        attempts.c.trial_key.in_(_members(study)), attempts.c.state.in_(FAILED)
    )
    failures = failures_of(connection, {*connection.execute(attempted).scalars()})
    return {key for key, failure in failures.items() if failure.final}


def _members(study: str) -> Select[Any]:
    """Selects the keys of a study's declared trials."""
    here = (study_trials.c.study == study) & ~study_trials.c.hidden
    return select(study_trials.c.trial_key).where(here).distinct()


def _running(
    connection: Connection, study: str, working: Sequence[Controller], now: datetime
) -> list[RunningTrial]:
    by_owner = {each.owner: each for each in working}
    statement = (
        select(attempts, trials.c.config, trials.c.seed, trials.c.steps, study_trials.c.variant)
        .join(study_trials, study_trials.c.trial_key == attempts.c.trial_key)
        .join(trials, trials.c.key == attempts.c.trial_key)
        .where(attempts.c.state == RUNNING)
        .where(study_trials.c.study == study, ~study_trials.c.hidden)
        .order_by(attempts.c.id, study_trials.c.position)
    )
    is_alive = liveness()
    rows: dict[str, list[Row[Any]]] = {}
    for row in connection.execute(statement):
        if lost_reason(row, now, is_alive) is None:
            rows.setdefault(row.trial_key, []).append(row)
    found = []
    for key, places in rows.items():
        row = places[0]
        controller = by_owner.get(row.owner)
        found.append(
            RunningTrial(
                key=key,
                variants=tuple(each.variant for each in places),
                config=row.config,
                seed=row.seed,
                attempt=row.number,
                steps=row.steps,
                stand=None if controller is None else controller.trials.get(key),
                host=row.host,
                pid=row.pid,
                study=None if controller is None else controller.study,
                started_at=row.started_at,
            )
        )
    return found


def _share(stand: Stand | None, steps: int | None) -> float:
    return min(1.0, stand.step / steps) if stand is not None and steps else 0.0


def _flops_left(
    connection: Connection, study: str, spared: Collection[str], done_share: Mapping[str, float]
) -> float:
    all_left = (
        select(func.sum(trials.c.flops))
        .outerjoin(results, results.c.trial_key == trials.c.key)
        .where(trials.c.key.in_(_members(study)), results.c.trial_key.is_(None))
    )
    # Of a hundred thousand trials few run, have failed or are stopped one by one.
    gone = dict(done_share) | dict.fromkeys(spared, 1.0)
    cost = select(trials.c.key, trials.c.flops)
    rows = rows_in(connection, cost, trials.c.key, gone)
    less = math.fsum((row.flops or 0.0) * gone[row.key] for row in rows)
    return max(0.0, float(connection.execute(all_left).scalar() or 0.0) - less)


def _rate(
    connection: Connection,
    study: str,
    done_share: Mapping[str, float],
    now: datetime,
    window_s: float,
) -> Rate | None:
    """The work that was done since the beginning of the window, or of the first attempt in it:
    of every attempt the share of its work that its time in the window has."""
    since = now - timedelta(seconds=window_s)
    columns = ("trial_key", "state", "accepted", "started_at", "ended_at")
    statement = (
        select(*(attempts.c[name] for name in columns), trials.c.tokens, trials.c.flops)
        .join(trials, trials.c.key == attempts.c.trial_key)
        .where(attempts.c.trial_key.in_(_members(study)))
        .where(or_(attempts.c.state == RUNNING, attempts.c.ended_at > since))
    )
    done, tokens, flops, first = 0.0, 0.0, 0.0, now
    for row in connection.execute(statement):
        if row.state == RUNNING and row.trial_key not in done_share:
            continue  # its controller is lost
        share = done_share[row.trial_key] if row.state == RUNNING else float(row.accepted)
        began, end = max(since, row.started_at), row.ended_at or now
        whole = max(1e-3, (end - row.started_at).total_seconds())
        share *= min(1.0, max(1e-3, (end - began).total_seconds()) / whole)
        first = min(first, began)
        done += share
        tokens += share * (row.tokens or 0)
        flops += share * (row.flops or 0.0)
    seconds = (now - first).total_seconds()
    if seconds <= 0 or not done:
        return None
    return Rate(
        seconds=seconds, trials=done / seconds, tokens=tokens / seconds, flops=flops / seconds
    )

"""Studies and their trials: what is declared, and what no longer is."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from sweeper.errors import RequestError, UnknownNameError
from sweeper.store.database import current_time, present_in, rows_in
from sweeper.store.records import IMPORTED, Changes, Membership, StudyRecord
from sweeper.store.tables import SCALE_COLUMNS, studies, study_trials, trials
from sweeper.trial import HASH_VERSION, Trial

_INT64 = 2**63

FEWEST_DIGITS = 6
"""Digits of a key that name a trial, if they name one alone."""

LISTED = 5
"""Trials that a message names."""

GROUP = 5_000
"""Rows that are inserted at a time."""


def save_study(
    connection: Connection, record: StudyRecord, declared: Sequence[Membership]
) -> Changes:
    """Writes a study and makes its members exactly the declared ones, in their order.

    Trials that the store does not know are added; members that are no longer declared are
    hidden and never deleted; declared ones that had been hidden come back.

    Raises:
        RequestError: the name is that of a study whose results were imported and the new one is
            to be run, or the other way round.
    """
    _require_same_origin(connection, record)
    _save_record(connection, current_time(connection), record)
    _insert_trials(connection, [member.trial for member in declared])
    return _set_members(connection, record.name, declared)


def add_trials(
    connection: Connection, study: str, added: Sequence[Membership], *, first: int
) -> None:
    """Adds members to a study that is saved; hidden ones come back, others stay as they are.

    Args:
        connection: inside a writing transaction.
        study: name of the study.
        added: the members.
        first: position of the first of them among the study's trials, from 0.
    """
    _insert_trials(connection, [member.trial for member in added])
    _set_members(connection, study, added, first=first, whole=False)


def all_studies(connection: Connection) -> list[StudyRecord]:
    """Returns all studies, the oldest first."""
    rows = connection.execute(select(studies).order_by(studies.c.created_at, studies.c.name))
    return [_study_of(row) for row in rows]


def find_study(connection: Connection, name: str) -> StudyRecord:
    """Returns a study by its name.

    Raises:
        UnknownNameError: there is none of this name.
    """
    row = connection.execute(select(studies).where(studies.c.name == name)).one_or_none()
    if row is None:
        known = connection.execute(select(studies.c.name)).scalars().all()
        kind = "study or file" if name.endswith((".yaml", ".yml")) else "study"
        raise UnknownNameError(kind, name, known)
    return _study_of(row)


def member_keys(connection: Connection, name: str) -> set[str]:
    """Returns the keys of a study's trials, hidden ones too.

    Raises:
        UnknownNameError: there is no such study.
    """
    find_study(connection, name)
    statement = select(study_trials.c.trial_key).where(study_trials.c.study == name)
    return set(connection.execute(statement).scalars())


def key_named(text: str, study: str, hidden: Mapping[str, bool]) -> str:
    """Returns the one key of a study that begins like this.

    Args:
        text: six or more digits of a key, as a person gives them to ``--key``.
        study: name of the study.
        hidden: its keys, and whether the study no longer declares them.

    Raises:
        RequestError: no key begins so, or several do, or the trial is hidden.
    """
    digits = text.lower()
    if not re.fullmatch(rf"[0-9a-f]{{{FEWEST_DIGITS},64}}", digits):
        raise RequestError(
            f"--key {text!r}: a key is {FEWEST_DIGITS} to 64 digits of 0-9 and a-f; "
            '`sweeper sql "select key from trials"` prints them'
        )
    found = [key for key in hidden if key.startswith(digits)]
    if len(found) != 1:
        listed = ", ".join(key[: max(12, len(digits) + 4)] for key in sorted(found)[:LISTED])
        fault = f"{len(found)} trials begin so ({listed}...); give more digits"
        raise RequestError(
            f"--key {digits}: "
            + (fault if found else f"no trial of study {study} has a key that begins so")
        )
    if hidden[found[0]]:
        raise RequestError(
            f"--key {digits}: the trial is hidden, because the file of study {study} no longer "
            "declares it; put its values back into the file and run it, then ask again"
        )
    return found[0]


def members_of(
    connection: Connection, name: str, *, but: Collection[str] = ()
) -> list[Membership]:
    """Returns the trials of a study that are not hidden, in their order, without what is derived
    from their settings; none where there is no such study.

    Args:
        connection: inside a transaction.
        name: name of the study.
        but: reasons of members that are left out.
    """
    columns = (trials.c[name] for name in ("key", "workload", "data", "config", "seed"))
    statement = (
        select(
            study_trials.c.variant,
            study_trials.c.reason,
            trials.c.workload_version.label("version"),
            *columns,
        )
        .join(trials, trials.c.key == study_trials.c.trial_key)
        .where(study_trials.c.study == name, ~study_trials.c.hidden)
        .where(study_trials.c.reason.not_in(but))
        .order_by(study_trials.c.position)
    )
    found = []
    for row in connection.execute(statement):
        values = dict(row._mapping)
        variant, reason = values.pop("variant"), values.pop("reason")
        found.append(Membership(trial=Trial(**values), variant=variant, reason=reason))
    return found


def derived_of(connection: Connection, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns what was derived from the settings of trials when they were planned, by key."""
    rows = rows_in(connection, select(trials.c.key, trials.c.derived), trials.c.key, keys)
    return {row.key: row.derived for row in rows}


def _study_of(row: Row[Any]) -> StudyRecord:
    return StudyRecord(**row._mapping)


def _require_same_origin(connection: Connection, record: StudyRecord) -> None:
    statement = select(studies.c.workload).where(studies.c.name == record.name)
    workload = connection.execute(statement).scalar_one_or_none()
    if workload is None or (workload == IMPORTED) == (record.workload == IMPORTED):
        return
    origin = "holds imported results" if workload == IMPORTED else "is planned and run here"
    raise RequestError(
        f"study {record.name}: the study of this name in the store {origin}; choose another name"
    )


def _save_record(connection: Connection, now: datetime, record: StudyRecord) -> None:
    values = {
        "question": record.question,
        "workload": record.workload,
        "scale": record.scale,
        "metric": record.metric,
        "goal": record.goal,
        "document": dict(record.document),
        "updated_at": now,
    }
    here = studies.c.name == record.name
    if connection.execute(update(studies).where(here).values(values)).rowcount == 0:
        connection.execute(
            insert(studies).values(values | {"name": record.name, "created_at": now})
        )


def _insert_trials(connection: Connection, added: Sequence[Trial]) -> None:
    """Inserts the trials that the store does not know; a known key is the same trial.

    They lie in the order of their keys, in which the database looks them up.
    """
    now = current_time(connection)
    by_key = {trial.key: trial for trial in added}
    known = present_in(connection, trials.c.key, by_key)
    new = [by_key[key] for key in sorted(by_key.keys() - known)]
    for start in range(0, len(new), GROUP):  # all rows at once would need much memory
        group = new[start : start + GROUP]
        connection.execute(insert(trials), [_trial_row(trial, now) for trial in group])


def _trial_row(trial: Trial, now: datetime) -> dict[str, Any]:
    return {
        "key": trial.key,
        "hash_version": HASH_VERSION,
        "workload": trial.workload,
        "workload_version": trial.version,
        "data": trial.data,
        "config": dict(trial.config),
        "seed": trial.seed,
        "derived": dict(trial.derived),
        "created_at": now,
        **scale_values(trial.config, trial.derived),
    }


def scale_values(config: Mapping[str, Any], derived: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the columns that people select by hold for a trial."""
    return {
        name: _scale_value(config, derived, name, kind) for name, kind in SCALE_COLUMNS.items()
    }


def take_up_costs(connection: Connection, costs: Mapping[str, Mapping[str, float]]) -> None:
    """Has trials cost what they were measured to, where planning had only assumed it.

    Args:
        connection: inside a writing transaction.
        costs: by key of the trial, by name.
    """
    columns = trials.c.key, trials.c.config, trials.c.derived
    for row in list(rows_in(connection, select(*columns), trials.c.key, costs)):
        assumed = row.derived.get("assumed", ())
        told = {k: v for k, v in costs[row.key].items() if k in assumed and 0 < v < math.inf}
        if told:
            derived = {**row.derived, **told}
            values = {"derived": derived, **scale_values(row.config, derived)}
            connection.execute(update(trials).where(trials.c.key == row.key).values(values))


def _scale_value(
    config: Mapping[str, Any], derived: Mapping[str, Any], name: str, kind: type
) -> Any:
    """The value for a column that people select by; None where it does not fit the column."""
    value = config.get(name, derived.get(name))
    if kind is str:
        return value if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if kind is float:
        return float(value)
    return int(value) if value == int(value) and abs(value) < _INT64 else None


def _set_members(
    connection: Connection,
    study: str,
    members: Sequence[Membership],
    *,
    first: int = 0,
    whole: bool = True,
) -> Changes:
    """Writes members from a position on; ``whole`` hides all others."""
    declared: dict[tuple[str, str], tuple[int, str]] = {}
    for position, member in enumerate(members, first):
        declared.setdefault((member.variant, member.trial.key), (position, member.reason))
    present = {
        (row.variant, row.trial_key): (row.position, row.reason, row.hidden)
        for row in connection.execute(select(study_trials).where(study_trials.c.study == study))
    }
    added = [
        _member_row(study, place, position, reason)
        for place, (position, reason) in sorted(declared.items())
        if place not in present
    ]
    kept = {place: new for place, new in declared.items() if place in present}
    restored = sum(present[place][2] for place in kept)
    gone = [
        _member_row(study, place, position, reason) | {"hidden": True}
        for place, (position, reason, hidden) in present.items()
        if whole and place not in declared and not hidden
    ]
    moved = [
        _member_row(study, place, position, reason)
        for place, (position, reason) in kept.items()
        if present[place] != (position, reason, False)
    ]
    for start in range(0, len(added), GROUP):
        connection.execute(insert(study_trials), added[start : start + GROUP])
    _update_members(connection, moved + gone)
    return Changes(
        added=len(added), kept=len(kept) - restored, hidden=len(gone), restored=restored
    )


def _member_row(study: str, place: tuple[str, str], position: int, reason: str) -> dict[str, Any]:
    variant, key = place
    return {
        "study": study,
        "variant": variant,
        "trial_key": key,
        "position": position,
        "reason": reason,
        "hidden": False,
    }


def _update_members(connection: Connection, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    columns = study_trials.c
    statement = (
        update(study_trials)
        .where(
            columns.study == bindparam("at_study"),
            columns.variant == bindparam("at_variant"),
            columns.trial_key == bindparam("at_key"),
        )
        .values({name: bindparam(f"to_{name}") for name in ("position", "reason", "hidden")})
    )
    connection.execute(
        statement,
        [
            {
                "at_study": row["study"],
                "at_variant": row["variant"],
                "at_key": row["trial_key"],
                "to_position": row["position"],
                "to_reason": row["reason"],
                "to_hidden": row["hidden"],
            }
            for row in rows
        ],
    )

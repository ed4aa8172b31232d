"""What people want of studies at work: that trials are stopped or paused, until it is lifted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from sweeper.errors import RequestError, UnknownNameError
from sweeper.store.database import current_time
from sweeper.store.records import IMPORTED, Wish, WishKind
from sweeper.store.studies import find_study, key_named
from sweeper.store.tables import study_trials, wishes

Place = tuple[str, str]
"""A variant of a study, and the key of a trial that stands in it."""

Target = tuple[str | None, str | None]
"""The variant and the key that a wish is about; None for all of them."""


def wishes_of(connection: Connection, study: str) -> list[Wish]:
    """Returns what is wanted of a study now, the oldest first; nothing of an unknown one."""
    statement = select(wishes).where(wishes.c.study == study).order_by(wishes.c.id)
    return [
        Wish(
            kind=row.wish,
            study=row.study,
            variant=row.variant,
            key=row.trial_key,
            made_at=row.made_at,
            made_by=row.made_by,
        )
        for row in connection.execute(statement)
    ]


def make_wish(
    connection: Connection,
    study: str,
    kind: WishKind,
    *,
    variants: Sequence[str] = (),
    keys: Sequence[str] = (),
    by: str,
) -> list[Wish]:
    """Has trials stopped or paused; returns what is wanted of the study now. What was wanted of
    the same trials before is forgotten: of two wishes for one target the last counts.

    Args:
        connection: inside a writing transaction.
        study: name of the study.
        kind: ``stop`` or ``pause``.
        variants: of these variants alone.
        keys: of these trials alone, by six or more digits of their keys. Without variants and
            keys it is the whole study.
        by: who wants it.

    Raises:
        RequestError: a key names no trial, several or a hidden one; or the study was imported.
        UnknownNameError: there is no such study or variant.
    """
    targets = _targets(connection, study, variants, keys)
    now = current_time(connection)
    for variant, key in targets:
        connection.execute(delete(wishes).where(_about(study, variant, key)))
        connection.execute(
            insert(wishes).values(
                study=study, variant=variant, trial_key=key, wish=kind, made_at=now, made_by=by
            )
        )
    return wishes_of(connection, study)


def lift_wishes(
    connection: Connection, study: str, *, variants: Sequence[str] = (), keys: Sequence[str] = ()
) -> list[Wish]:
    """Forgets what was wanted; returns it.

    Args:
        connection: inside a writing transaction.
        study: name of the study.
        variants: wishes about these variants alone.
        keys: wishes about these trials alone. Without variants and keys all wishes of the study
            are lifted, those about single variants and trials too.

    Raises:
        RequestError: as of :func:`make_wish`.
        UnknownNameError: as of :func:`make_wish`.
    """
    targets = _targets(connection, study, variants, keys)
    every = targets == [(None, None)]
    lifted = [w for w in wishes_of(connection, study) if every or (w.variant, w.key) in targets]
    for wish in lifted:
        connection.execute(delete(wishes).where(_about(study, wish.variant, wish.key)))
    return lifted


def held_back(wanted: Sequence[Wish], places: Iterable[Place]) -> dict[str, Wish]:
    """Returns the wish that holds a trial back, by key; of the others nothing.

    A trial that stands in several variants is held back if it is in each of them. It is stopped
    where any wish about it is to stop, but a trial that is only paused in one of its variants
    is waited for.

    Args:
        wanted: what is wanted of the study.
        places: where its trials stand.
    """
    found: dict[str, Wish | None] = {}
    for variant, key in places if wanted else ():
        here = [w for w in wanted if w.variant in (None, variant) and w.key in (None, key)]
        wish = min(here, key=lambda each: each.kind == "pause", default=None)
        if key not in found or wish is None or (found[key] is not None and wish.kind == "pause"):
            found[key] = wish
    return {key: wish for key, wish in found.items() if wish is not None}


def _targets(
    connection: Connection, study: str, variants: Sequence[str], keys: Sequence[str]
) -> list[Target]:
    if find_study(connection, study).workload == IMPORTED:
        raise RequestError(f"study {study} holds imported results, and nothing here runs it")
    if not (variants or keys):
        return [(None, None)]
    statement = select(study_trials.c.variant, study_trials.c.trial_key, study_trials.c.hidden)
    rows = connection.execute(statement.where(study_trials.c.study == study)).all()
    known = dict.fromkeys(row.variant for row in rows)
    for variant in variants:
        if variant not in known:
            raise UnknownNameError(f"variant of study {study}", variant, list(known))
    hidden: dict[str, bool] = {}
    for row in rows:
        hidden[row.trial_key] = hidden.get(row.trial_key, True) and row.hidden
    named = [key_named(text, study, hidden) for text in keys]
    return list(dict.fromkeys([*((v, None) for v in variants), *((None, k) for k in named)]))


def _about(study: str, variant: str | None, key: str | None) -> ColumnElement[Any]:
    """The condition that a row is about this target."""
    columns = wishes.c
    return (
        (columns.study == study)
        & columns.variant.is_not_distinct_from(variant)
        & columns.trial_key.is_not_distinct_from(key)
    )

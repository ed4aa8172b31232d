"""Derived quantities of a study's trials, read out of the database only when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from sweeper.store.tables import study_trials, trials

if TYPE_CHECKING:
    import pandas

Place = tuple[str, ...]
"""Keys from the outside in, for example ``("groups", "hidden", "learning_rate")``."""


def derived_places(connection: Connection, study: str) -> list[Place]:
    """Returns where numbers stand in the derived quantities of the first trial of each variant,
    sorted."""
    first = (
        select(study_trials.c.variant, func.min(study_trials.c.position).label("position"))
        .where(study_trials.c.study == study, ~study_trials.c.hidden)
        .group_by(study_trials.c.variant)
        .subquery()
    )
    statement = (
        select(trials.c.derived)
        .join(study_trials, study_trials.c.trial_key == trials.c.key)
        .join(
            first,
            (first.c.variant == study_trials.c.variant)
            & (first.c.position == study_trials.c.position),
        )
        .where(study_trials.c.study == study)
    )
    found = {
        place for (document,) in connection.execute(statement) for place in _numbers(document)
    }
    return sorted(found)


def derived_frame(
    connection: Connection, study: str, wanted: Mapping[str, Sequence[Place]]
) -> pandas.DataFrame:
    """Returns derived quantities, one row a trial of a study, indexed by its key.

    Args:
        connection: an open transaction.
        study: name of the study.
        wanted: column to the places where its number stands, the first that has one counts;
            NaN where none has.
    """
    import pandas  # imported here: everything but analysis does without it

    columns = [
        (
            func.coalesce(*(_number_at(place) for place in places))
            if len(places) > 1
            else _number_at(places[0])
        )
        for places in wanted.values()
    ]
    statement = (
        select(trials.c.key, *columns)
        .join(study_trials, study_trials.c.trial_key == trials.c.key)
        .where(study_trials.c.study == study)
        .distinct()
    )
    rows = [tuple(row) for row in connection.execute(statement)]
    frame = pandas.DataFrame.from_records(rows, columns=["key", *wanted])
    return frame.set_index("key").astype(dict.fromkeys(wanted, "float64"))


def _number_at(place: Place) -> Any:
    return trials.c.derived[place].as_float()


def _numbers(document: Any, above: Place = ()) -> Iterator[Place]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _numbers(value, (*above, key))
    elif isinstance(document, int | float) and not isinstance(document, bool):
        yield above

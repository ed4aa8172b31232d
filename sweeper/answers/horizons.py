"""Horizons: the marks inside runs, read as if each had been an end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeper.errors import AnalysisRefusal, RequestError
from sweeper.outcome import ACCEPTED
from sweeper.store import RUN_LENGTH, StudyRecord

if TYPE_CHECKING:
    import pandas

TOKENS, SHARE = "horizon_tokens", "horizon_share"
"""Columns of the horizon: tokens seen, or tokens seen over the tokens of the whole run."""

DECAYING = (
    "a mark inside a run is not the end of a run of that length: where the learning rate decays "
    "to the end of the run, the decay is still to come, and the optimum may lie elsewhere"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Horizon:
    """Trials at one or several horizons.

    Attributes:
        trials: one row a trial and horizon, with the column ``column``.
        column: :data:`TOKENS` or :data:`SHARE`.
        notes: sentences for the reader.
    """

    trials: pandas.DataFrame
    column: str
    notes: tuple[str, ...]


def at_horizons(
    trials: pandas.DataFrame, marks: pandas.DataFrame, record: StudyRecord, asked: str
) -> Horizon:
    """Returns the trials of a study as they stood at marks inside their runs.

    A trial that diverged later has the loss of its mark; one that had diverged by then stays
    diverged. ``tokens``, ``steps`` and ``flops`` are those spent by then. Marks of runs of
    different lengths are one horizon where they differ by a step or less.

    Args:
        trials: from :meth:`Store.frame`.
        marks: from :meth:`Store.marks`.
        record: the study, for its metric and scale.
        asked: ``all`` for every mark that all completed trials have (by tokens where all runs
            are equally long, else by share of the run), a number of tokens, or a share of the
            run up to 1. At a single horizon, scales whose trials do not all have it are left
            out.

    Raises:
        RequestError: the horizon is none of these.
        AnalysisRefusal: there is no such mark; the message lists those that there are.
    """
    import pandas

    wanted = _wanted(asked)
    column = _column(trials, wanted)
    table = _measured(trials, marks[marks["metric"] == record.metric], column)
    reference = _reference(table)
    if not (trials["outcome"] == "completed").any():
        raise AnalysisRefusal(_refusal(record, asked, column, reference))
    losses = _snapped(table, reference if wanted is None else [wanted])
    shared = _shared(trials, losses, record.scale)
    kept = shared[shared.all(axis=1) if wanted is None else shared.any(axis=1)]
    if kept.empty:
        raise AnalysisRefusal(_refusal(record, asked, column, reference))
    parts = [_at(trials, losses, column, record, row) for _, row in kept.iterrows()]
    return Horizon(
        trials=pandas.concat(parts, ignore_index=True),
        column=column,
        notes=tuple(_notes(kept, trials, table, record, column)),
    )


def _wanted(asked: str) -> float | None:
    """Returns tokens above 1, a share of the run up to 1, None for all."""
    text = asked.strip().lower()
    if text == "all":
        return None
    percent = text.endswith("%")
    try:
        value = float(text.removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0) or (percent and value > 1):
        raise RequestError(
            f"horizon {asked!r}: give all, a number of tokens such as 1e6, or a share of the run "
            "such as 0.5 or 50%"
        )
    return value


def _column(trials: pandas.DataFrame, wanted: float | None) -> str:
    if wanted is None:
        return TOKENS if trials["tokens"].nunique(dropna=False) == 1 else SHARE
    return SHARE if wanted <= 1 else TOKENS


def _measured(trials: pandas.DataFrame, marks: pandas.DataFrame, column: str) -> pandas.DataFrame:
    """Returns where each trial was measured, the end of a completed run included.

    Columns: key; place and step (the place after one step of the run) in the horizon's unit;
    length (of the run, in steps); loss.
    """
    import pandas

    whole = trials.drop_duplicates("key").set_index("key")
    seen = marks.drop_duplicates(["key", "tokens"])
    seen = seen[seen["tokens"] > 0]
    first = seen.drop_duplicates("key").set_index("key")
    step = (first["tokens"] / first["step"].clip(lower=1)).reindex(whole.index)
    length = whole["tokens"].fillna(seen.groupby("key")["tokens"].max())
    ends = whole.loc[whole["outcome"] == "completed", "loss"]
    table = pandas.DataFrame(
        {
            "key": [*seen["key"], *ends.index],
            "tokens": [*seen["tokens"].astype(float), *length[ends.index]],
            "loss": [*seen["value"], *ends],
        }
    )
    # The end of a run is the result's own number, which stands last.
    table = table.drop_duplicates(["key", "tokens"], keep="last")
    own, one = table["key"].map(length), table["key"].map(step)
    unit = own if column == SHARE else 1.0
    return table.assign(
        place=table["tokens"] / unit, step=(one / unit).fillna(0.0), length=(own / one).fillna(1.0)
    )


def _reference(table: pandas.DataFrame) -> list[float]:
    """Returns the places of the run with the most steps, rising: the others' marks lie within a
    step of their own from them."""
    ordered = table.sort_values(["length", "key", "place"], ascending=[False, True, True])
    mine = ordered[ordered["key"] == ordered["key"].iloc[0]] if len(ordered) else ordered
    return [float(place) for place in mine["place"]]


def _snapped(table: pandas.DataFrame, places: list[float]) -> pandas.Series[float]:
    """Returns the loss by place and key, from the trial's mark nearest to it, at most a step
    away."""
    import pandas

    parts = []
    for place in places:
        away = (table["place"] - place).abs()
        near = table[away <= table["step"] + 1e-9 * place].assign(away=away, horizon=place)
        parts.append(near.sort_values(["away", "place"]).drop_duplicates("key"))
    found = pandas.concat(parts) if parts else table.assign(horizon=table["place"])
    return found.set_index(["horizon", "key"])["loss"]


def _shared(
    trials: pandas.DataFrame, losses: pandas.Series[float], scale: str
) -> pandas.DataFrame:
    """Returns by horizon (rows) and variant and scale (columns) whether all its completed trials
    have a loss there."""
    completed = trials.loc[trials["outcome"] == "completed", ["variant", scale, "key"]]
    members = completed.drop_duplicates()
    there = members.merge(losses.reset_index(), on="key")
    counts = members.groupby(["variant", scale]).size()
    have = there.groupby(["horizon", "variant", scale]).size().unstack(["variant", scale])
    return have.reindex(columns=counts.index).eq(counts, axis=1).sort_index()


def _at(
    trials: pandas.DataFrame,
    losses: pandas.Series[float],
    column: str,
    record: StudyRecord,
    shared: pandas.Series[bool],
) -> pandas.DataFrame:
    """Returns the trials at one horizon, without the scales that do not share it."""
    import pandas

    place: Any = shared.name
    without = set(shared.index[~shared])
    pairs = zip(trials["variant"], trials[record.scale], strict=True)
    part = trials[[pair not in without for pair in pairs]]
    loss = part["key"].map(losses.loc[place])
    result = part["outcome"].isin(ACCEPTED)
    finite = result & loss.notna()
    worst = math.inf if record.goal == "min" else -math.inf
    outcome = part["outcome"].mask(finite, "completed").mask(result & ~finite, "diverged")
    spent = part["tokens"] * place if column == SHARE else pandas.Series(place, index=part.index)
    ratio = spent / part["tokens"]
    scaled = {name: part[name] * ratio for name in ("flops", "steps") if name in part.columns}
    return part.drop(columns=RUN_LENGTH, errors="ignore").assign(
        outcome=outcome,
        loss=loss.where(finite, part["loss"].mask(result, worst)),
        tokens=spent,
        **scaled,
        **{column: int(place) if column == TOKENS and place == int(place) else place},
    )


def _notes(
    kept: pandas.DataFrame,
    trials: pandas.DataFrame,
    table: pandas.DataFrame,
    record: StudyRecord,
    column: str,
) -> Iterator[str]:
    end = 1.0 if column == SHARE else float((table["length"] * table["step"]).max())
    constant = "final_ratio" in trials.columns and bool((trials["final_ratio"] == 1).all())
    if float(kept.index.min()) < end * (1 - 1e-9) and not constant:
        yield DECAYING
    for place, row in kept.iterrows():
        without = [f"{variant} {record.scale} {scale:g}" for variant, scale in row.index[~row]]
        if without:
            yield (
                f"{column} {place:g}: left out are {', '.join(without)}, whose trials do not all "
                "have a mark there"
            )


def _refusal(record: StudyRecord, asked: str, column: str, marks: list[float]) -> str:
    unit = "shares of the run" if column == SHARE else "tokens"
    known = [place for place in marks if math.isfinite(place)]
    if not known:
        return (
            f"study {record.name}: horizon {asked}: its trials have no marks inside their runs; "
            "leave --horizon out"
        )
    listing = ", ".join(f"{place:.6g}" for place in known)
    return (
        f"study {record.name}: horizon {asked}: there is no mark of {record.metric} that all "
        f"completed trials of a scale share; the longest run has marks at these {unit}: {listing}"
    )

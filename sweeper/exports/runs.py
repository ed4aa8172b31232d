"""The trials of a study one by one, as programs that keep runs know them: parameters, what was
measured after which step, how it ended."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sweeper.store import Ended
from sweeper.words import setting

if TYPE_CHECKING:
    from sweeper.exports.base import Source

ENDED = ("completed", "diverged", "dominated", "failed")
"""Outcomes of the trials that are runs: the others have not ended yet."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A trial of a study in one of its variants.

    Attributes:
        id: 16 hex digits, the same at every export.
        name: what tells it from the others, for people: what is swept, and its seed.
        key, variant, seed: which trial it is.
        outcome: one of :data:`ENDED`.
        params: all settings that are set, whose values are numbers, words or true and false;
            lists and mappings are JSON.
        about: what else is known of it as text: study, workload and its version, host, device,
            commit, attempt, and of a failure the first line of its error.
        metrics: what was measured at the end.
        history: what was measured after which step, the first step first; with ``tokens`` where
            they are known. It ends with the metrics.
        started, ended: seconds since 1970.
    """

    id: str
    name: str
    key: str
    variant: str
    seed: int
    outcome: str
    params: Mapping[str, Any]
    about: Mapping[str, str]
    metrics: Mapping[str, float]
    history: Mapping[int, Mapping[str, float]]
    started: float
    ended: float

    def time_at(self, step: int) -> float:
        """Returns when a step was done, in seconds since 1970, if all took equally long."""
        last = max(self.history, default=0)
        share = step / last if last else 1.0
        return self.started + share * (self.ended - self.started)


def runs_of(source: Source) -> Iterator[Run]:
    """Yields the trials of a study that have ended, in their order."""
    marks = source.marks
    told = marks[marks["value"].notna()]
    by_place = dict(iter(told.groupby(["variant", "key"])))
    columns = source.trials.columns
    names = [name for name in source.all_settings if source.column(name) in columns]
    for row in source.trials.to_dict("records"):
        if row["outcome"] not in ENDED:
            continue
        key, variant = row["key"], row["variant"]
        params = {name: _plain(row[source.column(name)]) for name in names}
        params = {name: value for name, value in params.items() if value is not None}
        swept = [*source.scales, *source.settings]
        words = [f"{name}={setting(params[name])}" for name in swept if name in params]
        ended = source.ended.get(key)
        began = _seconds(ended.started_at if ended else None, source.record.created_at)
        yield Run(
            id=_id(source.record.name, variant, key),
            name=",".join([variant, *words, f"seed={row['seed']}"]),
            key=key,
            variant=variant,
            seed=int(row["seed"]),
            outcome=row["outcome"],
            params=params,
            about=_about(source, row, ended),
            metrics=dict(ended.metrics) if ended else {},
            history=_history(source, key, by_place.get((variant, key)), ended),
            started=began,
            ended=max(began, _seconds(ended.ended_at if ended else None, None) or began),
        )


def _id(*names: str) -> str:
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """The value as a plain one of Python; None for what is missing."""
    if isinstance(value, dict | list | tuple):
        return json.dumps(value)
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value


def _about(source: Source, row: Mapping[Any, Any], ended: Ended | None) -> dict[str, str]:
    said = {
        "study": source.record.name,
        "workload": source.record.workload,
        **{name: row.get(name) for name in ("workload_version", "device", "commit")},
    }
    if ended is not None:
        error = (ended.error or "").partition("\n")[0] if row["outcome"] == "failed" else None
        said |= {"host": ended.host, "attempt": str(ended.number), "error": error}
    return {name: value for name, value in said.items() if isinstance(value, str) and value}


def _history(
    source: Source, key: str, marks: Any, ended: Ended | None
) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    curve = source.curve(key)
    if curve is not None:
        names = [str(name) for name in curve.columns if name != "step"]
        columns = [curve[name].tolist() for name in names]
        for step, *values in zip(curve["step"].tolist(), *columns, strict=True):
            found.setdefault(int(step), {}).update(
                {n: float(v) for n, v in zip(names, values, strict=True) if v == v}
            )
    if marks is not None:
        for step, tokens, name, value in zip(
            *(marks[column].tolist() for column in ("step", "tokens", "metric", "value")),
            strict=True,
        ):
            found.setdefault(int(step), {}).update({"tokens": float(tokens), name: value})
    if ended is not None and ended.metrics and ended.step is not None:
        last = found.setdefault(ended.step, {})
        for name, value in ended.metrics.items():
            if value is not None:
                last.setdefault(name, value)
    return {step: found[step] for step in sorted(found)}


def _seconds(moment: datetime | None, other: datetime | None) -> float:
    """The moment in seconds since 1970; of a missing one the other's, or 0."""
    known = moment or other
    if known is None:
        return 0.0
    return (known if known.tzinfo else known.replace(tzinfo=UTC)).timestamp()

"""Runs of an experiment tracker as a table: a row a run, or a row a step of each."""

from __future__ import annotations

import hashlib
import math
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.errors import RequestError
from sweeper.imports.bounds import Limits, refusal, require_columns, require_rows
from sweeper.imports.cells import Codes, Floats, state
from sweeper.imports.json_records import Clash
from sweeper.imports.request import found_columns
from sweeper.imports.sheet import Batch, Sheet, Wanted
from sweeper.words import listed, plural

CURVE = 10_000
"""Most points that are kept of one metric of a run; at least half as many of a longer one."""

NAMED = 3
"""Runs that a note names before it counts the others."""

CHUNK = 1 << 12
"""Runs of a batch."""

SHORT = 0.99
"""Share of the longest run's steps below which another run is said to be shorter."""


class Series:
    """A metric of a run as it is read: every value of a short one, every second, fourth, eighth
    and so on of a long one, and always the last.

    Attributes:
        seen: values that were read.
        last: step and value of the latest step; of a step that was logged twice the later value.
    """

    def __init__(self, limit: int = CURVE) -> None:
        self._steps, self._values = array("q"), array("d")
        self._limit, self._stride = limit, 1
        self.seen = 0
        self.last: tuple[int, float] | None = None

    def add(self, step: int, value: float) -> None:
        """Takes in the next value."""
        if self.last is None or step >= self.last[0]:
            self.last = (step, value)
        if self.seen % self._stride == 0:
            if len(self._steps) == self._limit:
                self._steps, self._values = self._steps[::2], self._values[::2]
                self._stride *= 2
            if self.seen % self._stride == 0:
                self._steps.append(step)
                self._values.append(value)
        self.seen += 1

    @property
    def is_thinned(self) -> bool:
        """Whether it has values that are not kept."""
        return self._stride > 1

    def curve(self) -> tuple[Codes, Floats]:
        """Returns the steps in their order, each once, and the values there."""
        steps, values = [*self._steps], [*self._values]
        if self.last is not None:
            steps.append(self.last[0])
            values.append(self.last[1])
        backwards = np.array(steps[::-1], dtype=np.int64)
        found, first = np.unique(backwards, return_index=True)  # the later value of a step
        return found, np.array(values[::-1], dtype=np.float64)[first]


@dataclass(kw_only=True)
class Run:
    """A run of a tracker.

    Attributes:
        name: how messages call it.
        said: its settings, and what else is known of it, as text by column.
        last: the last value of each metric by column.
        series: the metrics that were asked for, over the steps, by column.
        length: the last step of any metric, None if not known.
    """

    name: str
    said: dict[str, str | Clash]
    last: dict[str, str | float] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    length: int | None = None
    _tops: dict[str, int] = field(default_factory=dict, repr=False)

    def log(self, column: str, step: int, value: float, *, follow: bool = False) -> None:
        """Takes in a value of a metric, in the order in which it was logged.

        Args:
            column: of the metric.
            step: at which it was logged.
            value: NaN and infinities as they are.
            follow: whether its series is wanted, and not its last value alone.
        """
        if follow:
            if column not in self.series:
                self.series[column] = Series()
            self.series[column].add(step, value)
        if step >= self._tops.get(column, step):
            self._tops[column] = step
            self.last[column] = value
            self.length = step if self.length is None else max(step, self.length)


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """What was found at some place.

    Attributes:
        path: the place, as messages call it.
        runs: its runs.
        step: column of the steps.
        state: column that says how a run ended, None if nothing does.
        notes: sentences on what was left out.
    """

    path: Path | str
    runs: list[Run]
    step: str
    state: str | None = None
    notes: tuple[str, ...] = ()


def sheet_of_runs(found: Tracked, wanted: Wanted, limits: Limits) -> Sheet:
    """Returns runs as a sheet: a row a run, or with a column of steps a row for each step at which
    the objective was logged, and the other metrics as they were last known there.

    Of a run that failed or has not ended there is one row. A run that failed with an objective
    that is not finite diverged, and so did one that says so under ``outcome``.

    Raises:
        RequestError: there are no runs, or too many.
    """
    if not found.runs:
        raise refusal(found.path, "holds no runs")
    stepwise = wanted.step is not None
    said = dict.fromkeys(name for run in found.runs for name in run.said)
    logged = dict.fromkeys(name for run in found.runs for name in run.last if name not in said)
    names = (*said, *([found.step] if stepwise and found.step not in said else ()), *logged)
    names = tuple(dict.fromkeys(names))
    require_columns(found.path, len(names), limits)
    objective = _column(names, wanted.objective)
    settings = [_column(names, name, measured=False) for name in wanted.settings]
    runs = [_judged(run, found.state, objective) for run in found.runs]
    empty = [run for run in runs if _is_empty(run, objective, settings)]
    if len(empty) == len(runs):
        empty = []  # what is missing is said of the first of them
    skipped = set(map(id, empty))
    runs = [run for run in runs if id(run) not in skipped]
    table = _Table(replace(found, runs=runs), wanted, objective, _column(names, wanted.step))
    require_rows(found.path, table.ends[-1], limits)
    digest = hashlib.sha256()
    for run in runs:
        digest.update(repr((sorted(run.said.items(), key=str), sorted(run.last.items()))).encode())
    return Sheet(
        path=found.path,
        names=names,
        batches=table.by_steps if stepwise else table.by_runs,
        sha256=digest.hexdigest(),
        run_of=table.run_of,
        notes=(*found.notes, *_left_out(empty), *table.notes()),
    )


def _column(names: Sequence[str], name: str | None, *, measured: bool = True) -> str:
    """Returns the column of a name, none if there is none; what is wrong is said later."""
    if name is None:
        return ""
    try:
        return found_columns(names, [name], [name] if measured else [])[name]
    except RequestError:
        return ""


def _is_empty(run: Run, objective: str, settings: Sequence[str]) -> bool:
    """Whether a run has no result, and not all settings by which it could be missed: it crashed
    at once, or only holds others."""
    known = run.last | run.said
    asked = [name for name in settings if name]
    return known.get(objective, "") == "" and any(known.get(name, "") == "" for name in asked)


def _left_out(empty: Sequence[Run]) -> Iterator[str]:
    if empty:
        some = listed([run.name for run in empty[:NAMED]])
        more = f" and {len(empty) - NAMED} more" if len(empty) > NAMED else ""
        yield (
            f"left out: {plural(len(empty), 'run')} without a result and without all settings: "
            f"{some}{more}"
        )


def _judged(run: Run, column: str | None, objective: str) -> Run:
    """Returns a run whose state is a word that is known here, diverged where it failed because of
    what it measured."""
    if column is None or not _failed(run, column):
        return run
    try:
        last = float(str(run.last.get(objective, run.said.get(objective, 0))))
    except ValueError:
        last = 0.0
    told = any(run.said.get(name) == "diverged" for name in _TOLD)
    return (
        replace(run, said=run.said | {column: "diverged"})
        if told or not math.isfinite(last)
        else run
    )


_TOLD = ("tags.outcome", "params.outcome", "config.outcome")
"""Where ``sweeper export`` writes that a run diverged, which others may do too."""


def _failed(run: Run, column: str) -> bool:
    word = run.said.get(column)
    return isinstance(word, str) and state(word) == "failed"


class _Table:
    """Runs as rows.

    Args:
        found: the runs.
        wanted: what is asked of them.
        objective, step: their columns.

    Attributes:
        ends: number of the last row of each run.
    """

    def __init__(self, found: Tracked, wanted: Wanted, objective: str, step: str) -> None:
        self._found, self._wanted = found, wanted
        self._objective, self._step = objective, step
        self.ends = list(accumulate(len(self._steps(run)) for run in found.runs))

    def run_of(self, row: int) -> str:
        """Returns the name of the run of a row, by its number from 1."""
        return self._found.runs[bisect_left(self.ends, row)].name

    def notes(self) -> Iterator[str]:
        """Yields a sentence on each thing that was not taken as it stands there."""
        thinned = [s for run in self._found.runs for s in run.series.values() if s.is_thinned]
        if thinned:
            most = max(series.seen for series in thinned)
            yield (
                f"{plural(len(thinned), 'curve')} of up to {most:,} points thinned evenly to at "
                f"most {CURVE:,}, the last value among them"
            )
        lengths = [run.length for run in self._found.runs if self._is_result(run) and run.length]
        if self._wanted.step is None and lengths and min(lengths) < SHORT * max(lengths):
            yield (
                f"runs end at different steps, {min(lengths):,} to {max(lengths):,}, and their "
                f"last values are compared; --step {self._found.step} also reads the curves, and "
                "takes no run that stopped early for a result"
            )

    def by_runs(self, wanted: Sequence[str]) -> Iterator[Batch]:
        """Yields a row a run."""
        import pyarrow

        runs = self._found.runs
        for start in range(0, len(runs), CHUNK):
            some = runs[start : start + CHUNK]
            yield {
                name: pyarrow.array([self._cell(run, name) for run in some], "string")
                for name in wanted
            }

    def by_steps(self, wanted: Sequence[str]) -> Iterator[Batch]:
        """Yields a row a step of each run."""
        import pyarrow

        for run in self._found.runs:
            steps = self._steps(run)
            alone = self._is_alone(run)
            batch: dict[str, Any] = {}
            for name in wanted:
                if name == self._found.step and name not in run.said:
                    batch[name] = pyarrow.array(steps, "int64")
                elif name in run.series and not alone:
                    values, unknown = _at(run.series[name], steps)  # NaN is a value here
                    batch[name] = pyarrow.array(values, mask=unknown, from_pandas=False)
                else:
                    text = self._cell(run, name) if alone or name in run.said else ""
                    text = text or ("0" if name == self._step else "")
                    codes = np.zeros(len(steps), dtype=np.int32)
                    batch[name] = pyarrow.DictionaryArray.from_arrays(codes, [text])
            yield batch

    def _steps(self, run: Run) -> Codes:
        """The steps of a run's rows, as its tracker counts them."""
        if self._wanted.step is None or self._is_alone(run):
            return np.array([run.length or 0], dtype=np.int64)
        steps, _ = run.series[self._objective].curve()
        if self._step not in run.series:
            return steps
        own, unknown = _at(run.series[self._step], steps)  # the last row of each of them
        _, backwards = np.unique(own[::-1], return_index=True)
        kept = np.sort(len(own) - 1 - backwards)
        return steps[kept[~unknown[kept]]]

    def _is_alone(self, run: Run) -> bool:
        """Whether a run has no curve: it has no result, or never logged the objective."""
        series = {self._objective, self._step} - {self._found.step}
        return not series <= run.series.keys() or not self._is_result(run)

    def _is_result(self, run: Run) -> bool:
        column = self._found.state
        word = None if column is None else run.said.get(column)
        if self._wanted.outcome is not None or not isinstance(word, str):
            return True
        return state(word) not in ("failed", "missing")

    def _cell(self, run: Run, name: str) -> str:
        value = run.said[name] if name in run.said else run.last.get(name, "")
        if isinstance(value, Clash):
            number = self._found.runs.index(run) + 1
            raise value.refusal(self._found.path, number, name)
        return value if isinstance(value, str) else repr(value)


def _at(series: Series, steps: Codes) -> tuple[Floats, NDArray[np.bool_]]:
    """A metric at some steps, as it was last known there, and where it was not known yet."""
    own, values = series.curve()
    places = np.searchsorted(own, steps, side="right") - 1
    return values[places], places < 0

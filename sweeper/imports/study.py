"""Rows of somebody's table as a study like any other: its trials, outcomes and curves."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.errors import RequestError
from sweeper.imports.cells import Codes, Plain, word
from sweeper.imports.request import ImportRequest
from sweeper.imports.table import AMOUNTS, COMPLETED, DIVERGED, KINDS, Rows, first_rows
from sweeper.outcome import Mark, Outcome, OutcomeKind
from sweeper.store import (
    IMPORTED,
    LOSS_ERROR,
    OPTIMUM_HIGH,
    OPTIMUM_LOW,
    Membership,
    Paths,
    Store,
    StudyRecord,
    write_curves,
)
from sweeper.trial import Trial, canonical_json

VERSION = "1"
"""Version of what an imported result means; part of its trial's key."""

MARKS = 16
"""Most steps of a file's curves that become marks; the curves keep all of them."""

LISTED = 200
"""Most values of an axis that the study's document lists one by one."""

_OUTCOMES: dict[str, OutcomeKind] = {
    "completed": "completed",
    "diverged": "diverged",
    "failed": "bug",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One run of somebody's table.

    Attributes:
        cell: settings in the order of the request, and the seed.
        kind: one of :data:`KINDS`.
        value: the objective of a completed run, else None.
        row: number of its last row.
        step: optimizer steps done, 0 if unknown.
        extras: flops, tokens, params and the error of the objective where known.
        path: the rows on the way in the order of their steps, the last one too; None without
            steps.
    """

    cell: tuple[Plain, ...]
    kind: str
    value: float | None
    row: int
    step: int
    extras: Mapping[str, float]
    path: Rows | None


class ImportedStudy:
    """Runs of somebody's table as a study of ours.

    Args:
        request: what the columns are.
        cells: settings in the order of the request, and the seed, by number of the cell.
        rows: one row a cell and step, sorted.
        source: the file's name and sha256, which every result is given with its row.
        run_of: name of the run of a row, where rows are those of runs; results are given it too.

    Attributes:
        variants: settings of each variant by its name.

    Raises:
        RequestError: two variants have one name.
    """

    def __init__(
        self,
        request: ImportRequest,
        cells: list[tuple[Plain, ...]],
        rows: Rows,
        source: Mapping[str, Any],
        run_of: Callable[[int], str] | None = None,
    ) -> None:
        self._request, self._cells, self._source = request, cells, source
        self._run_of = run_of
        self._rows = rows
        self.variants = _variants(request.variant, cells)
        self._edges = np.append(first_rows(rows), len(rows.cell))
        self._trials = [self._trial(self._run(number)) for number in range(len(cells))]
        self._marked = _marked_steps(rows) if request.step else None

    def counts(self) -> dict[str, int]:
        """Returns the number of trials by how they ended, all kinds."""
        counts = np.bincount(self._rows.kind[self._edges[1:] - 1], minlength=len(KINDS))
        return dict(zip(KINDS, counts.tolist(), strict=True))

    def record(self) -> StudyRecord:
        """Returns the study."""
        request = self._request
        return StudyRecord(
            name=request.study,
            question=request.question,
            workload=IMPORTED,
            scale=request.scales[0],
            metric=request.objective,
            goal=request.goal,
            document=self._document(),
        )

    def members(self) -> list[Membership]:
        """Returns the trials in an order that does not depend on that of the rows."""
        count = len(self._request.variant)
        names = [_variant(cell[:count]) for cell in self._cells]
        numbers = range(count, count + len(self._request.scales + self._request.hyperparameters))

        def place(number: int) -> tuple[Any, ...]:
            cell = self._cells[number]
            settings = [cell[index] for index in numbers]
            return (names[number], *settings, cell[-1], self._trials[number].key)

        order = sorted(range(len(self._cells)), key=place)
        return [Membership(trial=self._trials[i], variant=names[i]) for i in order]

    def outcomes(self) -> Iterator[tuple[Outcome, float | None]]:
        """Yields the outcome and objective of every run that ended, by their trials' keys."""
        for run, trial in self._by_key():
            if run.kind in _OUTCOMES:
                yield self._outcome(run, trial), run.value

    def write_curves(self, store: Store) -> int:
        """Writes the curves of the results that the store does not have; returns how many."""
        if self._request.step is None:
            return 0
        had = store.results_of(trial.key for trial in self._trials)
        curves = (
            (Paths.curve(trial.key, 1), self._curve(run.path))
            for run, trial in self._by_key()
            if run.path is not None and trial.key not in had
        )
        return write_curves(store.paths.files, curves)

    def _by_key(self) -> Iterator[tuple[Run, Trial]]:
        """The runs in the order in which the database looks trials up: rows and files that lie in
        it are written, and read later, in half the time of those in a random one."""
        for number in sorted(range(len(self._trials)), key=lambda i: self._trials[i].key):
            yield self._run(number), self._trials[number]

    # One run ----------------------------------------------------------------------------------

    def _run(self, number: int) -> Run:
        """Returns the run of a cell, by its number."""
        rows, start, end = self._rows, int(self._edges[number]), int(self._edges[number + 1])
        last = end - 1
        kind = int(rows.kind[last])
        known = {name: float(values[last]) for name, values in rows.extras.items()}
        has_path = self._request.step is not None and kind <= DIVERGED
        return Run(
            cell=self._cells[number],
            kind=KINDS[kind],
            value=float(rows.value[last]) if kind == COMPLETED else None,
            row=int(rows.row[last]),
            step=int(rows.step[last]),
            extras={name: amount for name, amount in known.items() if amount == amount},
            path=rows.take(slice(start, end)) if has_path else None,
        )

    def _trial(self, run: Run) -> Trial:
        config = dict(zip(self._request.settings, run.cell, strict=False))
        seed = run.cell[-1]
        assert isinstance(seed, int)
        return Trial.of(
            workload=IMPORTED,
            version=VERSION,
            data=self._digest(run),
            config=config,
            seed=seed,
            derived=_derived(run, config),
        )

    def _digest(self, run: Run) -> str:
        """SHA-256 of what a run came to: the data of an imported trial are its results."""
        result = {
            "metric": self._request.objective,
            "kind": run.kind,
            "value": run.value,
            "step": run.step,
            **run.extras,
        }
        digest = hashlib.sha256(canonical_json(result).encode())
        if run.path is not None:
            digest.update(run.path.step.astype("<i8").tobytes())
            for values in (run.path.value, *run.path.extras.values()):
                same = np.where(np.isnan(values), np.nan, values)  # NaN has many spellings
                digest.update(same.astype("<f8").tobytes())
        return digest.hexdigest()

    def _outcome(self, run: Run, trial: Trial) -> Outcome:
        return Outcome(
            key=trial.key,
            attempt=1,
            kind=_OUTCOMES[run.kind],
            metrics=self._metrics(run),
            step=run.step,
            tokens=int(run.extras.get("tokens", 0)),
            flops=run.extras.get("flops", math.nan),
            device_seconds=math.nan,
            wall_seconds=math.nan,
            environment={**self._source, "row": run.row, **self._named(run.row)},
            marks=tuple(self._marks(run)),
            curve=None if run.path is None else Paths.curve(trial.key, 1),
            error="ended without a result where it was run" if run.kind == "failed" else None,
        )

    def _named(self, row: int) -> dict[str, str]:
        return {} if self._run_of is None else {"run": self._run_of(row)}

    def _metrics(self, run: Run) -> dict[str, float]:
        if run.value is None:
            return {}
        kept = {"error": LOSS_ERROR, "low": OPTIMUM_LOW, "high": OPTIMUM_HIGH}
        more = {kept[name]: value for name, value in run.extras.items() if name in kept}
        return {self._request.objective: run.value, **more}

    def _marks(self, run: Run) -> Iterator[Mark]:
        if run.path is None or self._marked is None:
            return
        path = run.path
        tokens = path.extras.get("tokens")
        for place in np.flatnonzero(np.isin(path.step, self._marked) & np.isfinite(path.value)):
            seen = math.nan if tokens is None else float(tokens[place])
            yield Mark(
                step=int(path.step[place]),
                # Where nobody counted tokens, steps say how far the run had come.
                tokens=int(path.step[place] if math.isnan(seen) else seen),
                metric=self._request.objective,
                value=float(path.value[place]),
            )

    def _curve(self, path: Rows) -> dict[str, Any]:
        return {
            "step": path.step.astype(np.int64),
            **path.extras,
            self._request.objective: path.value,
        }

    # The study --------------------------------------------------------------------------------

    def _document(self) -> dict[str, Any]:
        request = self._request
        columns = dict(
            zip((*request.settings, "seed"), zip(*self._cells, strict=True), strict=True)
        )
        distinct = {name: list(dict.fromkeys(values)) for name, values in columns.items()}
        constant = [name for name in request.fixed if len(distinct[name]) == 1]
        axes = [*request.hyperparameters, *request.scales]
        axes += [name for name in request.fixed if name not in constant]
        axes += ["seed"] if request.seed or request.repeats else []
        return {
            "name": request.study,
            "question": request.question,
            "workload": IMPORTED,
            "scale": request.scales[0],
            "scales": list(request.scales),
            "hyperparameters": list(request.hyperparameters),
            "fixed": {name: distinct[name][0] for name in constant},
            "variants": self.variants,
            "sweep": {name: _axis(distinct[name]) for name in axes},
            "objective": {"metric": request.objective, "goal": request.goal},
            **({"optima": True} if request.holds_optima else {}),
            **({} if request.noise is None else {"noise": request.noise}),
            "claims": [vars(claim) for claim in request.claims],
            "imported": {**self._source, "where": [f"{n}={v}" for n, v in request.where]},
        }


def _variant(cell: tuple[Plain, ...]) -> str:
    return "/".join(word(value) for value in cell) or "default"


def _variants(
    names: tuple[str, ...], cells: list[tuple[Plain, ...]]
) -> dict[str, dict[str, Plain]]:
    found: dict[str, tuple[Plain, ...]] = {}
    for cell in dict.fromkeys(cell[: len(names)] for cell in cells):
        name = _variant(cell)
        if found.setdefault(name, cell) != cell:
            raise RequestError(
                f"variant {name!r} is both {' and '.join(map(repr, found[name]))} and "
                f"{' and '.join(map(repr, cell))}; change the values, or name another --variant"
            )
    return {name: dict(zip(names, found[name], strict=True)) for name in sorted(found)}


def _derived(run: Run, config: Mapping[str, Plain]) -> dict[str, Any]:
    """Amounts under the names that the table of trials knows."""
    amounts = {name: run.extras.get(name, config.get(name)) for name in AMOUNTS}
    return {
        name: int(amount) if float(amount).is_integer() else float(amount)
        for name, amount in amounts.items()
        if isinstance(amount, int | float)
    }


def _axis(values: list[Plain]) -> Any:
    """The values of an axis in order; of very many only how many and between which."""
    ordered = sorted(values, key=lambda value: (isinstance(value, str), value is None, value))
    if len(ordered) <= LISTED:
        return ordered
    return {"low": ordered[0], "high": ordered[-1], "distinct": len(ordered)}


def _marked_steps(rows: Rows) -> Codes:
    """Steps at which curves are marked: those that curves share, thinned evenly to so many."""
    steps, counts = np.unique(rows.step, return_counts=True)
    shared = steps[counts > 1] if (counts > 1).any() else steps
    if len(shared) <= MARKS:
        return shared
    return shared[np.round(np.linspace(0, len(shared) - 1, MARKS)).astype(np.int64)]

"""The groups of a study: how its trials fall into them, which trials each rests on, and why none
can answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sweeper.analysis import BlowUp, require_columns
from sweeper.answers.jsonable import encoded, setting_value
from sweeper.errors import AnalysisRefusal
from sweeper.outcome import ACCEPTED
from sweeper.store import OPTIMUM_LOW, PROGRAM_FILES, RUN_LENGTH
from sweeper.words import is_batch_size, setting

if TYPE_CHECKING:
    import pandas

HANDFUL = 5
"""Reasons that a group's refusal tells before it counts the others."""

NAMED = 3
"""Groups that a refusal names before it counts the others."""

SAME_LENGTH = 0.99
"""Share of the longest run's length that runs of one length have at least."""

DIFFERENT_LENGTHS = "results of different length are compared within one scale"
"""How the warning begins."""

CODE = ("commit", "sweeper", "torch", "workload_version", PROGRAM_FILES)
"""Columns that name the code behind a result."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a group rests on.

    Attributes:
        trials: trials with a result.
        declared: trials declared.
        diverged: those of the results that diverged.
        points: settings with a result, seeds not counted.
        seeds: smallest and largest number of seeds at a point with a result; None without one.
        versions: what code the results come from, for example ``torch 2.9``.
        devices: what they were computed on.
        warnings: a sentence for each thing that the compared results should share and do not.
        sources: keys of the trials with a result; None where no trial has a key.
        optima: whether the results are optima rather than runs.
    """

    trials: int
    declared: int
    diverged: int
    points: int
    seeds: tuple[int, int] | None
    versions: tuple[str, ...]
    devices: tuple[str, ...]
    warnings: tuple[str, ...]
    sources: pandas.Series[str] | None = field(compare=False)
    optima: bool = False

    @property
    def coverage(self) -> float:
        """Share of the declared trials that have a result; 1 if none is declared."""
        return self.trials / self.declared if self.declared else 1.0

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the trials with a result, sorted; found when asked for, since few ask."""
        return () if self.sources is None else tuple(sorted(set(self.sources)))

    def to_json(self, *, keys: bool = False) -> dict[str, Any]:
        """Returns plain values under stable keys, the trials' own keys only if asked for."""
        columns = "trials declared diverged points seeds coverage versions devices warnings"
        return encoded(self, f"{columns} keys" if keys else columns)


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyGroup:
    """One variant under fixed settings; what is said about it stands in the classes below it.

    Attributes:
        variant: name of the variant.
        settings: values of the settings that make the group.
        refused: why it cannot answer; None if it can.
    """

    variant: str
    settings: Mapping[str, Any]
    refused: str | None = None

    @property
    def label(self) -> str:
        """How messages name the group, for example ``mup, weight_decay 0.1``."""
        return group_label(self.variant, self.settings)


@dataclass(frozen=True, kw_only=True, eq=False)
class Statement:
    """What a study says, a group at a time; what about stands in the classes below it.

    Attributes:
        study: its name.
        notes: sentences that the reader should know of every group.
    """

    study: str
    notes: tuple[str, ...] = ()

    HEAD: ClassVar[str]
    """Columns of the statement itself."""

    def document(self, groups: Iterable[dict[str, Any]]) -> dict[str, Any]:
        """Returns the statement around its groups, as plain values under stable keys."""
        return {**encoded(self, self.HEAD), "groups": list(groups), "notes": list(self.notes)}


def groups_of(
    frame: pandas.DataFrame, settings: Sequence[str], point: Sequence[str]
) -> Iterator[tuple[dict[str, Any], pandas.DataFrame]]:
    """Yields every variant under every combination of settings, as the fields of a
    :class:`StudyGroup` with its ``evidence``, and its trials, without what names them and their
    code.

    Args:
        frame: one row a trial with ``variant``, ``seed``, ``loss``, ``outcome``, the settings
            and the columns of a point.
        settings: columns whose distinct values, with the variant, make the groups.
        point: columns that make a point: the scales and the hyperparameters.

    Raises:
        AnalysisRefusal: a column is missing.
    """
    require_columns(frame, ["variant", *settings, *point, "seed", "loss", "outcome"])
    sources = _Sources.of(frame, point)
    # Columns of text that the evidence alone reads take longest to cut.
    spare = {"study", "key", "device", *CODE} - {*settings, *point}
    lean = frame.drop(columns=list(spare), errors="ignore")
    groups = lean.groupby(["variant", *settings], sort=True, dropna=False)
    for (key, part), rows in zip(groups, _rows_by_code(groups.ngroup()), strict=True):
        variant, *values = key
        yield (
            {
                "variant": str(variant),
                "settings": dict(zip(settings, map(setting_value, values), strict=True)),
                "evidence": sources.evidence(rows),
            },
            part,
        )


def group_label(variant: str, settings: Mapping[str, Any]) -> str:
    """Returns the name of a group, for example ``mup, weight_decay 0.1, D 2e+10``; settings that
    do not apply to the variant are left out."""
    parts = [f"{name} {setting(value)}" for name, value in settings.items() if value is not None]
    return ", ".join([variant, *parts])


def all_refused(reasons: Iterable[tuple[str, str]]) -> AnalysisRefusal:
    """Returns the refusal where no group can answer: a line for every reason, each told once.

    Args:
        reasons: label of a group and why it cannot answer.
    """
    labels: dict[str, list[str]] = {}
    for label, why in reasons:
        who = labels.setdefault(why, [])
        # A joint fit has a group for each of the two hyperparameters under one label.
        if label not in who:
            who.append(label)
    return AnalysisRefusal("\n".join(f"{_named(who)}: {why}" for why, who in labels.items()))


def require_an_answer(groups: Iterable[StudyGroup]) -> None:
    """Checks that any group can answer.

    Raises:
        AnalysisRefusal: none can; says why each.
    """
    reasons = [(group.label, group.refused) for group in groups]
    refused = [(label, why) for label, why in reasons if why is not None]
    if len(refused) == len(reasons):
        raise all_refused(refused)


def blow_up_notes(
    label: str, blow_ups: Iterable[BlowUp], metric: str = "loss", sign: int = 1
) -> Iterator[str]:
    """Yields the notes on runs of a group that blew up, and on those that are outliers.

    Args:
        label: name of the group.
        blow_ups: what was found.
        metric, sign: as of :meth:`BlowUp.sentence`.
    """
    every = list(blow_ups)
    outliers = [each.clause(metric, sign) for each in every if each.alone]
    beyond = [each.clause(metric, sign) for each in every if not each.alone]
    if beyond:
        yield f"{label}: runs blew up, count as beyond the cliff and are not fitted: {few(beyond)}"
    if outliers:
        yield f"{label}: runs are left out as outliers: {few(outliers)}"


def few(reasons: Collection[str]) -> str:
    """Returns reasons as one sentence; of more than a handful the first, and how many more."""
    more = len(reasons) - HANDFUL
    if more < 2:
        return "; ".join(reasons)
    return f"{'; '.join(list(reasons)[:HANDFUL])}; and {more} more like these"


def _named(labels: list[str]) -> str:
    more = len(labels) - NAMED
    if more < 2:
        return "; ".join(labels)
    return f"{'; '.join(labels[:NAMED])} and {more} more groups"


def evidence_of(frame: pandas.DataFrame, point: Sequence[str]) -> Evidence:
    """Returns the evidence of one group; a row that stands there twice counts once.

    Args:
        frame: trials of the group with ``seed``, ``outcome``, ``loss`` and, where the store
            knows them, ``key``, ``device`` and the columns of :data:`CODE`.
        point: columns that make a point: the scale and the hyperparameters.
    """
    return _Sources.of(frame, point).evidence(np.arange(len(frame)))


def _rows_by_code(codes: pandas.Series[int]) -> list[NDArray[np.intp]]:
    """Returns the numbers of the rows with each code, from 0 on."""
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.cumsum(np.bincount(codes))[:-1])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sources:
    """What evidence is read from, as numbers of distinct values, found once for all groups: a
    study may have a thousand small groups, on which pandas takes far longer.

    Attributes:
        cells: per row the number of its cell, a point with its seed.
        points: per row the number of its point.
        done: per row whether it has a result.
        keys: per row the key of its trial; None where none is known.
        said: column to the number of what each row says, -1 where nothing, and what it says.
        lengths: per row how far the run got, NaN where that is not known or does not matter.
        places: per row the number of its point but for the last column, along which runs are
            compared.
        optima: whether the rows are optima rather than runs.
    """

    cells: NDArray[np.intp]
    points: NDArray[np.intp]
    done: NDArray[np.bool_]
    keys: pandas.Series[str] | None
    said: Mapping[str, tuple[NDArray[np.intp], Sequence[Any]]]
    optima: bool
    lengths: NDArray[np.float64]
    places: NDArray[np.intp]

    @classmethod
    def of(cls, frame: pandas.DataFrame, point: Sequence[str]) -> _Sources:
        """Returns the sources of a frame as :func:`evidence_of` takes it."""
        points, cells = (
            np.asarray(frame.groupby(list(columns), sort=False, dropna=False).ngroup(), np.intp)
            for columns in (point, [*point, "seed"])
        )
        told = [name for name in (*CODE, "device", "outcome") if name in frame.columns]
        coded = {name: frame[name].factorize() for name in told}
        lengths = np.full(len(frame), np.nan)
        if RUN_LENGTH in frame.columns and len(point) > 1 and not is_batch_size(point[-1]):
            completed = frame["outcome"].eq("completed")
            lengths = frame[RUN_LENGTH].where(completed).to_numpy(dtype=np.float64)
        places = points
        if not np.isnan(lengths).all():
            grouped = frame.groupby(list(point[:-1]), sort=False, dropna=False)
            places = np.asarray(grouped.ngroup(), np.intp)
        return cls(
            lengths=lengths,
            places=places,
            cells=cells,
            points=points,
            done=frame["outcome"].isin(ACCEPTED).to_numpy(),
            keys=frame.get("key"),
            said={name: (codes, list(values)) for name, (codes, values) in coded.items()},
            optima=OPTIMUM_LOW in frame.columns,
        )

    def evidence(self, rows: NDArray[np.intp]) -> Evidence:
        """Returns what some of the rows show."""
        # Results first: one stands before the holes of its cell.
        ordered = rows[np.argsort(~self.done[rows], kind="stable")]
        kept = ordered[np.unique(self.cells[ordered], return_index=True)[1]]
        results = kept[self.done[kept]]
        seeds = np.unique(self.points[results], return_counts=True)[1].tolist()
        said = {name: self._said(name, results) for name in (*CODE, "device")}
        return Evidence(
            trials=len(results),
            declared=len(kept),
            diverged=self._said("outcome", results)["diverged"],
            points=len(seeds),
            seeds=(min(seeds), max(seeds)) if seeds else None,
            versions=tuple(f"{_spaced(name)} {v}" for name in CODE for v in sorted(said[name])),
            devices=tuple(sorted(said["device"])),
            warnings=(*_warnings(said), *self._different_lengths(results)),
            sources=None if self.keys is None else self.keys.iloc[results],
            optima=self.optima,
        )

    def _different_lengths(self, rows: NDArray[np.intp]) -> Iterator[str]:
        """Yields what to say where runs of one place differ in length by more than rounding."""
        rows = rows[np.isfinite(self.lengths[rows])]
        if not len(rows):
            return
        order = rows[np.lexsort((self.lengths[rows], self.places[rows]))]
        starts = np.flatnonzero(np.diff(self.places[order], prepend=-1))
        low = self.lengths[order][starts]
        high = self.lengths[order][np.append(starts[1:], len(order)) - 1]
        worst = int(np.argmin(low / high))
        if low[worst] < SAME_LENGTH * high[worst]:
            ends = " and ".join(setting(float(each[worst])) for each in (low, high))
            yield (f"{DIFFERENT_LENGTHS}: runs of {ends} steps or tokens")

    def _said(self, column: str, rows: NDArray[np.intp]) -> Counter[str]:
        """Returns how often some rows say what in a column, as text, where they say anything."""
        said: Counter[str] = Counter()
        codes, values = self.said.get(column, (np.empty(0, np.intp), ()))
        if len(values):
            counts = np.bincount(codes[rows] + 1, minlength=len(values) + 1)[1:]
            for code in np.flatnonzero(counts).tolist():
                if (text := str(values[code])) != "":
                    said[text] += int(counts[code])
        return said


def _spaced(column: str) -> str:
    return column.replace("_", " ")


def _warnings(sources: dict[str, Counter[str]]) -> list[str]:
    found = [
        f"results of different code are compared: {_spaced(name)} {_counted(sources[name])}"
        for name in CODE
        if len(sources[name]) > 1
    ]
    if len(sources["device"]) > 1:
        found.append(
            "results of different devices are compared, which round differently: "
            f"{_counted(sources['device'])}"
        )
    return found


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))

"""The groups of a study: how its trials fall into them, which trials each rests on, and why none
can answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sweeper.analysis import BlowUp, require_columns
from sweeper.answers.jsonable import encoded, setting_value
from sweeper.errors import AnalysisRefusal
from sweeper.outcome import ACCEPTED
from sweeper.words import setting

if TYPE_CHECKING:
    import pandas

HANDFUL = 5
"""Reasons that a group's refusal tells before it counts the others."""

NAMED = 3
"""Groups that a refusal names before it counts the others."""

CODE = ("commit", "sweeper", "torch", "workload_version")
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
        keys: keys of the trials with a result, sorted.
    """

    trials: int
    declared: int
    diverged: int
    points: int
    seeds: tuple[int, int] | None
    versions: tuple[str, ...]
    devices: tuple[str, ...]
    warnings: tuple[str, ...]
    keys: tuple[str, ...]

    @property
    def coverage(self) -> float:
        """Share of the declared trials that have a result; 1 if none is declared."""
        return self.trials / self.declared if self.declared else 1.0

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
    :class:`StudyGroup` with its ``evidence``, and its trials.

    Args:
        frame: one row a trial with ``variant``, ``seed``, ``loss``, ``outcome``, the settings
            and the columns of a point.
        settings: columns whose distinct values, with the variant, make the groups.
        point: columns that make a point: the scales and the hyperparameters.

    Raises:
        AnalysisRefusal: a column is missing.
    """
    require_columns(frame, ["variant", *settings, *point, "seed", "loss", "outcome"])
    for key, part in frame.groupby(["variant", *settings], sort=True, dropna=False):
        variant, *values = key
        yield (
            {
                "variant": str(variant),
                "settings": dict(zip(settings, map(setting_value, values), strict=True)),
                "evidence": evidence_of(part, point),
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
    kept = _one_row_a_cell(frame, point)
    done = frame["outcome"].isin(ACCEPTED).tolist()
    results = {cell: row for cell, row in kept.items() if done[row]}
    counts = Counter(cell[:-1] for cell in results)
    rows = list(results.values())
    sources = {name: _said(frame, name, rows) for name in (*CODE, "device")}
    return Evidence(
        trials=len(results),
        declared=len(kept),
        diverged=_said(frame, "outcome", rows)["diverged"],
        points=len(counts),
        seeds=(min(counts.values()), max(counts.values())) if counts else None,
        versions=tuple(f"{_spaced(name)} {v}" for name in CODE for v in sorted(sources[name])),
        devices=tuple(sorted(sources["device"])),
        warnings=tuple(_warnings(sources)),
        keys=tuple(sorted(_said(frame, "key", rows))),
    )


def _one_row_a_cell(frame: pandas.DataFrame, point: Sequence[str]) -> dict[tuple[Any, ...], int]:
    """Returns the number of the row of every cell, a point with its seed; a result stands
    before the holes of its cell.

    Plain loops: a study may have a thousand small groups, on which pandas takes far longer.
    """
    done = frame["outcome"].isin(ACCEPTED).tolist()
    kept: dict[tuple[Any, ...], int] = {}
    columns = [frame[name].tolist() for name in (*point, "seed")]
    for row, cell in enumerate(zip(*columns, strict=True)):
        if cell not in kept or (done[row] and not done[kept[cell]]):
            kept[cell] = row
    return kept


def _spaced(column: str) -> str:
    return column.replace("_", " ")


def _said(frame: pandas.DataFrame, column: str, rows: Sequence[int]) -> Counter[str]:
    """Returns how often some rows say what in a column, as text, where they say anything."""
    said: Counter[str] = Counter()
    if column in frame.columns:
        values = frame[column].tolist()
        for value, count in Counter(map(values.__getitem__, rows)).items():
            # NaN is the one value that differs from itself.
            if value is not None and value == value and value != "":
                said[str(value)] += count
    return said


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

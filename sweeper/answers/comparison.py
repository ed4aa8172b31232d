"""Compute multipliers between variants of studies, from what the store holds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sweeper.analysis import (
    Cost,
    FittedMultiplier,
    Frontier,
    Law,
    Multiplier,
    Saving,
    SharedSeeds,
    Tuned,
    TunedPoint,
    fitted_multipliers,
    frontier_law,
    require_baseline,
    saving,
    tuned_losses,
)
from sweeper.answers.axes import is_positive
from sweeper.answers.bottom_line import TOLD
from sweeper.answers.drift import left_out_json
from sweeper.answers.groups import Evidence, blow_up_notes, evidence_of
from sweeper.answers.jsonable import encoded, jsonable
from sweeper.answers.view import StudyView, view_study
from sweeper.errors import AnalysisRefusal, RequestError, UnknownNameError
from sweeper.store import Store
from sweeper.words import listed

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, kw_only=True, eq=False)
class VariantResult:
    """One variant of a comparison.

    Attributes:
        study, variant: what it is.
        tuned: its tuned losses.
        frontier: the same against the cost that is compared.
        law: the law of that frontier; None where it has none.
        no_law: why it has none, else None.
        evidence: the trials behind it.
    """

    study: str
    variant: str
    tuned: Tuned
    frontier: Frontier
    law: Law | None
    no_law: str | None
    evidence: Evidence

    @property
    def name(self) -> str:
        """The variant as it is asked for, ``study:variant``."""
        return self.tuned.name

    @property
    def points(self) -> tuple[TunedPoint, ...]:
        """The tuned points of the frontier, cheapest first."""
        found = {point.label: point for point in self.tuned.points}
        return tuple(found[point.label] for point in self.frontier.points)


def read_variant(
    view: StudyView,
    variant: str,
    metric: Cost,
    *,
    estimator: str | None = None,
    allow_holes: bool = False,
    seed: int = 0,
) -> VariantResult:
    """Returns a variant of a study with its tuned losses and their law.

    Args:
        view: the study.
        variant: name of the variant.
        metric: the cost that is compared.
        estimator: how an optimum is read off its points; None as fits the study.
        allow_holes: answer although neighbours of a minimum are missing.
        seed: seed of the law's interval; a seed of its own keeps variants independent.

    Raises:
        UnknownNameError: there is no such estimator.
        AnalysisRefusal: no tuned loss can be read, or their cost is unknown.
    """
    view.require_runs()
    rows = view.trials[view.trials["variant"] == variant]
    column = _tuned_column(view, rows)
    settings = [c for c in view.swept if c != column and _differs(view, rows, c)]
    tuned = tuned_losses(
        rows,
        name=f"{view.study.name}:{variant}",
        scale=view.scale,
        hyperparameter=column,
        settings=settings,
        estimator=estimator or view.estimator,
        allow_holes=allow_holes,
    )
    frontier = tuned.frontier(metric)
    law, no_law = None, None
    try:
        law = frontier_law(frontier, seed=seed)
    except AnalysisRefusal as refusal:
        no_law = str(refusal)
    return VariantResult(
        study=view.study.name,
        variant=variant,
        tuned=tuned,
        frontier=frontier,
        law=law,
        no_law=no_law,
        evidence=evidence_of(rows, [view.scale, *([] if column is None else [column]), *settings]),
    )


def _tuned_column(view: StudyView, rows: pandas.DataFrame) -> str | None:
    """Returns the hyperparameter that is tuned: the first of the claims' and of the others that
    is swept over positive numbers at one scale and leaves the compute alone."""
    for column in dict.fromkeys([*view.claims, *view.swept]):
        tunable = column not in view.scales and _differs(view, rows, column)
        whole = tunable and bool(rows[column].notna().all()) and is_positive(rows[column])
        if whole and not _costs(view, rows, column):
            return column
    return None


def _differs(view: StudyView, rows: pandas.DataFrame, column: str) -> bool:
    return bool((rows.groupby(view.scale)[column].nunique(dropna=False) > 1).any())


def _costs(view: StudyView, rows: pandas.DataFrame, column: str) -> bool:
    """Returns whether a setting changes the compute where all others are equal."""
    others = [c for c in (view.scale, *view.swept) if c != column]
    return bool((rows.groupby(others, dropna=False)["flops"].nunique() > 1).any())


Standing = Literal["ahead", "level", "behind", "unknown"]
"""Whether the interval of a multiplier lies above 1, holds it, lies below, or is unknown."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedVariant:
    """A variant measured against the baseline.

    Attributes:
        result: the variant.
        saving: its multipliers, one a point of its frontier.
        fitted: the same by fitted laws; empty where a side has no law.
    """

    result: VariantResult
    saving: Saving
    fitted: tuple[FittedMultiplier, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """What variants save over a baseline.

    Attributes:
        metric: ``compute`` (training FLOPs of the model) or ``seconds`` (on the device).
        baseline: the baseline.
        others: the others, in the order asked for.
        notes: what to know before reading the numbers, a sentence each.
    """

    metric: Cost
    baseline: VariantResult
    others: tuple[ComparedVariant, ...]
    notes: tuple[str, ...]

    @property
    def bottom_line(self) -> str:
        """What it all comes to, in one to three sentences."""
        what = "compute" if self.metric == "compute" else "device time"
        others = [
            (
                other.result.name,
                [(m.value, m.extrapolated, standing(m)) for m in other.saving.multipliers],
            )
            for other in self.others
        ]
        return _bottom_line(self.baseline.name, what, others)

    def to_json(self) -> dict[str, Any]:
        """Returns the comparison as plain values under stable keys; what is infinite or unknown
        is null."""
        base = self.baseline
        return {
            "baseline": base.name,
            "metric": self.metric,
            "bottom_line": self.bottom_line,
            "baseline_points": [
                {**encoded(point, _POINT), "dominated": point.label in base.frontier.dominated}
                for point in base.points
            ],
            "baseline_law": _law_json(base),
            "baseline_evidence": base.evidence.to_json(),
            "others": [
                {
                    "study": other.result.study,
                    "variant": other.result.variant,
                    "points": list(_points_json(other)),
                    "shared_seeds": _shared_json(other.saving.shared),
                    "trend": jsonable(other.saving.trend),
                    "law": _law_json(other.result),
                    "evidence": other.result.evidence.to_json(),
                    "left_out": left_out_json(other.result.tuned.left_out, "label"),
                }
                for other in self.others
            ],
            "left_out": left_out_json(base.tuned.left_out, "label"),
            "notes": list(self.notes),
        }


def _bottom_line(
    baseline: str, what: str, others: Sequence[tuple[str, Sequence[tuple[float, bool, str]]]]
) -> str:
    """Returns how many times its compute, or time, the baseline needs for the same loss.

    Args:
        baseline: its name.
        what: ``compute`` or ``device time``.
        others: name, and of each of its points the multiplier (NaN where it is beyond what was
            measured), whether it is extrapolated, and how it stands. The multipliers that are told
            are those of points within what was measured, or of all if none is.
    """
    said = []
    for name, points in others[:TOLD]:
        stands = Counter(standing for _, _, standing in points)
        parts = [f"{standing} at {number}" for standing, number in stands.most_common()]
        if "unknown" in stands:
            counted = "whether that beats the noise is unknown"
        else:
            counted = f"{name} is {listed(parts)} of {len(points)} points"
        refused = sum(math.isnan(value) for value, _, _ in points)
        outside = sum(extrapolated for _, extrapolated, _ in points) - refused
        if refused == len(points):
            said.append(
                f"How much {what} {name} saves over {baseline} is beyond what was measured: no "
                f"loss of the one is near those of the other ({counted})."
            )
            continue
        found = [value for value, _, _ in points if not math.isnan(value)]
        inside = [value for value, extrapolated, _ in points if not extrapolated]
        values = inside or found
        tails = [f"{outside} extrapolated{' and left out' if inside else ''}"] * bool(outside)
        tails += [f"{refused} beyond what was measured"] * bool(refused)
        span = " to ".join(dict.fromkeys(f"{end:.3g}" for end in (min(values), max(values))))
        said.append(
            f"For the same loss {baseline} needs {span} times the {what} of {name} "
            f"({'; '.join([counted, *tails])})."
        )
    if len(others) > TOLD:
        said.append(f"{len(others) - TOLD} more comparisons stand below.")
    return " ".join(said)


def standing(multiplier: Multiplier) -> Standing:
    """Returns how a point stands against the baseline."""
    if math.isnan(multiplier.low):
        return "unknown"
    low, high = multiplier.low, multiplier.high
    # What is beyond the measured compute at an equal one lies off 1 although 1 ends its interval.
    if low > 1 or (multiplier.beyond and low >= 1):
        return "ahead"
    return "behind" if high < 1 or (multiplier.beyond and high <= 1) else "level"


def compare(
    store: Store,
    baseline: tuple[str, str | None],
    others: Sequence[tuple[str, str | None]],
    *,
    metric: Cost = "compute",
    estimator: str | None = None,
    allow_holes: bool = False,
) -> Comparison:
    """Returns the compute multipliers of variants over a baseline.

    Args:
        store: the store.
        baseline: study and variant; None takes the only variant of the study.
        others: the same; None takes all variants of the study but the baseline.
        metric: what is saved.
        estimator: how an optimum is read off its points; None as fits each study.
        allow_holes: answer although neighbours of a minimum are missing.

    Raises:
        UnknownNameError: there is no such study, variant or estimator.
        RequestError: the baseline names several variants, or nothing else is compared.
        AnalysisRefusal: the results cannot carry a multiplier; the message says why.
    """
    views = {name: view_study(store, name) for name in dict([baseline, *others])}
    ours = _only(views[baseline[0]], baseline[1])
    theirs = [
        (views[study], variant)
        for study, asked in others
        for variant in _variants(views[study], asked)
        if (study, variant) != (baseline[0], ours)
    ]
    if not theirs:
        raise RequestError(
            f"nothing to compare with {baseline[0]}:{ours}; name another variant or study"
        )
    _require_one_metric(list(views.values()))
    read = partial(read_variant, metric=metric, estimator=estimator, allow_holes=allow_holes)
    base = read(views[baseline[0]], ours)
    require_baseline(base.frontier)
    found = [read(study, variant, seed=place) for place, (study, variant) in enumerate(theirs, 1)]
    return Comparison(
        metric=metric,
        baseline=base,
        others=tuple(_compared(base, one) for one in found),
        notes=tuple(_notes(base, found, metric, list(views.values()))),
    )


def _variants(view: StudyView, asked: str | None) -> tuple[str, ...]:
    known = tuple(dict.fromkeys(view.trials["variant"]))
    if asked is None:
        return known
    if asked not in known:
        raise UnknownNameError(f"variant of {view.study.name}", asked, known)
    return (asked,)


def _only(view: StudyView, asked: str | None) -> str:
    known = _variants(view, asked)
    if len(known) != 1:
        names = ", ".join(f"{view.study.name}:{variant}" for variant in known)
        raise RequestError(
            f"the baseline {view.study.name} has {len(known)} variants; name one: {names}"
        )
    return known[0]


def _require_one_metric(views: Sequence[StudyView]) -> None:
    for view in views:
        study, first = view.study, views[0].study
        if study.goal == "max":
            raise AnalysisRefusal(
                f"study {study.name} compares {study.metric}, of which more is better; "
                "multipliers are read in the logarithm of a loss"
            )
        if study.metric != first.metric:
            raise AnalysisRefusal(
                f"study {first.name} compares {first.metric} and study {study.name} compares "
                f"{study.metric}; only losses of one kind can be compared"
            )


def _compared(base: VariantResult, one: VariantResult) -> ComparedVariant:
    fitted: tuple[FittedMultiplier, ...] = ()
    if base.law is not None and one.law is not None:
        compute = np.exp(one.frontier.ln_compute)
        fitted = fitted_multipliers(base.law, one.law, compute)
    return ComparedVariant(
        result=one, saving=saving(base.frontier, one.frontier, law=base.law), fitted=fitted
    )


def _notes(
    base: VariantResult, found: Sequence[VariantResult], metric: Cost, views: Sequence[StudyView]
) -> Iterator[str]:
    if base.frontier.dominated:
        yield (
            f"{base.name}: {', '.join(base.frontier.dominated)} is no better than a cheaper "
            "point, and the baseline passes it by"
        )
    bounds = [point.label for point in base.points if point.bound]
    if bounds:
        yield (
            f"{base.name}: the optimum at {', '.join(bounds)} is at an edge of the grid, so the "
            "baseline may be better than it looks, and the multipliers too high"
        )
    for one in (base, *found):
        yield from blow_up_notes(one.name, one.tuned.blow_ups)
        poor = [point.label for point in one.points if point.poor]
        if poor:
            yield (
                f"{one.name}: the lowest losses that were observed are compared at "
                f"{listed(poor)}, where the points contradict their fit"
            )
    workloads = sorted({view.study.workload for view in views})
    if len(workloads) > 1:
        yield f"the studies have different workloads: {', '.join(workloads)}"
    code = dict.fromkeys(one.evidence.versions for one in (base, *found))
    if len(code) > 1:
        said = "; ".join(", ".join(versions) or "not recorded" for versions in code)
        yield f"the variants come from different code: {said}"
    devices = sorted({device for one in (base, *found) for device in one.evidence.devices})
    if metric == "seconds" and len(devices) > 1:
        yield f"seconds are from different devices: {', '.join(devices)}"


def _points_json(other: ComparedVariant) -> Iterator[dict[str, Any]]:
    fitted = other.fitted or [None] * len(other.saving.multipliers)
    rows = zip(other.result.points, other.saving.multipliers, fitted, strict=True)
    for point, multiplier, by_law in rows:
        yield {
            **encoded(point, _POINT),
            **encoded(multiplier, "multiplier=value low high extrapolated"),
            "refused": multiplier.refused,
            "standing": standing(multiplier),
            "fitted": by_law
            and {
                **encoded(by_law, "multiplier=value low high"),
                "difference": jsonable(by_law.value - multiplier.value),
            },
        }


_POINT = "label flops seconds loss error bound seeds poor_fit=poor"


def _shared_json(shared: SharedSeeds | None) -> dict[str, Any] | None:
    if shared is None:
        return None
    return {"points": len(shared.pairs), **encoded(shared, "measured correlation")}


def _law_json(one: VariantResult) -> dict[str, Any]:
    law = one.law
    if law is None:
        return {"refused": one.no_law}
    term = law.terms[0]
    return {
        "asymptote": encoded(law, "value=asymptote low high"),
        "amplitude": term.amplitude,
        "exponent": encoded(term, "value=exponent low high"),
        **encoded(law, "points flags"),
        "refused": None,
    }

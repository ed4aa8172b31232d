"""`sweeper compare`: how much compute one variant saves over another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import (
    EstimatorOption,
    HolesOption,
    JsonOption,
    StoreOption,
    name_of,
    offered_studies,
    open_store,
)
from sweeper.cli.text import Said, evidence_lines, grid, interval, noted, print_answer, print_json
from sweeper.words import loss_digits

if TYPE_CHECKING:
    from rich.table import Table

    from sweeper.analysis import FittedMultiplier, SharedSeeds
    from sweeper.answers import ComparedVariant, Comparison, VariantResult


class MetricName(StrEnum):
    """What is saved."""

    compute = "compute"
    seconds = "seconds"


def compare(
    baseline: Annotated[
        str,
        typer.Argument(
            metavar="BASELINE",
            help="STUDY:VARIANT, or a study with one variant.",
            autocompletion=offered_studies,
        ),
    ],
    others: Annotated[
        list[str],
        typer.Argument(
            metavar="OTHER...",
            help="STUDY:VARIANT, or a study for all its variants.",
            autocompletion=offered_studies,
        ),
    ],
    metric: Annotated[
        MetricName, typer.Option(help="Training FLOPs, or seconds on the device.")
    ] = MetricName.compute,
    estimator: EstimatorOption = None,
    allow_holes: HolesOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how much compute, or time, one variant saves over another at equal loss."""
    from sweeper.answers import compare as compared

    with open_store(store) as opened:
        comparison = compared(
            opened,
            _named(baseline, store),
            [_named(other, store) for other in others],
            metric=metric.value,
            estimator=estimator,
            allow_holes=allow_holes,
        )
    if as_json:
        print_json(comparison.to_json())
    else:
        _print(comparison)


def _named(asked: str, store: str | None) -> tuple[str, str | None]:
    """Returns study and variant of ``study`` or ``study:variant``."""
    study, colon, variant = asked.partition(":")
    return name_of(study, store), variant if colon else None


def _print(comparison: Comparison) -> None:
    base = comparison.baseline
    what = "compute" if comparison.metric == "compute" else "device time"
    lead = [
        comparison.bottom_line,
        f"how many times its {what} the baseline needs for the same loss",
        *_left_out(base),
        *evidence_lines(base.evidence),
        *noted(comparison.notes),
    ]
    groups = ((other.result.name, _said(base, other)) for other in comparison.others)
    print_answer(f"{what} multipliers over {base.name}", lead, groups)


def _said(base: VariantResult, other: ComparedVariant) -> Iterator[Said]:
    yield _table(other)
    yield from _left_out(other.result)
    yield _verdict(other)
    if not math.isnan(other.saving.multipliers[0].low):
        yield _seeds(other.saving.shared)
    for one in (base, other.result):
        if one.no_law is not None:
            yield f"no law of {one.name}: {one.no_law}"
    yield from evidence_lines(other.result.evidence)


def _left_out(one: VariantResult) -> list[str]:
    return [f"no tuned loss of {one.name}: {why}" for why in one.tuned.left_out.values()]


def _table(other: ComparedVariant) -> Table:
    from sweeper.answers import standing

    timed = any(not math.isnan(point.seconds) for point in other.result.points)
    fitted = other.fitted or [None] * len(other.result.points)
    rows = []
    digits = loss_digits(point.loss for point in other.result.points)
    for point, multiplier, law in zip(
        other.result.points, other.saving.multipliers, fitted, strict=True
    ):
        stands = standing(multiplier)
        words = ["" if stands == "unknown" else str(stands)]
        if multiplier.extrapolated:
            words.append("beyond what was measured" if multiplier.beyond else "extrapolated")
        words += ["at least"] * point.bound
        rows.append(
            [
                ("point", point.label),
                ("loss", f"{point.loss:.{digits}f}"),
                ("FLOPs", _number(point.flops)),
                *[("seconds", _number(point.seconds))] * timed,
                ("multiplier", multiplier.beyond or f"{multiplier.value:.3f}"),
                ("95% interval", _interval(multiplier.low, multiplier.high)),
                ("by laws", _by_law(law, multiplier.value)),
                ("", ", ".join(filter(None, words))),
            ]
        )
    return grid(rows, words=("point", ""))


def _number(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.3g}"


def _by_law(law: FittedMultiplier | None, value: float) -> str:
    """Returns the multiplier by fitted laws, and how far it is from the interpolated one."""
    if law is None:
        return "no law"
    if not 0 < law.value < math.inf:
        return "beyond"
    return f"{law.value:.3f}" + ("" if math.isnan(value) else f" ({law.value / value - 1:+.0%})")


def _interval(low: float, high: float) -> str:
    if math.isnan(low):
        return "unknown"
    return f"{low:.3f} to {high:.3f}" if math.isfinite(high) else f"{low:.3f} up"


def _verdict(other: ComparedVariant) -> str:
    """Returns what the multipliers say, in a sentence."""
    from sweeper.answers import standing

    found = other.saving.multipliers
    values = [multiplier.value for multiplier in found if not multiplier.beyond]
    ends = dict.fromkeys(f"{end:.3g}" for end in (min(values), max(values))) if values else {}
    size = " to ".join(ends) or "beyond what was measured"
    stands = [standing(multiplier) for multiplier in found]
    counts = [f"{word} at {stands.count(word)}" for word in dict.fromkeys(stands)]
    said = f"multiplier {size}; {', '.join(counts)} of {len(found)} points"
    if "unknown" in stands:
        said = f"multiplier {size}; whether that beats the noise is unknown: no seeds tell it"
    if values and len(values) < len(found):
        said += f"; {len(found) - len(values)} beyond what was measured"
    trend = other.saving.trend
    if trend is None:
        return f"{said}."
    return f"{said}. {_course(trend.exponent, trend.low, trend.high)}"


def _seeds(shared: SharedSeeds | None) -> str:
    """Returns what the seeds that both sides ran mean for the intervals, in a sentence."""
    if shared is None:
        return (
            "The intervals take the noise of both sides as independent: too few seeds are shared."
        )
    if shared.correlation == 0:
        return (
            f"Both ran the same seeds at {len(shared.pairs)} points, but these do not go together "
            f"(correlation {shared.measured:+.2f}): the intervals hold the noise of both in full."
        )
    return (
        f"Both ran the same seeds at {len(shared.pairs)} points, which go together (correlation "
        f"{shared.measured:.2f}, of which {shared.correlation:.2f} counts): the intervals leave "
        "out what a seed does to both."
    )


def _course(exponent: float, low: float, high: float) -> str:
    """Returns how a multiplier goes with its cost, in a sentence."""
    size = f"cost^{exponent:+.3f}"
    if math.isnan(low):
        return f"It goes as {size}."
    band = f"as {size}, 95% interval {interval(low, high)}"
    if low > 0 or high < 0:
        return f"It {'grows' if low > 0 else 'shrinks'} {band}."
    return f"It goes {band}: no change is proven."

"""`sweeper compare`: how much compute one variant saves over another."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import JsonOption, StoreOption

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from sweeper.analysis import FittedMultiplier, SharedSeeds
    from sweeper.answers import Comparison, Rival, Side


class MetricName(StrEnum):
    """What is saved."""

    compute = "compute"
    seconds = "seconds"


def compare(
    baseline: Annotated[
        str, typer.Argument(metavar="BASELINE", help="STUDY:VARIANT, or a study with one variant.")
    ],
    others: Annotated[
        list[str],
        typer.Argument(metavar="OTHER...", help="STUDY:VARIANT, or a study for all its variants."),
    ],
    metric: Annotated[
        MetricName, typer.Option(help="Training FLOPs, or seconds on the device.")
    ] = MetricName.compute,
    allow_holes: Annotated[
        bool, typer.Option("--allow-holes", help="Answer although neighbours are missing.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how much compute, or time, one variant saves over another at equal loss."""
    from sweeper.answers import compare as compared
    from sweeper.cli.text import print_json
    from sweeper.store import Store

    with Store.open(store, create=False) as opened:
        comparison = compared(
            opened,
            _named(baseline),
            [_named(other) for other in others],
            metric=metric.value,
            allow_holes=allow_holes,
        )
    if as_json:
        print_json(comparison.to_json())
    else:
        _print(comparison)


def _named(asked: str) -> tuple[str, str | None]:
    """Returns study and variant of ``study`` or ``study:variant``."""
    from sweeper.cli.status import name_of

    study, colon, variant = asked.partition(":")
    return name_of(study), variant if colon else None


def _print(comparison: Comparison) -> None:
    from sweeper.cli.text import console, print_evidence, say

    out = console()
    what = "compute" if comparison.metric == "compute" else "device time"
    out.print(f"\n{what} multipliers over {comparison.baseline.name}", style="bold")
    say(out, f"how many times its {what} the baseline needs for the same loss")
    _print_left_out(out, comparison.baseline)
    print_evidence(out, comparison.baseline.evidence)
    for note in comparison.notes:
        say(out, f"note: {note}")
    for rival in comparison.rivals:
        out.print(f"\n{rival.side.name}", style="bold cyan")
        out.print(_table(rival))
        _print_left_out(out, rival.side)
        say(out, _verdict(rival))
        if not math.isnan(rival.saving.multipliers[0].low):
            say(out, _seeds(rival.saving.shared))
        for side in (comparison.baseline, rival.side):
            if side.lawless is not None:
                say(out, f"no law of {side.name}: {side.lawless}")
        print_evidence(out, rival.side.evidence)


def _print_left_out(out: Console, side: Side) -> None:
    from sweeper.cli.text import say

    for why in side.tuned.left_out.values():
        say(out, f"no tuned loss of {side.name}: {why}")


def _table(rival: Rival) -> Table:
    from rich.table import Table

    from sweeper.answers import standing

    timed = any(not math.isnan(point.seconds) for point in rival.side.points)
    costs = ("FLOPs", "seconds") if timed else ("FLOPs",)
    table = Table(box=None, padding=(0, 1), pad_edge=True)
    for heading in ("point", "loss", *costs, "multiplier", "95% interval", "by laws", ""):
        table.add_column(heading, justify="left" if heading in ("point", "") else "right")
    fitted = rival.fitted or [None] * len(rival.side.points)
    rows = zip(rival.side.points, rival.saving.multipliers, fitted, strict=True)
    for point, multiplier, law in rows:
        stands = standing(multiplier)
        words = ["" if stands == "unknown" else str(stands)]
        words += ["extrapolated"] * multiplier.extrapolated + ["at least"] * point.bound
        table.add_row(
            point.label,
            f"{point.loss:.4f}",
            *map(_number, (point.flops, point.seconds)[: len(costs)]),
            f"{multiplier.value:.3f}",
            _interval(multiplier.low, multiplier.high),
            _by_law(law, multiplier.value),
            ", ".join(filter(None, words)),
        )
    return table


def _number(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.3g}"


def _by_law(law: FittedMultiplier | None, value: float) -> str:
    """Returns the multiplier by fitted laws, and how far it is from the interpolated one."""
    if law is None:
        return "no law"
    return (
        f"{law.value:.3f} ({law.value / value - 1:+.0%})" if math.isfinite(law.value) else "never"
    )


def _interval(low: float, high: float) -> str:
    if math.isnan(low):
        return "unknown"
    return f"{low:.3f} to {high:.3f}" if math.isfinite(high) else f"{low:.3f} up"


def _verdict(rival: Rival) -> str:
    """Returns what the multipliers say, in a sentence."""
    from sweeper.answers import standing

    found = rival.saving.multipliers
    values = [multiplier.value for multiplier in found]
    span = f"{min(values):.3g}" if len(values) == 1 else f"{min(values):.3g} to {max(values):.3g}"
    stands = [standing(multiplier) for multiplier in found]
    counts = [f"{word} at {stands.count(word)}" for word in dict.fromkeys(stands)]
    said = f"multiplier {span}; {', '.join(counts)} of {len(found)} points"
    if "unknown" in stands:
        said = f"multiplier {span}; whether that beats the noise is unknown: no seeds tell it"
    trend = rival.saving.trend
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
    band = f"as {size}, 95% interval {low:+.3f} to {high:+.3f}"
    if low > 0 or high < 0:
        return f"It {'grows' if low > 0 else 'shrinks'} {band}."
    return f"It goes {band}: no change is proven."

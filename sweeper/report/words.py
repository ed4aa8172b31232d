"""Numbers, flags and verdicts in a reader's words."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sweeper.analysis import Drift, DriftFlag, Flag, Regret

OPTIMUM_FLAGS: Mapping[Flag, str] = {
    "censored_low": "at the lower edge of the grid: the optimum may lie below",
    "censored_high": "at the upper edge of the grid: the optimum may lie above",
    "cliff": "next to a diverged point: the optimum lies before it",
    "bimodal": "two separate minima, closer than the noise",
    "flat": "interval wider than the grid",
    "sparse": "neighbours of the minimum have no result",
}

DRIFT_FLAGS: Mapping[DriftFlag, str] = {
    "censored": "some optima are bounds only",
    "two_scales": "two scales only: nothing tells whether the drift is a straight line",
    "scattered": "optima scatter round the line more than their noise explains",
    "estimators_disagree": "interval stretched to what other estimators say",
    "left_out": "scales without an optimum are left out",
}


def minus(text: str) -> str:
    """Returns text with hyphens before digits set as minus signs."""
    return text.replace("-", "−")


def signed(value: float, digits: int = 2) -> str:
    """Returns a number with its sign; an infinite one as ``open``."""
    # Adding zero turns minus zero into zero.
    return minus(f"{round(value, digits) + 0.0:+.{digits}f}") if math.isfinite(value) else "open"


def span(low: float, high: float, digits: int = 2) -> str:
    """Returns an interval, for example ``[−0.41, +0.12]`` or ``(open, +0.12]``."""
    left = f"[{signed(low, digits)}" if math.isfinite(low) else "(open"
    right = f"{signed(high, digits)}]" if math.isfinite(high) else "open)"
    return f"{left}, {right}"


def fixed(value: float | None, digits: int = 4) -> str:
    """Returns a number with a fixed number of decimals; a dash if it is unknown."""
    if value is None or math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else minus(f"{value:.{digits}f}")


def brief(value: float) -> str:
    """Returns a number with three significant digits; an infinite one as ``open``."""
    return minus(f"{value:.3g}") if math.isfinite(value) else "open"


def value_span(low: float, high: float) -> str:
    """Returns an interval given in log2 as the values themselves."""
    left = f"[{brief(2.0**low)}" if math.isfinite(low) else "(open"
    right = f"{brief(2.0**high)}]" if math.isfinite(high) else "open)"
    return f"{left}, {right}"


def quantity(number: float) -> str:
    """Returns a number with three digits and a letter, for example ``1.25 G``."""
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.3g}"


def duration(seconds: float) -> str:
    """Returns seconds as ``45 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def plural(count: int, noun: str) -> str:
    """Returns ``1 trial`` or ``3 trials``."""
    return f"{count} {noun}{'s' * (count != 1)}"


def drift_words(drift: Drift, scale: str) -> str:
    """Returns a drift as one sentence."""
    return (
        f"{signed(drift.slope)} octaves per doubling of {scale}, "
        f"95% interval {span(drift.low, drift.high)}"
    )


def regret_words(cost: Regret) -> str:
    """Returns a regret in nats, as far as it is known."""
    if cost.certainty == "unknown":
        return "unknown"
    if cost.certainty == "infinite":
        return "diverges"
    text = minus(f"{cost.regret:.4f}")
    return f"≥ {text}" if cost.certainty == "at_least" else text


def compute_words(cost: Regret) -> str:
    """Returns the factor of compute that a regret throws away, as far as it is known."""
    if not math.isfinite(cost.compute):
        return "–"
    bound = "≥ " if cost.certainty == "at_least" else ""
    return f"{bound}×{cost.compute:.2f}{' (extrapolated)' if cost.compute_note else ''}"


def regret_note(cost: Regret) -> str:
    """Returns what there is to know about a regret besides the number."""
    return cost.note or ("below the noise floor" if cost.harmless else "")

"""The averaged path of a training, at whose points the top-k decomposition reads the loss.

All lengths are shares of the run, those of the run of 7,185 steps in arXiv 2512.22768.
"""

from __future__ import annotations

import math

WARMUP = 2000 / 7185
"""Share of the run over which average and spacing widen."""

FIRST_WINDOW = 50 / 7185
"""Window of the average at the start, as a share of the run."""

LAST_WINDOW = 2000 / 7185
"""Window of the average from the end of its warmup on."""

WIDENING = 5
"""Times as far apart as at the start points lie from the end of the warmup on."""

POINTS = 100
"""Points after the start, at most one a step."""


def window(step: int, steps: int) -> float:
    """Returns the window 1 / (1 - decay) of the moving average at a step, from 1, in steps: at
    least 1, where the average is the iterate itself."""
    share = min(1.0, step / (WARMUP * steps))
    return max(1.0, steps * (FIRST_WINDOW + (LAST_WINDOW - FIRST_WINDOW) * share))


def points(steps: int, number: int = POINTS) -> tuple[int, ...]:
    """Returns the steps after which the average is a point of the path, the last one included.

    Their spacing grows linearly, to ``WIDENING`` times that of the start, over the warmup, and
    stays.

    Args:
        steps: of the run.
        number: of points, fewer where that is more than one a step.
    """
    return tuple(sorted({max(1, round(steps * _share(i / number))) for i in range(1, number + 1)}))


def _share(part: float) -> float:
    """Returns the share of the run at which a part of the points has been taken."""
    slope = (WIDENING - 1) / WARMUP  # spacing at share u: 1 + slope u, then WIDENING
    early = math.log(WIDENING) / slope
    whole = early + (1 - WARMUP) / WIDENING
    sought = part * whole
    if sought <= early:
        return math.expm1(slope * sought) / slope
    return min(1.0, WARMUP + (sought - early) * WIDENING)

"""Reading compute off a baseline: along its points, bent as its law bends, and by the law itself.

Loss against compute bends toward an asymptote, and a chord in ln loss lies above the bend. So
where the fitted law L = E + A C^-alpha proves an asymptote, ln compute is interpolated in
ln (loss - E), which is straight under the law and goes through every point; beyond the points the
law is read. Without a proven asymptote it is interpolated in ln loss, and the last stretch of the
points goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweeper.analysis.compute.frontier import Frontier, read_compute
from sweeper.analysis.compute.law import Law
from sweeper.analysis.optimum import Floats

CLEARANCE = 1e-3
"""Least distance of the asymptote of a draw from its lowest loss, as a share of the range of its
losses: noise can put a fitted asymptote above a loss, which then has no ln (loss - E)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Readings:
    """ln compute at losses, shape [R, M] each.

    Attributes:
        value: what counts.
        rival: the other reading, by which the interval is stretched: the law's within the points,
            and NaN where there is no other.
    """

    value: Floats
    rival: Floats

    def at(self, index: int) -> Readings:
        """Returns those at one loss, shape [R] each."""
        return Readings(value=self.value[:, index], rival=self.rival[:, index])


def proves_asymptote(baseline: Frontier, law: Law) -> bool:
    """Returns whether the interval of the asymptote of a law lies above 0, by known noise: the
    residuals of a few points alone say too little."""
    return baseline.noisy and law.low > 0


def read_along(
    baseline: Frontier, law: Law | None, ln_loss: Floats, at: Floats, inside: Floats
) -> Readings:
    """Returns ln compute at ln losses ``at`` on R draws of a baseline.

    Args:
        baseline: the frontier.
        law: its law; None where it has none.
        ln_loss: ln losses of its points, shape [R, K].
        at: where to read, shape [R, M].
        inside: whether each place lies within the measured losses, shape [M].
    """
    straight = read_compute(baseline.ln_compute, ln_loss, at)
    if law is None or "no_fall" in law.flags:
        return Readings(value=straight, rival=np.full_like(straight, np.nan))
    theta = law.refitted({"compute": baseline.ln_compute}, np.exp(ln_loss))
    by_law = _by_law(law, theta, np.exp(at))
    if not proves_asymptote(baseline, law):
        return Readings(value=straight, rival=by_law)
    losses = np.exp(ln_loss)
    lowest, span = losses.min(axis=1), np.ptp(losses, axis=1)
    asymptote = np.minimum(theta[:, 0], lowest - CLEARANCE * span)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.log(np.maximum(np.exp(at) - asymptote, 0.0))
        bent = read_compute(baseline.ln_compute, np.log(losses - asymptote), above)
    return Readings(value=np.where(inside, bent, by_law), rival=np.where(inside, by_law, np.nan))


def _by_law(law: Law, theta: Floats, losses: Floats) -> Floats:
    """Returns ln compute at losses [R, M] by laws [R, 3]; infinite where it is never reached, NaN
    where a law does not fall."""
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.log(theta[:, 1:2] / np.maximum(losses - theta[:, :1], 0.0)) / theta[:, 2:]
    return np.where(theta[:, 1:2] > 0, law.centre[0] + above, np.nan)

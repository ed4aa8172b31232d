"""The economy of tuning: what compute buys with and without transfer, as exponents.

The compute-optimal grid search of arXiv 2512.22768, section 2.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sweeper.errors import AnalysisRefusal


@dataclass(frozen=True, kw_only=True)
class Economy:
    """What a run costs and how many hyperparameters are tuned, for "is tuning free".

    Attributes:
        cost_exponent: r, with the cost of a run ~ scale^r.
        hyperparameters: h, those that are tuned together.
    """

    cost_exponent: float = 2.0
    hyperparameters: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cost_exponent) and self.cost_exponent > 0):
            raise AnalysisRefusal(
                f"cost exponent {self.cost_exponent}: a positive number is needed; 2 where runs "
                "of all widths see the same tokens, 4 where the tokens grow with the parameters"
            )
        if self.hyperparameters < 1:
            raise AnalysisRefusal(f"{self.hyperparameters} hyperparameters: at least 1 is tuned")


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How the excess loss falls with compute F: as F^-exponent.

    Attributes:
        direct: error exponent of tuning a model directly, 2 alpha / (h alpha + 2 r).
        transfer: that of tuning at a proxy, min(alpha / r, 2 beta / (h beta + r)).
        proxy: the best proxy grows as F^proxy, 1 / (h beta + r).
        model: the directly tuned model grows as F^model, 2 / (h alpha + 2 r).
        free_from: beta from which tuning is asymptotically free; infinite if none is.
        useful: whether transfer beats direct tuning, beta > alpha / 2.
        free: whether tuning is asymptotically free.
    """

    direct: float
    transfer: float
    proxy: float
    model: float
    free_from: float
    useful: bool
    free: bool


def free_exponent(alpha: float, economy: Economy) -> float:
    """Returns the beta from which tuning is asymptotically free: alpha r / (2 r - alpha h).

    There the error of the tuning, F^(-2 beta / (h beta + r)), falls as fast as that of a single
    run on all of the compute F, F^(-alpha / r). Infinite where no beta suffices.
    """
    if math.isnan(alpha):
        return math.nan
    r, h = economy.cost_exponent, economy.hyperparameters
    return alpha * r / (2 * r - alpha * h) if 2 * r > alpha * h else math.inf


def growth(alpha: float, beta: float, economy: Economy) -> Growth:
    """Returns the exponents of the compute-optimal grid search.

    Raises:
        AnalysisRefusal: alpha is not positive, or beta is negative.
    """
    if not (math.isfinite(alpha) and alpha > 0):
        raise AnalysisRefusal(f"alpha = {alpha}: the tuned loss must fall, as scale^-alpha")
    if not (math.isfinite(beta) and beta >= 0):
        raise AnalysisRefusal(f"beta = {beta}: the optimum must converge, as scale^-beta")
    r, h = economy.cost_exponent, economy.hyperparameters
    free_from = free_exponent(alpha, economy)
    return Growth(
        direct=2 * alpha / (h * alpha + 2 * r),
        transfer=min(alpha / r, 2 * beta / (h * beta + r)),
        proxy=1 / (h * beta + r),
        model=2 / (h * alpha + 2 * r),
        free_from=free_from,
        useful=beta > alpha / 2,
        free=beta >= free_from,
    )

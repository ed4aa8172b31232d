"""Rules: how an optimum depends on the scales, and which form predicts the largest best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sweeper.analysis.optimum import SiteOptimum
from sweeper.analysis.scaling.fit import RegressionData, RuleFit, Span
from sweeper.analysis.scaling.holdout import Candidate, HeldOut, compare, require_spread, try_form
from sweeper.analysis.scaling.models import ModelName
from sweeper.errors import AnalysisRefusal, UnknownNameError

RuleFlag = Literal["censored", "unchecked", "scattered", "left_out"]
"""What to know about a rule:

- ``censored``: some optima entered as bounds or ranges.
- ``unchecked``: too few places to hold the largest out.
- ``scattered``: optima scatter round the rule more than their noise explains.
- ``left_out``: places without an optimum were left out."""

MODELS: tuple[ModelName, ...] = ("constant", "power", "offset")
"""Forms of a rule, the simplest first."""

CHOICES = ("auto", *MODELS)

CHOICE_SIGMAS = 1.0
"""A form no farther behind the best than this may be chosen, if none simpler is."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """What one scale does: octaves of the hyperparameter per doubling, with its interval."""

    scale: str
    exponent: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Rule:
    """How the optimum of one hyperparameter depends on the scales.

    Attributes:
        hyperparameter: its name.
        scales: names of the scales.
        site_optima: the optima that entered, one a place.
        intercept: log2 of the optimum where every scale is 1, by the power law.
        terms: the power law's exponents, whatever form predicts.
        model: the form that predicts.
        candidates: every form with its held-out check.
        flags: see :data:`RuleFlag`.
        leverage: share of each place in its own fitted value, from 0 to 1; 0 for a bound.
    """

    hyperparameter: str
    scales: tuple[str, ...]
    site_optima: tuple[SiteOptimum, ...]
    intercept: Span
    terms: tuple[Term, ...]
    model: ModelName
    candidates: Mapping[ModelName, Candidate]
    flags: tuple[RuleFlag, ...]
    leverage: tuple[float, ...] = field(repr=False)

    @property
    def fit(self) -> RuleFit:
        """The fit of the form that predicts."""
        fit = self.candidates[self.model].fit
        assert fit is not None
        return fit

    @property
    def held(self) -> tuple[HeldOut, ...]:
        """The held-out check of the form that predicts."""
        return self.candidates[self.model].held


def fit_rule(
    site_optima: Sequence[SiteOptimum],
    *,
    hyperparameter: str,
    scales: Sequence[str],
    model: str = "auto",
    left_out: bool = False,
) -> Rule:
    """Returns the rule of one hyperparameter.

    Least squares of log2 optimum on log2 of the scales, weighted by the noise of every optimum
    and their scatter; optima that are bounds enter by their likelihood. Which form predicts is
    decided by the error at the largest value of each scale, predicted from the places without
    it: the simplest form that does as well as the best within one standard deviation of the
    difference under the noise (the one-standard-error rule of Breiman et al. 1984).

    Args:
        site_optima: the optima, one a place.
        hyperparameter: its name.
        scales: names of the scales, each a key of the optima's sites.
        model: ``auto``, or the form that predicts.
        left_out: whether places of the group have no optimum; sets a flag.

    Raises:
        AnalysisRefusal: too few places; a scale that takes one value or moves with others; the
            form that is asked for cannot be fitted.
        UnknownNameError: there is no such form.
    """
    if model not in CHOICES:
        raise UnknownNameError("model", model, CHOICES)
    require_sites(site_optima, scales)
    places = np.array(
        [[site_optimum.scales[name] for name in scales] for site_optimum in site_optima]
    )
    data = RegressionData.of(site_optima, places)
    require_spread(data.u[data.located], scales)
    tried = compare({name: try_form(name, data, site_optima, scales) for name in MODELS})
    chosen = _chosen(tried, model)
    law = tried["power"].fit
    assert law is not None
    return Rule(
        hyperparameter=hyperparameter,
        scales=tuple(scales),
        site_optima=tuple(site_optima),
        intercept=law.span(lambda parameters: parameters[:, 0]),
        terms=tuple(_term(law, scale, index) for index, scale in enumerate(scales)),
        model=chosen,
        candidates=tried,
        flags=_flags(data, tried[chosen], left_out),
        leverage=tuple(law.leverage.tolist()),
    )


def _term(law: RuleFit, scale: str, index: int) -> Term:
    span = law.exponent(index)
    return Term(scale=scale, exponent=span.value, low=span.low, high=span.high)


def require_sites(site_optima: Sequence[SiteOptimum], scales: Sequence[str]) -> None:
    """Checks that there are enough places with an optimum.

    Raises:
        AnalysisRefusal: fewer places than the power law has parameters.
    """
    inside = [site_optimum for site_optimum in site_optima if site_optimum.located]
    need = len(scales) + 1
    if len(inside) >= need:
        return
    edges = "".join(f"; {edge_advice(s)}" for s in site_optima if not s.located)
    raise AnalysisRefusal(
        f"{len(inside)} of {len(site_optima)} places have their optimum inside the grid, and a "
        f"rule over {', '.join(scales)} needs {need}: add values of the scale{edges}"
    )


def edge_advice(site_optimum: SiteOptimum) -> str:
    """Returns one clause on what an optimum that is only bounded needs."""
    best = f"at {site_optimum.site.label} the lowest loss is at {2.0**site_optimum.log2:.4g}"
    if "cliff" in site_optimum.flags:
        return f"{best}, next to a diverged point: refine the grid there"
    for flag, side in (("censored_low", "lower"), ("censored_high", "upper")):
        if flag in site_optimum.flags:
            return f"{best}, the {side} edge: extend the grid there"
    if "conditional" in site_optimum.flags:
        return f"{best}, but the other hyperparameter is at an edge: extend its grid there"
    return f"at {site_optimum.site.label} the losses have no clear minimum: add seeds there"


def _chosen(tried: Mapping[ModelName, Candidate], asked: str) -> ModelName:
    """Returns the form that predicts."""
    if asked == "auto":
        return next(name for name in MODELS if tried[name].behind <= CHOICE_SIGMAS)
    name = next(name for name in MODELS if name == asked)
    if tried[name].fit is None:
        raise AnalysisRefusal(f"no {name} rule: {tried[name].why_not}")
    return name


def _flags(data: RegressionData, candidate: Candidate, left_out: bool) -> tuple[RuleFlag, ...]:
    assert candidate.fit is not None
    table: dict[RuleFlag, bool] = {
        "censored": not bool(data.located.all()),
        "unchecked": not candidate.held,
        "scattered": candidate.fit.scatter > 0,
        "left_out": left_out,
    }
    return tuple(flag for flag, raised in table.items() if raised)

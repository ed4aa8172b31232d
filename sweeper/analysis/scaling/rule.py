"""Rules: how an optimum depends on the scales, and which form predicts the largest best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from sweeper.analysis.optimum import SiteOptimum
from sweeper.analysis.scaling.fit import RegressionData, RuleFit, Span
from sweeper.analysis.scaling.forecast import Forecaster, Seen, together
from sweeper.analysis.scaling.holdout import (
    ALONG_ONE,
    Candidate,
    HeldOut,
    hold_out,
    require_spread,
    try_form,
)
from sweeper.analysis.scaling.models import ModelName
from sweeper.analysis.scaling.remedies import to_do
from sweeper.errors import AnalysisRefusal, UnknownNameError

RuleFlag = Literal["censored", "unchecked", "scattered", "left_out"]
"""What to know about a rule:

- ``censored``: some optima entered as bounds or ranges.
- ``unchecked``: too few places to hold the largest out.
- ``scattered``: optima scatter round the rule more than their noise explains.
- ``left_out``: places without an optimum were left out."""

MODELS: tuple[ModelName, ...] = ("constant", "power", "bent", "offset")
"""Forms of a rule, the simplest first."""

CHOICES = ("auto", *MODELS)


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
        forecaster: what predicts: the forms with their weights.
        held: the held-out check.
        tried: every form as it was fitted.
        left_out: whether places of the group have no optimum.
        leverage: share of each place in its own fitted value, from 0 to 1; 0 for a bound.
    """

    hyperparameter: str
    scales: tuple[str, ...]
    site_optima: tuple[SiteOptimum, ...]
    intercept: Span
    terms: tuple[Term, ...]
    forecaster: Forecaster
    held: tuple[HeldOut, ...]
    tried: Mapping[ModelName, Candidate]
    left_out: bool
    leverage: tuple[float, ...] = field(repr=False)

    @cached_property
    def candidates(self) -> Mapping[ModelName, Candidate]:
        """Every form with its weight in predictions."""
        weights = self.forecaster.weights
        return {
            name: replace(one, weight=weights.get(name, 0.0)) for name, one in self.tried.items()
        }

    @property
    def model(self) -> ModelName:
        """The form that weighs most of those that can be fitted."""
        fitted = [one for one in self.candidates.values() if one.fit is not None]
        return max(fitted, key=lambda one: one.weight).name

    @property
    def fit(self) -> RuleFit:
        """The fit of that form."""
        fit = self.tried[self.model].fit
        assert fit is not None
        return fit

    @property
    def flags(self) -> tuple[RuleFlag, ...]:
        """What to know about it, see :data:`RuleFlag`."""
        table: dict[RuleFlag, bool] = {
            "censored": not bool(self.fit.data.located.all()),
            "unchecked": not self.held,
            "scattered": self.fit.scatter > 0,
            "left_out": self.left_out,
        }
        return tuple(flag for flag, raised in table.items() if raised)


def fit_rule(
    site_optima: Sequence[SiteOptimum],
    *,
    hyperparameter: str,
    scales: Sequence[str],
    model: str = "auto",
    left_out: bool = False,
) -> Rule:
    """Returns the rule of one hyperparameter.

    The power law is fitted by least squares of log2 optimum on log2 of the scales, weighted by
    the noise of every optimum and their scatter; optima that are bounds enter by their
    likelihood. What predicts is the average of all forms by their weight, see
    :class:`Forecaster`. The constant has none where the power law's slope excludes 0, or where
    it leaves the interval of the largest scale.

    Args:
        site_optima: the optima, one a place.
        hyperparameter: its name.
        scales: names of the scales, each a key of the optima's sites.
        model: ``auto``, or the one form that predicts.
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
    require_spread(data.u[data.closed], scales)
    tried = {name: try_form(name, data, scales) for name in MODELS}
    law = tried["power"].fit
    assert law is not None
    terms = tuple(_term(law, scale, index) for index, scale in enumerate(scales))
    allowed = _allowed(tried, model, terms, site_optima)
    return Rule(
        hyperparameter=hyperparameter,
        scales=tuple(scales),
        site_optima=tuple(site_optima),
        intercept=law.span(lambda parameters: parameters[:, 0]),
        terms=terms,
        forecaster=Forecaster(Seen.of(data), allowed),
        held=tuple(hold_out(data, site_optima, scales, _along(scales, model))),
        tried=tried,
        left_out=left_out,
        leverage=tuple(law.leverage.tolist()),
    )


def learn_together(rules: Sequence[Rule]) -> list[Rule]:
    """Returns the rules of one hyperparameter in all groups of a study, which share how far
    optima scatter and how large slopes and bends are."""
    shared = together([rule.forecaster for rule in rules])
    return [replace(rule, forecaster=one) for rule, one in zip(rules, shared, strict=True)]


def _term(law: RuleFit, scale: str, index: int) -> Term:
    span = law.exponent(index)
    return Term(scale=scale, exponent=span.value, low=span.low, high=span.high)


def require_sites(site_optima: Sequence[SiteOptimum], scales: Sequence[str]) -> None:
    """Checks that there are enough places with an optimum.

    Raises:
        AnalysisRefusal: fewer places than the power law has parameters, not counting those that
            are bounded on one side only; or none that is more than a bound.
    """
    inside = [site_optimum for site_optimum in site_optima if site_optimum.located]
    need = len(scales) + 1
    if inside and sum(map(_closed, site_optima)) >= need:
        return
    bounded = [(each.site.label, each) for each in site_optima if not each.located]
    raise AnalysisRefusal(
        f"{len(inside)} of {len(site_optima)} places have their optimum inside the grid, and a "
        f"rule over {', '.join(scales)} needs {need}: "
        f"{to_do(bounded, few=len(site_optima) < need)}"
    )


def _closed(site_optimum: SiteOptimum) -> bool:
    vertex = site_optimum.measured[site_optimum.estimator]
    return bool(np.isfinite(vertex.low[0]) and np.isfinite(vertex.high[0]))


def _allowed(
    tried: Mapping[ModelName, Candidate],
    asked: str,
    terms: Sequence[Term],
    site_optima: Sequence[SiteOptimum],
) -> tuple[ModelName, ...]:
    """Returns the forms that may predict."""
    forms = _along([term.scale for term in terms], asked)
    if asked != "auto":
        if tried[forms[0]].fit is None:
            raise AnalysisRefusal(f"no {asked} rule: {tried[forms[0]].why_not}")
        return forms
    moves = any(term.low > 0 or term.high < 0 for term in terms)
    if moves or (len(terms) == 1 and _leaves_the_last(tried["constant"], site_optima)):
        return tuple(name for name in forms if name != "constant")
    return forms


def _along(scales: Sequence[str], asked: str) -> tuple[ModelName, ...]:
    """Returns the forms that a rule over some scales can have, or the one asked for."""
    if asked != "auto":
        return tuple(name for name in MODELS if name == asked)
    return tuple(name for name in MODELS if len(scales) == 1 or name not in ALONG_ONE)


def _leaves_the_last(constant: Candidate, site_optima: Sequence[SiteOptimum]) -> bool:
    """Returns whether a constant lies outside the interval of the optimum at the largest scale."""
    last = max(site_optima, key=lambda site_optimum: max(site_optimum.scales.values()))
    assert constant.fit is not None
    return not last.low <= float(constant.fit.parameters[0]) <= last.high

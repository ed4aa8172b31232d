"""Rules: how an optimum depends on the scales, and which form predicts the largest best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sweeper.analysis.optimum import Sighting
from sweeper.analysis.scaling.fit import Fit, Observed, Span
from sweeper.analysis.scaling.holdout import Candidate, Held, compare, require_spread, try_form
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
        sightings: the places that entered.
        intercept: log2 of the optimum where every scale is 1, by the power law.
        terms: the power law's exponents, whatever form predicts.
        model: the form that predicts.
        candidates: every form with its held-out check.
        flags: see :data:`RuleFlag`.
        leverage: share of each place in its own fitted value, from 0 to 1; 0 for a bound.
    """

    hyperparameter: str
    scales: tuple[str, ...]
    sightings: tuple[Sighting, ...]
    intercept: Span
    terms: tuple[Term, ...]
    model: ModelName
    candidates: Mapping[ModelName, Candidate]
    flags: tuple[RuleFlag, ...]
    leverage: tuple[float, ...] = field(repr=False)

    @property
    def fit(self) -> Fit:
        """The fit of the form that predicts."""
        fit = self.candidates[self.model].fit
        assert fit is not None
        return fit

    @property
    def held(self) -> tuple[Held, ...]:
        """The held-out check of the form that predicts."""
        return self.candidates[self.model].held


def fit_rule(
    sightings: Sequence[Sighting],
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
        sightings: one a place.
        hyperparameter: its name.
        scales: names of the scales, each a key of the sightings' places.
        model: ``auto``, or the form that predicts.
        left_out: whether places of the group have no optimum; sets a flag.

    Raises:
        AnalysisRefusal: too few places; a scale that takes one value or moves with others; the
            form that is asked for cannot be fitted.
        UnknownNameError: there is no such form.
    """
    if model not in CHOICES:
        raise UnknownNameError("model", model, CHOICES)
    require_places(sightings, scales)
    places = np.array([[sighting.scales[name] for name in scales] for sighting in sightings])
    observed = Observed.of(sightings, places)
    require_spread(observed.u[observed.located], scales)
    tried = compare({name: try_form(name, observed, sightings, scales) for name in MODELS})
    chosen = _chosen(tried, model)
    law = tried["power"].fit
    assert law is not None
    return Rule(
        hyperparameter=hyperparameter,
        scales=tuple(scales),
        sightings=tuple(sightings),
        intercept=law.span(lambda parameters: parameters[:, 0]),
        terms=tuple(_term(law, scale, index) for index, scale in enumerate(scales)),
        model=chosen,
        candidates=tried,
        flags=_flags(observed, tried[chosen], left_out),
        leverage=tuple(law.leverage.tolist()),
    )


def _term(law: Fit, scale: str, index: int) -> Term:
    span = law.exponent(index)
    return Term(scale=scale, exponent=span.value, low=span.low, high=span.high)


def require_places(sightings: Sequence[Sighting], scales: Sequence[str]) -> None:
    """Checks that there are enough places with an optimum.

    Raises:
        AnalysisRefusal: fewer places than the power law has parameters.
    """
    inside = [sighting for sighting in sightings if sighting.located]
    need = len(scales) + 1
    if len(inside) >= need:
        return
    edges = "".join(f"; {edge_advice(s)}" for s in sightings if not s.located)
    raise AnalysisRefusal(
        f"{len(inside)} of {len(sightings)} places have their optimum inside the grid, and a "
        f"rule over {', '.join(scales)} needs {need}: add values of the scale{edges}"
    )


def edge_advice(sighting: Sighting) -> str:
    """Returns one clause on what an optimum that is only bounded needs."""
    best = f"at {sighting.place.label} the lowest loss is at {2.0**sighting.log2:.4g}"
    if "cliff" in sighting.flags:
        return f"{best}, next to a diverged point: refine the grid there"
    for flag, side in (("censored_low", "lower"), ("censored_high", "upper")):
        if flag in sighting.flags:
            return f"{best}, the {side} edge: extend the grid there"
    if "conditional" in sighting.flags:
        return f"{best}, but the other hyperparameter is at an edge: extend its grid there"
    return f"at {sighting.place.label} the losses have no clear minimum: add seeds there"


def _chosen(tried: Mapping[ModelName, Candidate], asked: str) -> ModelName:
    """Returns the form that predicts."""
    if asked == "auto":
        return next(name for name in MODELS if tried[name].behind <= CHOICE_SIGMAS)
    name = next(name for name in MODELS if name == asked)
    if tried[name].fit is None:
        raise AnalysisRefusal(f"no {name} rule: {tried[name].why_not}")
    return name


def _flags(observed: Observed, candidate: Candidate, left_out: bool) -> tuple[RuleFlag, ...]:
    assert candidate.fit is not None
    table: dict[RuleFlag, bool] = {
        "censored": not bool(observed.located.all()),
        "unchecked": not candidate.held,
        "scattered": candidate.fit.scatter > 0,
        "left_out": left_out,
    }
    return tuple(flag for flag, raised in table.items() if raised)

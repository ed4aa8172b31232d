"""Prediction: the setting for a place that was not measured, and what it may cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from sweeper.analysis.optimum import Floats
from sweeper.analysis.scaling.forecast import TAIL, Forecast
from sweeper.analysis.scaling.models import ModelName
from sweeper.analysis.scaling.rule import Rule
from sweeper.errors import AnalysisRefusal

CURVATURE_SLOPE = 0.25
"""Prior standard deviation of the exponent of a curvature. Over all widths of eight published
series (tests/fixtures/published) exponents lie within 0.42, with a root mean square of 0.25."""

CURVATURE_SCATTER = 0.5
"""Octaves by which curvatures scatter round their power law, as far as nothing shows it: what
they do in those series."""

PRIOR_DOF = 3
"""Places that this counts for."""

FAR = 8.0
"""Extrapolation by more than this factor is said to be far: no published check of transferred
optima reaches much beyond it."""

NODES = 31
"""Values of a curvature at which a regret is weighed."""

LEAST_TOLD = 0.005
"""Weight from which on a form of the rule is told."""

KNOWN_BASIN = 3.0
"""Octaves off a minimum, one standard deviation of a prediction, beyond which no parabola tells
what that costs: basins are hardly ever measured so far."""

REACH, LARGEST = 64.0, 1000.0
"""Doublings beyond which nothing is foretold, and the largest exponent of 2 that is printed."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The setting of one hyperparameter at a target.

    Attributes:
        hyperparameter: its name.
        target: value by name of the scale.
        log2: log2 of the predicted optimum.
        low, high: 95% interval in log2.
        model: form of the rule that weighs most.
        others: what other forms say that are not ruled out, in log2.
        weights: share of every form in the prediction; they add up to 1.
        sd: standard deviation of the optimum round the prediction, in octaves.
        regret: loss expected to be lost at the prediction against tuning at the target, in the
            unit of the loss: half of curvature times variance; None if unknown.
        regret_high: what is lost at most with a probability of 95%; None if unknown.
        curvature: second derivative of the loss expected at the target, per octave^2; None if
            unknown.
        doublings: by scale, how many doublings the target lies beyond what was measured;
            negative below it, 0 within.
        assumptions: what has to be true for the interval to hold, a sentence each.
    """

    hyperparameter: str
    target: Mapping[str, float]
    log2: float
    low: float
    high: float
    model: ModelName
    others: Mapping[ModelName, float]
    weights: Mapping[ModelName, float]
    sd: float
    regret: float | None
    regret_high: float | None
    curvature: float | None
    doublings: Mapping[str, float]
    assumptions: tuple[str, ...]

    @property
    def value(self) -> float:
        """The predicted setting itself."""
        return float(2.0**self.log2)

    @property
    def by(self) -> str:
        """What it goes by: the one form that counts, or the average of several."""
        several = sum(weight >= LEAST_TOLD for weight in self.weights.values())
        if several < 2:
            return f"by the {self.model} rule"
        share = f"{self.weights[self.model]:.0%}"
        return f"the average of {several} rules, {self.model} with {share} of the weight"

    @property
    def factor(self) -> float:
        """Extrapolation: the largest factor between the target and what was measured."""
        return float(2.0 ** max(abs(d) for d in self.doublings.values()))


def predict_at(rule: Rule, target: Mapping[str, float]) -> Prediction:
    """Returns the setting at a target: the average of the rule's forms by their weight, which
    costs least where the loss is a parabola.

    The interval is that of the mixture: it holds the noise and the scatter of the optima, how
    little the places tell of slope and bend, and the doubt between the forms.

    Args:
        rule: the rule.
        target: value by name of the scale, for every scale of the rule.

    Raises:
        AnalysisRefusal: a scale of the rule has no value, or one that is not positive; a value
            names no scale of the rule; the target lies beyond all reach.
    """
    u = np.log2([_value(rule, target, name) for name in rule.scales])
    unknown = [name for name in target if name not in rule.scales]
    if unknown:
        raise AnalysisRefusal(
            f"the rule of {rule.hyperparameter} is over {', '.join(rule.scales)}, and has no "
            f"term for {', '.join(unknown)}"
        )
    doublings = _doublings(rule.fit.data.u, u)
    ahead = rule.forecaster.at(u)
    if max(np.abs(doublings)) > REACH or abs(ahead.log2) > LARGEST:
        worst = int(np.argmax(np.abs(doublings)))
        raise AnalysisRefusal(
            f"{rule.scales[worst]} {target[rule.scales[worst]]:g} lies {abs(doublings[worst]):.3g}"
            f" doublings beyond what was measured, where the rule says 2^{ahead.log2:.3g}: "
            "nothing is known so far out; ask for a nearer target"
        )
    curved = curvature_at(rule, u)
    if ahead.sd > KNOWN_BASIN:
        curved = None  # no basin was seen so far from its minimum
    curvature = None if curved is None else curved.mean
    regret = None if curvature is None else 0.5 * curvature * ahead.sd**2
    by_scale = dict(zip(rule.scales, doublings.tolist(), strict=True))
    said = {n: v for n, v in ahead.by_form().items() if rule.candidates[n].contender}
    return Prediction(
        hyperparameter=rule.hyperparameter,
        target=dict(zip(rule.scales, np.exp2(u).tolist(), strict=True)),
        log2=ahead.log2,
        low=ahead.quantile(TAIL),
        high=ahead.quantile(1 - TAIL),
        model=rule.model,
        others={name: value for name, value in said.items() if name != rule.model},
        weights=rule.forecaster.weights,
        sd=ahead.sd,
        regret=regret,
        regret_high=None if curved is None else max(regret or 0.0, _dearest(ahead, curved)),
        curvature=curvature,
        doublings=by_scale,
        assumptions=tuple(_assumptions(rule, by_scale, curved=curvature is not None)),
    )


def _value(rule: Rule, target: Mapping[str, float], name: str) -> float:
    if name not in target:
        raise AnalysisRefusal(
            f"the rule of {rule.hyperparameter} needs {name} at the target; give it a value, or "
            f"fit over other scales than {', '.join(rule.scales)}"
        )
    value = float(target[name])
    if not (np.isfinite(value) and value > 0):
        raise AnalysisRefusal(f"{name} = {value:g} at the target: it has to be a positive number")
    return value


def _doublings(seen: Floats, u: Floats) -> Floats:
    """Returns the doublings of a target [s] beyond the measured places [n, s], shape [s]."""
    above = np.maximum(u - seen.max(axis=0), 0.0)
    return np.asarray(above - np.maximum(seen.min(axis=0) - u, 0.0))


@dataclass(frozen=True, kw_only=True)
class Curvature:
    """A curvature that is foretold: a log-normal distribution, in loss / octave^2.

    Attributes:
        log2: log2 of its median.
        sd: standard deviation of its log2.
    """

    log2: float
    sd: float

    @property
    def mean(self) -> float:
        """What is expected of it."""
        return float(2.0**self.log2 * np.exp((np.log(2) * self.sd) ** 2 / 2))


def curvature_at(rule: Rule, u: Floats) -> Curvature | None:
    """Returns the curvature of the loss at a target, log2 u [s]; None if unknown.

    A power law in the scales through the curvatures of the places, with a normal prior of sd
    ``CURVATURE_SLOPE`` on its exponents and ``CURVATURE_SCATTER`` as scatter before there is
    any.
    """
    kept = [s for s in rule.site_optima if s.located and s.curvature > 0]
    if not kept:
        return None
    y = np.log2([s.curvature for s in kept])
    places = np.log2([[s.scales[name] for name in rule.scales] for s in kept])
    centre = places.mean(axis=0)
    design = np.concatenate([np.ones((len(kept), 1)), places - centre], axis=1)
    penalty = np.diag([0.0, *[(CURVATURE_SCATTER / CURVATURE_SLOPE) ** 2] * len(centre)])
    spread = np.linalg.inv(design.T @ design + penalty)
    coefficients = spread @ design.T @ y
    residual = y - design @ coefficients
    scatter = (residual @ residual + PRIOR_DOF * CURVATURE_SCATTER**2) / (len(y) + PRIOR_DOF)
    row = np.array([1.0, *(u - centre)])
    variance = float(scatter * (1 + row @ spread @ row))
    return Curvature(log2=float(row @ coefficients), sd=variance**0.5)


def _dearest(ahead: Forecast, curved: Curvature) -> float:
    """Returns the regret at the mean of a forecast that is not exceeded with 95%: half of
    curvature times the square of the distance, both as they are foretold."""
    nodes, shares = np.polynomial.hermite_e.hermegauss(NODES)
    curvatures = np.exp2(curved.log2 + curved.sd * nodes)
    away, sds = (ahead.log2 - ahead.means)[:, None], ahead.sds[:, None]

    low, high = curved.log2 - 100.0, curved.log2 + 100.0
    for _ in range(30):
        middle = (low + high) / 2
        reach = np.sqrt(2 * 2.0**middle / curvatures)
        beyond = ahead.weights @ (ndtr((away - reach) / sds) + ndtr((-away - reach) / sds))
        dearer = beyond @ shares / shares.sum() > 2 * TAIL
        low, high = (middle, high) if dearer else (low, middle)
    return float(2.0**low)


def _assumptions(rule: Rule, doublings: Mapping[str, float], *, curved: bool) -> list[str]:
    names = " and ".join(rule.scales)
    shapes: dict[ModelName, str] = {
        "constant": f"the best {rule.hyperparameter} stays the same along {names}",
        "power": f"the best {rule.hyperparameter} stays a power law in {names}",
        "bent": f"the drift of the best {rule.hyperparameter} goes on changing along {names} as "
        "it did",
        "offset": f"the best {rule.hyperparameter} goes on levelling off along {names}",
    }
    likely = sorted(rule.candidates.values(), key=lambda one: -one.weight)
    forms = [
        f"{shapes[one.name]} ({one.weight:.0%})" for one in likely if one.weight >= LEAST_TOLD
    ]
    said = [f"{', or '.join(forms)}; {_checked(rule)}"]
    said += [_reach(rule, name, d) for name, d in doublings.items() if d]
    if not any(doublings.values()):
        said.append("the target lies within the measured scales: nothing is extrapolated")
    said.append("everything else is as in the study: data, schedule and whatever was fixed")
    bounded = sum(not site_optimum.located for site_optimum in rule.site_optima)
    if bounded:
        said.append(
            f"{bounded} of {len(rule.site_optima)} optima "
            f"{'is a bound' if bounded == 1 else 'are bounds'} only, and entered as such"
        )
    if curved:
        said.append(
            "the loss near the target's optimum is a parabola in log2, as curved as the trend"
        )
    return said


def _checked(rule: Rule) -> str:
    if not rule.held:
        return "unchecked: too few places to hold the largest out"
    inside = sum(held.inside for held in rule.held)
    error = float(np.sqrt(np.mean([held.error**2 for held in rule.held])))
    return (
        f"checked at the largest {' and '.join(dict.fromkeys(h.without for h in rule.held))}: "
        f"{inside} of {len(rule.held)} inside the interval, off by {error:.2g} octaves"
    )


def _reach(rule: Rule, name: str, doublings: float) -> str:
    seen = rule.fit.data.u[:, rule.scales.index(name)]
    span, edge = float(np.ptp(seen)), "largest" if doublings > 0 else "smallest"
    far = ", far beyond it" if 2.0 ** abs(doublings) > FAR else ""
    return (
        f"{name} is {2.0**doublings:.3g} times the {edge} that was measured{far}: "
        f"{abs(doublings):.1f} doublings past a range of {span:.1f}"
    )

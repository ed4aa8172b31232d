"""Prediction: the setting for a place that was not measured, and what it may cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sweeper.analysis.optimum import Floats, robust_sd
from sweeper.analysis.scaling.fit import Span
from sweeper.analysis.scaling.holdout import NORMAL_95, HeldOut
from sweeper.analysis.scaling.models import ModelName
from sweeper.analysis.scaling.regression import plane_weights
from sweeper.analysis.scaling.rule import Rule
from sweeper.errors import AnalysisRefusal

FAR = 8.0
"""Extrapolation by more than this factor is said to be far: no published check of transferred
optima reaches much beyond it."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The setting of one hyperparameter at a target.

    Attributes:
        hyperparameter: its name.
        target: value by name of the scale.
        log2: log2 of the predicted optimum.
        low, high: 95% interval in log2; infinite where the rule leaves it open.
        model: form of the rule that predicts.
        others: what other forms say that the check does not exclude, in log2.
        regret: loss expected to be lost at the prediction against tuning at the target, in the
            unit of the loss: half of curvature times variance; None if unknown.
        curvature: second derivative of the loss at the target, per octave^2; None if unknown.
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
    regret: float | None
    curvature: float | None
    doublings: Mapping[str, float]
    assumptions: tuple[str, ...]

    @property
    def value(self) -> float:
        """The predicted setting itself."""
        return float(2.0**self.log2)

    @property
    def factor(self) -> float:
        """Extrapolation: the largest factor between the target and what was measured."""
        return float(2.0 ** max(abs(d) for d in self.doublings.values()))

    @property
    def sd(self) -> float:
        """Standard deviation that the interval stands for, in octaves."""
        return (self.high - self.low) / 2 / NORMAL_95


def predict_at(rule: Rule, target: Mapping[str, float]) -> Prediction:
    """Returns the setting at a target, by the rule's form that predicts.

    The interval holds the noise and the scatter of the optima (through the covariance of the
    parameters, so it grows with the distance), the intervals of other forms that the check does
    not exclude, and what the rule missed at the largest place held out, in proportion to the
    distance.

    Args:
        rule: the rule.
        target: value by name of the scale, for every scale of the rule.

    Raises:
        AnalysisRefusal: a scale of the rule has no value, or one that is not positive; a value
            names no scale of the rule.
    """
    u = np.log2([_value(rule, target, name) for name in rule.scales])
    unknown = [name for name in target if name not in rule.scales]
    if unknown:
        raise AnalysisRefusal(
            f"the rule of {rule.hyperparameter} is over {', '.join(rule.scales)}, and has no "
            f"term for {', '.join(unknown)}"
        )
    seen = rule.fit.data.u
    doublings = _doublings(seen, u)
    span = rule.fit.place(u)
    others = _others(rule, u)
    # The optimum may follow any form that is not excluded, so the interval holds theirs.
    low = min([span.low, *(other.low for other in others.values())])
    high = max([span.high, *(other.high for other in others.values())])
    missed = _missed(rule, float(np.abs(doublings).max()))
    low = span.value - float(np.hypot(span.value - low, missed))
    high = span.value + float(np.hypot(high - span.value, missed))
    curvature = curvature_at(rule, u)
    sd = (high - low) / 2 / NORMAL_95
    known = curvature is not None and np.isfinite(sd)
    by_scale = dict(zip(rule.scales, doublings.tolist(), strict=True))
    return Prediction(
        hyperparameter=rule.hyperparameter,
        target=dict(zip(rule.scales, np.exp2(u).tolist(), strict=True)),
        log2=span.value,
        low=low,
        high=high,
        model=rule.model,
        others={name: other.value for name, other in others.items()},
        regret=0.5 * curvature * sd**2 if curvature is not None and known else None,
        curvature=curvature,
        doublings=by_scale,
        assumptions=tuple(_assumptions(rule, by_scale)),
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


def _others(rule: Rule, u: Floats) -> dict[ModelName, Span]:
    """Returns what the other forms that were checked as well say."""
    return {
        name: one.fit.place(u)
        for name, one in rule.candidates.items()
        if one.contender and name != rule.model and one.fit is not None
    }


def _missed(rule: Rule, distance: float) -> float:
    """Returns the octaves by which the rule may miss at a distance in doublings.

    The error where the largest places were held out, beyond what noise explains there, grows in
    proportion to the distance from what was fitted.
    """
    rates = [_excess(held) / held.distance for held in rule.held]
    return distance * float(np.sqrt(np.mean(np.square(rates)))) if rates else 0.0


def _excess(held: HeldOut) -> float:
    return float(np.sqrt(max(0.0, held.error**2 - robust_sd(held.error_draws) ** 2)))


def curvature_at(rule: Rule, u: Floats) -> float | None:
    """Returns the curvature of the loss at a target, log2 u [s], extrapolated; None if unknown.

    A power law in the scales through the curvatures of the places, where there are more of them
    than parameters and the law is clear of its own scatter; else their geometric mean.
    """
    kept = [s for s in rule.site_optima if s.located and s.curvature > 0]
    if not kept:
        return None
    y = np.log2([s.curvature for s in kept])
    design = np.log2([[s.scales[name] for name in rule.scales] for s in kept])
    centre = design.mean(axis=0)
    design = np.concatenate([np.ones((len(kept), 1)), design - centre], axis=1)
    spare = len(kept) - design.shape[1]
    if spare < 1 or np.linalg.matrix_rank(design) < design.shape[1]:
        return float(2.0 ** y.mean())
    weights = plane_weights(design, np.ones(len(kept)))
    coefficients = weights @ y
    residual = y - design @ coefficients
    error = np.sqrt(residual @ residual / spare * np.sum(weights**2, axis=1))
    clear = np.abs(coefficients[1:]) > 2 * error[1:]
    return float(2.0 ** (coefficients[0] + np.where(clear, coefficients[1:], 0.0) @ (u - centre)))


def _assumptions(rule: Rule, doublings: Mapping[str, float]) -> list[str]:
    names = " and ".join(rule.scales)
    shapes: dict[ModelName, str] = {
        "constant": f"the best {rule.hyperparameter} stays the same along {names}",
        "power": f"the best {rule.hyperparameter} stays a power law in {names}",
        "offset": f"the best {rule.hyperparameter} goes on levelling off along {names}",
    }
    said = [f"{shapes[rule.model]} ({_checked(rule)})"]
    said += [_reach(rule, name, d) for name, d in doublings.items() if d]
    if not any(doublings.values()):
        said.append("the target lies within the measured scales: nothing is extrapolated")
    said.append("everything else is as in the study: data, schedule and whatever was fixed")
    bounded = sum(not site_optimum.located for site_optimum in rule.site_optima)
    if bounded:
        said.append(
            f"{bounded} of {len(rule.site_optima)} optima are bounds only, and entered as such"
        )
    said.append("the loss near the target's optimum is a parabola in log2, as curved as the trend")
    return said


def _checked(rule: Rule) -> str:
    if not rule.held:
        return "unchecked: too few places to hold the largest out"
    inside = sum(held.inside for held in rule.held)
    error = rule.candidates[rule.model].error or 0.0
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

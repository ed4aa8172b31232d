"""Held-out checks: each form of a rule predicts the largest places from the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sweeper.analysis.optimum import Bools, Floats, SiteOptimum, robust_sd
from sweeper.analysis.scaling.fit import RegressionData, RuleFit
from sweeper.analysis.scaling.forecast import TAIL, Forecast, Forecaster, Seen
from sweeper.analysis.scaling.models import Bent, Constant, Model, ModelName, Offset, Power
from sweeper.errors import AnalysisRefusal

COLLINEAR = 100.0
"""Variance inflation of an exponent from which on two scales count as moving together: their
correlation is then above 0.995, and what one does cannot be told from the other."""

NORMAL_95 = 1.96
"""Standard deviations on each side of a 95% interval."""

CONTENDER = 0.05
"""A form with a smaller weight is ruled out."""

ALONG_ONE: Mapping[ModelName, str] = {"bent": "a bend", "offset": "an offset"}
"""Forms of one scale."""

SAME_OCTAVES = 1e-6
"""Differences of held-out errors that are rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """A place at the largest value of a scale, predicted from the places without that value.

    Attributes:
        site_optimum: what was found there.
        without: the scale whose largest value was held out.
        forecast: what the others foretell of it.
    """

    site_optimum: SiteOptimum
    without: str
    forecast: Forecast

    @property
    def predicted(self) -> float:
        """The prediction, in log2."""
        return self.forecast.log2

    @property
    def error(self) -> float:
        """Predicted minus found, in octaves."""
        return self.predicted - self.site_optimum.log2

    @cached_property
    def low(self) -> float:
        """Low end of the 95% interval of what is found there, in log2: the prediction's, with
        the noise of the found optimum."""
        low = self.forecast.quantile(TAIL)
        return self.predicted - float(np.hypot(self.predicted - low, self._noise))

    @cached_property
    def high(self) -> float:
        """High end of that interval."""
        high = self.forecast.quantile(1 - TAIL)
        return self.predicted + float(np.hypot(high - self.predicted, self._noise))

    @property
    def _noise(self) -> float:
        """Half width of the noise of the found optimum, in octaves."""
        return NORMAL_95 * robust_sd(self.site_optimum.draws[self.site_optimum.estimator].log2)

    @property
    def inside(self) -> bool:
        """True where what was found lies in the interval."""
        return self.low - SAME_OCTAVES <= self.site_optimum.log2 <= self.high + SAME_OCTAVES


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """One form of the rule.

    Attributes:
        name: the form.
        fit: the form fitted to all places; None where they are too few for it.
        errors: by how many octaves it misses each place that is held out, fitted to the rest;
            empty without such a check.
        why_not: why the form was not fitted or not checked; empty if it was.
        weight: its share in predictions.
    """

    name: ModelName
    fit: RuleFit | None
    errors: tuple[float, ...] = ()
    why_not: str = ""
    weight: float = 0.0

    @property
    def contender(self) -> bool:
        """True where what was measured does not rule it out."""
        return self.weight >= CONTENDER

    @property
    def error(self) -> float | None:
        """Root mean square of the held-out errors in octaves; None without a check."""
        return float(np.sqrt(np.mean(np.square(self.errors)))) if self.errors else None


def require_spread(u: Floats, scales: Sequence[str]) -> None:
    """Checks that every scale varies on its own.

    Args:
        u: log2 of the scales of n places, shape [n, s].
        scales: their names.

    Raises:
        AnalysisRefusal: a scale takes one value, or is a function of the others.
    """
    for name, column in zip(scales, u.T, strict=True):
        if np.ptp(column) == 0:
            raise AnalysisRefusal(
                f"{name} is {2.0 ** column[0]:g} at all {len(u)} places with an optimum: nothing "
                f"tells what it does; add values of {name} or leave it out of the scales"
            )
    for index, name in enumerate(scales):
        others = [other for other in scales if other != name]
        if not others or _inflation(u, index) <= COLLINEAR:
            continue
        raise AnalysisRefusal(
            f"{name} moves together with {', '.join(others)} ({len(u)} places): their effects "
            f"cannot be told apart; leave one of them out, or add places where {name} changes "
            "and the others do not"
        )


def _inflation(u: Floats, index: int) -> float:
    """Returns 1 / (1 - R^2) of one scale regressed on the others."""
    column = u[:, index] - u[:, index].mean()
    others = np.delete(u, index, axis=1)
    others = others - others.mean(axis=0)
    left = column - others @ np.linalg.lstsq(others, column, rcond=None)[0]
    return float(column @ column) / max(float(left @ left), 1e-300)


def _model(name: ModelName, u: Floats) -> Model:
    if name == "constant":
        return Constant()
    if name == "bent":
        return Bent(float(u.max() + u.min()) / 2)
    return Power(u.shape[1]) if name == "power" else Offset(float(u.min()))


def try_form(name: ModelName, data: RegressionData, scales: Sequence[str]) -> Candidate:
    """Returns a form fitted to all places, and by how much it misses the largest without them."""
    why_not = _obstacle(name, data.u[data.closed])
    if why_not:
        return Candidate(name=name, fit=None, why_not=why_not)
    errors: list[float] = []
    whole = RuleFit(data, _model(name, data.u))
    for scale, rest, out in _holdouts(data, scales):
        why_not = _obstacle(name, data.u[rest & data.closed])
        if why_not:
            why_not = f"unchecked: without the largest {scale}, {why_not}"
            return Candidate(name=name, fit=whole, why_not=why_not)
        kept = data.at(rest)
        fit = RuleFit(kept, _model(name, kept.u))
        said = fit.model.values(fit.parameters[None, :], data.u[out])[0]
        errors += (said - data.log2[out]).tolist()
    return Candidate(name=name, fit=whole, errors=tuple(errors))


def hold_out(
    data: RegressionData,
    site_optima: Sequence[SiteOptimum],
    scales: Sequence[str],
    allowed: tuple[ModelName, ...],
) -> Iterator[HeldOut]:
    """Yields what the others foretell of the places at the largest value of each scale; nothing
    where a scale leaves too few of them.

    Args:
        data, site_optima: the optima.
        scales: names of the scales.
        allowed: forms that may predict.
    """
    parts = list(_holdouts(data, scales))
    if any(not (rest & data.located).any() for _, rest, _ in parts) or any(
        _obstacle("power", data.u[rest & data.closed]) for _, rest, _ in parts
    ):
        return
    for scale, rest, out in parts:
        ahead = Forecaster(Seen.of(data.at(rest)), allowed)
        for i in np.flatnonzero(out).tolist():
            yield HeldOut(site_optimum=site_optima[i], without=scale, forecast=ahead.at(data.u[i]))


def _obstacle(name: ModelName, u: Floats) -> str:
    """Returns why a form cannot be fitted to located places [n, s]; empty if it can."""
    if name in ALONG_ONE and u.shape[1] > 1:
        return f"{ALONG_ONE[name]} is fitted along one scale only"
    need = {"constant": 1, "power": u.shape[1] + 1}.get(name, 3)
    if len(np.unique(u, axis=0)) < need:
        return f"{len(u)} places are too few for {need} parameters"
    if name == "power":
        try:
            require_spread(u, [str(i) for i in range(u.shape[1])])
        except AnalysisRefusal:
            return "the scales cannot be told apart"
    return ""


def _holdouts(data: RegressionData, scales: Sequence[str]) -> Iterator[tuple[str, Bools, Bools]]:
    """Yields each scale with the places that remain without its largest value, and the
    located ones that have it."""
    for index, scale in enumerate(scales):
        column = data.u[:, index]
        top = column == column[data.located].max()
        yield scale, column < column[data.located].max(), top & data.located

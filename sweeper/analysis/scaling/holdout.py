"""Held-out checks: each form of a rule predicts the largest places from the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sweeper.analysis.optimum import Bools, Floats, SiteOptimum, robust_sd
from sweeper.analysis.scaling.fit import RegressionData, RuleFit, Span
from sweeper.analysis.scaling.models import Constant, Model, ModelName, Offset, Power
from sweeper.errors import AnalysisRefusal

COLLINEAR = 100.0
"""Variance inflation of an exponent from which on two scales count as moving together: their
correlation is then above 0.995, and what one does cannot be told from the other."""

NORMAL_95 = 1.96
"""Standard deviations on each side of a 95% interval."""

CONTENDER_SIGMAS = 2.0
"""A form whose held-out error is no farther from the noise than this is not excluded."""

SAME_OCTAVES = 1e-6
"""Differences of held-out errors that are rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """A place at the largest value of a scale, predicted from the places without that value.

    Attributes:
        site_optimum: what was found there.
        without: the scale whose largest value was held out.
        fit: the fit to the other places.
        u: log2 of the scales of the place, shape [s].
    """

    site_optimum: SiteOptimum
    without: str
    fit: RuleFit
    u: Floats

    @cached_property
    def predicted(self) -> Span:
        """The prediction, in log2."""
        return self.fit.place(self.u)

    @property
    def distance(self) -> float:
        """Doublings from the largest value that was fitted to the one held out."""
        return float((self.u - self.fit.data.u.max(axis=0)).max())

    @property
    def error_draws(self) -> Floats:
        """The error in every resample, shape [R]; 0 where a resample leaves it open."""
        values = self.fit.model.values(self.fit.draws, self.u[None, :])[:, 0]
        error = values - self.site_optimum.draws[self.site_optimum.estimator].log2
        return np.where(np.isfinite(error), error, 0.0)

    @property
    def error(self) -> float:
        """Predicted minus found, in octaves."""
        fit = self.fit
        found = self.site_optimum.log2
        return float(fit.model.values(fit.parameters[None, :], self.u[None, :])[0, 0]) - found

    @property
    def low(self) -> float:
        """Low end of the 95% interval of what is found there, in log2: the prediction's, with
        the noise of the found optimum."""
        span = self.predicted
        return span.value - float(np.hypot(span.value - span.low, self._noise))

    @property
    def high(self) -> float:
        """High end of that interval."""
        span = self.predicted
        return span.value + float(np.hypot(span.high - span.value, self._noise))

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
    """How one form of the rule did where the largest places were held out.

    Attributes:
        name: the form.
        fit: the form fitted to all places; None where they are too few for it.
        held: the places held out, each predicted from the rest; empty without such a check.
        why_not: why the form was not fitted or not checked; empty if it was.
        behind: by how many standard deviations of the difference its held-out error exceeds
            that of the best form; infinite where it was not compared.
        excess: the same by the noise of each error alone: sqrt(z^2 - least z^2).
    """

    name: ModelName
    fit: RuleFit | None
    held: tuple[HeldOut, ...] = ()
    why_not: str = ""
    behind: float = np.inf
    excess: float = np.inf

    @property
    def contender(self) -> bool:
        """True where the check does not exclude it."""
        return self.excess <= CONTENDER_SIGMAS

    @property
    def error(self) -> float | None:
        """Root mean square of the held-out errors in octaves; None without a check."""
        return float(_rms(np.array([[h.error for h in self.held]]))[0]) if self.held else None


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
    return Power(u.shape[1]) if name == "power" else Offset(float(u.min()))


def try_form(
    name: ModelName,
    data: RegressionData,
    site_optima: Sequence[SiteOptimum],
    scales: Sequence[str],
) -> Candidate:
    """Returns a form fitted to all places, and what it says of the largest without them."""
    why_not = _obstacle(name, data.u[data.located])
    if why_not:
        return Candidate(name=name, fit=None, why_not=why_not)
    held: list[HeldOut] = []
    for scale, rest, out in _holdouts(data, scales):
        why_not = _obstacle(name, data.u[rest & data.located])
        if why_not:
            return Candidate(
                name=name,
                fit=RuleFit(data, _model(name, data.u)),
                why_not=f"unchecked: without the largest {scale}, {why_not}",
            )
        kept = data.at(rest)
        fit = RuleFit(kept, _model(name, kept.u))
        held += [
            HeldOut(site_optimum=site_optima[i], without=scale, fit=fit, u=data.u[i])
            for i in np.flatnonzero(out).tolist()
        ]
    return Candidate(name=name, fit=RuleFit(data, _model(name, data.u)), held=tuple(held))


def _obstacle(name: ModelName, u: Floats) -> str:
    """Returns why a form cannot be fitted to located places [n, s]; empty if it can."""
    if name == "offset" and u.shape[1] > 1:
        return "an offset is fitted along one scale only"
    need = {"constant": 1, "power": u.shape[1] + 1, "offset": 3}[name]
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


def compare(tried: Mapping[ModelName, Candidate]) -> dict[ModelName, Candidate]:
    """Returns the forms with how they compare where the largest places were held out.

    How far a form is ``behind`` the best is told by the noise of the difference of their
    errors: most of the noise moves both alike. Whether it is excluded is told by the noise of
    each error by itself, since what is common to them may have favoured the wrong one. Where
    the power law could not be checked it predicts, and that the optimum stops moving is not
    excluded.
    """
    checked = {name: one for name, one in tried.items() if one.held}
    if "power" not in checked:
        unchecked: dict[ModelName, Candidate] = {
            "power": replace(tried["power"], behind=0.0, excess=0.0),
            "constant": replace(tried["constant"], excess=0.0),
        }
        return dict(tried) | unchecked
    draws = {name: _error_draws(one.held) for name, one in checked.items()}
    errors = {name: one.error or 0.0 for name, one in checked.items()}
    sizes = {name: _in_sigmas(one.held) for name, one in checked.items()}
    best, least = min(errors, key=lambda name: errors[name]), min(sizes.values())
    out = dict(tried)
    for name, one in checked.items():
        beyond = max(0.0, errors[name] - errors[best] - SAME_OCTAVES)
        behind = beyond / max(robust_sd(draws[name] - draws[best]), SAME_OCTAVES)
        excess = float(np.sqrt(sizes[name] - least))
        out[name] = replace(one, behind=behind, excess=excess)
    return out


def _error_draws(held: Sequence[HeldOut]) -> Floats:
    """Returns the root mean square of the held-out errors in every resample, shape [R]."""
    return _rms(np.stack([one.error_draws for one in held], axis=1))


def _in_sigmas(held: Sequence[HeldOut]) -> float:
    """Returns the mean square of held-out errors in standard deviations of their noise.

    The mean and not the sum: the places share what was fitted, and count as one.
    """
    sd = [max(robust_sd(one.error_draws), SAME_OCTAVES) for one in held]
    return float(np.mean([(one.error / s) ** 2 for one, s in zip(held, sd, strict=True)]))


def _rms(errors: Floats) -> Floats:
    return np.asarray(np.sqrt(np.mean(errors**2, axis=1)))

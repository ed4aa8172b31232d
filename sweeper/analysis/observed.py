"""Optima of many places with their resamples, and intervals of what is computed from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.stats import t as student

from sweeper.analysis.basin import Bools
from sweeper.analysis.interval import quantile_interval, rival_of, robust_sd, stretch
from sweeper.analysis.models import Model
from sweeper.analysis.noise import REPLICATED
from sweeper.analysis.places import Sighting
from sweeper.analysis.planes import plane_weights, scatter_round
from sweeper.analysis.points import Floats

LEAST_SD = 1e-6
"""Standard deviation of an optimum in octaves at the least: keeps weights of noise-free data
finite, far below any grid."""

NUDGE = 1e-4
"""Step of the parameters in numerical derivatives."""

Quantity = Callable[[Floats], Floats]
"""From parameters of a model [R, q] to a number each [R]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Span:
    """A number with its 95% interval.

    Attributes:
        value, low, high: the number and its interval; an open end is infinite.
        draws: the number in every resample, shape [R]; NaN where a resample leaves it open.
    """

    value: float
    low: float
    high: float
    draws: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Bounds:
    """What one estimator says of n places: measured [1, n] and resampled [R, n]."""

    low: Floats
    high: Floats
    lows: Floats
    highs: Floats

    def at(self, keep: Bools) -> Bounds:
        """Returns the places that are kept."""
        parts = {name: getattr(self, name)[:, keep] for name in ("low", "high", "lows", "highs")}
        return Bounds(**parts)


@dataclass(frozen=True, kw_only=True, eq=False)
class Observed:
    """The optima of one hyperparameter at n places.

    Attributes:
        u: log2 of the scales, shape [n, s].
        log2: the optima, shape [n]; where one is only bounded, the lowest grid point.
        located: whether an optimum is a place rather than a bound or range, shape [n].
        noise_sd: standard deviation of each in octaves, shape [n].
        main: estimator behind ``log2``.
        bounds: what every compared estimator says.
        noise_dof: degrees of freedom behind the noise, at least 1.
        hold: whether the noise was read from fits, so that intervals must hold every rival.
    """

    u: Floats
    log2: Floats
    located: Bools
    noise_sd: Floats
    main: str
    bounds: Mapping[str, Bounds]
    noise_dof: float
    hold: bool

    @classmethod
    def of(cls, sightings: Sequence[Sighting], scales: Sequence[str]) -> Observed:
        """Returns the optima of places, at least one of them located, as arrays."""
        main = sightings[0].estimator
        located = np.array([sighting.located for sighting in sightings])
        sd = [max(LEAST_SD, robust_sd(s.draws[main].log2)) for s in sightings]
        typical = float(np.median(np.array(sd)[located]))
        return cls(
            u=np.log2([[sighting.scales[name] for name in scales] for sighting in sightings]),
            log2=np.array([sighting.log2 for sighting in sightings]),
            located=located,
            # A bound is as noisy as a typical optimum, however still its lowest point stands.
            noise_sd=np.where(located, sd, np.maximum(sd, typical)),
            main=main,
            bounds={name: _bounds(sightings, name) for name in sightings[0].measured},
            noise_dof=max(1.0, sightings[0].noise_dof),
            hold=any(sighting.noise_source not in REPLICATED for sighting in sightings),
        )

    def at(self, keep: Bools) -> Observed:
        """Returns the places that are kept."""
        return replace(
            self,
            u=self.u[keep],
            log2=self.log2[keep],
            located=self.located[keep],
            noise_sd=self.noise_sd[keep],
            bounds={name: bounds.at(keep) for name, bounds in self.bounds.items()},
        )


@dataclass(frozen=True, eq=False)
class Fit:
    """One model fitted to the optima of n places.

    Attributes:
        observed: the optima.
        model: the model.
    """

    observed: Observed
    model: Model

    @cached_property
    def scatter(self) -> float:
        """Standard deviation of the optima round the rule beyond their noise, in octaves."""
        seen = self.observed
        inside = seen.located
        jacobian = self._jacobian(self._parameters(seen.noise_sd, resampled=False)[0])
        start = self.model.values(self._parameters(seen.noise_sd, resampled=False), seen.u)[0]
        residual = (seen.log2 - start)[inside]
        return scatter_round(jacobian[inside], residual, seen.noise_sd[inside])

    @cached_property
    def sd(self) -> Floats:
        """Standard deviations that weigh the places, shape [n]."""
        return np.hypot(self.observed.noise_sd, self.scatter)

    @cached_property
    def parameters(self) -> Floats:
        """The model's parameters, shape [q]."""
        return np.asarray(self._parameters(self.sd, resampled=False)[0])

    @cached_property
    def draws(self) -> Floats:
        """The parameters in every resample, shape [R, q]."""
        return self._parameters(self.sd, resampled=True)

    @cached_property
    def leverage(self) -> Floats:
        """Share of each optimum in its own fitted value, from 0 to 1, shape [n]; 0 for bounds."""
        inside = self.observed.located
        jacobian = self._jacobian(self.parameters)[inside]
        out = np.zeros(len(inside))
        out[inside] = np.einsum("nq,qn->n", jacobian, plane_weights(jacobian, self.sd[inside]))
        return out

    def place(self, u: Floats) -> Span:
        """Returns log2 of the optimum at a place [s]: the rule there, and how far a single
        place scatters round it."""
        return self.span(lambda parameters: self.model.values(parameters, u[None, :])[:, 0], 1.0)

    def span(self, quantity: Quantity, own: float = 0.0) -> Span:
        """Returns a number computed from the parameters, with its interval.

        The percentiles over the resampled chain (losses -> optima -> parameters), widened by
        the scatter of places round the rule with Student's t of the matching degrees of
        freedom (Satterthwaite), stretched by estimators that disagree beyond noise.

        Args:
            quantity: from parameters [R, q] to the number, shape [R].
            own: how often the scatter of a single place adds to that of the rule.
        """
        value = float(quantity(self.parameters[None, :])[0])
        draws = quantity(self.draws)
        open_end = ~np.isfinite(draws)
        low, high = quantile_interval(
            np.where(open_end, -np.inf, draws), np.where(open_end, np.inf, draws)
        )
        low, high = min(low, value), max(high, value)
        if self.scatter > 0:
            low, high = self._widened(value, low, high, draws, quantity, own)
        rivals = [
            rival_of(float(quantity(other)[0]), _closed(quantity(more)), _closed(draws))
            for other, more in self._rivals
        ]
        low, high = stretch(value, low, high, rivals, hold=self.observed.hold)
        return Span(value=value, low=low, high=high, draws=draws)

    @cached_property
    def _rivals(self) -> list[tuple[Floats, Floats]]:
        """Parameters, measured and resampled, by other estimators and with equal weights."""
        names = [
            name for name in self.observed.bounds if name not in (self.observed.main, "argmin")
        ]
        alike = np.full(len(self.sd), self.sd.mean())
        choices = [(name, self.sd) for name in names]
        choices += [(name, alike) for name in (self.observed.main, *names)]
        return [
            (
                self._parameters(sd, resampled=False, name=n),
                self._parameters(sd, resampled=True, name=n),
            )
            for n, sd in choices
        ]

    def _parameters(self, sd: Floats, *, resampled: bool, name: str | None = None) -> Floats:
        bounds = self.observed.bounds[name or self.observed.main]
        low, high = (bounds.lows, bounds.highs) if resampled else (bounds.low, bounds.high)
        return self.model.fit(self.observed.u, low, high, sd)

    def _jacobian(self, parameters: Floats) -> Floats:
        """Returns the derivatives of the rule at the places by its parameters, shape [n, q]."""
        up, down = (
            parameters + NUDGE * np.eye(self.model.size),
            parameters - NUDGE * np.eye(self.model.size),
        )
        values = self.model.values
        return np.asarray(
            (values(up, self.observed.u) - values(down, self.observed.u)).T / (2 * NUDGE)
        )

    def _widened(
        self, value: float, low: float, high: float, draws: Floats, quantity: Quantity, own: float
    ) -> tuple[float, float]:
        """Returns the noise interval widened by the scatter of the places round the rule."""
        inside = self.observed.located
        step = NUDGE * np.eye(self.model.size)
        gradient = (quantity(self.parameters + step) - quantity(self.parameters - step)) / (
            2 * NUDGE
        )
        weights = plane_weights(self._jacobian(self.parameters)[inside], self.sd[inside])
        extra = self.scatter**2 * (float(np.sum((gradient @ weights) ** 2)) + own)
        noise = robust_sd(_closed(draws)) ** 2
        spare, dof = max(1, int(inside.sum()) - self.model.size), self.observed.noise_dof
        both = (noise + extra) ** 2 / (noise**2 / dof + extra**2 / spare)
        quantile = float(student.ppf(0.975, both))
        ratio = quantile / float(student.ppf(0.975, dof))
        add = quantile * float(np.sqrt(extra))
        down, up = (value - low) * ratio, (high - value) * ratio
        return value - float(np.hypot(down, add)), value + float(np.hypot(up, add))


def _bounds(sightings: Sequence[Sighting], name: str) -> Bounds:
    return Bounds(
        low=np.stack([s.measured[name].low for s in sightings], axis=1),
        high=np.stack([s.measured[name].high for s in sightings], axis=1),
        lows=np.stack([s.draws[name].low for s in sightings], axis=1),
        highs=np.stack([s.draws[name].high for s in sightings], axis=1),
    )


def _closed(draws: Floats) -> Floats:
    """Returns the resamples that give a number; zeros if none does."""
    finite = np.isfinite(draws)
    middle = float(np.median(draws[finite])) if finite.any() else 0.0
    return np.where(finite, draws, middle)

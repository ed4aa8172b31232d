"""Optima of many places with their resamples, and intervals of what is computed from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy.special import stdtrit

from sweeper.analysis.optimum import (
    REPLICATED,
    Bools,
    Estimate,
    Floats,
    quantile_interval,
    rival_of,
    robust_sd,
    stretch,
)
from sweeper.analysis.scaling.models import Model
from sweeper.analysis.scaling.regression import allowed_slopes, plane_weights, scatter_round

LEAST_SD = 1e-6
"""Standard deviation of an optimum in octaves at the least: keeps weights of noise-free data
finite, far below any grid."""

UPPER = 0.975
"""Quantile at the upper end of a 95% interval."""

NUDGE = 1e-4
"""Step of the parameters in numerical derivatives."""

OPEN = (np.array(-np.inf), np.array(np.inf))
"""Any number: what a resample says that leaves it open."""

Quantity = Callable[[Floats], Floats]
"""From parameters of a model [R, q] to a number each [R]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Span:
    """A number with its 95% interval.

    Attributes:
        value, low, high: the number and its interval; an open end is infinite.
        noise_half: half width of the interval from the noise of the losses alone.
        stretched: by how much other estimators widened the interval.
        draws: the number in every resample, shape [R]; NaN where a resample leaves it open.
    """

    value: float
    low: float
    high: float
    noise_half: float
    stretched: float
    draws: Floats = field(repr=False)


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
class RegressionData:
    """The optima of one hyperparameter at n places.

    Attributes:
        u: log2 of the scales, shape [n, s].
        log2: the optima, shape [n]; where one is only bounded, the lowest grid point.
        located: whether an optimum is a place rather than a bound or range, shape [n].
        noise_sd: standard deviation of each in octaves, shape [n].
        main: estimator behind ``log2``.
        bounds: what every compared estimator says.
        noise_dof: degrees of freedom behind the noise of each, at least 1, shape [n].
        own_noise: whether it was told by seeds of that place alone, shape [n].
        contain_all: whether the noise was read from fits, so that intervals must hold every rival.
    """

    u: Floats
    log2: Floats
    located: Bools
    noise_sd: Floats
    main: str
    bounds: Mapping[str, Bounds]
    noise_dof: Floats
    own_noise: Bools
    contain_all: bool

    @classmethod
    def of(cls, optima: Sequence[Estimate], scales: Floats) -> RegressionData:
        """Returns the optima of places, at least one of them located, as arrays.

        Args:
            optima: the optima, n of them.
            scales: values of the scales there, shape [n, s].
        """
        main = optima[0].estimator
        located = np.array([optimum.located for optimum in optima])
        sd = [max(LEAST_SD, robust_sd(s.draws[main].log2)) for s in optima]
        typical = float(np.median(np.array(sd)[located]))
        return cls(
            u=np.log2(scales),
            log2=np.array([optimum.log2 for optimum in optima]),
            located=located,
            # A bound is as noisy as a typical optimum, however still its lowest point stands.
            noise_sd=np.where(located, sd, np.maximum(sd, typical)),
            main=main,
            bounds={name: _bounds(optima, name) for name in optima[0].measured},
            noise_dof=np.array([max(1.0, optimum.noise_dof) for optimum in optima]),
            own_noise=np.array([optimum.noise_source == "seeds" for optimum in optima]),
            contain_all=any(optimum.noise_source not in REPLICATED for optimum in optima),
        )

    @property
    def closed(self) -> Bools:
        """Whether an optimum is a place or bounded on both sides, shape [n]."""
        bounds = self.bounds[self.main]
        return np.asarray(np.isfinite(bounds.low[0]) & np.isfinite(bounds.high[0]))

    def at(self, keep: Bools) -> RegressionData:
        """Returns the places that are kept."""
        return replace(
            self,
            u=self.u[keep],
            log2=self.log2[keep],
            located=self.located[keep],
            noise_sd=self.noise_sd[keep],
            noise_dof=self.noise_dof[keep],
            own_noise=self.own_noise[keep],
            bounds={name: bounds.at(keep) for name, bounds in self.bounds.items()},
        )


@dataclass(frozen=True, eq=False)
class RuleFit:
    """One model fitted to the optima of n places.

    Attributes:
        data: the optima.
        model: the model.
    """

    data: RegressionData
    model: Model

    @cached_property
    def scatter(self) -> float:
        """Standard deviation of the optima round the rule beyond their noise, in octaves."""
        seen = self.data
        inside = seen.located
        parameters = self._parameters(seen.noise_sd, resampled=False)
        jacobian = self._jacobian(parameters[0])
        residual = (seen.log2 - self.model.values(parameters, seen.u)[0])[inside]
        dof = float(seen.noise_dof.mean())
        return scatter_round(jacobian[inside], residual, seen.noise_sd[inside], dof)

    @cached_property
    def sd(self) -> Floats:
        """Standard deviations that weigh the places, shape [n]."""
        return np.hypot(self.data.noise_sd, self.scatter)

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
        inside = self.data.located
        jacobian = self._jacobian(self.parameters)[inside]
        out = np.zeros(len(inside))
        out[inside] = np.einsum("nq,qn->n", jacobian, plane_weights(jacobian, self.sd[inside]))
        return out

    def exponent(self, index: int) -> Span:
        """Returns the octaves per doubling of a power law's scale, by its index.

        A resample whose bounds leave the likelihood without a maximum, which only ever steeper
        lines approach, counts with all slopes that meet its bounds if there is one scale, else
        as saying nothing.
        """
        seen, allowed = self.data, OPEN
        if seen.u.shape[1] == 1:
            bounds = seen.bounds[seen.main]
            allowed = allowed_slopes(seen.u[:, 0], bounds.lows, bounds.highs)
        return self.span(lambda parameters: parameters[:, 1 + index], allowed=allowed)

    def place(self, u: Floats) -> Span:
        """Returns log2 of the optimum at a place [s]: the rule there, and how far a single
        place scatters round it."""
        return self.span(lambda parameters: self.model.values(parameters, u[None, :])[:, 0], 1.0)

    def span(
        self,
        quantity: Quantity,
        site_scatter: float = 0.0,
        *,
        allowed: tuple[Floats, Floats] = OPEN,
    ) -> Span:
        """Returns a number computed from the parameters, with its interval.

        The percentiles over the resampled chain (losses -> optima -> parameters), widened by
        the scatter of places round the rule with Student's t of the matching degrees of
        freedom (Satterthwaite), stretched by estimators that disagree beyond noise.

        Args:
            quantity: from parameters [R, q] to the number, shape [R].
            site_scatter: how often the scatter of a single place adds to that of the rule.
            allowed: lowest and highest number, shape [R] each, that a resample allows; counted
                where it leaves the number open.
        """
        value = float(quantity(self.parameters[None, :])[0])
        draws = quantity(self.draws)
        open_end = ~np.isfinite(draws)
        low, high = quantile_interval(
            np.where(open_end, allowed[0], draws), np.where(open_end, allowed[1], draws)
        )
        single, dof = self._dofs(quantity)
        ratio = float(stdtrit(dof, UPPER) / stdtrit(single, UPPER))
        low, high = value - (value - low) * ratio, value + (high - value) * ratio
        noise_half = (high - low) / 2
        low, high = min(low, value), max(high, value)
        if self.scatter > 0:
            spread = float(np.sum(self._counts(quantity) ** 2)) + site_scatter
            noise = robust_sd(_closed(draws, allowed)) ** 2
            low, high = self._widened(value, (low, high), dof, noise, self.scatter**2 * spread)
        rivals = [
            rival_of(float(quantity(other)[0]), _closed(quantity(more)), _closed(draws))
            for other, more in self._rivals
        ]
        left, right = stretch(value, low, high, rivals, contain_all=self.data.contain_all)
        return Span(
            value=value,
            low=left,
            high=right,
            noise_half=noise_half,
            stretched=max(low - left, 0.0) + max(right - high, 0.0),
            draws=draws,
        )

    def by_estimator(self) -> dict[str, Floats]:
        """Returns the parameters [q] by estimator."""
        return {
            name: self._parameters(self.sd, resampled=False, name=name)[0]
            for name in self.data.bounds
        }

    def refitted(self, keep: Bools) -> Floats:
        """Returns the parameters [q] without some places, all others weighed as before.

        Args:
            keep: the places that stay, shape [n].
        """
        return np.asarray(
            replace(self, data=self.data.at(keep))._parameters(self.sd[keep], resampled=False)[0]
        )

    @cached_property
    def _rivals(self) -> list[tuple[Floats, Floats]]:
        """Parameters, measured and resampled, by other estimators and with equal weights."""
        names = [name for name in self.data.bounds if name not in (self.data.main, "argmin")]
        alike = np.full(len(self.sd), self.sd.mean())
        choices = [(name, self.sd) for name in names]
        choices += [(name, alike) for name in (self.data.main, *names)]
        found = []
        for name, sd in choices:
            seen = self.data.bounds[name]
            low, high = (
                np.concatenate([seen.low, seen.lows]),
                np.concatenate([seen.high, seen.highs]),
            )
            every = self.model.fit(self.data.u, low, high, sd)
            found.append((every[:1], every[1:]))
        return found

    def _parameters(self, sd: Floats, *, resampled: bool, name: str | None = None) -> Floats:
        bounds = self.data.bounds[name or self.data.main]
        low, high = (bounds.lows, bounds.highs) if resampled else (bounds.low, bounds.high)
        return self.model.fit(self.data.u, low, high, sd)

    def _jacobian(self, parameters: Floats) -> Floats:
        """Returns the derivatives of the rule at the places by its parameters, shape [n, q]."""
        step = NUDGE * np.eye(self.model.size)
        up = self.model.values(parameters + step, self.data.u)
        down = self.model.values(parameters - step, self.data.u)
        return np.asarray((up - down).T / (2 * NUDGE))

    def _counts(self, quantity: Quantity) -> Floats:
        """Returns by how much each located optimum moves a number, shape [m]."""
        inside = self.data.located
        step = NUDGE * np.eye(self.model.size)
        change = quantity(self.parameters + step) - quantity(self.parameters - step)
        weights = plane_weights(self._jacobian(self.parameters)[inside], self.sd[inside])
        return np.asarray(change @ weights / (2 * NUDGE))

    def _dofs(self, quantity: Quantity) -> tuple[float, float]:
        """Returns the degrees of freedom that the resamples of a typical optimum stand for, and
        those of a number (Satterthwaite).

        Places with a noise level of their own, from their own seeds, average its error out; a
        pooled level counts once.
        """
        inside = self.data.located
        dofs, own = self.data.noise_dof[inside], self.data.own_noise[inside]
        shares = (self._counts(quantity) * self.sd[inside]) ** 2
        spread = float(np.sum((shares**2 / dofs)[own]))
        if not own.all():
            spread += float(np.sum(shares[~own]) ** 2 / dofs[~own].max())
        single = float(shares.sum() / np.sum(shares / dofs))
        return single, float(shares.sum() ** 2 / spread)

    def _widened(
        self,
        value: float,
        interval: tuple[float, float],
        dof: float,
        noise: float,
        extra: float,
    ) -> tuple[float, float]:
        """Returns the noise interval widened by the scatter of the places round the rule.

        Args:
            value, interval: a number and its interval under the noise.
            dof: degrees of freedom of the noise.
            noise: its variance from the noise.
            extra: its variance from the scatter.
        """
        spare = max(1, int(self.data.located.sum()) - self.model.size)
        both = (noise + extra) ** 2 / (noise**2 / dof + extra**2 / spare)
        quantile = float(stdtrit(both, UPPER))
        ratio = quantile / float(stdtrit(dof, UPPER))
        add = quantile * float(np.sqrt(extra))
        down, up = (value - interval[0]) * ratio, (interval[1] - value) * ratio
        return value - float(np.hypot(down, add)), value + float(np.hypot(up, add))


def _bounds(optima: Sequence[Estimate], name: str) -> Bounds:
    return Bounds(
        low=np.stack([s.measured[name].low for s in optima], axis=1),
        high=np.stack([s.measured[name].high for s in optima], axis=1),
        lows=np.stack([s.draws[name].low for s in optima], axis=1),
        highs=np.stack([s.draws[name].high for s in optima], axis=1),
    )


def _closed(draws: Floats, allowed: tuple[Floats, Floats] = OPEN) -> Floats:
    """Returns a number in every resample, shape [R]; where one leaves it open, what it allows
    that lies nearest to the median of the others, or to zero without any."""
    finite = np.isfinite(draws)
    middle = float(np.median(draws[finite])) if finite.any() else 0.0
    return np.where(finite, draws, np.clip(middle, *allowed))

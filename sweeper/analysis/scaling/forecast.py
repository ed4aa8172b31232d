"""Forecasts: what all forms of a rule say of a place, each weighed by how well it foretold what
was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
from scipy.special import log_ndtr, logsumexp, ndtr

from sweeper.analysis.optimum import Floats
from sweeper.analysis.scaling.fit import RegressionData
from sweeper.analysis.scaling.models import ModelName

SCATTERS = {0.001: 0.15, 0.03: 0.35, 0.1: 0.37, 0.2: 0.13}
"""Prior weight by standard deviation of optima round their rule beyond noise, in octaves."""

SLOPES = {(0.0, 0.1): 0.15, (-0.4, 0.4): 0.65, (0.0, 1.0): 0.2}
"""The same by mean and standard deviation of the slope, octaves per doubling: hardly any, one of
the usual between -1 and 0, or any other."""

BENDS = {0.03: 0.7, 0.1: 0.25, 0.3: 0.05}
"""The same by standard deviation of the slope's change per doubling: mostly within 0.1."""

RATES = (0.3, 0.7, 1.5)
"""Exponents with which an optimum may level off, all alike beforehand."""

FORMS: Mapping[ModelName, float] = {"constant": 0.1, "power": 0.5, "bent": 0.25, "offset": 0.15}
"""Weight of each form before anything was measured."""

START_SD = 10.0
"""Standard deviation of the optimum itself before anything was measured, in octaves."""

NOTHING = 1e-7
"""Prior standard deviation of a coefficient that a form does not have."""

DRAWS = 256
"""Draws of the coefficients with which bounds are weighed."""

TAIL = 0.025
"""Probability outside a 95% interval on each side."""

OTHERS = 0.5
"""How much what another group shows counts: variants of a study are alike in part. With 1,
published optima were held in 83% instead of 93%."""

NEGLIGIBLE = 1e-5
"""Share of the weight that is left out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What n places of one group say of one hyperparameter, in log2.

    Attributes:
        u: log2 of the scales, shape [n, s].
        low, high: ends of what is known; equal where the optimum is one place, else one of them
            infinite or both, shape [n].
        sd: standard deviation of the noise, shape [n].
    """

    u: Floats
    low: Floats
    high: Floats
    sd: Floats

    @classmethod
    def of(cls, data: RegressionData) -> Seen:
        """Returns what optima say, at least one of them located.

        One that is bounded on both sides counts as a place in the middle, with the standard
        deviation of a uniform one.
        """
        bounds = data.bounds[data.main]
        low, high = bounds.low[0], bounds.high[0]
        closed = np.isfinite(low) & np.isfinite(high)
        with np.errstate(invalid="ignore"):
            middle, width = (low + high) / 2, np.where(closed, high - low, 0.0)
        return cls(
            u=data.u,
            low=np.where(closed, middle, low),
            high=np.where(closed, middle, high),
            sd=np.hypot(data.noise_sd, width / np.sqrt(12)),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Forecast:
    """What is foretold of one place: a mixture of normal distributions.

    Attributes:
        weights: of each part, adding up to 1, shape [C].
        means, sds: of each part, in log2, shape [C].
        forms: name of the form behind each part.
    """

    weights: Floats
    means: Floats
    sds: Floats
    forms: tuple[ModelName, ...]

    @property
    def log2(self) -> float:
        """The mean: what costs least where the loss is a parabola."""
        return float(self.weights @ self.means)

    @property
    def sd(self) -> float:
        """Standard deviation, in octaves."""
        return float(np.sqrt(self.weights @ (self.sds**2 + (self.means - self.log2) ** 2)))

    def quantile(self, share: float) -> float:
        """Returns the place below which the optimum lies with a probability."""
        low = float(np.min(self.means - 10 * self.sds))
        high = float(np.max(self.means + 10 * self.sds))
        for _ in range(60):
            middle = (low + high) / 2
            below = float(self.weights @ ndtr((middle - self.means) / self.sds))
            low, high = (middle, high) if below < share else (low, middle)
        return (low + high) / 2

    def by_form(self) -> dict[ModelName, float]:
        """Returns what each form says by itself, where it has any weight."""
        out: dict[ModelName, float] = {}
        for name in FORMS:
            own = np.array([form == name for form in self.forms])
            if own.any() and self.weights[own].sum() > 0:
                out[name] = float(self.weights[own] @ self.means[own] / self.weights[own].sum())
        return out


@dataclass(frozen=True, eq=False)
class Forecaster:
    """The forms of one group's rule, each with its weight.

    Log2 of an optimum is k + sum_i e_i u_i (``power``), with all e_i = 0 (``constant``), with
    b u^2 / 2 more (``bent``), or with e (1 - 2^(-r u)) / (r ln 2) in place of e u
    (``offset``); u is counted from the middle of the places. Optima lie round it by the noise
    and a scatter. Slopes, bends and scatter have the priors above, and the weight of a form is
    its evidence: the probability that it gave to what was measured, scale after scale.

    Attributes:
        seen: what was measured.
        allowed: the forms that may have a weight.
        others: log evidence of the other groups of the study by sizes of scatter, slopes and
            bends, shape [H]; 0 where the group stands alone.
    """

    seen: Seen
    allowed: tuple[ModelName, ...]
    others: Floats | float = 0.0

    @cached_property
    def weights(self) -> dict[ModelName, float]:
        """Weight by form, adding up to 1."""
        log = self._log_weights
        share = np.exp(log - logsumexp(log)).sum(axis=0)
        names = [form for form, _ in self._forms]
        return {
            name: float(sum(share[i] for i, form in enumerate(names) if form == name))
            for name in self.allowed
        }

    @cached_property
    def evidence(self) -> Floats:
        """Log evidence by sizes of scatter, slopes and bends, shape [H]."""
        return np.asarray(logsumexp(self._log_forms + self._fitted[0], axis=1))

    def at(self, u: Floats) -> Forecast:
        """Returns what is foretold of a place, log2 of its scales [s]."""
        _, mean, root, weights = self._fitted
        row = self._designs((u - self._centre)[None, :])[:, 0, :]
        log = self._log_weights
        share = np.exp(log - logsumexp(log))
        keep = share > NEGLIGIBLE * share.max()
        hyper, form = np.nonzero(keep)
        middle = np.einsum("cp,cp->c", mean[keep], row[form])
        slant = np.einsum("cpq,cp->cq", root[keep], row[form])
        scatter = _sizes()[hyper, 0]
        names = [name for name, _ in self._forms]
        if weights is None:
            means, sds = middle, np.hypot(scatter, np.linalg.norm(slant, axis=1))
            shares, repeat = share[keep], 1
        else:
            draws = _normals(row.shape[1])
            means = (middle[:, None] + slant @ draws.T).ravel()
            shares = (share[keep][:, None] * weights[keep]).ravel()
            sds, repeat = np.repeat(scatter, len(draws)), len(draws)
        return Forecast(
            weights=shares / shares.sum(),
            means=means,
            sds=sds,
            forms=tuple(names[f] for f in form.tolist() for _ in range(repeat)),
        )

    def beside(self, others: Floats) -> Forecaster:
        """Returns the forecaster that knows the log evidence of other groups, with its fits, which
        do not depend on them."""
        found = replace(self, others=others)
        vars(found)["_fitted"] = self._fitted
        return found

    @property
    def _centre(self) -> Floats:
        u = self.seen.u
        return np.asarray((u.max(axis=0) + u.min(axis=0)) / 2)

    @property
    def _forms(self) -> list[tuple[ModelName, float]]:
        """The forms with the rate of each, 0 where it has none."""
        forms: list[tuple[ModelName, float]] = []
        for name in self.allowed:
            forms += [(name, rate) for rate in (RATES if name == "offset" else (0.0,))]
        return forms

    @property
    def _log_forms(self) -> Floats:
        """Log of the prior weights of the forms, shape [F]."""
        total = sum(FORMS[name] for name in self.allowed)
        return np.log(
            [
                FORMS[name] / total / (len(RATES) if name == "offset" else 1)
                for name, _ in self._forms
            ]
        )

    @property
    def _log_weights(self) -> Floats:
        """Log weights by sizes and form, shape [H, F]."""
        prior = np.log(_sizes()[:, 4]) + self.others
        return np.asarray(prior[:, None] + self._log_forms + self._fitted[0])

    def _designs(self, v: Floats) -> Floats:
        """Returns the regressors of every form at places [n, s] from the middle, [F, n, p]."""
        out = []
        for name, rate in self._forms:
            moved = v if not rate else -np.expm1(-rate * np.log(2) * v) / (rate * np.log(2))
            bend = [v[:, :1] ** 2 / 2 * (name == "bent")] if v.shape[1] == 1 else []
            out.append(np.concatenate([np.ones((len(v), 1)), moved, *bend], axis=1))
        return np.stack(out)

    @cached_property
    def _fitted(self) -> tuple[Floats, Floats, Floats, Floats | None]:
        """Returns log evidence [H, F], mean [H, F, p] and a root of the covariance
        [H, F, p, p] of the coefficients, and the weights of their draws [H, F, M] where there
        are bounds."""
        seen, sizes = self.seen, _sizes()
        known = seen.low == seen.high
        design = self._designs(seen.u - self._centre)
        y = seen.low[known]
        start = float(np.average(y, weights=seen.sd[known] ** -2.0 / np.max(seen.sd**-2.0)))
        variance = seen.sd**2 + sizes[:, :1] ** 2  # [H, n]
        priors = [_prior(name, seen.u.shape[1], sizes) for name, _ in self._forms]
        before, prior = (np.stack(part, axis=1) for part in zip(*priors, strict=True))
        x, inverse = design[:, known], 1 / variance[:, known]
        normal = np.einsum("fnp,hn,fnq->hfpq", x, inverse, x)
        index = np.arange(prior.shape[-1])
        normal[..., index, index] += prior**-2
        left = y - start - np.einsum("fnp,hfp->hfn", x, before)
        moment = np.einsum("fnp,hn,hfn->hfp", x, inverse, left)
        # In units of the prior, so that all coefficients are of one size.
        unit = normal * prior[..., :, None] * prior[..., None, :]
        moved = np.linalg.solve(unit, (prior * moment)[..., None])[
            ..., 0
        ]  # In units of the prior.
        left -= np.einsum("fnp,hfp->hfn", x, prior * moved)
        cost = np.einsum("hfn,hn->hf", left**2, inverse) + np.sum(moved**2, axis=-1)
        mean = before + prior * moved
        log_det = np.linalg.slogdet(unit)[1] - np.log(inverse).sum(axis=1)[:, None]
        evidence = -0.5 * (cost + log_det + len(y) * np.log(2 * np.pi))
        root = prior[..., :, None] * np.linalg.inv(np.linalg.cholesky(unit)).swapaxes(-1, -2)
        mean[..., 0] += start
        if known.all():
            return evidence, mean, root, None
        draws = mean[..., None, :] + np.einsum("hfpq,mq->hfmp", root, _normals(root.shape[-1]))
        log = np.zeros(draws.shape[:-1])
        for i in np.flatnonzero(~known):
            fitted = draws @ design[None, :, i, :, None]
            sd = np.sqrt(variance[:, i])[:, None, None]
            if np.isfinite(seen.low[i]):
                log += log_ndtr((fitted[..., 0] - seen.low[i]) / sd)
            elif np.isfinite(seen.high[i]):
                log += log_ndtr((seen.high[i] - fitted[..., 0]) / sd)
        total = logsumexp(log, axis=-1, keepdims=True)
        return evidence + total[..., 0] - np.log(log.shape[-1]), mean, root, np.exp(log - total)


def _sizes() -> Floats:
    """Returns sizes of scatter, mean and size of slopes, size of bends, and the prior weight of
    each combination, shape [H, 5]."""
    return np.array(
        [
            (scatter, *slope, bend, SCATTERS[scatter] * SLOPES[slope] * BENDS[bend])
            for scatter, slope, bend in product(SCATTERS, SLOPES, BENDS)
        ]
    )


def _prior(name: ModelName, scales: int, sizes: Floats) -> tuple[Floats, Floats]:
    """Returns prior means, less the start, and standard deviations of the coefficients of a
    form, shape [H, p] each."""
    ones, many = np.ones((len(sizes), 1)), np.ones((1, scales))
    moving = float(name != "constant")
    slope = sizes[:, 2:3] if moving else NOTHING * ones
    bend = [sizes[:, 3:4] if name == "bent" else NOTHING * ones] if scales == 1 else []
    mean = [0 * ones, moving * sizes[:, 1:2] * many, *(0 * ones for _ in bend)]
    sd = [START_SD * ones, slope * many, *bend]
    return np.concatenate(mean, axis=1), np.concatenate(sd, axis=1)


def _normals(size: int) -> Floats:
    """Returns the normal numbers that draw coefficients, the same every time, shape [M, p]."""
    half = np.random.default_rng(0).standard_normal((DRAWS // 2, size))
    return np.concatenate([half, -half])


def together(forecasters: Sequence[Forecaster]) -> list[Forecaster]:
    """Returns the forecasters of the groups of one study, which share the sizes of scatter,
    slopes and bends: what all groups show tells each how far to trust its own few places."""
    evidence = np.stack([one.evidence for one in forecasters])
    rest = OTHERS * (evidence.sum(axis=0) - evidence)
    return [one.beside(other - other.max()) for one, other in zip(forecasters, rest, strict=True)]

"""Loss laws: L = E + A n^-alpha, and L = E + A N^-alpha + B D^-beta, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from sweeper.analysis.compute.powers import EXPONENTS, Method, Powers, powers_at
from sweeper.analysis.optimum import Floats, interval_round, quantile_interval
from sweeper.errors import AnalysisRefusal, UnknownNameError

LawFlag = Literal[
    "asymptote_at_bound",
    "asymptote_open",
    "exponent_at_bound",
    "exponent_open",
    "no_fall",
    "exact",
]
"""What to know about a law:

- ``asymptote_at_bound``: the best asymptote is 0, the lowest that is allowed.
- ``asymptote_open``: an asymptote of 0 is within its interval.
- ``exponent_at_bound``: the best exponent of a term is at an end of :data:`EXPONENTS`.
- ``exponent_open``: the interval of an exponent reaches an end of :data:`EXPONENTS`.
- ``no_fall``: a term has amplitude 0, so the loss does not fall with its scale.
- ``exact``: as many parameters as points, and no known noise: there is no interval."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """One term A s^-alpha of a law.

    Attributes:
        scale: name of its scale.
        amplitude: A, in the unit of the loss at scale 1.
        exponent: alpha.
        low, high: 95% interval of the exponent; infinite where it is open.
    """

    scale: str
    amplitude: float
    exponent: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a law says of the loss at one place.

    Attributes:
        loss: the law's value, in the unit of the loss.
        low, high: 95% interval of the law there, not of one run; infinite where unknown.
    """

    loss: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """A fitted law.

    Attributes:
        asymptote: E, in the unit of the loss.
        low, high: 95% interval of the asymptote; infinite where it is unknown.
        terms: one a scale.
        method: what was made small.
        points: number of losses behind it.
        residual: root mean square of the relative residuals (``huber``) or of the residuals in
            the unit of the loss (``least_squares``).
        flags: see :data:`LawFlag`.
        span: lowest and highest value of every scale, shape [2, k].
        centre: means of ln scale, shape [k]; parameters refer to scales divided by exp of them.
        theta: parameters E, amplitudes [k] and exponents [k] there, shape [1 + 2k].
        draws: resampled parameters, shape [R, 1 + 2k]; no row where there is no interval.
    """

    asymptote: float
    low: float
    high: float
    terms: tuple[Term, ...]
    method: Method
    points: int
    residual: float
    flags: tuple[LawFlag, ...]
    span: Floats = field(repr=False)
    centre: Floats = field(repr=False)
    theta: Floats = field(repr=False)
    draws: Floats = field(repr=False)

    def at(self, **scales: float) -> Predicted:
        """Returns the loss at a place, given by the name of every scale.

        Raises:
            AnalysisRefusal: a scale is missing, unknown or not a positive number.
        """
        value = float(powers_at(self.theta[None, :], self._offset(scales))[0, 0])
        spread = self.losses_at(**scales)
        if not len(spread):
            return Predicted(loss=value, low=-np.inf, high=np.inf)
        low, high = interval_round(value, spread)
        return Predicted(loss=value, low=low, high=high)

    def losses_at(self, **scales: float) -> Floats:
        """Returns the resampled losses at a place, shape [R]; none where there is no interval.

        Raises:
            AnalysisRefusal: a scale is missing, unknown or not a positive number.
        """
        return powers_at(self.draws, self._offset(scales))[:, 0]

    def _offset(self, scales: Mapping[str, float]) -> Floats:
        """Returns a place as ln scales less the centre, shape [1, k]."""
        names = [term.scale for term in self.terms]
        if sorted(names) != sorted(scales):
            raise AnalysisRefusal(
                f"the law is in {', '.join(names)}, and a loss was asked for at "
                f"{', '.join(scales) or 'no scale'}; give each scale once"
            )
        place = np.array([[scales[name] for name in names]], dtype=np.float64)
        _require_positive(dict(zip(names, place.T, strict=True)))
        return np.asarray(np.log(place) - self.centre)

    def within(self, *places: float) -> bool:
        """Returns whether places lie among those that a law of one scale was fitted to."""
        low, high = self.span[:, 0]
        return all(low * (1 - 1e-9) <= place <= high * (1 + 1e-9) for place in places)

    def scale_at(self, loss: float) -> float:
        """Returns the scale at which a law of one scale has a loss; infinite if it never has.

        Raises:
            AnalysisRefusal: the law has two scales.
        """
        return float(self.scales_at(np.array([loss]), self.theta[None, :])[0])

    def refitted(self, ln_scales: Mapping[str, Floats], losses: Floats) -> Floats:
        """Returns parameters [R, 1 + 2k] of refits to other losses [R, n] at ln scales [n]."""
        ln = np.stack([ln_scales[term.scale] for term in self.terms], axis=1)
        free = self.asymptote < 0
        problem = Powers(offset=ln - self.centre, method=self.method, free=free)
        return problem.refitted(self.theta, losses)

    def scales_at(self, losses: Floats, theta: Floats) -> Floats:
        """Returns the scales at which laws [R] with parameters [R, 3] have losses [R].

        Raises:
            AnalysisRefusal: the law has two scales.
        """
        if len(self.terms) != 1:
            raise AnalysisRefusal(
                "a law of two scales has a loss at many places; fit the law in compute instead"
            )
        above = losses - theta[:, 0]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            scale = np.exp(self.centre[0] + np.log(theta[:, 1] / above) / theta[:, 2])
        return np.asarray(np.where(above > 0, scale, np.inf))


def fit_law(
    scales: Mapping[str, Floats],
    losses: Floats,
    *,
    method: Method = "huber",
    errors: Floats | None = None,
    free_asymptote: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> Law:
    """Returns the law of losses over one or two scales.

    All points count alike: losses of one study are about equally noisy. The fit starts from many
    exponents and keeps the best end. The interval is that of refits to the law plus noise: the
    given errors, widened if the residuals are larger, or the residuals' own spread, with a level
    drawn from what its degrees of freedom leave open.

    Args:
        scales: one or two columns by name, positive, shape [n] each.
        losses: shape [n]; positive for ``huber`` and where the asymptote is bounded.
        method: see :data:`Method`.
        errors: standard errors of the losses where they are known, positive, shape [n].
        free_asymptote: allow asymptotes below 0, for what is not a loss; ``least_squares`` only.
        resamples: refits behind the intervals, at least 100.
        seed: seed of the resampling.

    Raises:
        AnalysisRefusal: fewer points than parameters, fewer scale values than a term needs,
            scales that move together, equal losses, or numbers out of range.
        UnknownNameError: there is no such method.
    """
    names, ln, losses, errors = _checked(scales, losses, errors, method, free_asymptote, resamples)
    centre = ln.mean(axis=0)
    problem = Powers(offset=ln - centre, method=method, free=free_asymptote)
    unit = float(np.ptp(losses))
    theta = problem.best(losses / unit)
    spread = None if errors is None else errors / unit
    draws = problem.redrawn(theta, losses / unit, spread, resamples, np.random.default_rng(seed))
    residual = problem.residuals(theta[None, :], (losses / unit)[None, :])[0][0]
    rms = float(np.sqrt(np.mean(residual**2))) * (unit if method == "least_squares" else 1.0)
    sized = np.concatenate([np.full(1 + len(names), unit), np.ones(len(names))])
    return _law(names, centre, theta * sized, draws * sized, problem, len(losses), rms)


def _law(
    names: list[str],
    centre: Floats,
    theta: Floats,
    draws: Floats,
    problem: Powers,
    points: int,
    residual: float,
) -> Law:
    """Returns the law with its intervals and flags."""
    k = len(names)
    known = len(draws) > 0
    ends = _ends(theta, draws, k)
    least, most = EXPONENTS
    amplitudes, exponents = theta[1 : 1 + k], theta[1 + k :]
    powers = [(a > least, b < most) for a, b in ends[1 + k :]]
    table: dict[LawFlag, bool] = {
        "asymptote_at_bound": not problem.free and bool(theta[0] <= 0),
        "asymptote_open": not problem.free and known and ends[0][0] <= 0,
        "exponent_at_bound": bool(np.any((exponents <= least) | (exponents >= most))),
        "exponent_open": known and not all(map(all, powers)),
        "no_fall": bool(np.any(amplitudes <= 0)),
        "exact": not known,
    }
    terms = tuple(
        Term(
            scale=names[j],
            amplitude=float(amplitudes[j] * np.exp(exponents[j] * centre[j])),
            exponent=float(exponents[j]),
            low=ends[1 + k + j][0] if powers[j][0] else -np.inf,
            high=ends[1 + k + j][1] if powers[j][1] else np.inf,
        )
        for j in range(k)
    )
    return Law(
        asymptote=float(theta[0]),
        low=ends[0][0],
        high=ends[0][1],
        terms=terms,
        method=problem.method,
        points=points,
        residual=residual,
        flags=tuple(flag for flag, raised in table.items() if raised),
        span=np.exp(centre + np.stack([problem.offset.min(axis=0), problem.offset.max(axis=0)])),
        centre=centre,
        theta=theta,
        draws=draws,
    )


def _ends(theta: Floats, draws: Floats, k: int) -> list[tuple[float, float]]:
    """Returns the 95% interval of every parameter."""
    if not len(draws):
        return [(-np.inf, np.inf)] * len(theta)
    low, high = draws.copy(), draws.copy()
    # Without an amplitude every exponent is as good.
    flat = draws[:, 1 : 1 + k] <= 0
    low[:, 1 + k :][flat], high[:, 1 + k :][flat] = -np.inf, np.inf
    found = [quantile_interval(a, b) for a, b in zip(low.T, high.T, strict=True)]
    return [(min(a, t), max(b, t)) for (a, b), t in zip(found, theta.tolist(), strict=True)]


def _checked(
    scales: Mapping[str, Floats],
    losses: Floats,
    errors: Floats | None,
    method: Method,
    free: bool,
    resamples: int,
) -> tuple[list[str], Floats, Floats, Floats | None]:
    """Returns names, ln scales [n, k], losses [n] and errors, in one order of points."""
    if method not in get_args(Method):
        raise UnknownNameError("method", method, get_args(Method))
    if resamples < 100:
        raise AnalysisRefusal(f"resamples = {resamples}: a 95% interval needs at least 100")
    if len(scales) not in (1, 2):
        raise AnalysisRefusal(f"a law has one or two scales, and {len(scales)} were given")
    names = sorted(scales)
    columns = {name: np.asarray(scales[name], dtype=np.float64) for name in names}
    losses = np.asarray(losses, dtype=np.float64)
    _require_positive(columns)
    _require_points(columns, losses)
    if not free or method == "huber":
        _require_positive({"loss": losses})
    if free and method == "huber":
        raise AnalysisRefusal("the huber fit is in ln L; a free asymptote needs least_squares")
    ln = np.log(np.stack([columns[name] for name in names], axis=1))
    order = np.lexsort((losses, *ln.T[::-1]))
    if errors is None:
        return names, ln[order], losses[order], None
    errors = np.asarray(errors, dtype=np.float64)
    if errors.shape != losses.shape or not np.all(np.isfinite(errors) & (errors > 0)):
        raise AnalysisRefusal(
            "errors of losses must be positive and finite, one a loss; give none if unknown"
        )
    return names, ln[order], losses[order], errors[order]


def _require_positive(columns: Mapping[str, Floats]) -> None:
    for name, values in columns.items():
        wrong = ~(np.isfinite(values) & (values > 0))
        if wrong.any():
            raise AnalysisRefusal(
                f"{name} = {values[int(np.argmax(wrong))]:g} in {int(wrong.sum())} of "
                f"{len(values)} points: a power law needs positive finite numbers"
            )


def _require_points(columns: Mapping[str, Floats], losses: Floats) -> None:
    """Checks that points can tell every parameter of a law."""
    count, k = len(losses), len(columns)
    least = 1 + 2 * k
    if any(values.shape != losses.shape for values in columns.values()):
        raise AnalysisRefusal("a law needs one loss for every value of every scale")
    if count < least:
        raise AnalysisRefusal(
            f"{count} points, and a law of {' and '.join(columns)} has {least} parameters; "
            "run more scales"
        )
    for name, values in columns.items():
        distinct = len(np.unique(values))
        if distinct < 3:
            raise AnalysisRefusal(
                f"{distinct} values of {name}, and its term of a law needs at least 3; run more"
            )
    design = np.stack([np.ones(count), *(np.log(values) for values in columns.values())], axis=1)
    if np.linalg.matrix_rank(design - design.mean(axis=0) * (np.arange(k + 1) > 0)) < k + 1:
        raise AnalysisRefusal(
            f"{' and '.join(columns)} move together, so their terms cannot be told apart; fit "
            "one of them, or vary them separately"
        )
    if not np.all(np.isfinite(losses)):
        raise AnalysisRefusal("losses of a law must be finite; leave out what diverged")
    if np.ptp(losses) == 0:
        raise AnalysisRefusal(
            f"all {count} losses are equal ({losses[0]:g}), so they follow no power law; check "
            "that the scale takes effect"
        )

"""Sites: combinations of scales, and what the trials at each say of one hyperparameter or two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd

from sweeper.analysis.optimum.cliff import BlowUp
from sweeper.analysis.optimum.cloud import measured_cloud
from sweeper.analysis.optimum.curve import Curve, Floats, measured_curves, require_columns
from sweeper.analysis.optimum.estimators import DEFAULT, SHARED, Vertices
from sweeper.analysis.optimum.joint_locate import locate_jointly
from sweeper.analysis.optimum.joint_optimum import JointOptimum
from sweeper.analysis.optimum.locate import locate
from sweeper.analysis.optimum.noise import STATED_DOF
from sweeper.analysis.optimum.optimum import Estimate, Optimum
from sweeper.analysis.optimum.profile import profiled_over, with_others
from sweeper.analysis.optimum.shared import optima_of
from sweeper.errors import AnalysisRefusal

NORMAL_95 = 1.96
"""Half width of a 95% interval of a normal distribution, in standard deviations."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """One combination of scales.

    Attributes:
        scales: value by name of the scale.
    """

    scales: Mapping[str, float]

    @property
    def label(self) -> str:
        """How messages name it, for example ``N 1e+08, D 2e+09``."""
        return ", ".join(f"{name} {value:g}" for name, value in self.scales.items())


@dataclass(frozen=True, kw_only=True, eq=False)
class SiteOptimum(Estimate):
    """What one site says of one hyperparameter.

    Attributes:
        site: where.
    """

    site: Site

    @property
    def scales(self) -> Mapping[str, float]:
        """Value by name of the scale."""
        return self.site.scales


def split_sites(frame: pd.DataFrame, scales: Sequence[str]) -> Iterator[tuple[Site, pd.DataFrame]]:
    """Yields every combination of the scales with its trials, in one order whatever
    the order of the rows and of the scales.

    Raises:
        AnalysisRefusal: a scale is no column, or not a positive finite number.
    """
    require_columns(frame, scales)
    numbers = frame[list(scales)].apply(pd.to_numeric, errors="coerce")
    for name in scales:
        wrong = ~(np.isfinite(numbers[name]) & (numbers[name] > 0))
        if wrong.any():
            culprit = str(frame[name].loc[wrong].iloc[0])
            raise AnalysisRefusal(
                f"{name} = {culprit} in {int(wrong.sum())} of {len(frame)} trials: rules are "
                "fitted in log2 of the scale, so only positive finite numbers can be one; leave "
                "those trials out or choose other scales"
            )
    # By name, so that the sites, and with them the resamples, come in one order.
    names = sorted(scales)
    for key, rows in frame.groupby([numbers[name] for name in names], sort=True):
        found = dict(zip(names, np.asarray(key, dtype=np.float64).tolist(), strict=True))
        yield Site(scales={name: found[name] for name in scales}), rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Survey:
    """Optima of one hyperparameter at all sites of a group.

    Attributes:
        sites: sites that have an optimum, in order.
        optima: their optima.
        refused: site to the sentence that says why it has none.
        blow_ups: see :class:`Located`.
    """

    sites: tuple[Site, ...]
    optima: tuple[Optimum, ...]
    refused: Mapping[str, str]
    blow_ups: tuple[BlowUp, ...] = ()

    @property
    def site_optima(self) -> tuple[SiteOptimum, ...]:
        """What every site says of the hyperparameter."""
        return tuple(
            site_optimum_of(site, optimum)
            for site, optimum in zip(self.sites, self.optima, strict=True)
        )


def survey(
    frame: pd.DataFrame,
    *,
    scales: Sequence[str],
    hyperparameter: str,
    others: Sequence[str] = (),
    estimator: str = DEFAULT,
    allow_holes: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> Survey:
    """Returns the optimum at every combination of scales, others tuned at every value of it.

    Args:
        frame: trials of one group, with the scales, the hyperparameters, ``seed``, ``loss`` and
            ``outcome``.
        scales: columns of the scales; a single one for :data:`SHARED`.
        hyperparameter: column whose optimum is sought.
        others: columns of other hyperparameters that are tuned.
        estimator, allow_holes, resamples, seed: as in :func:`optima_of`.

    Raises:
        AnalysisRefusal: the trials cannot be read as curves, or not together along several scales.
        UnknownNameError: there is no such estimator.
    """
    if len(scales) == 1:
        located = optima_of(
            frame,
            scale=scales[0],
            hyperparameter=hyperparameter,
            others=others,
            estimator=estimator,
            allow_holes=allow_holes,
            resamples=resamples,
            seed=seed,
        )
        return Survey(
            sites=tuple(Site(scales={scales[0]: each.scale}) for each in located.optima),
            optima=located.optima,
            refused={Site(scales={scales[0]: s}).label: why for s, why in located.refused.items()},
            blow_ups=located.blow_ups,
        )
    if estimator == SHARED:
        raise AnalysisRefusal(
            f"estimator {SHARED} reads optima along one scale, and {', '.join(scales)} are "
            f"{len(scales)}; name another with --estimator"
        )
    profile = profiled_over(
        frame, others, scales=scales, hyperparameter=hyperparameter, allow_holes=allow_holes
    )
    sites, curves = _curves(profile, scales, hyperparameter)
    located = locate(
        curves, estimator=estimator, allow_holes=allow_holes, resamples=resamples, seed=seed
    )
    found = [(sites[int(optimum.scale)], optimum) for optimum in located.optima]
    return Survey(
        sites=tuple(site for site, _ in found),
        optima=tuple(
            with_others(optimum, _rows_at(profile, site), others, hyperparameter)
            for site, optimum in found
        ),
        refused={sites[int(i)].label: why for i, why in located.refused.items()},
        blow_ups=located.blow_ups,
    )


def _rows_at(profile: pd.DataFrame, site: Site) -> pd.DataFrame:
    there = [profile[scale] == value for scale, value in site.scales.items()]
    return profile[np.logical_and.reduce(there)]


def _curves(
    frame: pd.DataFrame, scales: Sequence[str], hyperparameter: str
) -> tuple[list[Site], list[Curve]]:
    """Returns the sites and a curve each, whose scale is the number of its site."""
    sites: list[Site] = []
    curves: list[Curve] = []
    for site, part in split_sites(frame, scales):
        curves += measured_curves(part, scale=scales[0], hyperparameter=hyperparameter)
        sites.append(site)
    numbered = [
        replace(curve, scale=float(index), label=site.label)
        for index, (site, curve) in enumerate(zip(sites, curves, strict=True))
    ]
    return sites, numbered


def site_optimum_of(site: Site, optimum: Estimate) -> SiteOptimum:
    """Returns what an optimum says of its hyperparameter."""
    said = {part.name: getattr(optimum, part.name) for part in fields(Estimate)}
    return SiteOptimum(site=site, **said)


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenSurvey:
    """Optima that were given as such, with intervals and without the losses behind them.

    Attributes:
        site_optima: what every site says of the hyperparameter.
        refused: site to the sentence that says why it has none.
    """

    site_optima: tuple[SiteOptimum, ...]
    refused: Mapping[str, str]

    @property
    def optima(self) -> tuple[SiteOptimum, ...]:
        """The optima."""
        return self.site_optima


def given_survey(
    frame: pd.DataFrame,
    *,
    scales: Sequence[str],
    hyperparameter: str,
    resamples: int = 1000,
    seed: int = 0,
) -> GivenSurvey:
    """Returns optima that were given as such.

    Args:
        frame: one row an optimum, with the scales, the hyperparameter and the ends of its 95%
            interval, ``optimum_low`` and ``optimum_high``; NaN where an end is open, so that the
            optimum is a bound.
        scales: columns of the scales.
        hyperparameter: column of the optima.
        resamples: number of draws from each interval.
        seed: seed of the draws.

    Raises:
        AnalysisRefusal: two optima stand at one combination of scales.
    """
    require_columns(frame, [*scales, hyperparameter])
    rng = np.random.default_rng(seed)
    found = []
    for site, part in split_sites(frame, scales):
        if len(part) > 1:
            raise AnalysisRefusal(
                f"{site.label} has {len(part)} optima; import them with --variant or --fixed for "
                "what tells them apart"
            )
        row = part.iloc[0]
        ends = [float(row.get(name, np.nan)) for name in ("optimum_low", "optimum_high")]
        low, high = np.log2(np.array(ends))
        found.append(_given(site, float(np.log2(row[hyperparameter])), low, high, resamples, rng))
    return GivenSurvey(site_optima=tuple(found), refused={})


def _given(
    site: Site, log2: float, low: float, high: float, resamples: int, rng: np.random.Generator
) -> SiteOptimum:
    """Returns an optimum whose error is normal, with its own width on either side."""
    open_low, open_high = bool(np.isnan(low)), bool(np.isnan(high))
    below, above = log2 - low, high - log2
    drawn = rng.standard_normal(resamples)
    # A side that is open is as wide as the other: the bound is no surer than that.
    width = np.where(drawn < 0, above if open_low else below, below if open_high else above)
    places = log2 + drawn * width / NORMAL_95

    def vertices(values: Floats) -> Vertices:
        unknown = np.full(len(values), np.nan)
        return Vertices(
            log2=values,
            low=np.full(len(values), -np.inf) if open_low else values,
            high=np.full(len(values), np.inf) if open_high else values,
            loss=unknown,
            curvature=unknown,
        )

    flags = {"censored_low": open_low, "censored_high": open_high}
    return SiteOptimum(
        site=site,
        log2=log2,
        low=-np.inf if open_low else low,
        high=np.inf if open_high else high,
        loss=np.nan,
        loss_low=np.nan,
        loss_high=np.nan,
        curvature=np.nan,
        estimator=DEFAULT,
        noise_source="stated",
        noise_dof=STATED_DOF,
        flags=tuple(name for name, is_open in flags.items() if is_open),
        answered=1,
        declared=1,
        seeds=1,
        draws={DEFAULT: vertices(places)},
        measured={DEFAULT: vertices(np.array([log2]))},
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class JointSurvey:
    """Joint optima of two hyperparameters at all sites of a group.

    Attributes:
        names: the two hyperparameters, as the optima have them.
        sites: sites that have a joint optimum, in order.
        optima: their joint optima.
        refused: site to the sentence that says why it has none.
    """

    names: tuple[str, str]
    sites: tuple[Site, ...]
    optima: tuple[JointOptimum, ...]
    refused: Mapping[str, str]

    def site_optima(self, hyperparameter: str) -> tuple[SiteOptimum, ...]:
        """Returns what every site says of one of the two hyperparameters."""
        direction = np.eye(2)[self.names.index(hyperparameter)]
        return tuple(
            site_optimum_of(site, optimum.along(direction, np.nan))
            for site, optimum in zip(self.sites, self.optima, strict=True)
        )


def joint_survey(
    frame: pd.DataFrame,
    *,
    scales: Sequence[str],
    hyperparameters: tuple[str, str],
    allow_holes: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> JointSurvey:
    """Returns the joint optimum at every combination of scales.

    Args:
        frame: trials of one group, with the scales, the hyperparameters, ``seed``, ``loss`` and
            ``outcome``.
        scales: columns of the scales.
        hyperparameters: the two columns whose joint optimum is sought.
        allow_holes, resamples, seed: as in :func:`locate_jointly`.

    Raises:
        AnalysisRefusal: the trials cannot be read as clouds of points.
    """
    parts = list(split_sites(frame, scales))
    # By name, so that the resamples come in one order whichever is asked for first.
    first, second = sorted(hyperparameters)
    names = (first, second)
    clouds = [measured_cloud(part, names=names, label=site.label) for site, part in parts]
    located = locate_jointly(clouds, allow_holes=allow_holes, resamples=resamples, seed=seed)
    return JointSurvey(
        names=names,
        sites=tuple(parts[index][0] for index in located.optima),
        optima=tuple(located.optima.values()),
        refused={parts[index][0].label: why for index, why in located.refused.items()},
    )

"""Joint optima at all sites of a group, and what they say of each hyperparameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from sweeper.analysis.optimum.cloud import measured_cloud
from sweeper.analysis.optimum.joint_estimators import MAIN
from sweeper.analysis.optimum.joint_locate import locate_jointly
from sweeper.analysis.optimum.joint_optimum import JointOptimum
from sweeper.analysis.optimum.sites import Site, SiteOptimum, split_sites


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
        axis = self.names.index(hyperparameter)
        return tuple(
            _site_optimum(site, optimum, axis)
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
        allow_holes, resamples, seed: as in
            :func:`locate_jointly`.

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


def _site_optimum(site: Site, optimum: JointOptimum, axis: int) -> SiteOptimum:
    measured, draws = optimum.vertices(axis)
    return SiteOptimum(
        site=site,
        log2=float(optimum.log2[axis]),
        low=float(optimum.low[axis]),
        high=float(optimum.high[axis]),
        loss=optimum.loss,
        curvature=float(optimum.curvatures[axis]),
        flags=optimum.flags[axis],
        estimator=MAIN,
        noise_source=optimum.noise_source,
        noise_dof=optimum.noise_dof,
        seeds=optimum.seeds,
        answered=optimum.answered,
        declared=optimum.declared,
        measured=measured,
        draws=draws,
    )

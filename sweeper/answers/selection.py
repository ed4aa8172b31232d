"""What tells about a hyperparameter: its trials, the groups they make, and what looks wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeper.analysis import (
    BestLosses,
    best_losses,
    mixed_units,
    rising_loss,
    units_between,
    wrong_goal,
)
from sweeper.answers.groups import HANDFUL, group_label
from sweeper.errors import AnalysisRefusal
from sweeper.outcome import ACCEPTED
from sweeper.store import StudyRecord

if TYPE_CHECKING:
    import pandas

FULL_CURVE = 5
"""Points of a scale from which on a ladder's runs are read by themselves."""

BUNCHING = ("tpe", "gp", "cmaes")
"""Samplers of Optuna that go where losses are low, and leave few points elsewhere."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """What tells about one or several hyperparameters.

    Attributes:
        rows: the trials, see :meth:`StudyView.select`.
        settings: columns that make the groups, with the variant.
        tuned: other hyperparameters, which are at their best at every value of those asked about.
        notes: the doubts, and sentences on which trials count.
        doubts: sentences on what looks wrong with the results themselves.
    """

    rows: pandas.DataFrame
    settings: tuple[str, ...]
    tuned: tuple[str, ...]
    notes: tuple[str, ...]
    doubts: tuple[str, ...]

    @contextmanager
    def said_with_doubts(self) -> Iterator[None]:
        """Has a refusal to answer end with the doubts, which may be why there is no answer."""
        try:
            yield
        except AnalysisRefusal as refusal:
            if not self.doubts:
                raise
            raise AnalysisRefusal("\n".join((str(refusal), *self.doubts))) from refusal


def doubts(
    study: StudyRecord,
    rows: pandas.DataFrame,
    axes: Sequence[str],
    groups: Sequence[str],
    tuned: Sequence[str] = (),
) -> Iterator[str]:
    """Yields what looks wrong with the results themselves, a kind at a time.

    Args:
        study: the study.
        rows: its trials.
        axes: columns of the scale and of the hyperparameters.
        groups: columns that make the groups, with the variant.
        tuned: columns of other hyperparameters.
    """
    scale, *names = axes
    place = ["variant", *groups]
    results = rows[rows["outcome"].isin(ACCEPTED)]
    points = results.groupby([*place, *axes, *tuned], dropna=False)["loss"].agg(["mean", "std"])
    points = points.reset_index()
    if len(names) == 1:
        curves = points.groupby([*place, *tuned, scale], dropna=False)["mean"]
        losses = (curve.to_numpy() for _, curve in curves)
        goal = wrong_goal(study.metric, study.goal, losses, names[0])
        if goal is not None:
            yield goal
            return
    found: dict[str, list[str]] = {"units": [], "rise": []}
    alike: dict[str, dict[str, BestLosses]] = {}
    for key, part in points.groupby(place, dropna=False):
        best = best_losses(part, scale, (*names, *tuned))
        alike.setdefault(str(key[1:]), {})[str(key[0])] = best
        units = mixed_units(best)
        said = units or rising_loss(best, study.metric, study.goal)
        if said is not None:
            label = group_label(str(key[0]), dict(zip(groups, key[1:], strict=True)))
            found["units" if units else "rise"].append(f"{label}: {said}")
    found["units"] += dict.fromkeys(
        each for bests in alike.values() for each in units_between(bests)
    )
    for sentences in found.values():
        more = len(sentences) - HANDFUL
        yield from sentences[:HANDFUL]
        if more > 0:
            yield f"{more} more groups are like that"

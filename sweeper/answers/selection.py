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
from sweeper.store import LOSS_ERROR, StudyRecord
from sweeper.words import plural

if TYPE_CHECKING:
    import pandas

FULL_CURVE = 5
"""Points of a scale from which on a ladder's runs are read by themselves."""

BUNCHING = ("tpe", "gp", "cmaes")
"""Samplers of Optuna that go where losses are low, and leave few points elsewhere."""


OVERFLOW = 1e100
"""A result beyond this, of either sign, is an overflow: sums of its square end near 1e308, and no
model that trains has it."""


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


def as_analysed(
    trials: pandas.DataFrame, study: StudyRecord
) -> tuple[pandas.DataFrame, int, tuple[str, ...]]:
    """Returns the trials of a study as the analysis takes them, how many of them were dominated,
    and what to know.

    A result beyond :data:`OVERFLOW` has diverged. A trial that was stopped because others
    dominated it is missing. The noise that the study states is that of results that state none.
    """
    stopped = trials["outcome"] == "dominated"
    overflown = (trials["outcome"] == "completed") & (trials["loss"].abs() > OVERFLOW)
    outcome = trials["outcome"].mask(stopped, "missing").mask(overflown, "diverged")
    trials = trials.assign(outcome=outcome)
    if (noise := study.document.get("noise")) is not None:
        own = trials[LOSS_ERROR].fillna(noise) if LOSS_ERROR in trials else noise
        trials = trials.assign(**{LOSS_ERROR: own})
    notes = []
    if dominated := int(trials.loc[stopped, "key"].nunique()):
        notes.append(
            f"{plural(dominated, 'trial')} stopped before the end, dominated by others, and left "
            f"out; sweeper retry {study.name} --dominated has such trials run to their end"
        )
    if overflown.any():
        notes.append(f"{plural(int(overflown.sum()), 'result')} beyond {OVERFLOW:g}: as diverged")
    return trials, dominated, tuple(notes)


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

"""A question to a study: along which scale, about which hyperparameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.errors import AnalysisRefusal, RequestError
from sweeper.report.axes import Axes, Axis
from sweeper.report.swept import without_log2
from sweeper.store.records import StudyRecord


@dataclass(frozen=True, kw_only=True)
class Question:
    """What was asked.

    Attributes:
        scale: the axis along which optima are tracked.
        hyperparameters: those that were named; may be none.
        freed: swept columns that the scale stands for, which make no groups.
    """

    scale: Axis
    hyperparameters: tuple[Axis, ...]
    freed: tuple[str, ...]


def ask(
    axes: Axes, record: StudyRecord, scale: str | None, hyperparameters: Sequence[str]
) -> Question:
    """Returns a question, its axes found among the trials.

    Args:
        axes: finds them.
        record: the study.
        scale: name or formula; None takes the study's scale.
        hyperparameters: names or formulas.

    Raises:
        UnknownNameError: there is no such axis.
        RequestError: a text is no formula, or one axis is asked for twice.
        AnalysisRefusal: nothing was varied along an axis that was asked for.
    """
    along = axes.find(record.scale if scale is None else scale)
    asked = [axes.find(each) for each in hyperparameters]
    _require_two_axes(along, asked)
    _require_spread(axes, record, along if scale is not None else None, asked)
    freed = _freed(axes, along, record)
    return Question(scale=along, hyperparameters=tuple(asked), freed=freed)


def _freed(axes: Axes, scale: Axis, record: StudyRecord) -> tuple[str, ...]:
    """Returns the swept columns that the scale stands for, which make no groups: the scale
    itself, the study's own scale where that moves it, or else all that it is made of."""
    if scale.name in axes.swept:
        return (scale.name,)
    if record.scale in axes.swept and axes.moves(record.scale, scale.name):
        return (record.scale,)
    moving = tuple(column for column in axes.swept if axes.moves(column, scale.name))
    return moving or scale.parts or (scale.name,)


def _require_two_axes(scale: Axis, asked: Sequence[Axis]) -> None:
    names = [scale.name, *(axis.name for axis in asked)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RequestError(
            f"{twice} is asked for twice; the scale and the hyperparameters must differ"
        )


def _require_spread(
    axes: Axes, record: StudyRecord, scale: Axis | None, asked: Sequence[Axis]
) -> None:
    """Refuses axes that were asked for and along which nothing was varied."""
    swept = ", ".join((*axes.swept, "seed"))
    if scale is not None and axes.trials[scale.name].nunique() < 2:
        raise AnalysisRefusal(
            f"study {record.name}: {scale.name} has one value in all trials, so no drift can be "
            f"measured along it (swept: {swept})"
        )
    along = record.scale if scale is None else scale.name
    for axis in asked:
        values = axes.trials[axis.name]
        places = [axes.trials["variant"], axes.trials[along]]
        if values.mask(without_log2(values)).groupby(places, dropna=False).nunique().max() < 2:
            raise AnalysisRefusal(
                f"study {record.name}: {axis.name} has one value with a log2 at each {along}, so "
                f"it has no optimum there (swept: {swept})"
            )

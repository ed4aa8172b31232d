"""Rules and predictions of a study of the store; loads no matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sweeper.analysis import DEFAULT
from sweeper.answers.axes import Axes
from sweeper.answers.prediction import PredictionStatement, predictions
from sweeper.answers.rules import Question, RuleGroup, RuleStatement, rule_groups
from sweeper.answers.swept import claims_of
from sweeper.answers.view import Inquiry, inquire
from sweeper.errors import RequestError
from sweeper.store import Store, StudyRecord

if TYPE_CHECKING:
    import pandas


def rules_of(
    store: Store,
    name: str,
    *,
    hyperparameters: Sequence[str] = (),
    scales: Sequence[str] = (),
    model: str = "auto",
    estimator: str = DEFAULT,
    allow_holes: bool = False,
) -> RuleStatement:
    """Returns the rules of a study.

    Args:
        store: the store.
        name: name of the study.
        hyperparameters: one name, or two that are tuned together; none takes the two of an
            imported study that has two, else those of the claims, each alone, else the first
            that is swept over positive numbers.
        scales: names of the scales; none takes those that the study was imported with, else
            its scale.
        model: ``auto``, ``constant``, ``power`` or ``offset``.
        estimator: how an optimum is read off its points; two together are read off a paraboloid.
        allow_holes: answer although neighbours of a minimum are missing.

    Raises:
        UnknownNameError: there is no such study, scale, hyperparameter, model or estimator.
        RequestError: a name is asked for twice, or an estimator of one hyperparameter for two.
        AnalysisRefusal: there is no result yet, or no group can answer.
    """
    along = tuple(scales) or own_scales(store.study(name))
    inquiry, columns = _inquiry(store, name, along, hyperparameters)
    return _fitted(inquiry, columns, model=model, estimator=estimator, allow_holes=allow_holes)


def predictions_of(
    store: Store,
    name: str,
    target: Mapping[str, float],
    *,
    hyperparameters: Sequence[str] = (),
    model: str = "auto",
    estimator: str = DEFAULT,
    allow_holes: bool = False,
) -> PredictionStatement:
    """Returns what the rules of a study say of a target.

    A scale that takes one value in the study is no term of a rule: the answer holds at that
    value, and a note says so.

    Args:
        store: the store.
        name: name of the study.
        target: value by name of the scale; these are the scales that the rules are fitted over.
        hyperparameters, model, estimator, allow_holes: as in :func:`rules_of`.

    Raises:
        UnknownNameError: there is no such study, scale, hyperparameter, model or estimator.
        RequestError: the target names no scale, or not all of those of the study.
        AnalysisRefusal: there is no result yet, or no group can answer.
    """
    own = own_scales(store.study(name))
    if not target:
        flags = " ".join(f"--at {scale}=VALUE" for scale in own)
        raise RequestError(f"a prediction needs a target: {flags}")
    absent = [scale for scale in own if scale not in target]
    if absent and len(absent) < len(own):
        raise RequestError(
            f"the rules of {name} are over {', '.join(own)}, and the target says nothing of "
            f"{', '.join(absent)}; add --at {absent[0]}=VALUE"
        )
    asked = sorted(target, key=lambda scale: scale not in own)
    inquiry, columns = _inquiry(store, name, asked, hyperparameters)
    at = {column: target[scale] for column, scale in zip(columns, asked, strict=True)}
    varying, notes = _varying(inquiry, at)
    statement = _fitted(
        inquiry, varying, model=model, estimator=estimator, allow_holes=allow_holes
    )
    return predictions(statement, {column: at[column] for column in varying}, notes=notes)


def own_scales(record: StudyRecord) -> tuple[str, ...]:
    """Returns the scales of a study: those that it was imported with, else its one."""
    return tuple(record.document.get("scales", ())) or (record.scale,)


def _inquiry(
    store: Store, name: str, scales: Sequence[str], hyperparameters: Sequence[str]
) -> tuple[Inquiry, tuple[str, ...]]:
    """Returns the study with a column for every scale, and the names of these columns."""
    inquiry = inquire(store, name, scale=scales[0], hyperparameters=hyperparameters)
    axes = Axes(store, name, inquiry.trials, inquiry.swept)
    names = (inquiry.scale, *(axes.find(scale).name for scale in scales[1:]))
    twice = next((n for n in names if (*names, *inquiry.asked).count(n) > 1), None)
    if twice is not None:
        raise RequestError(f"{twice} is asked for twice; scales and hyperparameters must differ")
    known = tuple(dict.fromkeys((*inquiry.scales, *names)))
    return replace(inquiry, trials=axes.trials, scales=known), names


def _fitted(
    inquiry: Inquiry, scales: tuple[str, ...], *, model: str, estimator: str, allow_holes: bool
) -> RuleStatement:
    inquiry.require_results()
    found: list[RuleGroup] = []
    notes: list[str] = []
    for asked in _together(inquiry):
        if len(asked) == 2 and estimator != DEFAULT:
            raise RequestError(
                f"{' and '.join(asked)} are read off a paraboloid together; leave --estimator "
                f"out, or fit one alone with --hyperparameter {asked[0]}"
            )
        view = inquiry.view(*asked)
        notes += view.notes
        question = Question(
            scales=scales,
            hyperparameters=asked,
            settings=_settings(inquiry, view.rows, scales, asked),
            model=model,
            estimator=estimator,
            allow_holes=allow_holes,
        )
        found += rule_groups(view.rows, question)
    return RuleStatement(
        study=inquiry.study.name,
        scales=scales,
        groups=tuple(found),
        notes=tuple(dict.fromkeys(notes)),
    )


def _together(inquiry: Inquiry) -> list[tuple[str, ...]]:
    """Returns the hyperparameters to fit, those in one tuple together."""
    if inquiry.asked:
        return [inquiry.asked]
    record = inquiry.study
    own = tuple(name for name in record.document.get("hyperparameters", ()))
    if len(own) == 2:
        return [own]
    claimed = tuple(claims_of(inquiry.trials, record))
    return [(column,) for column in claimed or inquiry.hyperparameters]


def _settings(
    inquiry: Inquiry, rows: pandas.DataFrame, scales: Sequence[str], asked: Sequence[str]
) -> tuple[str, ...]:
    """Returns the other swept columns that differ at one combination of the scales."""
    used = {*scales, *asked}
    used |= {part for name in asked for part in inquiry.parts.get(name, ())}
    here = rows.groupby(["variant", *scales], dropna=False)
    return tuple(
        column
        for column in inquiry.swept
        if column not in used and bool((here[column].nunique(dropna=False) > 1).any())
    )


def _varying(
    inquiry: Inquiry, target: Mapping[str, float]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the scales of a target that vary in the study, and a note on each of the others.

    Where none varies all are kept, and the fit says what is missing.
    """
    kept, notes = [], []
    for name, value in target.items():
        held = inquiry.trials[name].dropna().unique()
        if len(held) != 1:
            kept.append(name)
        elif held[0] == value:
            notes.append(f"{name} is {held[0]:g} in the whole study, as at the target")
        else:
            notes.append(
                f"{name} is {held[0]:g} in the whole study, so nothing tells what it does: the "
                f"prediction is for that value, not for {value:g}"
            )
    return (tuple(kept), tuple(notes)) if kept else (tuple(target), ())

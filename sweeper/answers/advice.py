"""Advice for a budget: the landscape of a group, or of the plain theory, and where to tune."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sweeper.analysis import (
    Advice,
    Economy,
    Floats,
    Growth,
    KnownOptimum,
    Landscape,
    Movement,
    Optimum,
    Rate,
    RunCost,
    advise,
    fit_law,
    growth,
    run_cost,
)
from sweeper.answers.drift import DriftGroup, DriftStatement
from sweeper.answers.groups import Evidence, Statement, StudyGroup, groups_of, require_an_answer
from sweeper.answers.jsonable import encoded, jsonable
from sweeper.answers.transfer import transfer_of
from sweeper.answers.view import StudyView, view_study
from sweeper.errors import AnalysisRefusal
from sweeper.store import Store


@dataclass(frozen=True, kw_only=True)
class Constants:
    """What the reader says instead of having it read off the study; None leaves it to the study.

    Attributes:
        alpha, beta: rates of loss and optimum.
        cost_exponent: r.
        run_flops: FLOPs of one run at the target.
        hyperparameters: how many are tuned together.
    """

    alpha: float | None = None
    beta: float | None = None
    cost_exponent: float | None = None
    run_flops: float | None = None
    hyperparameters: int = 1


@dataclass(frozen=True, kw_only=True)
class StudyLandscape:
    """A landscape and what it rests on.

    Attributes:
        landscape: the landscape.
        beta: rate of the optimum; None where it moves along a line, without a limit in sight.
        assumptions: a sentence each.
    """

    landscape: Landscape
    beta: float | None
    assumptions: tuple[str, ...]


def plain_landscape(given: Constants, target: float) -> StudyLandscape:
    """Returns the landscape of the theory, whose constants are 1, without a study.

    Args:
        given: all of it, but for the hyperparameters' default of 1.
        target: scale that is asked about.

    Raises:
        AnalysisRefusal: something is not given, or out of range.
    """
    asked = {name: value for name, value in vars(given).items() if value is None}
    if asked:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in asked)
        raise AnalysisRefusal(f"without a study {options} must be given; or name a study")
    if not (math.isfinite(target) and target > 0):
        raise AnalysisRefusal(f"target {target:g}: the scale of the model wanted is positive")
    assert given.alpha is not None
    assert given.beta is not None
    assert given.cost_exponent is not None
    assert given.run_flops is not None
    landscape = Landscape(
        asymptote=0.0,
        amplitude=1.0,
        alpha=given.alpha,
        curvature=2.0,
        movement=Movement(size=1.0, rate=given.beta),
        cost=RunCost(at=target, flops=given.run_flops, exponent=given.cost_exponent),
        hyperparameters=given.hyperparameters,
        octaves=1.0,
        smallest=1.0,
        whole=True,
        finest=0.0,
    )
    return StudyLandscape(
        landscape=landscape,
        beta=given.beta,
        assumptions=(
            "no study gives the constants, so they are 1, as in the theory: loss scale^-alpha, "
            "optimum scale^-beta, range and price of the grid 1; trust the exponents and the "
            "order of magnitude of the proxy, not the losses",
            *_alike(given.hyperparameters),
        ),
    )


def read_landscape(
    group: DriftGroup,
    frame: pd.DataFrame,
    *,
    scale: str,
    target: float,
    given: Constants,
    compared: tuple[str, int] = ("loss", 1),
) -> StudyLandscape:
    """Returns the landscape of one group of a study.

    Args:
        group: optima and drift of the group.
        frame: trials of the group, with ``flops`` and the scale.
        scale: column of the scale.
        target: scale that is asked about.
        given: what is given instead.
        compared: what the losses are, and -1 where they are minus it.

    Raises:
        AnalysisRefusal: the group has no drift, the target is within the study, or cost or loss
            law cannot be read from it and are not given.
    """
    if group.drift is None:
        raise AnalysisRefusal(f"no drift, so nothing to extrapolate: {group.refused}")
    optima = tuple(optimum for optimum in group.optima if optimum.located)
    largest = optima[-1]
    top = max(optimum.scale for optimum in group.optima)
    if target <= top:
        raise AnalysisRefusal(
            f"target {target:g} is within the study, which was tuned up to {top:g}; "
            "sweeper drift shows the optimum there, advice is for larger scales"
        )
    asymptote, amplitude, alpha, law = _loss_law(optima, given.alpha, compared)
    movement, beta, moves = _movement(group, optima, given.beta)
    cost, costs = _cost(frame, scale, target, given)
    span = float(largest.grid[-1] - largest.grid[0])
    landscape = Landscape(
        asymptote=asymptote,
        amplitude=amplitude,
        alpha=alpha,
        curvature=largest.curvature,
        movement=movement,
        cost=cost,
        hyperparameters=given.hyperparameters,
        octaves=span,
        smallest=min(optimum.scale for optimum in group.optima),
        whole=all(float(optimum.scale).is_integer() for optimum in group.optima),
        noise=largest.noise,
        found=_found(largest),
    )
    return StudyLandscape(
        landscape=landscape,
        beta=beta,
        assumptions=(
            law,
            moves,
            costs,
            f"the loss rises by {landscape.curvature:.3g} / 2 per octave^2 off the optimum at "
            f"every scale, as at {largest.scale:g}",
            f"{span:.3g} octaves have to be searched, as at {largest.scale:g}, and before the "
            "search the optimum may be anywhere in them",
            *_alike(given.hyperparameters),
        ),
    )


def _found(largest: Optimum) -> KnownOptimum | None:
    """Returns the optimum of the largest scale, if its interval is closed."""
    width = largest.high - largest.low
    return KnownOptimum(scale=largest.scale, error=width / 3.92) if math.isfinite(width) else None


def _alike(count: int) -> tuple[str, ...]:
    if count == 1:
        return ()
    return (f"all {count} hyperparameters cost, move and range alike",)


def _loss_law(
    optima: Sequence[Optimum], alpha: float | None, compared: tuple[str, int]
) -> tuple[float, float, float, str]:
    """Returns asymptote, amplitude, alpha, and a sentence on where they come from."""
    scales = np.array([optimum.scale for optimum in optima])
    losses = np.array([optimum.loss for optimum in optima])
    if alpha is None:
        try:
            law = fit_law(
                {"scale": scales},
                losses,
                method="least_squares",
                free_asymptote=True,
                resamples=100,
            )
        except AnalysisRefusal as refusal:
            raise AnalysisRefusal(f"no loss law: {refusal}; or give --alpha") from refusal
        (term,) = law.terms
        asymptote, amplitude, alpha = law.asymptote, term.amplitude, term.exponent
        origin = "fitted to the tuned losses"
    else:
        if not (math.isfinite(alpha) and alpha > 0):
            raise AnalysisRefusal(f"alpha = {alpha}: the tuned loss must fall, as scale^-alpha")
        amplitude, asymptote = map(float, np.polyfit(scales**-alpha, losses, 1))
        origin = "with the given alpha"
    if amplitude <= 0:
        raise AnalysisRefusal(
            "the tuned losses do not fall with the scale, so a larger model buys nothing"
        )
    metric, sign = compared
    sentence = (
        f"the tuned {metric} goes on as {sign * asymptote:.4g} {'+' if sign > 0 else '-'} "
        f"{amplitude:.3g} scale^-{alpha:.3g}, {origin}"
    )
    return asymptote, amplitude, alpha, sentence


def _movement(
    group: DriftGroup, optima: Sequence[Optimum], beta: float | None
) -> tuple[Movement, float | None, str]:
    """Returns how the optimum moves, beta if it has one, and a sentence on that."""
    if beta is not None:
        if not (math.isfinite(beta) and beta > 0):
            raise AnalysisRefusal(f"beta = {beta}: the optimum must converge, as scale^-beta")
        origin = "with the given beta"
    else:
        rate = _rate(group)
        if rate is not None:
            beta, origin = rate.value, f"95% interval of beta {rate.low:.2f} to {rate.high:.2f}"
    if beta is not None:
        size = _size(optima, group.exponent, beta)
        sentence = (
            f"the optimum, moved by the rule, converges as {abs(size):.3g} scale^-{beta:.3g} "
            f"octaves, {origin}"
        )
        return Movement(size=size, rate=beta), beta, sentence
    drift = group.drift
    assert drift is not None
    if not (math.isfinite(drift.low) and math.isfinite(drift.high)):
        raise AnalysisRefusal(
            "the drift has an open interval, so nothing tells how far the optimum moves; widen "
            "the grids, or give --beta"
        )
    slope = drift.slope - group.exponent
    error = (drift.high - drift.low) / 3.92
    sentence = (
        f"the optimum goes on moving by {slope:+.3f} ± {1.96 * error:.3f} octaves per doubling "
        "off the rule: its gaps do not show a rate at which it would converge"
    )
    return Movement(slope=slope, error=error), None, sentence


def _rate(group: DriftGroup) -> Rate | None:
    """Returns beta where at least three gaps show that the optimum converges, else None."""
    try:
        rate = transfer_of(group).rates.get("b")
    except AnalysisRefusal:
        return None  # No gaps at all: the largest scale has no optimum to measure them from.
    return rate if rate is not None and len(rate.scales) > 2 and rate.low > 0 else None


def _size(optima: Sequence[Optimum], exponent: float, beta: float) -> float:
    """Returns B of log2 optimum = limit + B scale^-beta by least squares."""
    scales: Floats = np.array([optimum.scale for optimum in optima])
    places = np.array([optimum.log2 for optimum in optima]) - exponent * np.log2(scales)
    return float(np.polyfit(scales**-beta, places, 1)[0])


def _cost(frame: pd.DataFrame, scale: str, target: float, given: Constants) -> tuple[RunCost, str]:
    """Returns the cost of a run, and a sentence on where it comes from."""
    read = run_cost(frame, scale)
    if given.run_flops is not None:
        exponent = given.cost_exponent or (read.exponent if read is not None else None)
        if exponent is None:
            raise AnalysisRefusal(
                "the trials do not know their FLOPs, so nothing tells how the cost of a run grows "
                f"with the {scale}; give --cost-exponent, for example 2"
            )
        cost = RunCost(at=target, flops=given.run_flops, exponent=exponent)
    elif read is None:
        raise AnalysisRefusal(
            "the trials do not know their FLOPs, so nothing tells what a run costs; give "
            "--run-flops (of one run at the target) and --cost-exponent"
        )
    elif given.cost_exponent is not None:
        cost = RunCost(at=read.at, flops=read.flops, exponent=given.cost_exponent)
    else:
        cost = read
    source = "as given" if cost is not read else "as planned for the trials of the study"
    return cost, (
        f"a run costs {cost.of(target):.3g} FLOPs at {target:g} and grows as "
        f"scale^{cost.exponent:.3g}, {source}"
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class BudgetAdvice(StudyGroup):
    """Advice from one group of a study, or without one.

    Attributes:
        hyperparameter: whose optimum it rests on; None without a study.
        advice: what to do; None where the group refused it.
        growth: how the strategies scale with compute; None where the optimum has no rate.
        assumptions: what the advice rests on, a sentence each.
        evidence: which trials it rests on; None without a study.
    """

    hyperparameter: str | None = None
    advice: Advice | None = None
    growth: Growth | None = None
    assumptions: tuple[str, ...] = ()
    evidence: Evidence | None = None

    @property
    def title(self) -> str:
        """The group with its hyperparameter."""
        return f"{self.label}: {self.hyperparameter}" if self.hyperparameter else "no study"

    def to_json(self) -> dict[str, Any]:
        """Returns the advice as plain values under stable keys; what is infinite is null."""
        head = {
            "hyperparameter": self.hyperparameter,
            "variant": self.variant or None,
            **encoded(self, "settings refused"),
            "evidence": self.evidence and self.evidence.to_json(),
        }
        if self.advice is None:
            return head
        return head | {
            **encoded(self.advice, "recommended=best.strategy transfer_pays=pays options"),
            "growth": jsonable(self.growth),
            "sentences": list(self.advice.sentences),
            "assumptions": list(self.assumptions),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class AdviceStatement(Statement):
    """Advice for a budget.

    Attributes:
        study: what it is read off; empty without one.
        scale: along what; None without a study.
        target: scale that is wanted.
        flops: budget of all runs together.
        groups: one a hyperparameter, variant and setting.
        metric, sign: what the losses are, ``loss`` unless -1 says that they are minus it.
    """

    scale: str | None
    target: float
    flops: float
    groups: tuple[BudgetAdvice, ...]
    metric: str = "loss"
    sign: int = 1

    HEAD = "scale target flops"

    def to_json(self) -> dict[str, Any]:
        """Returns the advice as plain values under stable keys; what is infinite is null."""
        groups = [group.to_json() for group in self.groups]
        return {"study": self.study or None, **self.document(groups)}


def budget_advice(
    store: Store,
    name: str,
    hyperparameter: str | None = None,
    *,
    scale: str | None = None,
    horizon: str | None = None,
    each: Sequence[str] = (),
    target: float,
    budget: float,
    given: Constants,
) -> AdviceStatement:
    """Returns advice for a budget from every group of a study.

    Args:
        store: the store.
        name: name of the study.
        hyperparameter, scale, horizon, each: as in :func:`transfers_of`.
        target: scale that is wanted, above the study's largest.
        budget: FLOPs for all runs together.
        given: what the reader knows better.

    Raises:
        UnknownNameError: there is no such study, scale or hyperparameter.
        RequestError: a formula or horizon is none.
        AnalysisRefusal: there is no result yet, or no group can advise; says why each.
    """
    wanted = () if hyperparameter is None else (hyperparameter,)
    view = view_study(store, name, scale=scale, hyperparameters=wanted, horizon=horizon, each=each)
    found: list[BudgetAdvice] = []
    notes: list[tuple[str, ...]] = []
    for column in view.hyperparameters:
        statement = view.statement(column)
        notes.append(statement.notes)
        found += advice_in(view, statement, target=target, budget=budget, given=given)
    require_an_answer(found)
    return AdviceStatement(
        study=name,
        scale=view.scale,
        target=target,
        flops=budget,
        groups=tuple(found),
        notes=notes[0],
        metric="loss" if view.compared[1] > 0 else view.compared[0],
        sign=view.compared[1],
    )


def advice_in(
    view: StudyView, statement: DriftStatement, *, target: float, budget: float, given: Constants
) -> Iterator[BudgetAdvice]:
    """Yields the advice of every group of a view's statement; arguments are those of
    :func:`budget_advice`."""
    column = statement.hyperparameter
    chosen = view.select(column)
    parts = groups_of(chosen.rows, chosen.settings, (view.scale, column, *chosen.tuned))
    for group, (_, part) in zip(statement.groups, parts, strict=True):
        yield _advised(statement, group, part, target=target, budget=budget, given=given)


def general_advice(*, target: float, budget: float, given: Constants) -> AdviceStatement:
    """Returns advice without a study, from exponents alone.

    Raises:
        AnalysisRefusal: an exponent is missing or out of range, or the budget too small.
    """
    read = plain_landscape(given, target)
    group = BudgetAdvice(
        variant="",
        settings={},
        growth=_growth(read, given),
        advice=advise(read.landscape, target=target, budget=budget),
        assumptions=read.assumptions,
    )
    return AdviceStatement(study="", scale=None, target=target, flops=budget, groups=(group,))


def _growth(read: StudyLandscape, given: Constants) -> Growth | None:
    """Returns how strategies scale with compute; None where the optimum has no rate."""
    if read.beta is None:
        return None
    economy = Economy(
        cost_exponent=read.landscape.cost.exponent, hyperparameters=given.hyperparameters
    )
    return growth(read.landscape.alpha, read.beta, economy)


def _advised(
    statement: DriftStatement,
    group: DriftGroup,
    rows: pd.DataFrame,
    *,
    target: float,
    budget: float,
    given: Constants,
) -> BudgetAdvice:
    head: dict[str, Any] = {
        "variant": group.variant,
        "settings": group.settings,
        "hyperparameter": statement.hyperparameter,
        "evidence": group.evidence,
    }
    try:
        compared = (statement.metric, -1) if statement.sign < 0 else ("loss", 1)
        read = read_landscape(
            group,
            rows,
            scale=statement.scale,
            target=target,
            given=given,
            compared=compared,
        )
        advice = advise(read.landscape, target=target, budget=budget)
        grows = _growth(read, given)
    except AnalysisRefusal as refusal:
        return BudgetAdvice(**head, refused=str(refusal))
    return BudgetAdvice(**head, advice=advice, growth=grows, assumptions=read.assumptions)

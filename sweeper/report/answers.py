"""The statements of a study, from what the store holds; loads no matplotlib."""

from __future__ import annotations

from sweeper.analysis.estimator import DEFAULT
from sweeper.analysis.statement import DriftStatement
from sweeper.report.inquiry import inquire
from sweeper.store.store import Store


def statements_of(
    store: Store,
    name: str,
    hyperparameter: str | None = None,
    *,
    scale: str | None = None,
    horizon: str | None = None,
    estimator: str = DEFAULT,
    allow_holes: bool = False,
) -> list[DriftStatement]:
    """Returns the statements of a study, one a hyperparameter.

    Args:
        store: the store.
        name: name of the study.
        hyperparameter: which one, a name or a formula; None takes those of the study's claims,
            else the first that is swept over positive numbers.
        scale: along which axis; None takes the study's.
        horizon: see :func:`inquire`.
        estimator: how an optimum is read off its points.
        allow_holes: answer although neighbours of a minimum are missing.

    Raises:
        UnknownNameError: there is no such study, scale, hyperparameter or estimator.
        RequestError: a formula or horizon is none.
        AnalysisRefusal: there is no result yet, or the results cannot carry a statement.
    """
    wanted = () if hyperparameter is None else (hyperparameter,)
    inquiry = inquire(store, name, scale=scale, hyperparameters=wanted, horizon=horizon)
    inquiry.require_results()
    return [
        inquiry.statement(column, estimator=estimator, allow_holes=allow_holes)
        for column in inquiry.hyperparameters
    ]

"""An answer: one hyperparameter of a study with its statement and its trials."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweeper.answers import DriftGroup, DriftStatement, StudyView, group_label
from sweeper.errors import RequestError
from sweeper.study import find_card
from workloads.workload import unit_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What a study says about one hyperparameter, as figures and tables read it.

    Attributes:
        study: name of the study.
        scale: column of the scale.
        hyperparameter: column of the hyperparameter.
        settings: columns that make the groups, with the variant.
        metric: what is compared; lower is better.
        unit: unit of the metric; empty if it is not known.
        trials: one row a trial with the column ``group`` added.
        statement: what the analysis says; its groups may be without a drift.
    """

    study: str
    scale: str
    hyperparameter: str
    settings: tuple[str, ...]
    metric: str
    unit: str
    trials: pd.DataFrame
    statement: DriftStatement

    @property
    def axis(self) -> str:
        """The metric as an axis names it, with its unit."""
        return f"{self.metric} ({self.unit})" if self.unit else self.metric

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of all groups, those without an answer too, in the order of the study."""
        return tuple(dict.fromkeys(self.trials["group"]))

    @property
    def groups(self) -> dict[str, DriftGroup]:
        """The groups by name."""
        found = {group_label(g.variant, g.settings): g for g in self.statement.groups}
        return {name: found[name] for name in self.labels}


def answer_of(view: StudyView, hyperparameter: str, *, allow_holes: bool = False) -> Answer:
    """Returns the answer about one hyperparameter, as far as the results go.

    Raises:
        AnalysisRefusal: the hyperparameter applies to none of the trials, or none has a result.
    """
    study, settings = view.study, view.settings(hyperparameter)
    return Answer(
        study=study.name,
        scale=view.scale,
        hyperparameter=hyperparameter,
        settings=settings,
        metric=study.metric if study.goal == "min" else f"minus {study.metric}",
        unit=_unit(study.workload, study.metric),
        trials=_labelled(view.rows(hyperparameter), settings),
        statement=view.statement(hyperparameter, allow_holes=allow_holes, partial=True),
    )


def _unit(workload: str, metric: str) -> str:
    """Returns the unit of a metric; empty where the workload's card cannot be loaded."""
    try:
        return unit_of(find_card(workload), metric)
    except RequestError:
        return ""


def _labelled(trials: pd.DataFrame, settings: tuple[str, ...]) -> pd.DataFrame:
    columns = [trials["variant"], *(trials[name] for name in settings)]
    labels = [
        group_label(str(variant), dict(zip(settings, map(_plain, values), strict=True)))
        for variant, *values in zip(*columns, strict=True)
    ]
    return trials.assign(group=labels)


def _plain(value: Any) -> Any:
    """A setting's value, None where it does not apply."""
    return None if isinstance(value, float) and math.isnan(value) else value

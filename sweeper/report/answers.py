"""The statements of a study, from what the store holds; loads no matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isinf
from typing import TYPE_CHECKING, Any

from sweeper.analysis.claim import Claim
from sweeper.analysis.statement import DriftStatement, Group, drift_statement
from sweeper.errors import AnalysisRefusal, UnknownNameError
from sweeper.store.records import Estimate, StudyRecord
from sweeper.store.store import Store

if TYPE_CHECKING:
    import pandas

RESULTS = ("completed", "diverged")
"""Outcomes that are results."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Inquiry:
    """A study as the analysis reads it.

    Attributes:
        study: the study's record.
        trials: one row a member, from :meth:`Store.frame`; ``loss`` is lower where better, so
            it is minus the metric if the study's goal is ``max``.
        swept: columns of the swept settings other than the scale and the seed, in the order of
            the study, those with positive numbers that differ first asked for.
        claims: claims by column of the hyperparameter.
    """

    study: StudyRecord
    trials: pandas.DataFrame
    swept: tuple[str, ...]
    claims: Mapping[str, tuple[Claim, ...]]

    @property
    def has_results(self) -> bool:
        """True if any trial has a result."""
        return bool(self.trials["outcome"].isin(RESULTS).any())

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """What is asked about: the claims' hyperparameters, else the first that is swept over
        positive numbers.

        Raises:
            AnalysisRefusal: nothing is swept whose optimum could be tracked.
        """
        if self.claims:
            return tuple(self.claims)
        for column in self.swept:
            if _is_positive(self.trials[column]):
                return (column,)
        raise AnalysisRefusal(
            f"study {self.study.name}: no setting but {self.study.scale} is swept over two or "
            f"more positive numbers (swept: {', '.join(self.swept) or 'none'}), so there is no "
            "optimum to track; sweep for example learning_rate"
        )

    def rows(self, hyperparameter: str) -> pandas.DataFrame:
        """Returns the trials of the variants to which the hyperparameter applies."""
        applies = self.trials.groupby("variant")[hyperparameter].transform("count") > 0
        return self.trials[applies]

    def settings(self, hyperparameter: str) -> tuple[str, ...]:
        """Returns the other swept columns that take more than one value; with the variant
        they make the groups."""
        rows = self.rows(hyperparameter)
        return tuple(
            column
            for column in self.swept
            if column != hyperparameter and rows[column].nunique(dropna=False) > 1
        )

    def statement(
        self,
        hyperparameter: str,
        *,
        estimator: str = "quadratic",
        allow_holes: bool = False,
        partial: bool = False,
    ) -> DriftStatement:
        """Returns the statement about one hyperparameter.

        Args:
            hyperparameter: one of the swept columns.
            estimator: how an optimum is read off its points.
            allow_holes: answer although neighbours of a minimum are missing.
            partial: return the optima that there are although no group has a drift.

        Raises:
            AnalysisRefusal: no trial has a result, or no group can answer.
            UnknownNameError: there is no such estimator.
        """
        if not self.has_results:
            raise AnalysisRefusal(
                f"study {self.study.name}: none of its {len(self.trials)} cells has a result "
                "yet; sweeper run starts it, sweeper status says where it stands"
            )
        return drift_statement(
            self.rows(hyperparameter),
            study=self.study.name,
            scale=self.study.scale,
            hyperparameter=hyperparameter,
            settings=self.settings(hyperparameter),
            claims=self.claims.get(hyperparameter, ()),
            estimator=estimator,
            allow_holes=allow_holes,
            partial=partial,
        )


def inquire(store: Store, name: str) -> Inquiry:
    """Returns a study of the store as the analysis reads it.

    Raises:
        UnknownNameError: there is no such study.
        AnalysisRefusal: a swept setting is not found among the trials' settings.
    """
    record = store.study(name)
    trials = _with_tokens_per_param(store.frame(name), record)
    if record.goal == "max":
        trials = trials.assign(loss=-trials["loss"])
    names = dict.fromkeys(_swept_names(record.document))
    swept = [n for n in names if n not in (record.scale, "seed")]
    return Inquiry(
        study=record,
        trials=trials,
        swept=tuple(_column(trials, record, setting) for setting in swept),
        claims=_claims(trials, record),
    )


def statements_of(
    store: Store,
    name: str,
    hyperparameter: str | None = None,
    *,
    estimator: str = "quadratic",
    allow_holes: bool = False,
) -> list[DriftStatement]:
    """Returns the statements of a study, one a hyperparameter.

    Args:
        store: the store.
        name: name of the study.
        hyperparameter: which one; None takes those of the study's claims, else the first that
            is swept over positive numbers.
        estimator: how an optimum is read off its points.
        allow_holes: answer although neighbours of a minimum are missing.

    Raises:
        UnknownNameError: there is no such study, hyperparameter or estimator.
        AnalysisRefusal: there is no result yet, or the results cannot carry a statement.
    """
    inquiry = inquire(store, name)
    if hyperparameter is not None and hyperparameter not in inquiry.swept:
        raise UnknownNameError("swept hyperparameter", hyperparameter, inquiry.swept)
    asked = inquiry.hyperparameters if hyperparameter is None else (hyperparameter,)
    return [
        inquiry.statement(column, estimator=estimator, allow_holes=allow_holes) for column in asked
    ]


def keep_estimates(store: Store, statements: Sequence[DriftStatement]) -> None:
    """Writes statements to the store's table of estimates, in place of the earlier ones.

    Raises:
        StoreError: the store cannot be written.
    """
    for statement in statements:
        rows = [row for group in statement.groups for row in _estimates(group)]
        store.save_estimates(statement.study, statement.hyperparameter, rows)


def _estimates(group: Group) -> Iterator[Estimate]:
    place: dict[str, Any] = {"variant": group.variant, "settings": dict(group.settings)}
    for optimum in group.optima:
        yield Estimate(
            kind="optimum",
            **place,
            scale=optimum.scale,
            value=optimum.value,
            low=None if isinf(optimum.low) else 2.0**optimum.low,
            high=None if isinf(optimum.high) else 2.0**optimum.high,
            text=", ".join(optimum.flags),
        )
    drift = group.drift
    if drift is None:
        yield Estimate(kind="drift", **place, text=group.refused or "")
    else:
        value, low, high = drift.slope, drift.low, drift.high
        yield Estimate(
            kind="drift", **place, value=value, low=low, high=high, text=", ".join(drift.flags)
        )
    for verdict in group.verdicts:
        claim = verdict.claim
        yield Estimate(
            kind="claim",
            **place,
            value=claim.exponent,
            low=claim.exponent - claim.tolerance,
            high=claim.exponent + claim.tolerance,
            text=f"{verdict.ruling}: {verdict.why}",
        )
    for cost in group.regret:
        note = cost.note or ("below the noise floor" if cost.harmless else "")
        yield Estimate(kind="regret", **place, scale=cost.scale, value=cost.regret, text=note)


def _swept_names(document: Mapping[str, Any]) -> Iterator[str]:
    """Yields the names of all axes of a study file, those of its variants too."""
    yield from document.get("sweep", {})
    for variant in document.get("variants", {}).values():
        yield from variant.get("sweep", {})


def _column(trials: pandas.DataFrame, record: StudyRecord, setting: str) -> str:
    """Returns the column of a setting; one that collides with a fixed column has a prefix."""
    for column in (f"setting_{setting}", setting):
        if column in trials.columns:
            return column
    raise AnalysisRefusal(
        f"study {record.name}: {setting} is swept, but no trial of the study has that setting "
        f"(they have {', '.join(sorted(map(str, trials.columns)))})"
    )


def _claims(trials: pandas.DataFrame, record: StudyRecord) -> dict[str, tuple[Claim, ...]]:
    found: dict[str, list[Claim]] = {}
    for claim in record.document.get("claims", ()):
        column = _column(trials, record, claim["hyperparameter"])
        found.setdefault(column, []).append(
            Claim(exponent=float(claim["exponent"]), tolerance=float(claim["tolerance"]))
        )
    return {column: tuple(claims) for column, claims in found.items()}


def _with_tokens_per_param(trials: pandas.DataFrame, record: StudyRecord) -> pandas.DataFrame:
    """Adds tokens per parameter where it is swept: configs hold the steps that it became.

    Runs are whole batches long, so the nearest declared ratio is meant.
    """
    import numpy

    name = "tokens_per_param"
    axes = [record.document, *record.document.get("variants", {}).values()]
    lists = [axis for part in axes if isinstance(axis := part.get("sweep", {}).get(name), list)]
    if name in trials.columns or not lists:
        return trials
    declared = numpy.array(sorted({float(value) for axis in lists for value in axis}))
    ratio = (trials["tokens"] / trials["params"]).to_numpy(dtype=float)
    distance = numpy.abs(numpy.log2(ratio)[:, None] - numpy.log2(declared)[None, :])
    return trials.assign(**{name: declared[numpy.argmin(distance, axis=1)]})


def _is_positive(values: pandas.Series[Any]) -> bool:
    """Returns whether a column holds two or more positive numbers and nothing else."""
    import pandas

    present = values.dropna()
    if present.map(lambda value: isinstance(value, bool | str | list)).any():
        return False
    numbers = pandas.to_numeric(present, errors="coerce")
    return bool((numbers > 0).all() and numbers.nunique() > 1)

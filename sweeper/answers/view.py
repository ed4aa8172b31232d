"""A study as the analysis reads it: its trials, scale and hyperparameters, and what is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sweeper.analysis import DEFAULT, SHARED, Claim
from sweeper.answers.axes import (
    Axes,
    Axis,
    claims_of,
    column_of,
    is_positive,
    profiled,
    swept_names,
    with_tokens_per_param,
    without_log2,
    without_twins,
)
from sweeper.answers.drift import DriftStatement, drift_statement
from sweeper.answers.horizons import Horizon, at_horizons
from sweeper.answers.selection import BUNCHING, FULL_CURVE, Selection, as_analysed, doubts
from sweeper.errors import AnalysisRefusal, RequestError, UnknownNameError
from sweeper.outcome import ACCEPTED
from sweeper.store import IMPORTED, LOSS_ERROR, Store, StudyRecord

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, kw_only=True)
class AskedAxes:
    """What was asked.

    Attributes:
        scale: the axis along which optima are tracked.
        hyperparameters: those that were named; may be none.
        freed: swept columns that the scale stands for, which make no groups.
    """

    scale: Axis
    hyperparameters: tuple[Axis, ...]
    freed: tuple[str, ...]


def asked_axes(
    axes: Axes, record: StudyRecord, scale: str | None, hyperparameters: Sequence[str]
) -> AskedAxes:
    """Returns the axes of a question, found among the trials.

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
    return AskedAxes(scale=along, hyperparameters=tuple(asked), freed=freed)


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


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyView:
    """A study as the analysis reads it.

    Attributes:
        study: the study's record.
        trials: one row a member, from :meth:`Store.frame`, with a column for every axis that was
            asked for; at several horizons one row for each. ``loss`` is lower where better, so it
            is minus the metric if the study's goal is ``max``.
        scale: column along which optima are tracked.
        swept: columns of the swept settings other than the scale and the seed, in the order of
            the study, and of the horizon.
        claims: claims by column of the hyperparameter; no claim of any where another scale is
            asked about than the study's.
        asked: columns of the hyperparameters that were asked for by name.
        parts: effective hyperparameter to the swept columns that it is made of.
        scales: columns that are scales by the study's own word.
        horizon: column of the horizon, None for the end of the runs.
        each: hyperparameters whose values are answered for one by one, rather than tuned.
        notes: sentences that the reader should know of every answer.
        dominated: trials that were stopped before their end, and count as missing.
    """

    study: StudyRecord
    trials: pandas.DataFrame
    scale: str
    swept: tuple[str, ...]
    claims: Mapping[str, tuple[Claim, ...]]
    asked: tuple[str, ...] = ()
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scales: tuple[str, ...] = ()
    horizon: str | None = None
    each: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    dominated: int = 0

    @property
    def has_results(self) -> bool:
        """True if any trial has a result."""
        return bool(self.trials["outcome"].isin(ACCEPTED).any())

    @property
    def compared(self) -> tuple[str, int]:
        """What is compared, and the sign that turns a loss of the trials into it: ``accuracy``
        and -1 where more is better."""
        return self.study.metric, -1 if self.study.goal == "max" else 1

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """What is asked about: what was asked for by name, the claims' hyperparameters, or else
        the first that is swept over positive numbers.

        Raises:
            AnalysisRefusal: nothing is swept whose optimum could be tracked.
        """
        if self.asked or self.claims:
            return self.asked or tuple(self.claims)
        no_candidates = (self.study.scale, *self.scales, self.horizon)
        for column in self.swept:
            if column not in no_candidates and is_positive(self.trials[column]):
                return (column,)
        raise AnalysisRefusal(
            f"study {self.study.name}: no setting but {self.scale} is swept over two or "
            f"more positive numbers (swept: {', '.join(self.swept) or 'none'}), so there is no "
            "optimum to track; sweep for example learning_rate"
        )

    def statement(
        self,
        hyperparameter: str,
        *,
        estimator: str | None = None,
        allow_holes: bool = False,
        partial: bool = False,
    ) -> DriftStatement:
        """Returns the statement about one hyperparameter.

        Args:
            hyperparameter: one of the swept columns, or one that was asked for.
            estimator: how an optimum is read off its points; None as fits the study.
            allow_holes: answer although neighbours of a minimum are missing.
            partial: return what there is although no group has an optimum.

        Raises:
            AnalysisRefusal: no trial has a result, or no group can answer.
            UnknownNameError: there is no such estimator.
        """
        self.require_results()
        chosen = self.select(hyperparameter)
        with chosen.said_with_doubts():
            return drift_statement(
                chosen.rows,
                study=self.study.name,
                scale=self.scale,
                hyperparameter=hyperparameter,
                settings=chosen.settings,
                tuned=chosen.tuned,
                claims=self.claims.get(hyperparameter, ()),
                estimator=estimator or self.estimator,
                allow_holes=allow_holes,
                partial=partial,
                notes=chosen.notes,
                compared=self.compared,
            )

    @property
    def search(self) -> str:
        """Method of the search."""
        return str(self.study.document.get("search", {}).get("method", "grid"))

    @property
    def estimator(self) -> str:
        """How optima are read by default: together where a ladder left a scale too few points, or
        a sampler went to the best ones."""
        if self.search != "ladder":
            sampler = self.study.document.get("search", {}).get("sampler")
            return SHARED if sampler in BUNCHING else DEFAULT
        ended = self.trials[self.trials["outcome"].isin(ACCEPTED)]
        tuned = [name for name in self.swept if name not in (self.scale, "seed")]
        points = ended.groupby(["variant", self.scale])[tuned].nunique().max(axis=1)
        return SHARED if (points < FULL_CURVE).any() else DEFAULT

    @property
    def holds_optima(self) -> bool:
        """Whether the study was imported from a table of optima, which holds no runs."""
        return bool(self.study.document.get("optima"))

    def require_results(self, *, of_runs: bool = True) -> None:
        """Checks that there is something to answer from, results of runs unless not asked for.

        Raises:
            AnalysisRefusal: no trial has a result, or there are optima in place of runs.
        """
        if of_runs:
            self.require_runs()
        if not self.has_results:
            raise AnalysisRefusal(
                f"study {self.study.name}: none of its {len(self.trials)} cells has a result "
                "yet; sweeper run starts it, sweeper status says where it stands"
            )

    def require_runs(self) -> None:
        """Checks that the study holds runs.

        Raises:
            AnalysisRefusal: it holds optima in their place.
        """
        if self.holds_optima:
            raise AnalysisRefusal(
                f"study {self.study.name} holds optima and no runs, so only sweeper fit and "
                "sweeper predict can read it"
            )

    def select(self, *names: str, scales: Sequence[str] = ()) -> Selection:
        """Returns the trials that tell about hyperparameters, with what to know about them.

        Those are the trials of the variants to which they apply, without those where one is 0 or
        infinite, which have no log2. Of the combinations that give an effective hyperparameter
        one value, only the best counts (:func:`profiled`). The other swept columns that take
        more than one value at some scale make the groups, with the variant; but where one
        hyperparameter is asked about, the others are tuned at each of its values.

        Args:
            names: columns of the hyperparameters.
            scales: columns of the scales; none takes the study's.
        """
        rows, notes = self._applying(names), list(self.notes)
        for name in names:
            bare = without_log2(rows[name])
            if bare.any() and not bare.all():
                rows = rows[~bare]
                notes.append(f"{int(bare.sum())} trials are left out: their {name} has no log2")
        scales = tuple(scales) or (self.scale,)
        varied = self._settings_at(rows, names, scales)
        tuned = tuple(name for name in varied if self._is_tuned(rows, name, names, scales))
        groups = tuple(name for name in varied if name not in tuned)
        if tuned:
            others = f"; --each {tuned[0]} answers for each of its values, --joint {names[0]},"
            others = f"{others}{tuned[0]} for both together" if self.search == "grid" else ""
            verb = "is" if len(tuned) == 1 else "are"
            notes.append(f"{' and '.join(tuned)} {verb} tuned at every {names[0]}{others}")
        parts = [part for name in names for part in self.parts.get(name, ()) if part not in names]
        if parts:
            place = ["variant", *varied, *scales]
            best = profiled(rows, place=place, axes=list(names), parts=parts)
            if len(best) < len(rows):
                notes.append(
                    f"at each {' and '.join(names)} the best of all {' and '.join(parts)} counts: "
                    f"{len(best)} of {len(rows)} trials; --joint reads two settings at once"
                )
            rows = best
        wrong: tuple[str, ...] = ()
        if not self.holds_optima:
            wrong = tuple(doubts(self.study, rows, (self.scale, *names), groups, tuned))
        return Selection(
            rows=rows, settings=groups, tuned=tuned, notes=(*wrong, *notes), doubts=wrong
        )

    def _applying(self, names: Sequence[str]) -> pandas.DataFrame:
        rows = self.trials
        for name in names:
            rows = rows[rows.groupby("variant")[name].transform("count") > 0]
        return rows

    def _is_tuned(
        self, rows: pandas.DataFrame, column: str, names: Sequence[str], scales: Sequence[str]
    ) -> bool:
        """Returns whether a swept column is tuned where one hyperparameter is asked about.

        It holds numbers, on a grid unless a search chose them, and is one that the study names as
        a hyperparameter or makes claims about; or, of trials that we ran, any that takes three
        values or more and moves neither parameters nor tokens nor FLOPs.
        """
        kept = (*self.each, self.horizon, self.study.scale, *self.scales)
        if len(names) != 1 or column in kept:
            return False
        document = self.study.document
        named = {*document.get("hyperparameters", ())}
        named |= {claim["hyperparameter"] for claim in document.get("claims", ())}
        if not is_positive(rows[column], zero=True) or self.holds_optima:
            return False
        beside = rows.groupby(["variant", *scales, *names], dropna=False)[column].nunique()
        if beside[beside > 0].median() < 2 and self.search == "grid":
            return False
        if column in named or self.study.workload == IMPORTED:
            return column in named
        rest = [name for name in (*self.swept, *scales) if name != column]
        alike = self.trials.groupby(["variant", *rest], dropna=False)
        sizes = alike[["params", "tokens", "flops"]].nunique()
        return bool(rows[column].nunique() > 2 and (sizes <= 1).all(axis=None))

    def _settings_at(
        self, rows: pandas.DataFrame, names: Sequence[str], scales: Sequence[str]
    ) -> tuple[str, ...]:
        """Returns the other swept columns that make groups: the horizon, and those that take
        more than one value at one combination of the scales. What goes with a scale makes no
        groups, since each would have a single scale."""
        used = {part for name in names for part in (name, *self.parts.get(name, ()))}
        rest = [column for column in self.swept if column not in {*used, *scales}]
        here = rows.groupby(["variant", *scales], dropna=False)
        return tuple(
            column
            for column in rest
            if column == self.horizon
            or (
                rows[column].nunique(dropna=False) > 1
                and bool((here[column].nunique(dropna=False) > 1).any())
            )
        )


def view_study(
    store: Store,
    name: str,
    *,
    scale: str | None = None,
    hyperparameters: Sequence[str] = (),
    horizon: str | None = None,
    each: Sequence[str] = (),
    counted: bool = False,
) -> StudyView:
    """Returns a study of the store as the analysis reads it.

    Args:
        store: the store.
        name: name of the study.
        scale: along which axis optima are tracked; None takes the study's. Any name or formula
            that :meth:`Axes.find` knows.
        hyperparameters: what is asked about, names or formulas; none takes the study's.
        horizon: ``all``, a number of tokens, or a share of the run up to 1; None takes the end.
        each: swept hyperparameters whose values are answered for one by one; the others are
            tuned.
        counted: give the trials the number of their attempts, which no answer needs.

    Raises:
        UnknownNameError: there is no such study, scale or hyperparameter.
        RequestError: a formula or horizon is none.
        AnalysisRefusal: a swept setting is not found among the trials' settings, or trials have
            no measurement at the horizon.
    """
    record = store.study(name)
    trials = with_tokens_per_param(store.frame(name, counted=counted), record)
    trials, dominated, said = as_analysed(trials, record)
    read: Horizon | None = None
    if horizon is not None:
        read = at_horizons(trials, store.marks(name), record, horizon)
        trials = read.trials.drop(columns=LOSS_ERROR, errors="ignore")  # it is that of the end
    if record.goal == "max":
        trials = trials.assign(loss=-trials["loss"])
    columns = [column_of(trials, record, each) for each in swept_names(record) if each != "seed"]
    columns += [read.column] if read is not None and read.column not in columns else []
    scales = (record.scale, *record.document.get("scales", ()))
    trials, twins = without_twins(trials, columns, scales)
    axes = Axes(store, name, trials, columns)
    asked = asked_axes(axes, record, scale, hyperparameters)
    swept = tuple(column for column in columns if column not in asked.freed)
    apart = tuple(_swept_column(swept, each_name) for each_name in each)
    own = asked.scale.name == record.scale
    claims = claims_of(trials, record)
    return StudyView(
        study=record,
        trials=axes.trials,
        scale=asked.scale.name,
        swept=swept,
        claims={column: each if own else () for column, each in claims.items()},
        asked=tuple(axis.name for axis in asked.hyperparameters),
        parts={
            axis.name: axis.parts for axis in asked.hyperparameters if axis.name not in columns
        },
        scales=tuple(s for s in record.document.get("scales", ()) if s in columns),
        horizon=read.column if read is not None and read.column in swept else None,
        each=apart,
        dominated=dominated,
        notes=(
            *(read.notes if read is not None else ()),
            *twins,
            *_claim_notes(record, own, asked.scale.name),
            *said,
        ),
    )


def _swept_column(swept: Sequence[str], name: str) -> str:
    for column in (f"setting_{name}", name):
        if column in swept:
            return column
    raise UnknownNameError("swept setting", name, swept)


def _claim_notes(record: StudyRecord, own: bool, scale: str) -> tuple[str, ...]:
    if own or not record.document.get("claims"):
        return ()
    return (f"the study's claims are about {record.scale}, so none is judged along {scale}",)


def statements_of(
    store: Store,
    name: str,
    hyperparameter: str | None = None,
    *,
    scale: str | None = None,
    horizon: str | None = None,
    each: Sequence[str] = (),
    estimator: str | None = None,
    allow_holes: bool = False,
) -> list[DriftStatement]:
    """Returns the statements of a study, one a hyperparameter.

    Args:
        store: the store.
        name: name of the study.
        hyperparameter: which one, a name or a formula; None takes those of the study's claims,
            else the first that is swept over positive numbers.
        scale: along which axis; None takes the study's.
        horizon, each: see :func:`view_study`.
        estimator: how an optimum is read off its points; None as fits the study.
        allow_holes: answer although neighbours of a minimum are missing.

    Raises:
        UnknownNameError: there is no such study, scale, hyperparameter or estimator.
        RequestError: a formula or horizon is none.
        AnalysisRefusal: there is no result yet, or the results cannot carry a statement.
    """
    wanted = () if hyperparameter is None else (hyperparameter,)
    view = view_study(store, name, scale=scale, hyperparameters=wanted, horizon=horizon, each=each)
    view.require_results()
    return [
        view.statement(column, estimator=estimator, allow_holes=allow_holes)
        for column in view.hyperparameters
    ]

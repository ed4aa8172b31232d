"""Axes by name: settings, derived quantities, and products of them as effective ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from sweeper.analysis import SAME_LOG2_DECIMALS, Claim, Floats
from sweeper.answers.formula import Formula, parse_formula
from sweeper.errors import AnalysisRefusal, RequestError, UnknownNameError
from sweeper.outcome import ACCEPTED
from sweeper.rounding import merged, merged_words
from sweeper.store import Store, StudyRecord, read_curves
from sweeper.words import plural

ALIASES = {"timescale": "1/(weight_decay.hidden*steps)"}
"""Names of formulas. The timescale is that of arXiv 2405.13698, section 3: steps over which the
hidden matrices forget, one over the share of a weight that a step takes away at the peak of the
schedule, as a share of the run."""

RATES = ("learning_rate", "weight_decay", "weight_decay_timescale")
"""Settings that the derived quantities of a role may go with under another name."""

GROUPS = "groups"
"""Key under which derived quantities hold the hyperparameters of each role."""

ROUNDING = 1 / 64
"""Octaves by which products of settings may differ that were written with three digits: two
factors are each off by up to half a percent."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A column of numbers along which a study can be read.

    Attributes:
        name: the column.
        parts: the swept columns that it is made of.
    """

    name: str
    parts: tuple[str, ...]


class Axes:
    """Finds axes of a study by name and adds the effective ones to its trials."""

    def __init__(
        self, store: Store, study: str, trials: pd.DataFrame, swept: Sequence[str]
    ) -> None:
        self._store = store
        self._study = study
        self.swept = tuple(swept)
        self.trials = trials

    def find(self, text: str) -> Axis:
        """Returns the axis of a name or formula; its column is in ``trials`` from then on.

        A name is a column of the trials, a derived quantity such as ``params_non_embedding``,
        one of a role such as ``learning_rate.hidden``, a recorded one such as
        ``update_norm.hidden`` (:meth:`_recorded`), or a formula's own name.

        Raises:
            UnknownNameError: a name is not known.
            RequestError: the text is no formula.
            AnalysisRefusal: a column in it holds no numbers, or negative ones.
        """
        if (column := self._column(text)) is not None:
            return Axis(name=column, parts=(column,) if column in self.swept else ())
        formula = parse_formula(text)
        values = without_rounding(formula.of(self._values(formula.names)))
        self.trials = self.trials.assign(**{formula.text: values})
        return Axis(name=formula.text, parts=self._parts(formula))

    def moves(self, column: str, axis: str) -> bool:
        """Returns whether a swept column alone moves an axis somewhere in the study."""
        if not _is_numeric(self.trials[column]):
            return False
        rest = [self.trials[name] for name in ("variant", *self.swept) if name != column]
        counts = self.trials[axis].groupby(rest, dropna=False).nunique()
        return bool((counts > 1).any())

    def _column(self, name: str) -> str | None:
        """Returns the column of a name; a setting like a fixed column has a prefix."""
        for column in (f"setting_{name}", name):
            if column in self.trials.columns:
                return column
        return None

    def _parts(self, formula: Formula) -> tuple[str, ...]:
        """Returns the swept columns that a formula is made of.

        Those are the ones that it names, and the rates that move it: under coupled decay, say,
        a step takes away a share that goes with the learning rate too. Where that is none, as
        for an alias whose names are not swept, it is all that move it.
        """
        named = {self._column(part) for name in formula.names for part in _base_names(name)}
        rates = {self._column(name) for name in RATES} - named
        parts = tuple(
            column
            for column in self.swept
            if column in named or (column in rates and self.moves(column, formula.text))
        )
        return parts or tuple(c for c in self.swept if self.moves(c, formula.text))

    def _values(self, names: Sequence[str]) -> dict[str, Floats]:
        found: dict[str, Floats] = {}
        derived: list[str] = []
        for name in names:
            if (column := self._column(name)) is not None:
                found[name] = _numbers(self.trials[column], name)
            elif name in ALIASES:
                formula = parse_formula(ALIASES[name])
                found[name] = formula.of(self._values(formula.names))
            else:
                derived.append(name)
        return found | (self._derived(derived) if derived else {})

    def _derived(self, names: Sequence[str]) -> dict[str, Floats]:
        known = self._store.derived_places(self._study)
        wanted = {name: [place for place in _places(name) if place in known] for name in names}
        lost = [name for name in names if not wanted[name]]
        recorded = self._recorded(lost, [_name(place) for place in known]) if lost else {}
        found = {name: places for name, places in wanted.items() if places}
        if not found:
            return recorded
        frame = self._store.derived(self._study, found).reindex(self.trials["key"])
        return {**{name: _numbers(frame[name], name) for name in found}, **recorded}

    def _recorded(self, names: Sequence[str], derived: Sequence[str]) -> dict[str, Floats]:
        """Returns what the trials recorded on the way, one number a trial: the median over a run's
        recordings, and of that the geometric mean over the seeds, so that they are one point.

        Raises:
            UnknownNameError: no trial recorded a quantity of that name.
        """
        curves, _ = read_curves(self._store.paths.files, self._store.curve_files(self._study))
        for name in names:
            if name not in curves.columns or "." not in name:
                columns = [column for column in curves.columns if "." in column]
                raise self._unknown(name, [*derived, *columns])
        medians = curves.groupby("key")[list(names)].median().reindex(self.trials["key"])
        places = [self.trials[name].tolist() for name in ("variant", *self.swept)]
        found = {}
        for name in names:
            logs = pd.Series(np.log(medians[name].where(medians[name] > 0).to_numpy()))
            means = logs.groupby(places, dropna=False).transform("mean")
            found[name] = _numbers(np.exp(means), name)
        return found

    def _unknown(self, name: str, derived: Sequence[str]) -> RequestError:
        """The nearest names of all, and those that are swept; the whole list is too long."""
        settings = [str(column).removeprefix("setting_") for column in self.trials.columns]
        near = get_close_matches(name, [*settings, *derived, *ALIASES], n=5)
        swept = [column.removeprefix("setting_") for column in self.swept]
        return UnknownNameError("hyperparameter or scale", name, sorted({*swept, *near}))


def _base_names(name: str) -> tuple[str, ...]:
    """Returns a name, the setting behind a role's quantity, and the names behind an alias."""
    if name in ALIASES:
        inside = parse_formula(ALIASES[name]).names
        return tuple(base for each in inside for base in _base_names(each))
    return (name, name.partition(".")[0])


def _places(name: str) -> list[tuple[str, ...]]:
    """Returns where a derived quantity may stand: by itself, in the group of a tensor, or in
    that of its role, which a tensor without a group of its own belongs to."""
    quantity, _, group = name.partition(".")
    if not group:
        return [(name,)]
    role = group.partition(".")[0]
    return [(GROUPS, group, quantity), (GROUPS, role, quantity)]


def _name(place: Sequence[str]) -> str:
    if len(place) == 3 and place[0] == GROUPS:
        return f"{place[2]}.{place[1]}"
    return ".".join(place)


def _is_numeric(values: pd.Series[Any]) -> bool:
    if pd.api.types.is_bool_dtype(values):
        return False
    if pd.api.types.is_numeric_dtype(values):
        return True
    present = values.dropna()
    return not present.map(lambda value: isinstance(value, bool | str | list | Mapping)).any()


def _numbers(values: pd.Series[Any], name: str) -> Floats:
    if not _is_numeric(values) or values.isna().all():
        raise AnalysisRefusal(f"{name} holds no numbers, so no axis can be made of it")
    numbers = pd.to_numeric(values).to_numpy(dtype="float64")
    if (numbers < 0).any():
        raise AnalysisRefusal(
            f"{name} = {numbers[numbers < 0][0]:g} in {int((numbers < 0).sum())} of "
            f"{len(numbers)} trials: an axis in log2 cannot be made of negative numbers"
        )
    return numbers


def swept_names(record: StudyRecord) -> tuple[str, ...]:
    """Returns the names of all axes of a study, those of its variants too, each once."""
    parts = [record.document, *record.document.get("variants", {}).values()]
    return tuple(dict.fromkeys(name for part in parts for name in part.get("sweep", {})))


def column_of(trials: pd.DataFrame, record: StudyRecord, setting: str) -> str:
    """Returns the column of a setting; one that collides with a fixed column has a prefix.

    Raises:
        AnalysisRefusal: no trial has the setting.
    """
    for column in (f"setting_{setting}", setting):
        if column in trials.columns:
            return column
    raise AnalysisRefusal(
        f"study {record.name}: {setting} is swept, but no trial of the study has that setting "
        f"(they have {', '.join(sorted(map(str, trials.columns)))})"
    )


def claims_of(trials: pd.DataFrame, record: StudyRecord) -> dict[str, tuple[Claim, ...]]:
    """Returns the claims of a study by column of the hyperparameter.

    Raises:
        AnalysisRefusal: no trial has the setting of a claim.
    """
    found: dict[str, list[Claim]] = {}
    for claim in record.document.get("claims", ()):
        column = column_of(trials, record, claim["hyperparameter"])
        found.setdefault(column, []).append(
            Claim(exponent=float(claim["exponent"]), tolerance=float(claim["tolerance"]))
        )
    return {column: tuple(claims) for column, claims in found.items()}


def with_tokens_per_param(trials: pd.DataFrame, record: StudyRecord) -> pd.DataFrame:
    """Adds tokens per parameter where it is swept: configs hold the steps that it became.

    Runs are whole batches long, so the nearest declared ratio is meant.
    """
    name = "tokens_per_param"
    axes = [record.document, *record.document.get("variants", {}).values()]
    lists = [axis for part in axes if isinstance(axis := part.get("sweep", {}).get(name), list)]
    if name in trials.columns or not lists:
        return trials
    declared = np.array(sorted({float(value) for axis in lists for value in axis}))
    ratio = (trials["tokens"] / trials["params"]).to_numpy(dtype=float)
    distance = np.abs(np.log2(ratio)[:, None] - np.log2(declared)[None, :])
    return trials.assign(**{name: declared[np.argmin(distance, axis=1)]})


def without_twins(
    trials: pd.DataFrame, columns: Sequence[str], scales: Sequence[str]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Returns the trials with one value for those that are a rounding apart, and what to know.

    Two trials of one point and seed count once: the first that has a result.

    Args:
        trials: one row a trial.
        columns: columns of the swept settings.
        scales: those of them whose whole numbers may be one, too.
    """
    notes = []
    for column in columns:
        if not _is_numeric(trials[column]):
            continue
        values = pd.to_numeric(trials[column])
        finite = values[np.isfinite(values.to_numpy(dtype="float64"))].unique().tolist()
        found = merged(finite, whole=column in scales)
        if found:
            notes.append(f"{column.removeprefix('setting_')}: {merged_words(found)}")
            trials = trials.assign(**{column: values.map(lambda v, own=found: own.get(v, v))})
    if not notes:
        return trials, ()
    results = trials["outcome"].isin(ACCEPTED)
    cell = ["variant", *columns, "seed"]
    twice = trials.assign(_none=~results).sort_values("_none", kind="stable").duplicated(cell)
    left = trials[~twice.reindex(trials.index)]
    if (lost := int(results.sum() - left["outcome"].isin(ACCEPTED).sum())) > 0:
        notes.append(f"{plural(lost, 'trial')} at a point and seed that has another left out")
    return left, tuple(notes)


def without_log2(values: pd.Series[Any]) -> pd.Series[Any]:
    """Returns where a column is 0 or infinite; anything else wrong is refused by the analysis."""
    numbers = pd.to_numeric(values, errors="coerce")
    return (numbers == 0) | (numbers == float("inf"))


def is_positive(values: pd.Series[Any], *, zero: bool = False) -> bool:
    """Returns whether a column holds two or more positive numbers and nothing else, or 0 where
    that is allowed."""
    if not _is_numeric(values):
        return False
    numbers = pd.to_numeric(values.dropna(), errors="coerce")
    usable = (numbers > 0) | (zero & (numbers == 0))
    return bool(usable.all() and numbers.nunique() > 1)


def without_rounding(values: Floats) -> Floats:
    """Returns values of an effective hyperparameter, those made one that rounding sets apart.

    Tables hold settings with a few digits, so that products which mean one value differ in the
    last. Neighbours within :data:`ROUNDING` are one, the middle of the lowest and the highest of
    them. Where a chain of neighbours is longer than twice that, the values were drawn and not
    laid on a grid, and all stay as they are.

    Args:
        values: shape [n]; what is not positive and finite stays as it is.
    """
    out = values.astype(np.float64)
    usable = np.isfinite(out) & (out > 0)
    places, index = np.unique(np.log2(out[usable]), return_inverse=True)
    clusters = np.split(places, np.flatnonzero(np.diff(places) > ROUNDING) + 1)
    if any(len(cluster) and np.ptp(cluster) > 2 * ROUNDING for cluster in clusters):
        return out
    middles = [np.full(len(c), (c[0] + c[-1]) / 2) for c in clusters if len(c)]
    if middles:
        moved = 2.0 ** np.concatenate(middles)[index]
        alone = np.concatenate([np.full(len(c), len(c) == 1) for c in clusters])[index]
        out[usable] = np.where(alone, out[usable], moved)
    return out


def profiled(
    frame: pd.DataFrame, *, place: Sequence[str], axes: Sequence[str], parts: Sequence[str]
) -> pd.DataFrame:
    """Returns, of all combinations of the parts at one place, the rows of the best one.

    Learning rate times weight decay, say, has one value for many pairs of the two; the optimum
    of the product is that of the lowest loss which any of them reaches. The best combination has
    the lowest mean loss over its seeds; a diverged seed makes it infinite, and combinations
    without a result count last. Ties go to the smallest values of the parts.

    Args:
        frame: trials with ``loss``, ``outcome`` and the columns below.
        place: columns that set one curve apart from another: variant, settings and scale.
        axes: columns of the effective hyperparameters, positive numbers; two values are one
            where their log2 agree as on any grid.
        parts: columns that the effective hyperparameters are made of.
    """
    where = [frame[name] for name in place] + [_log2(frame[name]) for name in axes]
    here = frame.groupby(where, dropna=False, sort=False).ngroup()
    pair = frame.groupby([here, *(frame[name] for name in parts)], dropna=False).ngroup()
    if not pair.groupby(here).nunique().gt(1).any():
        return frame
    mean = _losses(frame).groupby(pair).mean()
    ranking = pd.DataFrame({"here": here, "pair": pair}).drop_duplicates()
    # Pairs are numbered by rising parts, so a stable order settles ties the same way always.
    ranking = ranking.assign(mean=ranking["pair"].map(mean)).sort_values(
        ["here", "mean", "pair"], na_position="last"
    )
    best = ranking.drop_duplicates("here")["pair"]
    return frame[pair.isin(best)]


def _log2(values: pd.Series[float]) -> pd.Series[float]:
    numbers = pd.to_numeric(values).astype("float64")
    return pd.Series(np.round(np.log2(numbers), SAME_LOG2_DECIMALS), index=values.index)


def _losses(frame: pd.DataFrame) -> pd.Series[float]:
    """Returns the loss of every row, +inf if it diverged, NaN without a result."""
    loss = frame["loss"].where(frame["outcome"] == "completed")
    return loss.mask(frame["outcome"] == "diverged", np.inf)

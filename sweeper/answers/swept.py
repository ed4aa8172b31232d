"""What a study's own words say: its swept settings and its claims, as columns of its trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweeper.analysis import Claim
from sweeper.errors import AnalysisRefusal
from sweeper.store import StudyRecord

if TYPE_CHECKING:
    import pandas


def swept_names(record: StudyRecord) -> tuple[str, ...]:
    """Returns the names of all axes of a study, those of its variants too, each once."""
    parts = [record.document, *record.document.get("variants", {}).values()]
    return tuple(dict.fromkeys(name for part in parts for name in part.get("sweep", {})))


def column_of(trials: pandas.DataFrame, record: StudyRecord, setting: str) -> str:
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


def claims_of(trials: pandas.DataFrame, record: StudyRecord) -> dict[str, tuple[Claim, ...]]:
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


def with_tokens_per_param(trials: pandas.DataFrame, record: StudyRecord) -> pandas.DataFrame:
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


def without_log2(values: pandas.Series[Any]) -> pandas.Series[Any]:
    """Returns where a column is 0 or infinite; anything else wrong is refused by the analysis."""
    import pandas

    numbers = pandas.to_numeric(values, errors="coerce")
    return (numbers == 0) | (numbers == float("inf"))


def is_positive(values: pandas.Series[Any]) -> bool:
    """Returns whether a column holds two or more positive numbers and nothing else."""
    import pandas

    present = values.dropna()
    if present.map(lambda value: isinstance(value, bool | str | list)).any():
        return False
    numbers = pandas.to_numeric(present, errors="coerce")
    return bool((numbers > 0).all() and numbers.nunique() > 1)

"""What an import is asked for: which column plays which part."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Literal

from sweeper.errors import RequestError, UnknownNameError
from sweeper.store import RESERVED_COLUMNS

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHOWN = 12
"""Column names in one message: exports have hundreds."""


@dataclass(frozen=True, kw_only=True)
class ClaimedRule:
    """A rule to test: the hyperparameter drifts by ``exponent`` octaves per doubling of the
    scale, within ``tolerance``."""

    hyperparameter: str
    exponent: float
    tolerance: float


@dataclass(frozen=True)
class NamePattern:
    """Where settings stand in the names of runs.

    Attributes:
        text: the whole name, ``{lr}`` for a setting and ``*`` for any text, for example
            ``*_lr{lr}_w{width}``; or a regular expression with named groups, ``(?P<lr>...)``,
            that some part of the name fits.
        column: column of the names; None takes that called ``Name``, in any case.

    Raises:
        RequestError: the text is no pattern, or names no setting.
    """

    text: str
    column: str | None = None

    def __post_init__(self) -> None:
        try:
            names = self.names
        except re.error as error:
            raise RequestError(
                f"--name-pattern {self.text!r}: {error}; a setting is written {{lr}}, by letters, "
                "digits and '_', once each, and * stands for any text"
            ) from error
        if not names:
            raise RequestError(
                f"--name-pattern {self.text!r} names no setting; write for example "
                "'*_lr{lr}_w{width}' for names such as adam_lr0.001_w128"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The settings that it finds."""
        return tuple(self._expression.groupindex)

    def read(self, name: str) -> tuple[str, ...] | None:
        """Returns the text of each setting in a name; None if the name does not fit."""
        match = self._expression.search(name)
        return None if match is None else tuple(match[each] or "" for each in self.names)

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        if "(?P<" in self.text:
            return re.compile(self.text)
        parts = re.split(r"(\{[^{}]*\}|\*)", self.text)
        free = {"*": ".*?"}
        whole = "".join(
            f"(?P<{part[1:-1].strip()}>.+?)"
            if part[:1] == "{" and part[-1:] == "}"
            else free.get(part, re.escape(part))
            for part in parts
        )
        return re.compile(rf"\A{whole}\Z")

    def column_of(self, names: Sequence[str]) -> str:
        """Returns the column of the names in a file.

        Raises:
            RequestError: none or several are called so, and none was named.
            UnknownNameError: there is none of the name that was given.
        """
        if self.column is not None:
            return found_columns(names, [self.column])[self.column]
        found = [name for name in names if name.lower() == "name"]
        if len(found) != 1:
            raise RequestError(
                f"--name-pattern: the file has {len(found) or 'no'} columns called Name; say with "
                "--name-column which one holds the names of the runs"
            )
        return found[0]


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """A file of results, and what its columns are.

    Attributes:
        file: CSV, Parquet, JSON, a folder of runs, a storage of Optuna or MLflow, which may be
            the URL of a database or server, or ``wandb://ENTITY/PROJECT``.
        study: name under which the study is kept.
        scales: columns along which optima are tracked; the first is the study's scale.
        objective: column of what is compared.
        hyperparameters: columns whose optimum is sought; none for a table of tuned losses.
        variant: columns whose values name the variants.
        fixed: further columns that tell trials apart.
        seed: column of the seed; without one every row has seed 0.
        where: a column and a value that its rows must have; several values of one column are
            alternatives.
        goal: which end of the objective is better.
        claims: rules to put to the test.
        outcome: column that says how a run ended.
        flops, tokens, params: columns of training FLOPs, tokens seen and parameters.
        step: column of the optimizer step, if a run has a row a step.
        any_length: take runs that stopped before others of their place as results.
        question: what the study asks.
        replace: hide the trials of an earlier import that are not in this one.
        repeats: rows that agree in everything but the result are runs under other seeds, which
            are numbered in the order of the rows.
        error: column of the standard error of the objective.
        noise: standard deviation of the objective of one row, where no such column says it.
        low, high: columns of the ends of an optimum's interval. The file is a table of optima
            then, of one hyperparameter, which is its own objective.
        in_names: settings that stand in the names of the runs; they are columns like any other.
        history: file or folder of the histories of the runs that ``file`` is a table of.

    Raises:
        RequestError: the parts do not fit together.
    """

    file: Path | str
    study: str
    scales: tuple[str, ...]
    objective: str
    hyperparameters: tuple[str, ...] = ()
    variant: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    seed: str | None = None
    where: tuple[tuple[str, str], ...] = ()
    goal: Literal["min", "max"] = "min"
    claims: tuple[ClaimedRule, ...] = ()
    outcome: str | None = None
    flops: str | None = None
    tokens: str | None = None
    params: str | None = None
    step: str | None = None
    any_length: bool = False
    question: str = ""
    replace: bool = False
    repeats: bool = False
    error: str | None = None
    noise: float | None = None
    low: str | None = None
    high: str | None = None
    in_names: NamePattern | None = None
    history: Path | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.study) or self.study.endswith((".yaml", ".yml")):
            raise RequestError(
                f"--study {self.study!r}: a name is made of letters, digits, '-', '_' and '.', "
                "starts with a letter or digit, and does not end like a study file"
            )
        if not self.scales:
            raise RequestError("--scale: name the column along which optima are tracked")
        for name in self.scales:
            if name in RESERVED_COLUMNS:
                raise RequestError(
                    f"--scale {name}: that is a word of the table of trials; rename the column"
                )
        if "sweep" in self.variant:
            raise RequestError("--variant sweep: that is a word of study files; rename the column")
        self._check_parts()
        if self.repeats and (self.seed or self.step):
            option = f"--seed {self.seed}" if self.seed else f"--step {self.step}"
            raise RequestError(
                f"--repeats and {option}: --repeats numbers the seeds of single results itself; "
                "leave it out where a column names the seeds, or name one with --seed where runs "
                "have a row a step"
            )
        if self.history is not None and self.step is None:
            raise RequestError(
                f"--history {self.history}: name the column of its steps with --step, so that the "
                "histories are the curves of the runs"
            )
        if self.noise is not None and not 0 < self.noise < math.inf:
            raise RequestError(
                f"--noise {self.noise:g}: the standard deviation of one result is above 0, in the "
                "unit of the objective"
            )
        for claim in self.claims:
            if claim.hyperparameter not in self.hyperparameters:
                raise UnknownNameError(
                    "hyperparameter of this import", claim.hyperparameter, self.hyperparameters
                )

    @property
    def settings(self) -> tuple[str, ...]:
        """Columns that, with the seed, tell one trial from another, in the order of a config."""
        return (*self.variant, *self.scales, *self.hyperparameters, *self.fixed)

    @property
    def measured(self) -> tuple[str, ...]:
        """Columns of what runs came to, other than their settings."""
        names = (
            *(self.objective, self.outcome, self.step),
            *(self.flops, self.tokens, self.params, self.error, self.low, self.high),
        )
        return tuple(name for name in names if name is not None and name not in self.settings)

    @property
    def holds_optima(self) -> bool:
        """Whether the file is a table of optima."""
        return self.low is not None or self.high is not None

    def _check_optima(self) -> None:
        if not self.holds_optima:
            return
        if self.low is None or self.high is None:
            raise RequestError("--low and --high: name both ends of the optima's intervals")
        if self.hyperparameters != (self.objective,):
            raise RequestError(
                "--low and --high: a table of optima has one --hp, the column of the optima, and "
                "no --objective"
            )
        others = {
            "--seed": self.seed,
            "--repeats": self.repeats,
            "--outcome": self.outcome,
            "--step": self.step,
            "--error": self.error,
            "--noise": self.noise,
        }
        given = [option for option, value in others.items() if value]
        if given:
            raise RequestError(
                f"--low and {given[0]}: a table of optima holds no runs; leave {given[0]} out"
            )

    def _check_parts(self) -> None:
        self._check_optima()
        objective = None if self.holds_optima else self.objective
        own = (self.seed, objective, self.outcome, self.step)
        single = (*own, self.error, self.low, self.high)
        counts = Counter((*self.settings, *(name for name in single if name is not None)))
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise RequestError(
                f"column {twice[0]} is given two parts; a column is one of --scale, --hp, "
                "--variant, --fixed, --seed, --objective, --outcome, --error, --low, --high or "
                "--step"
            )


def found_columns(
    names: Sequence[str], asked: Sequence[str], measured: Sequence[str] = ()
) -> dict[str, str]:
    """Returns the column of a file for each name that was asked for.

    A name is that of a column, or what stands after a dot or slash in exactly one. Of several, a
    setting is the one under ``config`` or ``params``, also before a column of just that name,
    which may be what a schedule logged last, and a measurement the one under ``summary`` or
    ``metrics``.

    Args:
        names: columns of the file.
        asked: names that were asked for.
        measured: those among them that are measurements; the others are settings.

    Raises:
        UnknownNameError: there is no such column.
        RequestError: several columns fit, or a column is there twice.
    """
    counts = Counter(names)
    columns = {
        name: _column(name, counts, _MEASURED if name in measured else _SET)
        for name in dict.fromkeys(asked)
    }
    for name, column in columns.items():
        if counts[column] > 1:
            raise RequestError(f"the file has {counts[column]} columns named {name!r}; rename one")
        same = [other for other, place in columns.items() if place == column]
        if len(same) > 1:
            raise RequestError(f"{' and '.join(same)} are the same column {column!r}")
    return columns


def notes_on_logged(columns: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Returns a sentence on each name whose column under ``config`` was taken, although there is a
    column of just that name.

    Args:
        columns: column of the file for each name that was asked for.
        names: columns of the file.
    """
    return [
        f"{name} is the setting {column}: the column {name} beside it may be what a schedule "
        f"logged last; to take that one, give it a name of its own in the file"
        for name, column in columns.items()
        if column != name and name in names
    ]


_SET, _MEASURED = ("config", "params"), ("summary", "metrics")
"""Under which trackers keep settings, and measurements."""


def _column(name: str, known: Mapping[str, int], parts: tuple[str, str]) -> str:
    whole = [f"{part}{sign}{name}" for part in parts for sign in "./"]
    if name in known:
        return next((column for column in whole if column in known and parts == _SET), name)
    ends = [column for column in known if column.endswith((f".{name}", f"/{name}"))]
    below = tuple(f"{part}{sign}" for part in parts for sign in "./")
    for preferred in (
        [end for end in ends if end in whole],
        [end for end in ends if end.startswith(below)],
    ):
        if len(preferred) == 1:
            return preferred[0]
    if len(ends) > 1:
        raise RequestError(
            f"column {name!r} may be any of {', '.join(sorted(ends))}; give the whole name"
        )
    if not ends:
        near = get_close_matches(name, known, n=_SHOWN, cutoff=0.0)
        raise UnknownNameError("column", name, near)
    return ends[0]

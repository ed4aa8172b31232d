"""What a program says of its training: where it is read, and what a line of it means."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

Row = dict[str, float]
"""Numbers by name, ``step`` and ``tokens`` perhaps among them; they need not be finite."""

FORMATS = (".csv", ".json", ".jsonl", ".parquet")
"""Endings of the files that can be read."""

SOURCES = ("lines", "file", "tensorboard", "wandb")
"""Where results are read; the lines of both streams as JSON where none is named."""

DEEPEST = 8
"""Levels of a JSON object that are looked into."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """Where the results of a program are read.

    Attributes:
        lines: regular expression of a line, with a named group for each number; every match in a
            line counts.
        file: CSV, JSON, JSON lines or Parquet file, by its ending.
        tensorboard: folder of TensorBoard's event files, or one above it.
        wandb: folder of an offline run of Weights & Biases, or one above it.
        names: names that the program has for ours.
        diverged: regular expression of a line that says that the training has diverged.
    """

    lines: str | None = None
    file: str | None = None
    tensorboard: str | None = None
    wandb: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    diverged: str | None = None

    def problem(self) -> str | None:
        """Returns why it cannot be used, in words; None if it can."""
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) > 1:
            return f"results: {' and '.join(given)} are two sources; give one of {_words(SOURCES)}"
        for name in given:
            if not getattr(self, name).strip():
                return f"results.{name} is empty"
        for name, text in (("lines", self.lines), ("diverged", self.diverged)):
            if text is not None and (fault := _fault(text)):
                return f"results.{name}: {text!r} is no regular expression: {fault}"
        if self.lines is not None and not re.compile(self.lines).groupindex:
            return (
                f"results.lines: {self.lines!r} names no number; a named group is one, as in "
                r"'step:(?P<step>\d+) val_loss:(?P<val_loss>[\d.]+)'"
            )
        if self.file is not None and PurePath(self.file).suffix.lower() not in FORMATS:
            return f"results.file: {self.file!r} has to end with one of {_words(FORMATS)}"
        theirs = list(self.names.values())
        twice = sorted({name for name in theirs if theirs.count(name) > 1})
        if twice:
            return f"results.names: {twice[0]!r} is given two names; give each one"
        return None

    @property
    def where(self) -> str:
        """Where results are read, in words."""
        if self.lines is not None:
            return f"lines like {self.lines!r}"
        if self.file is not None:
            return self.file
        if self.tensorboard is not None:
            return f"TensorBoard events in {self.tensorboard}"
        if self.wandb is not None:
            return f"an offline W&B run in {self.wandb}"
        return "lines of JSON that it prints"

    def renamed(self, rows: Iterable[Row]) -> list[Row]:
        """Returns rows by our names; of others, what cannot be printed is a question mark."""
        ours = {theirs: name for name, theirs in self.names.items()}
        return [
            {ours.get(name) or _plain(name): each for name, each in row.items()} for row in rows
        ]

    def reader_of_lines(self) -> Callable[[str], Row | None]:
        """Returns what makes a row of a printed line, or None of one that is no result."""
        if self.lines is not None:
            return _Pattern(self.lines)
        if any(getattr(self, name) is not None for name in SOURCES):
            return lambda line: None
        return row_of_json

    def says_diverged(self, lines: Sequence[str]) -> bool:
        """Returns whether a line says that the training has diverged."""
        return self.diverged is not None and any(map(re.compile(self.diverged).search, lines))


def _plain(name: str) -> str:
    if name.isprintable():
        return name
    return "".join(each if each.isprintable() else "?" for each in name)


def _fault(text: str) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a later Python may read otherwise
            re.compile(text)
    except (re.error, OverflowError, RecursionError) as fault:
        return str(fault)
    return None


def _words(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


class _Pattern:
    """Makes rows of lines by a regular expression."""

    def __init__(self, text: str) -> None:
        self._pattern = re.compile(text)

    def __call__(self, line: str) -> Row | None:
        row: Row = {}
        for match in self._pattern.finditer(line):
            for name, text in match.groupdict().items():
                value = None if text is None else number_in(text)
                if value is not None:
                    row[name] = value
        return row or None


def row_of_json(line: str) -> Row | None:
    """Returns the numbers of a line that is a JSON object; None of any other line."""
    line = line.strip()
    if not (line.startswith("{") and line.endswith("}")):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row_of(found) or None


def row_of(found: Mapping[str, Any]) -> Row:
    """Returns the numbers in a JSON object; those of an object inside have its name and a slash
    before theirs."""
    row: Row = {}
    _collect(found, "", row, DEEPEST)
    return row


def _collect(found: Mapping[str, Any], before: str, row: Row, levels: int) -> None:
    for name, value in found.items():
        if isinstance(value, Mapping):
            if levels:
                _collect(value, f"{before}{name}/", row, levels - 1)
        elif isinstance(value, str):
            if value.strip().lower().lstrip("+-") in ("nan", "inf", "infinity"):
                row[f"{before}{name}"] = float(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            row[f"{before}{name}"] = _float(value)


def _float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:  # of a whole number of hundreds of digits
        return math.inf if value > 0 else -math.inf


def number_in(text: str) -> float | None:
    """Returns the number that a text is; commas may part its thousands. None if it is none."""
    try:
        return float(text.strip().replace(",", ""))
    except ValueError:
        return None

"""Answers as text that is readable at 100 columns, or as JSON to a program."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from sweeper.words import plural

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sweeper.answers import Evidence

# rich is imported where something is printed with it: help and JSON do without.
Said: TypeAlias = "Table | Text | str"
"""A table of a group, or a sentence about it."""

Row = Sequence[tuple[str, str]]
"""The heading of each column and the cell below it: names of a study may be alike, so no dict."""

SHOWN = 12
"""Groups that are printed unless all are asked for."""

NOTES = 6
"""Notes that are printed unless all are asked for."""

Group = TypeVar("Group")

WIDTH = 100
"""Columns where the output is no terminal, so that a log looks the same everywhere."""


def console(width: int | None = None) -> Console:
    """Returns the console of standard output, as wide as asked for, or as the terminal."""
    from rich.console import Console

    if width is None and not sys.stdout.isatty():
        width = WIDTH
    return Console(width=width, highlight=False, markup=False, emoji=False)


def print_json(document: Any) -> None:
    """Prints a document as strict JSON.

    Raises:
        ValueError: it holds NaN or an infinity, which JSON does not know.
    """
    print(json.dumps(document, indent=2, allow_nan=False))


def one_or_all(documents: Sequence[dict[str, Any]]) -> Any:
    """Returns a single document by itself, several as a list."""
    return documents[0] if len(documents) == 1 else list(documents)


def print_answer(
    title: str, lead: Iterable[Said], groups: Iterable[tuple[str, Iterable[Said]]], rest: str = ""
) -> None:
    """Prints an answer.

    Args:
        title: what it is about.
        lead: what to know before reading it, for example :func:`noted`.
        groups: name of each group and what is said of it.
        rest: sentence on the groups that are not printed, or nothing.
    """
    from rich.padding import Padding
    from rich.table import Table

    out = console()
    for heading, style, said in (
        (title, "bold", lead),
        *((label, "bold cyan", said) for label, said in groups),
    ):
        out.print(f"\n{heading}", style=style)
        for each in said:
            if isinstance(each, Table):
                out.print(each)
            else:  # indented, its further lines like its first
                out.print(Padding(each, (0, 0, 0, 2)))
    if rest:
        out.print(f"\n{rest}")


def noted(notes: Sequence[str], *, every: bool = True) -> list[str]:
    """Returns the notes of an answer as sentences; all of them, or the first and a count."""
    kept = notes if every else notes[:NOTES]
    more = len(notes) - len(kept)
    return [f"note: {note}" for note in kept] + [f"note: {more} more notes: --all"] * (more > 0)


def cut(
    groups: Sequence[Group], why_bare: Callable[[Group], str | None], *, every: bool
) -> tuple[Sequence[Group], str]:
    """Returns the groups to print, and a sentence on the others, or nothing.

    Args:
        groups: of an answer.
        why_bare: the kind of reason why a group says nothing; None where it says something.
        every: print all of them.
    """
    if every or len(groups) <= SHOWN:
        return groups, ""
    reasons = [why_bare(group) for group in groups]
    ordered = sorted(range(len(groups)), key=lambda place: reasons[place] is not None)
    shown, rest = sorted(ordered[:SHOWN]), ordered[SHOWN:]
    counts = Counter(reasons[place] or "with an answer" for place in rest)
    parts = ", ".join(f"{number} {kind}" for kind, number in counts.most_common())
    return [groups[place] for place in shown], f"{len(rest)} more groups ({parts}): --all"


def grid(rows: Sequence[Row], *, words: Collection[str] = ("flags",), padding: int = 1) -> Table:
    """Returns a table of rows; columns of words are set left and all others, numbers, right."""
    from rich.table import Table

    table = Table(box=None, padding=(0, padding))
    for heading, _ in rows[0]:
        table.add_column(heading, justify="left" if heading in words else "right")
    for row in rows:
        table.add_row(*(cell for _, cell in row))
    return table


def evidence_lines(evidence: Evidence) -> Iterator[Said]:
    """Yields what a group rests on, and what its results should share and do not."""
    parts = [f"rests on {evidence.trials} of {evidence.declared} trials"]
    if evidence.diverged:
        parts.append(f"{evidence.diverged} of them diverged")
    if evidence.seeds is not None:
        low, high = evidence.seeds
        parts.append(f"{f'{low} to {high} seeds' if low != high else plural(low, 'seed')} a point")
    if len(evidence.devices) == 1:
        parts.append(f"on {evidence.devices[0]}")
    yield ", ".join(parts)
    for warning in evidence.warnings:
        from rich.text import Text

        yield Text.assemble(("warning: ", "bold yellow"), warning)


def interval(low: float, high: float, end: Callable[[float], str] = "{:+.3f}".format) -> str:
    """Returns an interval, its infinite ends as ``open`` and the others as ``end`` says them."""
    return " to ".join(end(each) if math.isfinite(each) else "open" for each in (low, high))


def flag_words(flags: Iterable[str]) -> str:
    """Returns the flags of an optimum as they are read."""
    return ", ".join(flag.replace("_", " ") for flag in flags)

"""The contract between a search and the run that executes what it proposes.

A strategy is one module of this package, named as ``search: {method: NAME}`` in a study names it,
with a function ``make(study, known)`` that returns a :class:`Search`, and where it can tell what
it will cost a function ``outlook(study, known)`` that returns an :class:`Outlook`. Its options are
those of :class:`sweeper.study.sections.Search`. It knows no Ray and no store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

from sweeper.outcome import Outcome
from sweeper.study import PlannedTrial, Study


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A trial that a search wants to be run.

    Attributes:
        trial: the trial with its variant and its value of the scale.
        reason: why, in a word that the store keeps: ``declared``, ``expanded``, ``refined``...
    """

    trial: PlannedTrial
    reason: str = "declared"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a search stands at one scale of one variant.

    Attributes:
        variant: name of the variant.
        settings: swept settings that its points share, beside the scale and what is tuned.
        scale: value of the scale.
        runs: points that were run there, seeds apart.
        stop: why nothing more is proposed there, in words; None while more may be.
    """

    variant: str
    settings: Mapping[str, Any]
    scale: float
    runs: int
    stop: str | None


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a search will cost, beside what is known.

    Attributes:
        best, expected, worst: trials and their FLOPs, in all.
        grid: the same of the full grid.
    """

    best: tuple[int, float]
    expected: tuple[int, float]
    worst: tuple[int, float]
    grid: tuple[int, float]


class Search(Protocol):
    """Proposes trials, and is told how they ended.

    What a search proposes in all may depend on the study and on the outcomes that it was told,
    and on nothing else: no clock, no unseeded draw, nor the order in which outcomes came or the
    moments at which it was asked; another outcome never takes a proposal back. A run that is
    interrupted begins a new search, tells it the outcomes that the store has, and so finds the
    same proposals again.

    Trials that were known before it began (of a grid, of another study) are given to it when it
    is made, and their outcomes are told with the first ones; it may build on them, and proposes
    none of them again.
    """

    @property
    def finished(self) -> bool:
        """True if nothing more will be proposed; False while it depends on outcomes to come."""
        ...

    def ask(self) -> Sequence[Proposal]:
        """Returns proposals that were not returned before; empty if none is wanted now."""
        ...

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Takes in how proposed trials ended, in the order of their proposal.

        Args:
            outcomes: results with their metrics, and failures (``bug``, ``out_of_memory``) that
                a plain run does not repeat. A trial that failed may be told again later. One
                that is ``dominated`` was stopped on the way: it ends worse than completed ones
                between it and the best, and its metrics are the last that were measured.
        """
        ...


def make_search(study: Study, known: Sequence[PlannedTrial] = ()) -> Search:
    """Returns a new search by the method that the study names.

    Args:
        study: what is asked.
        known: trials that had a result before the search began.
    """
    search: Search = _strategy(study).make(study, known)
    return search


def goes_on(study: Study) -> bool:
    """Returns whether the search of a study decides by the trials that were made, in whatever
    order and for whatever reason, so that one begun anew is given those of the one before it."""
    return bool(getattr(_strategy(study), "GOES_ON", False))


def standings_of(search: Search) -> Sequence[Standing]:
    """Returns where a search stands; nothing of one that cannot say."""
    return getattr(search, "standings", ())


def outlook_of(study: Study, known: Sequence[PlannedTrial] = ()) -> Outlook | None:
    """Returns what the search of a study will cost; None where its method proposes all at once or
    cannot tell."""
    outlook = getattr(_strategy(study), "outlook", None)
    found: Outlook | None = outlook(study, known) if outlook else None
    return found


def _strategy(study: Study) -> ModuleType:
    return import_module(f"sweeper.search.{study.search.method}")

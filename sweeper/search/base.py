"""The contract between a search and the run that executes what it proposes.

A strategy is one module of this package, named as ``search: {method: NAME}`` in a study names it,
with a function ``make(study)`` that returns a :class:`Search`. It knows no Ray and no store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

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


class Search(Protocol):
    """Proposes trials, and is told how they ended.

    What a search proposes in all may depend on the study and on the outcomes that it was told,
    and on nothing else: no clock, no unseeded draw, nor the order in which outcomes came or the
    moments at which it was asked; another outcome never takes a proposal back. A run that is
    interrupted begins a new search, tells it the outcomes that the store has, and so finds the
    same proposals again.
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
                a plain run does not repeat. A trial that failed may be told again later.
        """
        ...


def make_search(study: Study) -> Search:
    """Returns a new search by the method that the study names."""
    search: Search = import_module(f"sweeper.search.{study.search.method}").make(study)
    return search

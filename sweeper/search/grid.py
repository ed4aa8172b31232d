"""The grid: every combination of the study's axes, cheapest first; with options it grows."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.outcome import Outcome
from sweeper.search.base import Outlook, Proposal, Search
from sweeper.study import PlannedTrial, Study, expand


class Grid:
    """Proposes what a study declares; outcomes change nothing.

    Raises:
        DataError: the data that a workload names is missing or altered.
    """

    def __init__(self, study: Study, known: Sequence[PlannedTrial] = ()) -> None:
        self._declared = [Proposal(trial=trial) for trial in expand(study)]

    @property
    def finished(self) -> bool:
        """True once everything was proposed."""
        return not self._declared

    def ask(self) -> Sequence[Proposal]:
        """Returns all declared trials the first time, and nothing later."""
        declared, self._declared = self._declared, []
        return declared

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Does nothing."""


def make(study: Study, known: Sequence[PlannedTrial] = ()) -> Search:
    """Returns the grid of a study: one that decides only where an option asks for it."""
    if not _grows(study):
        return Grid(study, known)
    from sweeper.search.meshes.growing import GrowingGrid

    return GrowingGrid(study, known)


def outlook(study: Study, known: Sequence[PlannedTrial] = ()) -> Outlook | None:
    """Returns what a grid that grows will cost; None of one that proposes all at once."""
    if not _grows(study):
        return None
    from sweeper.search.meshes import growing

    return growing.outlook(study, known)


def _grows(study: Study) -> bool:
    search = study.search
    return bool(search.expand_edges) or search.refine is not None or search.seeds == "auto"

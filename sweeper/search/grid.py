"""The grid: every combination of the study's axes, at once and cheapest first."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.outcome import Outcome
from sweeper.search.base import Proposal
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


make = Grid

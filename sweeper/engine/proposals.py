"""What a search has proposed for a study: kept in the store, and found again by the next run."""

from __future__ import annotations

from collections.abc import Iterator

from sweeper.outcome import ACCEPTED, Outcome
from sweeper.search import Proposal, Search
from sweeper.store import Membership, Store, StudyRecord
from sweeper.study import PlannedTrial, Study


class Proposals:
    """The trials of a study, as far as its search has proposed them; all of them are in the store.

    The store is the only memory: a new search is told the outcomes that are there and proposes
    what the one before it did, and a search at work is told the outcomes that the store has, too.

    Args:
        study: what is asked.
        store: where proposals go, and where outcomes are read.
        search: a new search.

    Attributes:
        planned: the proposed trials, in order; only ever added to.

    Raises:
        StoreError: the store cannot be read or written.
    """

    def __init__(self, study: Study, store: Store, search: Search) -> None:
        self._study = study
        self._store = store
        self._search = search
        self._kept: dict[tuple[str, str], Membership] = {}
        self._saved = 0
        self._told: dict[str, str] = {}
        self.planned: list[PlannedTrial] = []
        self._collect()
        store.save_study(_record(study), list(self._kept.values()))
        self._saved = len(self.planned)

    @property
    def finished(self) -> bool:
        """True if nothing will be added any more, whatever comes out."""
        return self._search.finished and self._saved == len(self.planned)

    def grow(self) -> None:
        """Adds what is proposed now that more outcomes may be in the store; after a fault of the
        store it may be called again.

        Raises:
            StoreError: the store cannot be read or written.
        """
        self._collect()
        added = list(self._kept.values())[self._saved :]
        if added:
            self._store.add_trials(self._study.name, added, first=self._saved)
            self._saved = len(self.planned)

    def _collect(self) -> None:
        """Tells and asks until nothing new comes: a proposed trial may have a result already."""
        asking = True
        while asking:
            self._tell()
            asking = False
            for proposal in self._search.ask():
                place = (proposal.trial.variant, proposal.trial.trial.key)
                if place not in self._kept:
                    asking = True
                    self._kept[place] = _membership(proposal)
                    self.planned.append(proposal.trial)

    def _tell(self) -> None:
        if self._search.finished:
            return
        told = list(self._outcomes())
        if told:
            self._search.tell(told)
            self._told |= {outcome.key: outcome.kind for outcome in told}

    def _outcomes(self) -> Iterator[Outcome]:
        """Yields the outcomes that are in the store and not told yet, in the order of proposal."""
        open_keys = dict.fromkeys(
            key for _, key in self._kept if self._told.get(key) not in ACCEPTED
        )
        results = self._store.outcomes_of(open_keys)
        failures = self._store.failures_of([key for key in open_keys if key not in results])
        for key in open_keys:
            if key in results:
                yield results[key]
            elif key in failures and failures[key].final and key not in self._told:
                failure = failures[key]
                yield Outcome(
                    key=key, attempt=failure.count, kind=failure.kind, error=failure.error
                )


def _record(study: Study) -> StudyRecord:
    return StudyRecord(
        name=study.name,
        question=study.question,
        workload=study.workload,
        scale=study.scale,
        metric=study.objective.metric,
        goal=study.objective.goal,
        document=study.document,
    )


def _membership(proposal: Proposal) -> Membership:
    planned = proposal.trial
    return Membership(trial=planned.trial, variant=planned.variant, reason=proposal.reason)

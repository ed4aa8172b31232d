"""What a search has proposed for a study: kept in the store, and found again by the next run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sweeper.engine.changes import planned_as
from sweeper.outcome import ACCEPTED, Outcome
from sweeper.search import Proposal, Search, goes_on, make_search
from sweeper.store import Membership, Store, StudyRecord
from sweeper.study import PlannedTrial, Study, expand, plan_trial

KNOWN = "known"
"""Reason of the trials that had a result before the search began."""

MakeSearch = Callable[[Study, Sequence[PlannedTrial]], Search]
"""Makes a search for a study, given what is known."""


class Proposals:
    """The trials of a study, as far as its search has proposed them; all of them are in the store.

    The store is the only memory: a new search is told the outcomes that are there and proposes
    what the one before it did, and a search at work is told the outcomes that the store has, too.

    Args:
        study: what is asked.
        store: where proposals go, and where outcomes are read.
        make: makes the search, given the study and what was known before it began.
        keep: whether what is proposed is written to the store; a plan only looks.

    Attributes:
        known: trials that were known before the search began.
        search: the search.
        planned: the proposed trials, in order; only ever added to.

    Raises:
        StoreError: the store cannot be read or written.
    """

    def __init__(
        self, study: Study, store: Store, make: MakeSearch = make_search, *, keep: bool = True
    ) -> None:
        known = known_trials(study, store)
        self._study = study
        self._store = store
        self.known = [proposal.trial for proposal in known]
        self.search = make(study, self.known)
        self._kept: dict[tuple[str, str], Membership] = {}
        self._saved = 0
        self._told: dict[str, str] = {}
        self.planned: list[PlannedTrial] = []
        for proposal in known:
            self._add(proposal)
        self._collect()
        if keep:
            store.save_study(_record(study), list(self._kept.values()))
        self._saved = len(self.planned)

    @property
    def finished(self) -> bool:
        """True if nothing will be added any more, whatever comes out."""
        return self.search.finished and self._saved == len(self.planned)

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
            for proposal in self.search.ask():
                asking |= self._add(proposal)

    def _add(self, proposal: Proposal) -> bool:
        """Takes up a proposal; returns whether it is a new one."""
        place = (proposal.trial.variant, proposal.trial.trial.key)
        if place in self._kept:
            return False
        self._kept[place] = _membership(proposal)
        self.planned.append(proposal.trial)
        return True

    def _tell(self) -> None:
        if self.search.finished:
            return
        told = list(self._outcomes())
        if told:
            self.search.tell(told)
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


def known_trials(study: Study, store: Store) -> list[Proposal]:
    """Returns the trials of a study that had a result before its search began: those that another
    search of the study proposed and, but for a grid, which proposes them itself, those of its
    cells that any study has run.

    A search that goes on has the same ones as when it began. One that is ``GOES_ON`` has besides
    all trials that it had proposed, whether they have a result or not, and need not find them
    again: another release, or another processor, may round otherwise. Seeds that the file has
    gained are run at the points that it had chosen.

    Args:
        study: what is asked.
        store: what is there.

    Raises:
        DataError: the data of the study is missing.
        StoreError: the store cannot be read.
    """
    grid = study.search.method == "grid"
    members = store.members_of(study.name, but=("declared",) if grid else ())
    before = store.study(study.name).document.get("search", {}) if members else {}
    same = before.get("method") == study.search.method
    own = same and goes_on(study)
    if same and not own:
        members = [member for member in members if member.reason == KNOWN]
    found: dict[tuple[str, str], Proposal] = {}
    if not (same or grid):
        for item in expand(study):
            found[item.variant, item.trial.key] = Proposal(trial=item, reason=KNOWN)
    for member in members:
        reason = member.reason if own else KNOWN
        for item in _as_planned(study, member, every_seed=reason != KNOWN):
            place = item.variant, item.trial.key
            if item.trial.key == member.trial.key or place not in found:
                found[place] = Proposal(trial=item, reason=reason)
    if grid and found:
        for item in expand(study):
            found.pop((item.variant, item.trial.key), None)
    ended = store.results_of(dict.fromkeys(key for _, key in found))
    return [proposal for (_, key), proposal in found.items() if own or key in ended]


def _as_planned(
    study: Study, member: Membership, *, every_seed: bool = False
) -> Iterator[PlannedTrial]:
    """Yields a trial of the store as one of the study, see :func:`planned_as`, and where asked
    for with all other seeds of the study; nothing if it differs in anything else."""
    planned = planned_as(study, member)
    if planned is not None and planned.trial.key == member.trial.key:
        yield planned
        own = member.trial.seed
        seeds = study.space(member.variant).seeds if every_seed else ()
        for seed in (each for each in seeds if each != own):
            yield plan_trial(study, member.variant, planned.settings, seed)


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

"""Files of a command that have changed since results were made, and what becomes of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sweeper.errors import RequestError
from sweeper.store import Membership, Store
from sweeper.study import PlannedTrial, Study, expand, plan_trial
from sweeper.trial import Trial, canonical_json
from workloads.programs import Programmed


@dataclass(frozen=True, kw_only=True)
class Change:
    """Results of a study that were made before its files changed.

    Attributes:
        files: what changed, a clause each.
        kept: the data of every such result, by config and seed.
        settled: True if an earlier run was told to keep them beside what is new.
    """

    files: tuple[str, ...]
    kept: Mapping[tuple[str, int], str]
    settled: bool

    @property
    def said(self) -> str:
        """It in a sentence: ``train.py changed: 42 results are of the version before``."""
        what = ", ".join(self.files) or "its files changed"
        count = len(self.kept)
        results = f"{count} results are" if count != 1 else "1 result is"
        return f"{what}: {results} of the version before"

    def follows(self, study: Study) -> str:
        """Returns what a study does about it, as a clause."""
        wanted = study.changed or ("keep" if self.settled else None)
        kept, again = "they count as results of this one", "these trials run again"
        return {"keep": kept, "rerun": again, None: CHOICE}[wanted]


CHOICE = (
    "--changed keep counts them as results of this one, --changed rerun runs these trials again "
    "(`changed: keep` or `rerun` in the study says so for good)"
)
"""What can be done about a change, in words."""


def settle(
    study: Study, store: Store, *, note: Callable[[str], None] | None = None
) -> Change | None:
    """Has a study keep the results that were made before its files changed, where that is what
    is wanted; returns the change, or None if there is none.

    Args:
        study: what is asked; `changed` says what is wanted, or an earlier run did.
        store: where its results are.
        note: is told of it. None is for who only looks: where nobody has said what is wanted, the
            study is as if the results were to be made again.

    Raises:
        RequestError: nobody has said what is wanted; says how to.
        DataError: the data of the study is missing.
        StoreError: the store cannot be read.
    """
    change = change_of(study, store)
    if change is None:
        return None
    if study.changed is None and not change.settled and note is not None:
        raise RequestError(f"{change.said}; {CHOICE}")
    if note is not None:
        note(f"{change.said}; {change.follows(study)}")
    if study.changed == "keep" or (study.changed is None and change.settled):
        study.keep(change.kept)
    return change


def change_of(study: Study, store: Store) -> Change | None:
    """Returns the results of a study in the store that its trials would have now, but for files
    that have changed; None if there are none.

    Raises:
        DataError: the data of the study is missing.
        StoreError: the store cannot be read.
    """
    if not isinstance(study.card, Programmed):
        return None
    members = store.members_of(study.name)
    found = list(_made_before(study, members))
    ended = store.results_of([each.key for pair in found for each in pair])
    made = [(old, now) for old, now in found if old.key in ended and now.key not in ended]
    if not made:
        return None
    before = {old.data: old.key for old, _ in made}
    derived = store.derived_of(list(before.values()))
    now = made[0][1].derived
    files = dict.fromkeys(
        clause for key in before.values() for clause in study.card.changes(derived[key], now)
    )
    beside = {member.trial.data for member in members} & {new.data for _, new in made}
    kept = store.study(study.name).document.get("changed") == "keep"
    return Change(
        files=tuple(files),
        kept={(canonical_json(old.config), old.seed): old.data for old, _ in made},
        settled=kept and bool(beside),
    )


def _made_before(study: Study, members: list[Membership]) -> Iterator[tuple[Trial, Trial]]:
    """Yields the members of other data, each with the trial that is planned in its place; not
    those of a grid whose values the study has no longer."""
    found = [
        (member, planned.trial)
        for member in members
        if (planned := planned_as(study, member)) and planned.trial.data != member.trial.data
    ]
    cells = {item.trial.key for item in expand(study)} if found else set()
    for member, new in found:
        old, gone = member.trial, member.reason == "declared" and new.key not in cells
        same = (old.config, old.version, old.workload) == (new.config, new.version, new.workload)
        if same and not gone:
            yield old, new


def planned_as(study: Study, member: Membership) -> PlannedTrial | None:
    """Returns the trial of a study at the place of one of the store, at whatever values of its
    axes but the scale, which has those declared, as seeds have; None where the study has no such
    place."""
    if member.variant not in study.variants:
        return None
    space = study.space(member.variant)
    config, own = member.trial.config, member.trial.seed
    swept = {name: config[name] for name in space.axes if name in config}
    settings = {**space.constants, **swept}
    applied = {name: v for name, v in settings.items() if name in space.applied}
    if applied.get(study.scale) not in space.axes[study.scale]:  # a value that was removed
        return None
    if own not in space.seeds or study.problems(applied):
        return None
    return plan_trial(study, member.variant, applied, own)

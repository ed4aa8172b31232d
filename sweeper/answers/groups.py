"""The groups of a study: how its trials fall into them, their names, and why none can answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sweeper.answers.jsonable import encoded, plain
from sweeper.errors import AnalysisRefusal
from sweeper.words import setting

if TYPE_CHECKING:
    import pandas

HANDFUL = 5
"""Reasons that a group's refusal tells before it counts the others."""

NAMED = 3
"""Groups that a refusal names before it counts the others."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyGroup:
    """One variant under fixed settings; what is said about it stands in the classes below it.

    Attributes:
        variant: name of the variant.
        settings: values of the settings that make the group.
        refused: why it cannot answer; None if it can.
    """

    variant: str
    settings: Mapping[str, Any]
    refused: str | None = None

    @property
    def label(self) -> str:
        """How messages name the group, for example ``mup, weight_decay 0.1``."""
        return group_label(self.variant, self.settings)


@dataclass(frozen=True, kw_only=True, eq=False)
class Statement:
    """What a study says, a group at a time; what about stands in the classes below it.

    Attributes:
        study: its name.
        notes: sentences that the reader should know of every group.
    """

    study: str
    notes: tuple[str, ...] = ()

    HEAD: ClassVar[str]
    """Columns of the statement itself."""

    def document(self, groups: Iterable[dict[str, Any]]) -> dict[str, Any]:
        """Returns the statement around its groups, as plain values under stable keys."""
        return {**encoded(self, self.HEAD), "groups": list(groups), "notes": list(self.notes)}


def groups_of(
    frame: pandas.DataFrame, settings: Sequence[str]
) -> Iterator[tuple[dict[str, Any], pandas.DataFrame]]:
    """Yields every variant under every combination of settings, as the fields of a
    :class:`StudyGroup`, with its trials.

    Args:
        frame: one row a trial with ``variant`` and the settings.
        settings: columns whose distinct values, with the variant, make the groups.
    """
    for key, part in frame.groupby(["variant", *settings], sort=True, dropna=False):
        variant, *values = key
        named = dict(zip(settings, map(plain, values), strict=True))
        yield {"variant": str(variant), "settings": named}, part


def group_label(variant: str, settings: Mapping[str, Any]) -> str:
    """Returns the name of a group, for example ``mup, weight_decay 0.1, D 2e+10``; settings that
    do not apply to the variant are left out."""
    parts = [f"{name} {setting(value)}" for name, value in settings.items() if value is not None]
    return ", ".join([variant, *parts])


def all_refused(reasons: Iterable[tuple[str, str]]) -> AnalysisRefusal:
    """Returns the refusal where no group can answer: a line for every reason, each told once.

    Args:
        reasons: label of a group and why it cannot answer.
    """
    labels: dict[str, list[str]] = {}
    for label, why in reasons:
        who = labels.setdefault(why, [])
        # A joint fit has a group for each of the two hyperparameters under one label.
        if label not in who:
            who.append(label)
    return AnalysisRefusal("\n".join(f"{_named(who)}: {why}" for why, who in labels.items()))


def require_an_answer(groups: Iterable[StudyGroup]) -> None:
    """Checks that any group can answer.

    Raises:
        AnalysisRefusal: none can; says why each.
    """
    reasons = [(group.label, group.refused) for group in groups]
    refused = [(label, why) for label, why in reasons if why is not None]
    if len(refused) == len(reasons):
        raise all_refused(refused)


def few(reasons: Collection[str]) -> str:
    """Returns reasons as one sentence; of more than a handful the first, and how many more."""
    more = len(reasons) - HANDFUL
    if more < 2:
        return "; ".join(reasons)
    return f"{'; '.join(list(reasons)[:HANDFUL])}; and {more} more like these"


def _named(labels: list[str]) -> str:
    more = len(labels) - NAMED
    if more < 2:
        return "; ".join(labels)
    return f"{'; '.join(labels[:NAMED])} and {more} more groups"

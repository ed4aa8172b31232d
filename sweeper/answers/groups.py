"""What groups are called in tables and messages, and why none of them can answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sweeper.errors import AnalysisRefusal
from sweeper.words import setting

HANDFUL = 5
"""Reasons that a group's refusal tells before it counts the others."""

NAMED = 3
"""Groups that a refusal names before it counts the others."""


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

"""The card of a study that states its command, made from what it states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sweeper.study.sections import Sections
from sweeper.study.settings import as_number, place_of
from sweeper.study.source import Complaint, Place
from workloads.programs import Objection, Programmed
from workloads.workload import Card

LONGEST = 600
"""Characters of a message about what a study states."""


def programmed_card(study: Sections, card: Card) -> Card | list[Complaint]:
    """Returns the card of a study, or what is wrong with what it states of a command; the card as
    it is where the workload has none and the study states none.

    Args:
        study: well-formed.
        card: the registered one.
    """
    if not isinstance(card, Programmed):
        what = f"is of workload command, and this one is {card.name}; remove it"
        return [Complaint((key,), f"`{key}` {what}") for key in study.program] or card
    if study.command is None:
        said = type(study).model_fields["command"].description
        return [Complaint(("command",), f"is missing; add it: {said}")]
    if study.resources.pack not in ("auto", 1):
        message = f"a process is one trial, and {study.resources.pack} share none; remove it"
        return [Complaint(("resources", "pack"), message)]
    if study.stop.dominated and (study.cost is None or study.cost.steps is None):
        message = "`after` is a share of a trial's steps, which are not known; give cost: {steps: "
        return [Complaint(("stop", "dominated"), f'{message}"..."}}, a formula of the settings')]
    made = card.programmed(
        study.program,
        metric=study.objective.metric,
        scale=study.scale,
        values=given_values(study),
    )
    if isinstance(made, list):
        return [Complaint(_place(study, each), _readable(each.message)) for each in made]
    return made


def _readable(message: str) -> str:
    """Returns a message with signs without a face escaped, cut where it repeats a long text."""
    text = message if message.isprintable() else repr(message)[1:-1]
    return (
        text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} [...] {text[-LONGEST // 2 :]}"
    )


def _place(study: Sections, objection: Objection) -> Place:
    """Returns where an objection belongs: about a setting that is told by its values, there."""
    match objection.place:
        case ("settings", str(name)) if study.settings is None:
            variants = study.variants.items()
            holders: list[tuple[Place, Mapping[str, Any]]] = [
                (("sweep",), study.sweep),
                (("fixed",), study.fixed),
                *((("variants", each, "sweep"), variant.sweep) for each, variant in variants),
                *((("variants", each), variant.settings) for each, variant in variants),
            ]
            found = ((place, place_of(holder, name)) for place, holder in holders)
            return next(((*place, *inner) for place, inner in found if inner), objection.place)
        case place:
            return place


def given_values(study: Sections) -> dict[str, list[Any]]:
    """Returns all values that a study gives each setting; numbers in text are numbers."""
    found: dict[str, list[Any]] = {}
    for settings in (study.fixed, *(each.settings for each in study.variants.values())):
        for name, value in _flat(settings):
            found.setdefault(name, []).append(as_number(value))
    for axes in (study.sweep, *(each.sweep for each in study.variants.values())):
        for name, axis in axes.items():
            found.setdefault(name, []).extend(as_number(value) for value in axis.values())
    return found


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value

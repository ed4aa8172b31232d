"""The review of a well-formed study against the card of its workload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.catalogue import find_card
from sweeper.combinations import Combinations, oversize
from sweeper.errors import RequestError, shown, suggestion
from sweeper.sections import Sections
from sweeper.settings import NUMERIC, SEED
from sweeper.space import Space
from sweeper.variants import VariantReader
from sweeper.yaml_source import Complaint, Place
from workloads.workload import Card, Measured


@dataclass(frozen=True)
class Review:
    """What a review found: the card and the spaces by variant, and everything wrong."""

    card: Card | None
    spaces: dict[str, Space]
    complaints: list[Complaint]


def review(study: Sections, broken: frozenset[str] = frozenset()) -> Review:
    """Returns the spaces of a study and all complaints about it.

    Args:
        study: well-formed, perhaps without parts that were refused before.
        broken: settings that were refused before; nothing is concluded from their absence.
    """
    try:
        card = find_card(study.workload)
    except RequestError as error:
        return Review(None, {}, [Complaint(("workload",), str(error))])
    reader = VariantReader(
        card, fixed=study.fixed, sweep=study.sweep, variants=study.variants, broken=broken
    )
    spaces = reader.spaces()
    complaints = reader.complaints
    complaints += _scale(study, card, spaces, reader.broken)
    complaints += _claims(study, spaces, reader.broken)
    complaints += _resources(study, spaces)
    if message := oversize(spaces):
        complaints.append(Complaint(("sweep",), message))
        return Review(card, spaces, complaints)
    complaints += _objective(study, card, spaces)
    combinations = Combinations(card, spaces, study, frozenset(reader.broken))
    complaints += combinations.complaints()
    return Review(card, spaces, complaints)


def _scale(
    study: Sections, card: Card, spaces: Mapping[str, Space], broken: set[str]
) -> Iterator[Complaint]:
    numeric = [setting.name for setting in card.settings if setting.kind in NUMERIC]
    if study.scale not in numeric:
        message = f"{shown(study.scale)} is not a numeric setting of {card.name}; "
        yield Complaint(("scale",), message + suggestion(study.scale, numeric))
        return
    for variant, space in spaces.items():
        values = space.axes.get(study.scale)
        where = "" if len(spaces) == 1 else f" in variant {variant}"
        if values is None and study.scale not in broken:
            yield Complaint(
                ("scale",), f"{study.scale} is not swept{where}; add it to `sweep` with its values"
            )
        elif values is not None:
            yield from _positive(study, variant, study.scale, values, "the scale")


def _claims(study: Sections, spaces: Mapping[str, Space], broken: set[str]) -> Iterator[Complaint]:
    swept = dict.fromkeys(name for space in spaces.values() for name in space.axes)
    known = [name for name in swept if name not in (study.scale, SEED.name)]
    seen: set[str] = set()
    for index, claim in enumerate(study.claims):
        name = claim.hyperparameter
        place: Place = ("claims", index, "hyperparameter")
        if name in seen:
            yield Complaint(place, f"a second claim about {name}; remove one")
        elif name not in known and name not in broken:
            yield Complaint(place, f"{shown(name)} is not swept; {suggestion(name, known)}")
        elif name in known:
            yield from _claimed_axis(study, spaces, name, place)
        seen.add(name)


def _claimed_axis(
    study: Sections, spaces: Mapping[str, Space], name: str, place: Place
) -> Iterator[Complaint]:
    for variant, space in spaces.items():
        if name not in space.axes:
            continue
        if space.settings[name].kind not in NUMERIC:
            yield Complaint(place, f"{name} is not a number, so it has no drift; remove the claim")
            return
        yield from _positive(study, variant, name, space.axes[name], "a claim's axis")


def _positive(
    study: Sections, variant: str, name: str, values: tuple[Any, ...], role: str
) -> Iterator[Complaint]:
    own = name in study.variants[variant].sweep
    place: Place = ("variants", variant, "sweep", name) if own else ("sweep", name)
    for value in values:
        if value is None or value <= 0:
            yield Complaint(
                place, f"{shown(value)} is not positive; {role} is measured in octaves: remove it"
            )


def _objective(study: Sections, card: Card, spaces: Mapping[str, Space]) -> Iterator[Complaint]:
    metric, place = study.objective.metric, ("objective", "metric")
    if metric not in card.metrics:
        hint = suggestion(metric, tuple(card.metrics))
        message = f"workload {card.name} does not measure {shown(metric)}; {hint}"
        yield Complaint(place, message)
    elif isinstance(card, Measured):
        for variant, space in spaces.items():
            reasons = (card.unmeasured(point).get(metric) for point in space.points())
            if reason := next(filter(None, reasons), None):
                yield Complaint(place, f"variant {variant} does not measure {metric}: {reason}")


def _resources(study: Sections, spaces: Mapping[str, Space]) -> Iterator[Complaint]:
    values = {value for space in spaces.values() for value in space.axes.get(study.scale, ())}
    scales = sorted(value for value in values if isinstance(value, int | float) and value > 0)
    if not scales:
        return
    for name in ("cpus", "gpus"):
        table = getattr(study.resources, name)
        if not isinstance(table, Mapping):
            continue
        place: Place = ("resources", name)
        for key in table:
            if not scales[0] <= key <= scales[-1]:
                yield Complaint(
                    place,
                    f"{key:g} is outside the values of {study.scale}, "
                    f"{scales[0]:g} .. {scales[-1]:g}; remove the entry",
                )
        if min(table) > scales[0]:
            yield Complaint(
                place,
                f"no entry for {study.scale} {scales[0]:g}: an entry holds from its key upwards; "
                f"start the table at {scales[0]:g}",
            )

"""The checks of a well-formed study against the card of its workload."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sweeper.errors import RequestError, shown, suggestion
from sweeper.study.searches import search_complaints
from sweeper.study.sections import Sections
from sweeper.study.settings import NUMERIC, SEED, condition, deciding, place_of
from sweeper.study.source import Complaint, Place, StudyTables
from sweeper.study.space import Space, VariantReader
from sweeper.study.workloads import find_card
from sweeper.trial import canonical_json
from workloads.workload import Card, PartialMetrics, Problem, ReadsTables, Records, Tailored

MAX_POINTS = 200_000
"""Points that a study may have, seeds apart; more is a slip of the pen. Each is put to the card,
which takes a tenth of a millisecond."""

MAX_CELLS = 1_000_000
"""Cells that a study may have: points times seeds."""

MAX_BRANCHES = 5_000
"""Combinations of settings that decide which others apply, over all variants."""


def oversize(spaces: Mapping[str, Space]) -> str | None:
    """Returns what is too large about a study, in words, without going through its points; None
    if nothing is."""
    branches = sum(space.num_branches for space in spaces.values())
    if branches > MAX_BRANCHES:
        return (
            f"{branches:,} combinations of variants and of settings that decide which others "
            f"apply are more than {MAX_BRANCHES:,}; make several studies of it"
        )
    points = sum(space.num_points for space in spaces.values())
    if points > MAX_POINTS:
        return f"{points:,} points are more than {MAX_POINTS:,}; shorten an axis"
    cells = sum(space.num_points * len(space.seeds) for space in spaces.values())
    if cells > MAX_CELLS:
        return f"{cells:,} trials are more than {MAX_CELLS:,}; shorten an axis or use fewer seeds"
    return None


@dataclass(frozen=True)
class Combinations:
    """The combinations of a study whose single values are right.

    Attributes:
        card: card of the workload.
        spaces: what each variant tries.
        study: the sections, to tell where a setting is given.
        broken: settings that are given but could not be read: what may follow from their
            absence is not held against the study.
    """

    card: Card
    spaces: Mapping[str, Space]
    study: Sections
    broken: frozenset[str] = frozenset()

    def complaints(self) -> Iterator[Complaint]:
        """Yields every complaint: settings without meaning, missing ones, combinations that the
        card refuses, and variants that are the same. To be asked of no :func:`oversize` study.
        """
        yield from self._meaningless()
        missing = dict(self._missing())
        yield from (Complaint((name,), why) for name, why in missing.items() if self._sure(name))
        if not missing:
            refused = list(self._refused())
            yield from refused
            if not refused and not self.broken:
                yield from self._same()

    def _sure(self, *names: str) -> bool:
        return self.broken.isdisjoint(names)

    def _meaningless(self) -> Iterator[Complaint]:
        everywhere = frozenset().union(*(space.applied for space in self.spaces.values()))
        for variant, space in self.spaces.items():
            for name in (*space.constants, *space.axes):
                setting = space.settings[name]
                place = self._place(variant, name)
                own = place[:1] == ("variants",)
                used = space.applied if own else everywhere
                if name not in used and self._sure(*deciding(setting)):
                    where = f"in variant {variant}" if own else "in any variant"
                    yield Complaint(
                        place,
                        f"{name} has no effect {where}: it applies only where "
                        f"{condition(setting)}; remove it",
                    )

    def _missing(self) -> Iterator[tuple[str, str]]:
        """Yields the required settings that are not given, each with the message."""
        lacking: dict[str, list[str]] = {}
        for variant, space in self.spaces.items():
            for name, setting in space.settings.items():
                given = name in space.constants or name in space.axes
                if setting.required and not given and name in space.applied:
                    lacking.setdefault(name, []).append(variant)
        docs = {setting.name: setting.doc for setting in self.card.settings}
        for name, variants in lacking.items():
            everywhere = len(variants) == len(self.spaces)
            where = "" if everywhere else f" from variant {', '.join(variants)}"
            yield (
                name,
                f"is missing{where}; workload {self.card.name} requires it: add it to `fixed` or "
                f"`sweep`. {docs[name]}",
            )

    def _refused(self) -> Iterator[Complaint]:
        """Yields what the card refuses, each where the first setting involved is given; where
        none is, at the variants that lack it, or once if all of them do."""
        absent: dict[Problem, dict[str, None]] = {}
        for variant, space in self.spaces.items():
            for point in space.points():
                for problem in self.card.problems(point):
                    if not self._sure(*problem.keys):
                        continue
                    places = (self._place(variant, key) for key in problem.keys)
                    given = next((place for place in places if place), None)
                    if given:
                        yield Complaint(given, problem.message)
                    else:
                        absent.setdefault(problem, {})[variant] = None
        for problem, variants in absent.items():
            if len(variants) == len(self.spaces):
                yield Complaint(problem.keys[:1], problem.message)
            else:
                for variant in variants:
                    yield Complaint(("variants", variant, *problem.keys[:1]), problem.message)

    def _same(self) -> Iterator[Complaint]:
        seen: dict[Any, list[tuple[str, Space]]] = {}
        for variant, space in self.spaces.items():
            alike = seen.setdefault(self._likeness(space), [])
            for other, earlier in alike:
                if self._equal(space, earlier):
                    message = f"variant {variant} is the same as variant {other}; remove one"
                    yield Complaint(("variants", variant), message)
                    break
            alike.append((variant, space))

    def _likeness(self, space: Space) -> tuple[int, frozenset[int], str]:
        """Returns what equal variants have in common, so that of many only few are compared:
        their size, their seeds and their first point in an order of its own."""
        order = _order(space, sorted(space.axes))
        first = self.card.resolve(min(space.points(), key=order)).config
        return space.num_points, frozenset(space.seeds), canonical_json(first)

    def _equal(self, one: Space, two: Space) -> bool:
        if one.axes == two.axes:
            pairs = zip(one.points(), two.points(), strict=True)
        else:
            names = sorted(one.axes.keys() | two.axes.keys())
            pairs = zip(_ordered(one, names), _ordered(two, names), strict=True)
        return all(self.card.resolve(a).config == self.card.resolve(b).config for a, b in pairs)

    def _place(self, variant: str, name: str) -> Place:
        """Returns where a setting of a variant is given; empty where it is not."""
        own = self.study.variants[variant]
        holders: tuple[tuple[Place, Mapping[str, Any]], ...] = (
            (("variants", variant), own.settings),
            (("variants", variant, "sweep"), own.sweep),
            (("sweep",), self.study.sweep),
            (("fixed",), self.study.fixed),
        )
        found = ((place, place_of(holder, name)) for place, holder in holders)
        return next(((*place, *inner) for place, inner in found if inner), ())


def _ordered(space: Space, names: list[str]) -> list[dict[str, Any]]:
    """Returns the points by the values of some settings, whatever the order of the axes was."""
    return sorted(space.points(), key=_order(space, names))


def _order(space: Space, names: list[str]) -> Callable[[Mapping[str, Any]], list[str]]:
    def order(point: Mapping[str, Any]) -> list[str]:
        return [repr(point.get(name, space.settings[name].default)) for name in names]

    return order


@dataclass(frozen=True)
class Review:
    """What a review found: the card and the spaces by variant, and everything wrong."""

    card: Card | None
    spaces: dict[str, Space]
    complaints: list[Complaint]


def review(
    study: Sections, broken: frozenset[str] = frozenset(), tables: StudyTables | None = None
) -> Review:
    """Returns the spaces of a study and all complaints about it.

    Args:
        study: well-formed, perhaps without parts that were refused before.
        broken: settings that were refused before; nothing is concluded from their absence.
        tables: finds results that the study replays; None finds none.
    """
    try:
        card = find_card(study.workload)
    except RequestError as error:
        return Review(None, {}, [Complaint(("workload",), str(error))])
    if tables is not None and isinstance(card, ReadsTables):
        card = card.with_tables(partial(tables, study.name))
    if isinstance(card, Tailored):
        made = card.tailored(study.fixed)
        if isinstance(made, Problem):
            key = made.keys[:1]
            place: Place = ("fixed", *key) if key and key[0] in study.fixed else key
            return Review(card, {}, [Complaint(place, made.message)])
        card = made
    reader = VariantReader(
        card, fixed=study.fixed, sweep=study.sweep, variants=study.variants, broken=broken
    )
    spaces = reader.spaces()
    complaints = reader.complaints
    complaints += _scale(study, card, spaces, reader.broken)
    complaints += _claims(study, spaces, reader.broken)
    complaints += _resources(study, spaces)
    complaints += _recording(study, card)
    complaints += search_complaints(study, spaces, right=not complaints)
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
    seen: set[tuple[str, float]] = set()
    for index, claim in enumerate(study.claims):
        name = claim.hyperparameter
        place: Place = ("claims", index, "hyperparameter")
        if (name, claim.exponent) in seen:
            what = f"exponent {claim.exponent:g} of {name} is claimed twice"
            yield Complaint(place, f"{what}; rival claims have exponents that differ, remove one")
        elif name not in known and name not in broken:
            yield Complaint(place, f"{shown(name)} is not swept; {suggestion(name, known)}")
        elif name in known:
            yield from _claimed_axis(study, spaces, name, place)
        seen.add((name, claim.exponent))


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
    elif isinstance(card, PartialMetrics):
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


def _recording(study: Sections, card: Card) -> Iterator[Complaint]:
    known = tuple(card.recordings) if isinstance(card, Records) else ()
    record = study.record
    for index, name in enumerate(record.quantities):
        place: Place = ("record", "quantities", index)
        if not known:
            yield Complaint(("record",), f"workload {card.name} records nothing; remove it")
            return
        if name not in known:
            hint = suggestion(name, known)
            yield Complaint(place, f"workload {card.name} does not record {shown(name)}; {hint}")
        elif name in record.quantities[:index]:
            yield Complaint(place, f"{name} is named twice; remove one")
    if record.every is not None and record.steps:
        yield Complaint(("record", "every"), "`every` and `steps` both say when; keep one")
    if not record.quantities and (record.every is not None or record.steps):
        known_names = f"; known: {', '.join(known)}" if known else ""
        yield Complaint(("record",), f"says when and not what; give `quantities`{known_names}")

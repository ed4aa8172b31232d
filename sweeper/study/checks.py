"""The checks of a well-formed study against the card of its workload."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any

from sweeper.errors import RequestError, shown, suggestion
from sweeper.study.commands import programmed_card
from sweeper.study.searches import search_complaints
from sweeper.study.sections import Sections
from sweeper.study.settings import NUMERIC, SEED, condition, deciding, place_of
from sweeper.study.source import Complaint, Place, StudyTables
from sweeper.study.space import Space, VariantReader
from sweeper.study.workloads import find_card
from sweeper.trial import canonical_json
from workloads.workload import (
    Card,
    HasCoordinates,
    Parallel,
    PartialMetrics,
    Problem,
    ReadsTables,
    Records,
    Tailored,
)

MAX_POINTS = 200_000
"""Points that a study may have, seeds apart; more is a slip of the pen. Each is put to the card,
which takes a tenth of a millisecond."""

MAX_CELLS = 1_000_000
"""Cells that a study may have: points times seeds."""

CUSTOM_RESOURCE = "[A-Za-z][A-Za-z0-9_./:-]{0,99}"
TAKEN = ("bundle", "object_store_memory")
"""Names that Ray keeps to itself."""

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
                for problem in problems_at(self.card, self.study, point):
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
    programmed = programmed_card(study, card)
    if isinstance(programmed, list):
        return Review(card, {}, programmed)
    card = programmed
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
    complaints += _custom_resources(study)
    amiss = list(_resources(study, spaces))
    complaints += amiss or _devices(study, card, spaces)
    complaints += _recording(study, card, spaces)
    complaints += _check(study, card)
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


def _custom_resources(study: Sections) -> Iterator[Complaint]:
    own = ("cpus", "gpus", "processes", "pack")
    for name in study.resources.custom:
        place: Place = ("resources", name)
        close = get_close_matches(name.lower(), own, n=1, cutoff=0.7)
        if close:
            yield Complaint(
                place,
                f"unknown key {shown(name)}; did you mean {close[0]!r}? known: {', '.join(own)}, "
                "and the names of custom resources of a Ray cluster, such as H100",
            )
        elif not re.fullmatch(CUSTOM_RESOURCE, name) or name in TAKEN:
            yield Complaint(
                place,
                f"{shown(name)} is no name of a custom resource; use letters, digits, '_', '-', "
                f"'.', '/' and ':', starting with a letter, but not {' or '.join(TAKEN)}",
            )


def _scales(study: Sections, spaces: Mapping[str, Space]) -> list[float]:
    values = {value for space in spaces.values() for value in space.axes.get(study.scale, ())}
    return sorted(value for value in values if isinstance(value, int | float) and value > 0)


def _resources(study: Sections, spaces: Mapping[str, Space]) -> Iterator[Complaint]:
    scales = _scales(study, spaces)
    if not scales:
        return
    given = {name: getattr(study.resources, name) for name in ("cpus", "gpus", "processes")}
    for name, table in {**given, **study.resources.custom}.items():
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


def _devices(study: Sections, card: Card, spaces: Mapping[str, Space]) -> Iterator[Complaint]:
    """Yields what is wrong with the devices that each scale's trials are given; the tables have to
    be right."""
    for scale in _scales(study, spaces):
        cpus, gpus = study.resources.cpus_at(scale), study.resources.gpus_at(scale)
        processes, at = study.resources.processes_at(scale), f"at {study.scale} {scale:g}"
        own = study.resources.model_copy(update={"gpus": 0.0}).processes_at(scale)
        place: Place = ("resources", "gpus" if gpus > 1 else "processes")
        if gpus and own > 1:
            yield Complaint(
                ("resources", "processes"),
                f"processes is {own} {at}, where a trial has GPUs: each of them has one process; "
                "give 1 there",
            )
        elif processes == 1:
            continue
        elif not isinstance(card, Parallel):
            yield Complaint(
                place,
                f"{place[1]} is {processes} {at}, and workload {card.name} trains a trial on one "
                "device; give 1 at most (a card of your own says that it can do more by being "
                "workloads.workload.Parallel)",
            )
        elif not gpus and cpus < processes:
            yield Complaint(
                place,
                f"processes is {processes} {at}, and they share cpus {cpus:g}; give {processes} "
                "cpus at least",
            )
        else:
            continue
        return


def problems_at(card: Card, study: Sections, point: Mapping[str, Any]) -> list[Problem]:
    """Returns why a point cannot be run: what the card refuses about it, or about it on as many
    devices as it is given."""
    found, scale = card.problems(point), point.get(study.scale)
    if found or not isinstance(card, Parallel) or not isinstance(scale, int | float):
        return found
    processes = study.resources.processes_at(scale)
    return [] if processes == 1 else card.parallel_problems(point, processes)


def _recording(study: Sections, card: Card, spaces: Mapping[str, Space]) -> Iterator[Complaint]:
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
    several = [at for at in _scales(study, spaces) if study.resources.processes_at(at) > 1]
    if record.quantities and several:
        yield Complaint(
            ("record",),
            f"a trial of {study.scale} {several[0]:g} trains on several devices, and recording "
            "looks at one; remove it, or give such trials one device",
        )
    if record.every is not None and record.steps:
        yield Complaint(("record", "every"), "`every` and `steps` both say when; keep one")
    if not record.quantities and (record.every is not None or record.steps):
        known_names = f"; known: {', '.join(known)}" if known else ""
        yield Complaint(("record",), f"says when and not what; give `quantities`{known_names}")


def _check(study: Sections, card: Card) -> Iterator[Complaint]:
    if study.check.required and not isinstance(card, HasCoordinates):
        yield Complaint(
            ("check",), f"workload {card.name} has no layers to measure; remove `check`"
        )
    known = tuple(study.variants)
    for index, name in enumerate(study.check.variants):
        if name not in known:
            hint = suggestion(name, known)
            place: Place = ("check", "variants", index)
            yield Complaint(place, f"there is no variant {shown(name)}; {hint}")
    if study.check.seeds < 2:
        yield Complaint(
            ("check", "seeds"), f"{study.check.seeds} has no interval; give at least 2"
        )

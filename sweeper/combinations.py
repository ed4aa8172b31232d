"""What is wrong with combinations of settings, each of which is right by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.nested import place_of
from sweeper.sections import Sections
from sweeper.settings import condition, deciding
from sweeper.space import Space
from sweeper.trial import canonical_json
from sweeper.yaml_source import Complaint, Place
from workloads.workload import Card, Problem

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

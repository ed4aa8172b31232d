"""What the variants of a study try: constant settings and the product of axes, in canonical
values, and what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from itertools import product
from typing import Any

from sweeper.errors import shown, suggestion
from sweeper.study.axes import Axis
from sweeper.study.sections import Variant
from sweeper.study.settings import (
    SEED,
    applying,
    axis_values,
    by_name,
    canonical_value,
    deciding,
    given_settings,
    siblings,
)
from sweeper.study.source import Complaint, Place
from sweeper.trial import canonical_json
from workloads.workload import Card, Setting


@dataclass(frozen=True)
class Space:
    """The settings of one variant in canonical values.

    A setting that has no meaning beside the others (a momentum without the optimizer that has
    one) is left out of a point, and points that thereby fall together count once.

    Attributes:
        settings: every setting of the workload by name, the seed among them.
        constants: settings with one value.
        axes: swept settings, the seed among them, each with its distinct values.
    """

    settings: Mapping[str, Setting]
    constants: Mapping[str, Any]
    axes: Mapping[str, tuple[Any, ...]]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that every point runs with."""
        return self.axes[SEED.name]

    @cached_property
    def applied(self) -> frozenset[str]:
        """Names of the settings that have a meaning in at least one point."""
        return frozenset().union(*(names for _, names in self._branches))

    @property
    def num_branches(self) -> int:
        """The number of combinations of the settings on which it depends what applies; cheap,
        and to be looked at before anything that goes through them."""
        return math.prod(len(self.axes[name]) for name in self._deciding)

    @property
    def num_points(self) -> int:
        """The number of distinct points, seeds apart."""
        return sum(
            math.prod(len(self.axes[name]) for name in self._free(names))
            for _, names in self._branches
        )

    def points(self) -> Iterator[dict[str, Any]]:
        """Yields the settings of every distinct point, the last axis fastest."""
        for config, names in self._branches:
            free = self._free(names)
            for values in product(*(self.axes[name] for name in free)):
                yield {**config, **dict(zip(free, values, strict=True))}

    @cached_property
    def _branches(self) -> tuple[tuple[dict[str, Any], frozenset[str]], ...]:
        """Every combination of the swept settings on which others depend: the settings that are
        then constant, and the names of all that then apply."""
        branches: dict[str, tuple[dict[str, Any], frozenset[str]]] = {}
        for values in product(*(self.axes[name] for name in self._deciding)):
            config = {**self.constants, **dict(zip(self._deciding, values, strict=True))}
            names = applying(self.settings, config)
            kept = {name: value for name, value in config.items() if name in names}
            branches.setdefault(canonical_json(kept), (kept, frozenset(names)))
        return tuple(branches.values())

    @cached_property
    def _deciding(self) -> list[str]:
        conditions = {name for setting in self.settings.values() for name in deciding(setting)}
        return [name for name in self.axes if name in conditions]

    def _free(self, names: frozenset[str]) -> list[str]:
        fixed = {*self._deciding, SEED.name}
        return [name for name in self.axes if name in names and name not in fixed]


class VariantReader:
    """Reads ``fixed``, ``variants`` and ``sweep`` against the settings of a card.

    Attributes:
        complaints: what is wrong so far.
        broken: settings that could not be read, or may be meant by an unknown name: nothing is
            concluded from their absence.
    """

    def __init__(
        self,
        card: Card,
        *,
        fixed: Mapping[str, Any],
        sweep: Mapping[str, Axis],
        variants: Mapping[str, Variant],
        broken: frozenset[str] = frozenset(),
    ) -> None:
        self.complaints: list[Complaint] = []
        self.broken = set(broken)
        self._workload = card.name
        self._settings = by_name(card.settings)
        self._fixed = self._constants(fixed, ("fixed",))
        self._sweep = self._axes(sweep, ("sweep",))
        for name in self._fixed.keys() & self._sweep.keys():
            self._complain(
                ("sweep", name), f"{name} is both fixed and swept; remove it from one of the two"
            )
        self._variants = variants

    def spaces(self) -> dict[str, Space]:
        """Returns the space of every variant; complaints come along in ``complaints``."""
        return {name: self._space(name, variant) for name, variant in self._variants.items()}

    def _space(self, name: str, variant: Variant) -> Space:
        place: Place = ("variants", name)
        constants = self._constants(variant.settings, place)
        axes = self._axes(variant.sweep, (*place, "sweep"))
        for key in constants.keys() & (axes.keys() | self._sweep.keys()):
            self._complain(
                (*place, key),
                f"{key} is set in variant {name} and swept as well; to override the axis, write "
                f"sweep: {{{key}: [{constants[key]}]}} in the variant",
            )
        for key in (axes.keys() & self._fixed.keys()) - constants.keys():
            self._complain(
                (*place, "sweep", key),
                f"{key} is swept in variant {name} and fixed for the study; remove it from one",
            )
        merged = {**self._sweep, **axes}
        merged.setdefault(SEED.name, (SEED.default,))
        values = {**self._fixed, **constants}
        values = {key: value for key, value in values.items() if key not in merged}
        return Space(settings=self._settings, constants=values, axes=merged)

    def _constants(self, raw: Mapping[str, Any], place: Place) -> dict[str, Any]:
        constants: dict[str, Any] = {}
        for name, nested, value in given_settings(raw, self._settings):
            here = (*place, *nested)
            if name in constants:
                self._complain(here, f"{name} is given twice here; remove one")
                continue
            if name == SEED.name:
                self._complain(here, "seeds are an axis; write sweep: {seed: [0, 1, 2]}")
                continue
            setting = self._setting(name, here)
            if setting is None:
                continue
            if isinstance(value, list | tuple | dict):
                why = "holds several values; an axis belongs in `sweep`"
                self._complain(here, f"{shown(value)} {why}")
                self.broken.add(name)
                continue
            try:
                constants[name] = canonical_value(setting, value)
            except ValueError as error:
                self._complain(here, str(error))
                self.broken.add(name)
        return constants

    def _axes(self, raw: Mapping[str, Axis], place: Place) -> dict[str, tuple[Any, ...]]:
        axes = {}
        for name, axis in raw.items():
            setting = self._setting(name, (*place, name))
            if setting is None:
                continue
            values = self._values(setting, axis_values(setting, axis), (*place, name))
            if values:
                axes[name] = values
            else:
                self.broken.add(name)
        return axes

    def _values(self, setting: Setting, raw: Sequence[Any], place: Place) -> tuple[Any, ...]:
        first: dict[Any, int] = {}
        for index, item in enumerate(raw):
            try:
                value = canonical_value(setting, item)
            except ValueError as error:
                self._complain((*place, index), str(error))
                continue
            if value in first:
                self._complain(
                    (*place, index),
                    f"{shown(value)} is there twice, as values {first[value] + 1} and {index + 1} "
                    "of the axis; remove one",
                )
            else:
                first[value] = index
        return tuple(first)

    def _setting(self, name: str, place: Place) -> Setting | None:
        setting = self._settings.get(name)
        if setting is None:
            hint = suggestion(name, siblings(name, self._settings))
            self.broken.update(get_close_matches(name, self._settings, n=1))
            self._complain(
                place, f"workload {self._workload} has no setting {shown(name)}; {hint}"
            )
        return setting

    def _complain(self, place: Place, message: str) -> None:
        self.complaints.append(Complaint(place, message))

"""The variants of a study in canonical values, and what is wrong with their settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from sweeper.errors import shown, suggestion
from sweeper.study.axes import Axis
from sweeper.study.nested import given_settings, siblings
from sweeper.study.sections import Variant
from sweeper.study.settings import SEED, axis_values, by_name, canonical_value
from sweeper.study.source import Complaint, Place
from sweeper.study.space import Space
from workloads.workload import Card, Setting


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

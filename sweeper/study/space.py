"""What one variant of a study tries: its constant settings and the product of its axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from sweeper.study.settings import SEED, applying, deciding
from sweeper.trial import canonical_json
from workloads.workload import Setting


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

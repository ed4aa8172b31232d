"""What a coordinate check has measured of the models of one variant, before anything is read
from it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from workloads.workload import Layer

Values = Mapping[str, tuple[float, ...]]
"""One value a seed, by column: ``QUANTITY.LAYER``."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """The models of one size, one a seed.

    Attributes:
        size: width, or depth.
        layers: every tensor by name.
        rates: learning rate of each tensor, where it is known.
        values: by step, what was recorded after it.
        branch: factor on residual branches.
        diverged: seeds that diverged within the steps.
    """

    size: float
    layers: Mapping[str, Layer]
    values: Mapping[int, Values]
    rates: Mapping[str, float] = field(default_factory=dict)
    branch: float = 1.0
    diverged: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of a variant.

    Attributes:
        variant: its name; empty for a model without a study.
        scale: ``width`` or ``depth``, or what it is called.
        models: one for each size, ascending.
        initial: by role, the power of the width in the initial spread where it is another than
            that of the spectral condition.
        settings: by which it trained, besides the scale.
    """

    variant: str
    scale: str
    models: tuple[Model, ...]
    initial: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sizes(self) -> tuple[float, ...]:
        """Values of the scale."""
        return tuple(model.size for model in self.models)

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps after which something was recorded at every size."""
        known = [set(model.values) for model in self.models]
        return tuple(sorted(set.intersection(*known)))

    def to_json(self) -> dict[str, Any]:
        """Returns it as plain data; numbers that are not finite as text."""
        return {
            "variant": self.variant,
            "scale": self.scale,
            "initial": dict(self.initial),
            "settings": dict(self.settings),
            "models": [_plain(model) for model in self.models],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Measured:
        """Returns what :meth:`to_json` made plain."""
        models = tuple(_model(each) for each in document["models"])
        return cls(**{**document, "models": models})


def _plain(model: Model) -> dict[str, Any]:
    return {
        "size": model.size,
        "layers": {name: vars(layer) for name, layer in model.layers.items()},
        "rates": dict(model.rates),
        "branch": model.branch,
        "diverged": list(model.diverged),
        "values": {
            str(step): {
                column: [each if math.isfinite(each) else repr(each) for each in values]
                for column, values in columns.items()
            }
            for step, columns in model.values.items()
        },
    }


def _model(document: Mapping[str, Any]) -> Model:
    values = {
        int(step): {name: tuple(map(float, each)) for name, each in columns.items()}
        for step, columns in document["values"].items()
    }
    layers = {name: Layer(**each) for name, each in document["layers"].items()}
    return Model(
        **{
            **document,
            "values": values,
            "layers": layers,
            "diverged": tuple(document["diverged"]),
        }
    )


def measured_at(steps: int) -> tuple[int, ...]:
    """Returns the steps after which models are measured that make so many: they about double, and
    the first and the last are among them."""
    return tuple(sorted({1, steps, *(steps * part // 10 for part in (2, 5))} - {0}))


_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")
"""A part of a name that is a number, such as the block of ``0.query`` or ``block.0``."""


def aligned(models: Sequence[Model]) -> tuple[Model, ...]:
    """Returns models of unequal depth with the same names: blocks are called ``first`` and
    ``last``, and those between them are left out. Models of equal names are returned as they
    are."""
    if len({frozenset(model.layers) for model in models}) == 1:
        return tuple(models)
    return tuple(_ends(model) for model in models)


def _ends(model: Model) -> Model:
    found = [int(part) for name in model.layers for part in _NUMBER.findall(name)]
    last = max(found, default=0)

    def renamed(name: str) -> Iterator[str]:
        number = _NUMBER.search(name)
        if number is None:
            yield name
        else:
            ends = {"first": 0, "last": last}
            for word, place in ends.items():
                if int(number[0]) == place:
                    yield _NUMBER.sub(word, name, count=1)

    def columns(values: Values) -> dict[str, tuple[float, ...]]:
        return {new: each for name, each in values.items() for new in renamed(name)}

    return replace(
        model,
        layers={new: each for name, each in model.layers.items() for new in renamed(name)},
        rates={new: each for name, each in model.rates.items() for new in renamed(name)},
        values={step: columns(values) for step, values in model.values.items()},
    )

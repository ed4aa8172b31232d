"""From measured sizes to slopes and verdicts, layer by layer.

An update has to have a spectral norm in proportion to sqrt(outputs / inputs), and so have initial
values (arXiv 2310.17813, condition 1); every activation is then moved alike at every size. With
exponents a of the inputs and b of the outputs over the scale, norms have the slope (b - a) / 2 and
what an update does to its layer's outputs, over the size of the inputs, the slope 0.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sweeper.check.measured import Measured, Model, aligned

Verdict = Literal["pass", "fail", "inconclusive", "told"]

TOLERANCE = 0.3
"""Slope off the expected one that still passes: half of the smallest power by which a rule is
missed, and more than finite widths do; over less than two octaves more, in proportion."""

BRANCHES = ("attention", "mlp")
"""Activations that are added to others: told, and judged by what they are added to."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One quantity of one layer over the scale.

    Attributes:
        layer: name of the tensor or activation.
        role: of the tensor; ``activation`` of an activation.
        quantity: what was measured.
        slope: of log2 of it over log2 of the scale, mean over the seeds; None where a value was
            zero or not finite.
        low, high: 95% interval of the slope over the seeds; None of a single seed.
        expected: the slope by the rule; None where the rule says nothing.
        verdict: ``told`` is not judged.
        why: the reason, in words; empty of what passes.
        values: mean over the seeds at each size.
    """

    layer: str
    role: str
    quantity: str
    slope: float | None
    low: float | None
    high: float | None
    expected: float | None
    verdict: Verdict
    why: str = ""
    values: tuple[float, ...] = ()

    @property
    def excess(self) -> float:
        """How far the slope is off the expected one."""
        return (self.slope or 0.0) - (self.expected or 0.0)


@dataclass(frozen=True, kw_only=True)
class Slope:
    """A slope with its interval over the seeds."""

    mean: float
    low: float | None
    high: float | None

    def verdict(self, expected: float, tolerance: float, *, upper: bool = False) -> Verdict:
        """Returns ``pass`` within the tolerance, ``fail`` where the whole interval is beyond it.

        Args:
            expected: the slope by the rule.
            tolerance: off it that still passes.
            upper: True if less is allowed too.
        """
        if self.low is None or self.high is None:
            return "inconclusive"
        below, above = self.low - expected, self.high - expected
        if (above < -tolerance and not upper) or below > tolerance:
            return "fail"
        inside = self.mean - expected <= tolerance and (upper or expected - self.mean <= tolerance)
        sharp = self.high - self.low <= 4 * tolerance
        return "pass" if inside and sharp else "inconclusive"


def rows_of(measured: Measured) -> list[Row]:
    """Returns every quantity of every layer, as it is after the last step that all sizes have.

    A tensor is a cause of what fails if it fails from the first step on: what fails later only
    may follow from another one.
    """
    if not measured.steps:
        return []
    named = replace(measured, models=aligned(measured.models))
    reader = _Reader(named, measured.steps[-1])
    rows = reader.rows()
    earlier = [_Reader(named, step).rows() for step in measured.steps[:-1]]
    known = [
        (place, row)
        for place, some in reversed([*enumerate(earlier)])
        for row in some
        if row.slope is not None
    ]
    first = {_key(row): row for _, row in known if row.quantity == "update"}
    began = {_key(row): place for place, row in known if row.quantity == "epsilon_kept"}
    kept = {_key(row) for some in earlier for row in some if row.verdict == "pass"}
    return reader.explained(rows, kept, first, began)


def _takes(row: Row) -> bool:
    return row.quantity == "epsilon_kept"


def _key(row: Row) -> tuple[str, str]:
    return row.layer, row.quantity


def rows_at(measured: Measured, step: int) -> list[Row]:
    """Returns every quantity of every layer as it is after a step, without reasons."""
    return _Reader(replace(measured, models=aligned(measured.models)), step).rows()


class _Reader:
    """Reads the rows of a variant at one step."""

    def __init__(self, measured: Measured, step: int) -> None:
        self._scale, self._initial = measured.scale, measured.initial
        self._models, self._step = measured.models, step
        self._x = [math.log2(model.size) for model in self._models]
        self._tolerance = max(TOLERANCE, 2 * TOLERANCE / (max(self._x) - min(self._x)))
        self._alpha = -self._fitted([model.branch for model in self._models])

    def rows(self) -> list[Row]:
        """Returns all rows, without reasons."""
        tensors = [row for name in self._models[0].layers for row in self._tensor(name)]
        return tensors + list(self._activations())

    def _tensor(self, name: str) -> Iterator[Row]:
        layer = self._models[0].layers[name]
        role, inside = layer.role, layer.role == "hidden"
        a = self._fitted([float(model.layers[name].inputs) for model in self._models])
        b = self._fitted([float(model.layers[name].outputs) for model in self._models])
        norm = (b - a) / 2
        if self._scale == "depth" and inside:
            norm += self._alpha - 1
        start = self._initial.get(role, -a / 2 + min(0.0, (b - a) / 2))
        vector = layer.role == "vector"
        if not vector:
            yield from self._row(name, role, "initial_rms", start, upper=role == "readout")
        for quantity, expected in (
            ("update_rms", None),
            ("update_norm", norm if not vector else None),
            ("update_stable_rank", None),
            ("update_alignment", 0.0),
        ):
            yield from self._row(name, role, quantity, expected, told=True)
        effect = norm - (b - a) / 2
        yield from self._row(name, role, "update", effect, values=self._effects(name))
        kept = self._values(f"epsilon_share.{name}")
        if kept is not None:
            left = [[1 - each for each in seeds] for seeds in kept]
            yield from self._row(name, role, "epsilon_kept", 0.0, values=left)

    def _activations(self) -> Iterator[Row]:
        for column in self._models[0].values[self._step]:
            quantity, _, name = column.partition(".")
            if quantity in ("activation_rms", "activation_change", "activation_moved"):
                branch = name.startswith(BRANCHES)
                expected = 0.0
                if branch and self._scale == "depth":
                    expected = self._alpha - 1
                told = quantity == "activation_change" or branch
                # After the first of L blocks is what 1 of L branches adds: all of it at depth 1.
                first = self._scale == "depth" and "first" in name.split(".")
                less = first or quantity == "activation_rms"
                yield from self._row(name, "activation", quantity, expected, told=told, upper=less)

    def _effects(self, name: str) -> list[list[float]] | None:
        """Returns what each update does to its layer's outputs over the size of the inputs, both
        as root mean squares: norm, alignment and sizes together; of a vector its entries."""
        norms = self._values(f"update_norm.{name}")
        if norms is None or self._models[0].layers[name].role == "vector":
            return self._values(f"update_rms.{name}")
        shares = self._values(f"update_alignment.{name}")
        found = []
        for place, model in enumerate(self._models):
            layer = model.layers[name]
            shape = (layer.inputs / layer.outputs) ** 0.5
            parts = shares[place] if shares is not None else [1.0] * len(norms[place])
            pairs = zip(norms[place], parts, strict=True)
            found.append([n * s * shape if n else 0.0 for n, s in pairs])  # 0 aligns with nothing
        return found

    def _values(self, column: str) -> list[list[float]] | None:
        """Returns the values at each size, one a seed; None where a size has none."""
        found = [model.values[self._step].get(column) for model in self._models]
        return (
            None if any(each is None for each in found) else [list(each or ()) for each in found]
        )

    def _row(
        self,
        layer: str,
        role: str,
        quantity: str,
        expected: float | None,
        *,
        told: bool = False,
        upper: bool = False,
        values: list[list[float]] | None = None,
    ) -> Iterator[Row]:
        """Yields a row, or none where the quantity was not measured or is zero everywhere."""
        found = values if values is not None else self._values(f"{quantity}.{layer}")
        if found is None or not any(each for seeds in found for each in seeds):
            return
        slope = self._slope(found)
        verdict: Verdict = "told"
        if not told and expected is not None:
            verdict = (
                "inconclusive"
                if slope is None
                else slope.verdict(expected, self._tolerance, upper=upper)
            )
        yield Row(
            layer=layer,
            role=role,
            quantity=quantity,
            slope=None if slope is None else slope.mean,
            low=None if slope is None else slope.low,
            high=None if slope is None else slope.high,
            expected=None if expected is None else expected + 0.0,
            verdict=verdict,
            values=tuple(math.fsum(seeds) / len(seeds) for seeds in found),
        )

    def _slope(self, values: Sequence[Sequence[float]]) -> Slope | None:
        """Returns the slope of log2 of values, one list a size; None unless all are positive."""
        if not all(0 < each < math.inf for seeds in values for each in seeds):
            return None
        slopes = [self._fitted(list(seeds)) for seeds in zip(*values, strict=True)]
        mean = math.fsum(slopes) / len(slopes)
        if len(slopes) < 2:
            return Slope(mean=mean, low=None, high=None)
        from scipy.special import stdtrit

        spread = math.sqrt(math.fsum((s - mean) ** 2 for s in slopes) / (len(slopes) - 1))
        half = float(stdtrit(len(slopes) - 1, 0.975)) * spread / math.sqrt(len(slopes))
        return Slope(mean=mean, low=mean - half, high=mean + half)

    def _fitted(self, values: Sequence[float]) -> float:
        """Returns the least-squares slope of log2 of positive values over log2 of the sizes."""
        centre = math.fsum(self._x) / len(self._x)
        spread = math.fsum((x - centre) ** 2 for x in self._x)
        pairs = zip(self._x, values, strict=True)
        return math.fsum((x - centre) * math.log2(value) for x, value in pairs) / spread

    # Reasons ----------------------------------------------------------------------------------

    def explained(
        self,
        rows: Sequence[Row],
        kept: Collection[tuple[str, str]],
        first: Mapping[tuple[str, str], Row],
        began: Mapping[tuple[str, str], int],
    ) -> list[Row]:
        """Returns the rows with their reasons: first what is wrong with a tensor itself, then
        what only follows from that.

        Args:
            rows: without reasons.
            kept: layers and quantities that pass after some earlier step.
            first: updates as they were after the first step that has them, by layer and
                quantity; slopes are purest there.
            began: at which recorded step an epsilon had something to take from.
        """
        epsilons = {row.layer: row for row in rows if row.quantity == "epsilon_kept"}
        own = [
            row
            for row in rows
            if row.verdict == "fail"
            and row.role != "activation"
            and not self._of_its_epsilon(row, epsilons.get(row.layer))
        ]
        # What an epsilon takes depends on the gradient, and so on layers that moved before.
        lasting = [row for row in own if _key(row) not in kept]
        late = len(self._models[0].values)
        start = min((began.get(_key(r), late) for r in lasting if _takes(r)), default=late)
        lasting = [r for r in lasting if not _takes(r) or began.get(_key(r), late) <= start]
        causes = set(map(id, lasting or filter(_takes, own)))
        names = list(dict.fromkeys(row.layer for row in rows if id(row) in causes))
        return [
            replace(
                row,
                why=self._cause(first.get(_key(row), row))
                if id(row) in causes
                else self._effect(row, names, epsilons.get(row.layer)),
            )
            for row in rows
        ]

    def _of_its_epsilon(self, row: Row, epsilon: Row | None) -> bool:
        """Returns whether an update is off only by what its epsilon takes."""
        if row.quantity != "update" or epsilon is None:
            return False
        return abs(row.excess - (epsilon.slope or 0.0)) <= TOLERANCE

    def _cause(self, row: Row) -> str:
        """Returns what is wrong with a tensor itself."""
        if row.quantity == "epsilon_kept":
            first, last = 1 - row.values[0], 1 - row.values[-1]
            return (
                f"takes {first:.0%} of the update at the smallest size and {last:.0%} at the "
                f"largest: it has to become {'smaller' if last > first else 'larger'} beside "
                "what it is added to"
            )
        if row.quantity == "initial_rms":
            power, right = self._power(row.slope or 0.0), self._power(row.expected or 0.0)
            return f"go like {power} where the rule has {right}"
        off = f"{_off(row.excess)} like {self._power(row.excess)}"
        if self._scale == "depth" and row.role == "hidden" and abs(self._alpha) < 0.1:
            return f"{off} over the rule: residual branches are not divided by the depth"
        return f"{off}: {self._rate(row)}"

    def _effect(self, row: Row, causes: Sequence[str], epsilon: Row | None) -> str:
        """Returns why a row fails, or cannot be judged, that is no cause itself; else nothing."""
        if row.verdict == "inconclusive":
            return _unclear(row)
        if row.verdict != "fail":
            return ""
        off = f"{_off(row.excess)} like {self._power(row.excess)}"
        if row.role != "activation" and self._of_its_epsilon(row, epsilon):
            return f"{off}: follows from its epsilon"
        others = [name for name in causes if name != row.layer] or list(causes)
        if others:
            more = "" if len(others) < 4 else f" and {len(others) - 3} more"
            return f"{off}: follows from {', '.join(others[:3])}{more}"
        return f"{off}, and no single tensor explains it"

    def _rate(self, row: Row) -> str:
        """Returns what is wrong with a tensor's learning rate."""
        rates = [model.rates.get(row.layer) for model in self._models]
        known = [rate for rate in rates if rate]
        if len(known) < len(rates):
            return "its learning rate multiplier is missing or wrong"
        power = self._fitted(known)
        right = f"it would have to go like {self._power(power - row.excess)}"
        if abs(power) < 1e-6:
            return f"its learning rate multiplier is missing; {right}"
        return f"its learning rate goes like {self._power(power)}; {right}"

    def _power(self, exponent: float) -> str:
        return f"{self._scale}^{round(exponent, 2) + 0.0:.2g}"


def _off(excess: float) -> str:
    return "grows" if excess > 0 else "shrinks"


def _unclear(row: Row) -> str:
    if row.slope is None:
        return "a value is zero or not finite at some size"
    if row.low is None:
        return "one seed has no interval; use more"
    return (
        "the interval over the seeds is too wide, or reaches both sides of the tolerance; more "
        "seeds make it narrower"
    )


def worst(verdicts: Sequence[Verdict]) -> Literal["pass", "fail", "inconclusive"]:
    """Returns the verdict on all of them together: ``fail`` if any fails, ``pass`` if all that
    are judged pass."""
    judged = [each for each in verdicts if each != "told"]
    if "fail" in judged:
        return "fail"
    return "pass" if judged and "inconclusive" not in judged else "inconclusive"


def diverged_at(models: Sequence[Model]) -> Mapping[float, int]:
    """Returns how many seeds diverged at each size at which some did."""
    return {model.size: len(model.diverged) for model in models if model.diverged}

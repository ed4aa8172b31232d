"""What a coordinate check says: verdicts, named causes, tables, JSON, CSV."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from sweeper.check.measured import Measured
from sweeper.check.reading import TOLERANCE, Row, diverged_at, rows_at, rows_of, worst
from sweeper.words import listed, plural

SAID = {
    "initial_rms": "initial values",
    "update": "update",
    "epsilon_kept": "epsilon",
    "activation_moved": "activation",
    "activation_rms": "activation",
}
"""Quantities that are judged, in the words of a sentence."""


@dataclass(frozen=True, kw_only=True)
class VariantCheck:
    """What a check says of one variant.

    Attributes:
        measured: what it was read from.
        rows: every quantity of every layer.
        verdict: on all that is judged.
        named: what is wrong, a sentence each; the causes before what follows from them.
    """

    measured: Measured
    rows: tuple[Row, ...]
    verdict: Literal["pass", "fail", "inconclusive"]
    named: tuple[str, ...]

    @property
    def variant(self) -> str:
        """Name of the variant."""
        return self.measured.variant

    @property
    def causes(self) -> tuple[tuple[str, str], ...]:
        """What is wrong as pairs of role and quantity, each once: ``initial_rms``, ``update``
        (the learning rate) or ``epsilon_kept``."""
        found = (
            (row.role, row.quantity)
            for row in self.rows
            if row.verdict == "fail" and not _later(row)
        )
        return tuple(dict.fromkeys(found))

    @property
    def unclear(self) -> tuple[str, ...]:
        """Why nothing can be said, a sentence each, where the verdict is ``inconclusive``."""
        if self.verdict != "inconclusive":
            return ()
        reasons: dict[str, list[str]] = {}
        for row in self.rows:
            if row.verdict == "inconclusive" and row.role != "activation":
                where = "" if row.layer == row.role else f" ({row.layer})"
                reasons.setdefault(row.why, []).append(f"{row.role} {SAID[row.quantity]}{where}")
        said = tuple(f"not judged, {listed(some)}: {why}" for why, some in reasons.items())
        return said or ("no tensor was measured at all sizes",)


@dataclass(frozen=True, kw_only=True)
class CheckStatement:
    """What a check says of a study.

    Attributes:
        study: its name; empty for a model without a study.
        steps: after which it was measured.
        seeds: of each size.
        variants: one for each.
        files: where it is kept; empty where it is not.
        stored: True if it was measured before.
    """

    study: str
    steps: int
    seeds: int
    variants: tuple[VariantCheck, ...]
    files: tuple[str, ...] = ()
    stored: bool = False

    @property
    def verdict(self) -> Literal["pass", "fail", "inconclusive"]:
        """The worst of the variants'."""
        return worst([each.verdict for each in self.variants])

    def to_json(self) -> dict[str, Any]:
        """Returns it as plain data for JSON."""
        return {
            "study": self.study or None,
            "verdict": self.verdict,
            "steps": self.steps,
            "seeds": self.seeds,
            "tolerance": TOLERANCE,
            "variants": [
                {
                    "variant": each.variant,
                    "verdict": each.verdict,
                    "scale": each.measured.scale,
                    "sizes": list(each.measured.sizes),
                    "settings": dict(each.measured.settings),
                    "named": list(each.named),
                }
                for each in self.variants
            ],
            "layers": [_json(each.variant, row) for each in self.variants for row in each.rows],
            "files": list(self.files),
            "stored": self.stored,
        }


def statement_of(study: str, measured: Sequence[Measured], **facts: Any) -> CheckStatement:
    """Returns what was measured, read.

    Args:
        study: name of the study, or nothing.
        measured: of every variant.
        facts: other attributes of the statement.
    """
    return CheckStatement(study=study, variants=tuple(map(_read, measured)), **facts)


def _read(measured: Measured) -> VariantCheck:
    lost = diverged_at(measured.models)
    if lost:
        where = listed([f"{plural(n, 'seed')} at {size:g}" for size, n in lost.items()])
        said = (
            f"{where} of {measured.scale} diverged within the steps, which is no size to be in "
            "proportion to; use a smaller learning rate"
        )
        return VariantCheck(measured=measured, rows=(), verdict="fail", named=(said,))
    rows = tuple(rows_of(measured))
    # That an activation cannot be judged does not matter where all tensors can.
    judged = [r.verdict for r in rows if r.role != "activation" or r.verdict == "fail"]
    verdict = worst(judged)
    return VariantCheck(measured=measured, rows=rows, verdict=verdict, named=tuple(_named(rows)))


def _named(rows: Sequence[Row]) -> Iterator[str]:
    """Yields a sentence for all rows that fail for one reason, causes first."""
    failed = [row for row in rows if row.verdict == "fail"]
    moved = {row.layer for row in failed if row.quantity == "activation_moved"}
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in failed:
        if row.quantity != "activation_rms" or row.layer not in moved:
            groups.setdefault((row.role, row.quantity, _kind(row.why)), []).append(row)
    for (role, quantity, _), some in sorted(groups.items(), key=lambda item: _later(item[1][0])):
        most = max(some, key=lambda row: abs(row.excess))
        names = [row.layer for row in some]
        where = names[0] if len(names) == 1 else f"{len(names)} layers, most {most.layer}"
        said = f"{role} {SAID[quantity]}" if role != "activation" else SAID[quantity]
        yield f"{said}: {most.why}" if names == [role] else f"{said} ({where}): {most.why}"


def _later(row: Row) -> bool:
    return row.role == "activation" or "follows" in row.why


def _kind(why: str) -> str:
    """Returns a reason without its numbers."""
    return "".join(each for each in why if not each.isdigit() and each not in ".-^%")


def _json(variant: str, row: Row) -> dict[str, Any]:
    return {
        "variant": variant,
        "layer": row.layer,
        "role": row.role,
        "quantity": row.quantity,
        "slope": row.slope,
        "low": row.low,
        "high": row.high,
        "expected": row.expected,
        "verdict": row.verdict,
        "why": row.why,
    }


Cells = list[tuple[str, str]]
"""The cells of a line of a table, each with its heading."""


def layer_rows(check: VariantCheck) -> list[Cells]:
    """Returns a line for every quantity of every layer, also of those that are not judged."""
    return [
        [
            ("layer", row.layer),
            ("role", row.role),
            ("quantity", row.quantity),
            ("slope", _slope(row.slope)),
            ("95%", "" if row.low is None else f"{_slope(row.low)} to {_slope(row.high)}"),
            ("rule", _slope(row.expected)),
            ("verdict", row.verdict),
        ]
        for row in check.rows
    ]


def role_rows(check: VariantCheck) -> list[Cells]:
    """Returns a line for every quantity of every role that is judged, over all its layers."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in check.rows:
        if row.verdict != "told":
            groups.setdefault((row.role, row.quantity), []).append(row)
    return [
        [
            ("role", role),
            ("quantity", quantity),
            ("layers", str(len(some))),
            ("slopes", _range([row.slope for row in some if row.slope is not None])),
            ("rule", _range([row.expected for row in some if row.expected is not None])),
            ("verdict", _counted([row.verdict for row in some])),
        ]
        for (role, quantity), some in groups.items()
    ]


def _slope(value: float | None) -> str:
    return "" if value is None else f"{round(value, 2) + 0.0:+.2f}"


def _range(values: Sequence[float]) -> str:
    if not values:
        return ""
    ends = dict.fromkeys((_slope(min(values)), _slope(max(values))))
    return " to ".join(ends)


def _counted(verdicts: Sequence[str]) -> str:
    counts = Counter(verdicts)
    if len(counts) == 1:
        return verdicts[0]
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def as_csv(statement: CheckStatement) -> bytes:
    """Returns every value that was measured, at every step, size and seed, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = {
        name for check in statement.variants for name in (each.measured.scale for each in [check])
    }
    scale = names.pop() if len(names) == 1 else "size"
    writer.writerow(["variant", scale, "step", "seed", "quantity", "layer", "value"])
    for check in statement.variants:
        for model in check.measured.models:
            for step, columns in model.values.items():
                for column, values in columns.items():
                    quantity, _, layer = column.partition(".")
                    for seed, value in enumerate(values):
                        row = [check.variant, f"{model.size:g}", step, seed, quantity, layer]
                        writer.writerow([*row, repr(value)])
    return text.getvalue().encode()


def drawn_lines(check: VariantCheck) -> dict[str, dict[int, list[float]]]:
    """Returns what a figure shows, by step: the update on inputs of each role, a geometric mean
    over its tensors, and how far activations moved, each over its value at the smallest size."""
    found: dict[str, dict[int, list[float]]] = {}
    for step in check.measured.steps:
        lines: dict[str, list[tuple[float, ...]]] = {}
        for row in rows_at(check.measured, step):
            if row.quantity == "update":
                lines.setdefault(f"update, {row.role}", []).append(row.values)
            elif row.quantity == "activation_moved" and row.verdict != "told":
                lines.setdefault(f"activation, {row.layer}", []).append(row.values)
        for name, some in lines.items():
            known = [line for line in some if all(0 < value < math.inf for value in line)]
            if known:
                found.setdefault(name, {})[step] = [
                    math.exp(fmean(math.log(line[place] / line[0]) for line in known))
                    for place in range(len(check.measured.models))
                ]
    return found

"""What a coordinate check says: verdicts, named causes, tables, JSON, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sweeper.check.measured import Measured
from sweeper.check.reading import BRANCHES, TOLERANCE, Row, diverged_at, rows_of, worst
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
    verdict = worst([row.verdict for row in rows])
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


def table_rows(check: VariantCheck, *, every: bool = False) -> list[list[tuple[str, str]]]:
    """Returns the cells of a table, each with its heading; what is judged, or all of it."""
    found = []
    for row in check.rows:
        if not every and row.verdict == "told":
            continue
        interval = "" if row.low is None else f"{row.low:+.2f} to {row.high:+.2f}"
        ends = f"{row.values[0]:.3g} .. {row.values[-1]:.3g}" if row.values else ""
        found.append(
            [
                ("layer", row.layer),
                ("role", row.role),
                ("quantity", row.quantity),
                ("slope", "" if row.slope is None else f"{row.slope + 0.0:+.2f}"),
                ("95%", interval),
                ("rule", "" if row.expected is None else f"{row.expected:+.2f}"),
                ("smallest .. largest", ends),
                ("verdict", row.verdict),
            ]
        )
    return found


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


def drawn_activations(check: VariantCheck) -> list[str]:
    """Returns the activations that a figure shows: all that are judged."""
    return [
        row.layer
        for row in check.rows
        if row.quantity == "activation_moved" and not row.layer.startswith(BRANCHES)
    ]

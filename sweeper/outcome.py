"""How an attempt at a trial ended, as a plain value that workers send and the store keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

OutcomeKind = Literal[
    "completed",
    "diverged",
    "dominated",
    "out_of_memory",
    "bug",
    "lost_worker",
    "lost_node",
    "stopped",
]

ACCEPTED: frozenset[str] = frozenset({"completed", "diverged", "dominated"})
"""Outcomes that are results: such a trial is never run again unless asked for. One that others
dominated was stopped before its end, and is in no fit."""

FAILED: frozenset[str] = frozenset({"out_of_memory", "bug"})
"""Outcomes that are failures of the model or the code; a plain run does not repeat bugs."""


def first_line(error: str | None) -> str:
    """Returns what an error says in one line, empty without one: its first, and of a traceback
    alone that of the last exception, whose message may go on with hints that many others share."""
    lines = [line.rstrip() for line in (error or "").strip().splitlines()]
    starts = [at for at, line in enumerate(lines) if line.startswith("Traceback")]
    if not lines or 0 not in starts:
        return lines[0] if lines else ""
    rest = lines[starts[-1] + 1 :]
    return next((line for line in rest if line and not line[0].isspace()), lines[-1]).strip()


def cause(kind: str, error: str | None) -> str:
    """Returns how an attempt failed in one line: the kind of failure and what it says."""
    return f"{kind}: {said}" if (said := first_line(error)) else kind


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A metric measured at a token mark inside a run (one run answers several horizons).

    Attributes:
        step: optimizer steps done when it was measured.
        tokens: tokens seen when it was measured.
        metric: name of the metric, for example ``val_loss``.
        value: the value, in the unit that the workload's card states.
    """

    step: int
    tokens: int
    metric: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one attempt ended.

    Attributes:
        key: key of the trial.
        attempt: number of the attempt in the store, as handed out by the claim.
        kind: what happened; ``completed``, ``diverged`` and ``dominated`` are results.
        metrics: final metrics by name; empty or partial unless completed. A diverged trial's
            losses are left out rather than written as NaN; of a dominated one these are the last
            that were measured, not those of its end.
        step: optimizer steps done.
        tokens: tokens seen.
        flops: training FLOPs spent by the model.
        device_seconds: seconds of device time of all steps up to ``step``, those of earlier
            attempts whose checkpoint it went on from included (a pack's time is shared out
            evenly over its members).
        wall_seconds: seconds from the start of the attempt to its end.
        device: name of the processor or accelerator.
        host: name of the machine.
        environment: versions of python and of packages, threads, git commit where known.
        marks: metrics at token marks.
        curve: path of the curve's Parquet file relative to the store's root; None if there is
            none.
        error: the reason, for failures: of an exception its type and the first line of its
            message, and below them the traceback.
    """

    key: str
    attempt: int
    kind: OutcomeKind
    metrics: Mapping[str, float] = field(default_factory=dict)
    step: int = 0
    tokens: int = 0
    flops: float = 0.0
    device_seconds: float = 0.0
    wall_seconds: float = 0.0
    device: str = ""
    host: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()
    curve: str | None = None
    error: str | None = None

    @property
    def accepted(self) -> bool:
        """True if this outcome is a result of the trial rather than an accident on the way."""
        return self.kind in ACCEPTED

"""What the controller hands to a worker, and what a worker reports: plain, picklable values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.outcome import Outcome
from sweeper.store import Paths
from workloads.workload import Record


@dataclass(frozen=True, kw_only=True, order=True)
class Shape:
    """Resources of one slot.

    Attributes:
        cpus: processors, fractions allowed; a worker uses one thread per whole processor.
        gpus: accelerators, fractions allowed; any at all means training on ``cuda``.
        alone: a whole accelerator, or failing those a whole node, is kept free of others; the
            number of threads stays what ``cpus`` says, and with it the bits of a result.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    alone: bool = False

    @property
    def threads(self) -> int:
        """Processor threads for one worker."""
        return max(1, int(self.cpus))

    @property
    def device(self) -> str:
        """Device string for the trainer."""
        return "cuda" if self.gpus > 0 else "cpu"

    def fitting(self, cpus: float, gpus: float) -> int:
        """Returns how many slots of this shape so many processors and accelerators hold."""
        fits = cpus / self.cpus if self.cpus else math.inf
        if self.gpus:
            fits = min(fits, gpus / self.gpus)
        return int(fits + 1e-9)

    def __str__(self) -> str:
        return f"cpu{self.cpus:g}-gpu{self.gpus:g}{'-alone' if self.alone else ''}"


@dataclass(frozen=True, kw_only=True)
class Task:
    """One claimed attempt at a trial.

    Attributes:
        key: key of the trial.
        attempt: number of the attempt, from the claim.
        config: canonical config.
        seed: seed of the trial.
        flops: training FLOPs of the whole trial.
        steps: optimizer steps of the whole trial.
        tokens: tokens of the whole trial.
        data: fingerprint of the data that the trial was planned on.
    """

    key: str
    attempt: int
    config: Mapping[str, Any]
    seed: int
    flops: float
    steps: int
    tokens: int
    data: str


@dataclass(frozen=True, kw_only=True)
class Order:
    """A pack of attempts for one slot.

    Attributes:
        number: unique within a run.
        workload: name of the workload, resolved by the worker.
        shape: resources that the slot has.
        tasks: the members of the pack; they differ in packable settings and seeds only.
        paths: where curves and checkpoints go.
        checkpoint_seconds: seconds between checkpoints.
        avoid: places that should not take it while another one would.
        metric: the study's metric, without which no trial is completed; empty asks for none.
        tell_marks: report the metric at every evaluation on the way.
        record: what the trainer records on the way; None is nothing.
    """

    number: int
    workload: str
    shape: Shape
    tasks: tuple[Task, ...]
    paths: Paths
    checkpoint_seconds: float
    avoid: frozenset[str] = frozenset()
    metric: str = ""
    tell_marks: bool = False
    record: Record | None = None


@dataclass(frozen=True, kw_only=True)
class Started:
    """A slot began an order.

    Attributes:
        order: number of the order.
        slot: name of the slot.
        host, pid: its process.
        place: the node and the accelerators that it trains on, in words.
    """

    order: int
    slot: str
    host: str
    pid: int
    place: str = ""


@dataclass(frozen=True, kw_only=True)
class Advanced:
    """Where a running order stands.

    Attributes:
        order: number of the order.
        fraction: done share of the pack's steps, 0 to 1.
    """

    order: int
    fraction: float


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A running member of an order was evaluated.

    Attributes:
        order: number of the order.
        key: key of the trial.
        step: optimizer steps done.
        value: the study's metric there.
    """

    order: int
    key: str
    step: int
    value: float


@dataclass(frozen=True, kw_only=True)
class Ended:
    """One member of an order ended.

    Attributes:
        order: number of the order.
        outcome: how it ended.
        warnings: what a person should know, for example a checkpoint that was skipped.
        adopted: True if it was not trained now: its result lay in a curve file.
    """

    order: int
    outcome: Outcome
    warnings: tuple[str, ...] = field(default=())
    adopted: bool = False


@dataclass(frozen=True, kw_only=True)
class Lost:
    """The worker of an order is gone; its unfinished members have to be run again.

    Attributes:
        order: number of the order.
        reason: what is known of it, in words.
        node: True if the whole node is gone, so that no trial is to blame.
        where: Ray's name of the node.
    """

    order: int
    reason: str
    node: bool = False
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class Died:
    """A worker process is gone that had nothing in hand."""

    slot: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Parked:
    """A slot at a quarantined place idles, so that no other slot is put there."""

    slot: str


Event = Started | Advanced | Marked | Ended | Lost | Died | Parked

"""What a run measures of itself, in the words of Prometheus: served by the controller, written to
a file for node_exporter, or handed to Ray (engine/ray). Labels are few: no trial is one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    ProcessCollector,
    start_http_server,
    write_to_textfile,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sweeper.engine.messages import Died, Ended, Event, Lost, Saved
from sweeper.engine.progress import View
from sweeper.errors import EnvironmentFault, RequestError
from sweeper.outcome import FAILED, Outcome, first_line

RATE_SECONDS = 60.0
"""Over how long speeds are means."""

FILE_SECONDS = 15.0
"""How often a file is written anew."""

MOST_CAUSES = 32
"""Causes of failure that have a label of their own."""

STORE_BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Seconds of a transaction."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What is counted at a moment.

    Attributes:
        view: what there is to show of the run.
        stopped, paused: trials that are held back.
        recorded: results that this run has brought to the store.
    """

    view: View
    stopped: int
    paused: int
    recorded: int


class RunMetrics(Collector):
    """The metrics of one run; thread-safe.

    Args:
        study: name of the study, the one label that all of them have.
        snapshot: returns what is counted now.
        clock: tells the time, in seconds.

    Attributes:
        registry: where they are collected, with those of the process.
    """

    def __init__(
        self,
        study: str,
        snapshot: Callable[[], Snapshot],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._study = study
        self._snapshot = snapshot
        self._clock = clock
        self._outcomes: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._losses: Counter[str] = Counter()
        self._checkpoints = 0
        self._work: deque[tuple[float, float, float]] = deque([(clock(), 0.0, 0.0)])
        self._lock = threading.Lock()
        self.registry = CollectorRegistry(auto_describe=False)
        self._store = Histogram(
            "sweeper_store_seconds",
            "How long transactions of the store took; those that write are its commits.",
            ("study", "transaction"),
            registry=self.registry,
            buckets=STORE_BUCKETS,
        )
        for kind in ("read", "write"):
            self._store.labels(study, kind)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def see(self, event: Event) -> None:
        """Takes in one event of the engine."""
        with self._lock:
            if isinstance(event, Ended):
                self._outcomes[event.outcome.kind] += 1
                if event.outcome.kind in FAILED:
                    self._failures[self._cause(event.outcome)] += 1
            elif isinstance(event, Lost):
                self._losses["node" if event.node else "worker"] += 1
            elif isinstance(event, Died):
                self._losses["idle worker"] += 1
            elif isinstance(event, Saved):
                self._checkpoints += 1

    def transacted(self, writes: bool, seconds: float) -> None:
        """Takes in how long a transaction of the store took."""
        self._store.labels(self._study, "write" if writes else "read").observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Yields what is known now, but for the histogram and the process."""
        now = self._snapshot()
        view = now.view
        with self._lock:
            tokens_rate, flops_rate = self._rates(view)
            outcomes, failures = dict(self._outcomes), dict(self._failures)
            losses, checkpoints = dict(self._losses), self._checkpoints
        gauge = partial(self._family, GaugeMetricFamily)
        yield gauge("trials", "Trials of the study by state.", _states(now), "state")
        yield gauge("slots", "Workers that have worked in this run.", len(view.slots))
        yield gauge("slots_busy", "Workers that train now.", view.busy)
        yield gauge("tokens_per_second", "Over the last minute.", tokens_rate)
        yield gauge("flops_per_second", "Over the last minute.", flops_rate)
        if view.left is not None:
            yield gauge("left_seconds", "Estimated time to the end.", view.left)
        counter = partial(self._family, CounterMetricFamily)
        yield counter("tokens", "Tokens trained on.", view.tokens)
        yield counter("attempts_ended", "By outcome.", outcomes, "outcome")
        yield counter("failures", "Failed attempts by cause.", failures, "cause")
        yield counter("workers_lost", "By what was lost.", losses, "what")
        yield counter("checkpoints", "Checkpoints written.", checkpoints)
        yield counter("results_recorded", "Results in the store.", now.recorded)

    def _family(
        self,
        kind: type[GaugeMetricFamily | CounterMetricFamily],
        name: str,
        said: str,
        values: float | Mapping[str, float],
        label: str | None = None,
    ) -> Metric:
        labels = ("study", label) if label else ("study",)
        family = kind(f"sweeper_{name}", said, labels=labels)
        for value, number in values.items() if isinstance(values, Mapping) else [("", values)]:
            family.add_metric([self._study, value][: len(labels)], number)
        return family

    def _cause(self, outcome: Outcome) -> str:
        """The kind of a failure and the type of its exception: messages are too many."""
        kind = first_line(outcome.error).partition(":")[0]
        known = kind.replace(".", "_").isidentifier()
        cause = f"{outcome.kind}: {kind}" if known else outcome.kind
        full = len(self._failures) >= MOST_CAUSES and cause not in self._failures
        return f"{outcome.kind}: others" if full else cause

    def _rates(self, view: View) -> tuple[float, float]:
        """Tokens and FLOPs per second over the last minute, as far as anybody asked meanwhile."""
        now, flops = self._clock(), view.flops_rate * view.worked
        self._work.append((now, view.tokens, flops))
        while len(self._work) > 2 and self._work[1][0] <= now - RATE_SECONDS:
            self._work.popleft()
        then, tokens_then, flops_then = self._work[0]
        seconds = now - then
        if seconds <= 0:
            return 0.0, 0.0
        return (view.tokens - tokens_then) / seconds, max(0.0, flops - flops_then) / seconds


def _states(now: Snapshot) -> dict[str, float]:
    view = now.view
    ended = view.done + view.diverged + view.dominated + view.failed
    held = now.stopped + now.paused
    return {
        "done": view.done,
        "diverged": view.diverged,
        "dominated": view.dominated,
        "failed": view.failed,
        "running": view.running,
        "stopped": now.stopped,
        "paused": now.paused,
        "pending": max(0, view.total - ended - view.running - held),
    }


@contextlib.contextmanager
def published(
    registry: CollectorRegistry,
    *,
    port: int | None = None,
    host: str = "127.0.0.1",
    file: Path | None = None,
    said: Callable[[str], None] = lambda text: None,
) -> Iterator[None]:
    """Context in which metrics can be scraped, and are written to a file.

    Args:
        registry: what is published.
        port: where HTTP is served; 0 takes any that is free, None serves nothing.
        host: address to listen at.
        file: written anew every few seconds and at the end, whole or not at all; its name ends in
            ``.prom``, as node_exporter's textfile collector wants it.
        said: is told the address.

    Raises:
        EnvironmentFault: the port cannot be had, or the file cannot be written.
        RequestError: the name of the file ends in something else.
    """
    if file is not None and file.suffix != ".prom":
        raise RequestError(
            f"--metrics-file {file}: node_exporter reads files whose names end in .prom alone; "
            f"name it {file.with_suffix('.prom').name}"
        )
    with contextlib.ExitStack() as open_:
        if port is not None:
            open_.enter_context(_served(registry, port, host, said))
        if file is not None:
            open_.enter_context(_written(registry, file))
        yield


@contextlib.contextmanager
def _served(
    registry: CollectorRegistry, port: int, host: str, said: Callable[[str], None]
) -> Iterator[None]:
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except (OSError, OverflowError) as fault:
        why = getattr(fault, "strerror", None) or str(fault)
        raise EnvironmentFault(
            f"metrics cannot be served at {host}:{port}: {why}; choose another --metrics-port"
        ) from fault
    said(f"metrics at http://{host}:{server.server_port}/metrics")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def _written(registry: CollectorRegistry, file: Path) -> Iterator[None]:
    def write() -> None:
        write_to_textfile(str(file), registry)

    def rewrite() -> None:
        while not over.wait(FILE_SECONDS):
            with contextlib.suppress(OSError):  # a disk that is full for a while ends no run
                write()

    try:
        write()
    except OSError as fault:
        raise EnvironmentFault(
            f"--metrics-file {file}: it cannot be written: {fault.strerror}"
        ) from fault
    over = threading.Event()
    thread = threading.Thread(target=rewrite, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with contextlib.suppress(OSError):
            write()

"""The metrics of a run through Ray's metrics API, so that they stand beside those of the cluster:
on the metrics port of the controller's node, and from there in its Prometheus and Grafana."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample
from ray.util.metrics import Counter, Gauge

PUSH_SECONDS = 5.0
"""How often they are handed over; Ray's agent reports every ten seconds by itself."""

OURS = "sweeper_"
"""How the names begin of what is handed over: Ray knows its processes by itself."""


Place = tuple[str, tuple[tuple[str, str], ...]]
"""The name of a sample, and its labels."""

_TOLD: WeakKeyDictionary[CollectorRegistry, dict[Place, float]] = WeakKeyDictionary()
"""What Ray was told of the counters of a run, which may have several sessions one after the
other."""


class Meters:
    """Context that hands the metrics of a run to Ray, until it is left.

    Counters are told by what they grew, everything else as it is; of a histogram there are the
    number and the sum. Where a node has no metrics agent (Ray without its extra ``default``)
    nobody hears them.

    Args:
        registry: holds the metrics; None hands over none.
    """

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._registry = registry or CollectorRegistry()
        self._meters: dict[str, Counter | Gauge] = {}
        self._told = _TOLD.setdefault(self._registry, {})
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meters", daemon=True)

    def __enter__(self) -> Meters:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def push(self) -> None:
        """Hands over what is known now."""
        for family in self._registry.collect():
            for sample in family.samples:
                if sample.name.startswith(OURS) and not sample.name.endswith(SKIPPED):
                    self._tell(sample, grows=family.type in ("counter", "histogram"))

    def _run(self) -> None:
        while True:
            ended = self._over.wait(PUSH_SECONDS)
            self.push()
            if ended:
                return

    def _tell(self, sample: Sample, *, grows: bool) -> None:
        labels = {name: value for name, value in sample.labels.items() if value}
        meter = self._meters.get(sample.name)
        if meter is None:
            # Ray puts "_total" after the names of counters itself.
            make, name = (
                (Counter, sample.name.removesuffix("_total"))
                if grows
                else (
                    Gauge,
                    sample.name,
                )
            )
            meter = self._meters[sample.name] = make(name, tag_keys=tuple(sample.labels))
        if isinstance(meter, Gauge):
            meter.set(sample.value, tags=labels)
            return
        place = sample.name, tuple(sorted(labels.items()))
        grown = sample.value - self._told.get(place, 0.0)
        self._told[place] = sample.value
        if grown > 0:
            meter.inc(grown, tags=labels)


SKIPPED = ("_bucket", "_created")
"""Ends of the names of samples that are left out."""

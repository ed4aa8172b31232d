"""Proposes slots to Tune: as many of each shape as have packs waiting and fit the cluster."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ray.tune import PlacementGroupFactory
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.experiment.config_parser import _create_trial_from_spec, _make_parser
from ray.tune.search import SearchAlgorithm

from sweeper.engine.cluster import Capacity
from sweeper.engine.dispatch import Dispatcher
from sweeper.engine.order import Shape


class SlotProposer(SearchAlgorithm):
    """Tune search algorithm whose trials are slots.

    Args:
        dispatcher: knows which shapes have packs waiting.
        mailbox: handle of the mailbox actor, given to every slot.
    """

    def __init__(self, dispatcher: Dispatcher, mailbox: Any) -> None:
        self._dispatcher = dispatcher
        self._mailbox = mailbox
        self._parser = _make_parser()
        self._spec: dict[str, Any] = {}
        self._live: dict[str, Shape] = {}
        self._numbers: Counter[Shape] = Counter()
        self._capacity = Capacity()

    def add_configurations(self, experiments: Any) -> None:
        """Keeps Tune's one experiment, from whose spec every slot is made."""
        experiment = experiments[0] if isinstance(experiments, list) else experiments
        self._spec = dict(experiment.spec)

    def next_trial(self) -> TuneTrial | None:
        """Returns one more slot, or None while there are enough."""
        parked = self._dispatcher.parked & self._live.keys()
        for shape in self._dispatcher.active():
            live = sum(at == shape for name, at in self._live.items() if name not in parked)
            idle = sum(self._live[name] == shape for name in parked)
            wanted = self._dispatcher.waiting(shape) + self._dispatcher.flying(shape)
            if live < min(max(1, self._capacity.slots(shape) - idle), wanted):
                return self._slot(shape)
        return None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Forgets a slot that has ended."""
        self._live.pop(trial_id, None)

    def is_finished(self) -> bool:
        """True when every pack has ended, or the run is being stopped."""
        return self._dispatcher.finished or self._dispatcher.stopping

    @property
    def total_samples(self) -> int:
        """Number of slots proposed so far."""
        return sum(self._numbers.values())

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher into a file that is never read here."""
        return {}

    def _slot(self, shape: Shape) -> TuneTrial:
        name = f"{shape}-slot{self._numbers[shape]}"
        self._numbers[shape] += 1
        self._live[name] = shape
        spec = {
            **self._spec,
            "config": {"slot": name, "shape": shape, "mailbox": self._mailbox},
        }
        bundle = self._capacity.bundle(shape)
        slot: TuneTrial = _create_trial_from_spec(
            spec,
            self._parser,
            trial_id=name,
            placement_group_factory=PlacementGroupFactory([bundle]),
        )
        return slot

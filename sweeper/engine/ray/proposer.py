"""What proposes slots to Tune, as trials of its own, and takes back those that wait in vain."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from ray.tune import PlacementGroupFactory
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.experiment.config_parser import _create_trial_from_spec, _make_parser
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import SearchAlgorithm

from sweeper.engine.messages import Shape
from sweeper.engine.notice import Notices
from sweeper.engine.ray.roster import Roster

WITHDRAW_SECONDS = 0.5
"""How often it is looked for slots that are no longer needed and have not started."""


class Unsaved:
    """Tune pickles what it is given into files that are never read here."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class SlotProposer(Unsaved, SearchAlgorithm):
    """Tune search algorithm whose trials are slots.

    Args:
        roster: knows which slots are needed.
        mailbox: handle of the mailbox actor, given to every slot.
        notices: where slots hear that their node will be taken away.
        study, scale: names of the study and its scale, by which slots call themselves.
    """

    def __init__(
        self,
        roster: Roster,
        mailbox: Any,
        notices: Notices | None = None,
        *,
        study: str = "",
        scale: str = "",
    ) -> None:
        self._names = {"study": study, "scale": scale}
        self.roster = roster
        self.mailbox = mailbox
        self._notices = notices
        self._parser = _make_parser()
        self._spec: dict[str, Any] = {}
        self._slots: dict[str, TuneTrial] = {}
        self._numbers: Counter[str] = Counter()

    def add_configurations(self, experiments: Any) -> None:
        """Keeps Tune's one experiment, from whose spec every slot is made."""
        experiment = experiments[0] if isinstance(experiments, list) else experiments
        self._spec = dict(experiment.spec)

    def next_trial(self) -> TuneTrial | None:
        """Returns one more slot, or None while there are enough."""
        shape = self.roster.lacking()
        return None if shape is None else self._slot(shape)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Forgets a slot that has ended."""
        self._slots.pop(trial_id, None)
        self.roster.ended(trial_id)

    def is_finished(self) -> bool:
        """True when every pack has ended, or the run is being stopped."""
        return self.roster.finished

    @property
    def total_samples(self) -> int:
        """Number of slots proposed so far."""
        return sum(self._numbers.values())

    def vain(self) -> list[TuneTrial]:
        """Returns slots that wait for resources and are no longer needed."""
        waiting = [name for name, slot in self._slots.items() if slot.status == TuneTrial.PENDING]
        return [self._slots[name] for name in self.roster.surplus(waiting)] if waiting else []

    def _slot(self, shape: Shape) -> TuneTrial:
        name = f"{shape}-slot{self._numbers[str(shape)]}"
        self._numbers[str(shape)] += 1
        self.roster.proposed(name, shape)
        spec = {
            **self._spec,
            "config": {
                "slot": name,
                "shape": shape,
                "mailbox": self.mailbox,
                "notices": self._notices,
                **self._names,
            },
        }
        slot: TuneTrial = _create_trial_from_spec(
            spec,
            self._parser,
            trial_id=name,
            placement_group_factory=PlacementGroupFactory([self.roster.bundle(shape)]),
        )
        self._slots[name] = slot
        return slot


class Withdrawal(Unsaved, FIFOScheduler):
    """Tune scheduler that takes slots back which wait for resources and are no longer needed: one
    that started all the same would take them from who needs them, for as long as a start takes.

    Args:
        proposer: knows them.
    """

    def __init__(self, proposer: SlotProposer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._proposer = proposer
        self._looked = 0.0

    def choose_trial_to_run(self, tune_controller: Any) -> TuneTrial | None:
        """Leaves the order to Tune, which calls this at every step."""
        now = time.monotonic()
        if now - self._looked > WITHDRAW_SECONDS:
            self._looked = now
            for slot in self._proposer.vain():
                tune_controller.stop_trial(slot)
        chosen: TuneTrial | None = super().choose_trial_to_run(tune_controller)
        return chosen

"""One Ray Tune session: joins Ray, proposes slots to Tune, exchanges orders for events."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import PlacementGroupFactory
from ray.tune.execution import class_cache
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.experiment.config_parser import _create_trial_from_spec, _make_parser
from ray.tune.search import SearchAlgorithm
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper.engine.dispatch import Dispatcher
from sweeper.engine.messages import Shape
from sweeper.engine.ray.cluster import Capacity, answered, check_shapes, cluster
from sweeper.engine.ray.exchange import Exchange
from sweeper.engine.ray.mailbox import Mailbox
from sweeper.engine.ray.pulse import Call, aside
from sweeper.engine.ray.slot import Slot
from sweeper.errors import ClusterError
from sweeper.outcome import first_line
from sweeper.secrets import is_secret, redacted
from sweeper.store import signature, signer_has_ended


class _Unsaved:
    """Tune pickles what it is given into files that are never read here."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class SlotProposer(_Unsaved, SearchAlgorithm):
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
        for shape, wanted in self._dispatcher.demand().items():
            live = sum(at == shape for name, at in self._live.items() if name not in parked)
            idle = sum(self._live[name] == shape for name in parked)
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


SETTINGS = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_MAX_PENDING_TRIALS_PG": "8",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "60",
    "TUNE_WARN_THRESHOLD_S": "10",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "60",
}
"""Environment of the session; why each is so stands in docs/engine.md."""

SCRATCH = "sweeper-tune-"
"""How the names of Tune's folders begin; who made one follows."""

LOOK_SECONDS = 0.5
"""How often it is looked whether to wait any longer for Tune."""

CLEANUP_SECONDS = 90.0
"""How long Tune may take to end its slots; it kills those that hang after a minute."""

HASTE_SECONDS = 5.0
"""The same where the run was asked to end, or Ray is in trouble."""

NODE_DIED = "its node has died"
"""How Ray says that an actor ended with its node."""


def run_ray(
    dispatcher: Dispatcher,
    *,
    stopped: Callable[[], bool],
    address: str | None = None,
    hang_seconds: float = math.inf,
    note: Callable[[str], None] = lambda text: None,
) -> None:
    """Runs everything that waits on a Ray cluster.

    Args:
        dispatcher: what to run.
        stopped: polled several times a second; True ends gracefully, with checkpoints.
        address: of a running cluster (``auto`` or ``host:port``); None starts a local one.
        hang_seconds: a worker that says nothing about its order for so long is ended, and what
            it held runs again.
        note: is given what a person should know while the run goes on.

    Raises:
        ClusterError: Ray cannot be started or joined, breaks off, or has not what a trial needs.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    with cluster(address, note=note) as pulse, _scratch() as scratch:
        check_shapes(dispatcher.shapes(), may_grow=address is not None, note=note)
        mailbox = answered(_mailbox)
        exchange = Exchange(
            dispatcher, mailbox, stopped, pulse=pulse, hang_seconds=hang_seconds, note=note
        )
        _tune(dispatcher, mailbox, exchange, scratch)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """Tune insists on a folder of its own; it is thrown away, and so are those of killed runs."""
    for left in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        if signer_has_ended(left.name.removeprefix(SCRATCH).partition("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{signature()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _mailbox() -> Any:
    here = ray.get_runtime_context().get_node_id()
    return (
        ray.remote(Mailbox)
        .options(
            num_cpus=0,
            max_concurrency=10_000,
            scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
        )
        .remote()
    )


def _tune(dispatcher: Dispatcher, mailbox: Any, exchange: Exchange, scratch: Path) -> None:
    for name in ("ray.tune", "ray.air", "ray.train"):
        # The death of a worker is told by a note and kept in the store; Tune would print it with
        # a long traceback into the live view.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Tune would put AWS's keys into the runtime environment of every slot, which Ray writes to its
    # logs on every node as it stands. Workers inherit those of their node.
    copied = class_cache.ENV_VARS_TO_PROPAGATE
    copied.difference_update([*filter(is_secret, copied)])
    tuner = tune.Tuner(
        Slot,
        tune_config=tune.TuneConfig(
            search_alg=SlotProposer(dispatcher, mailbox), reuse_actors=False
        ),
        run_config=tune.RunConfig(
            name="slots",
            storage_path=str(scratch),
            verbose=0,
            callbacks=[Watch(mailbox)],
            stop=WhenOver(exchange),
            failure_config=tune.FailureConfig(max_failures=-1),
        ),
    )
    with exchange:
        _await(aside(tuner.fit), exchange)


def _await(ended: Call[Any], exchange: Exchange) -> None:
    """Returns once Tune has ended, or hangs in a call of Ray although the run is over: everything
    is in the store by then."""
    over: float | None = None
    while True:
        try:
            ended.result(LOOK_SECONDS)
            return
        except TimeoutError:
            if ended.done():
                raise
        except ray.exceptions.RayError as fault:
            raise ClusterError(f"the Ray session broke off: {first_line(str(fault))}") from fault
        if exchange.over:
            now = time.monotonic()
            over = over or now
            if now - over > (HASTE_SECONDS if exchange.in_haste else CLEANUP_SECONDS):
                ended.give_up()
                return


class Watch(_Unsaved, tune.Callback):
    """Tune callback that reports the order of a dead slot as lost at once, rather than when the
    slot's next process pulls."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A slot died and Tune will start it again."""
        self._report_death(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A slot died for good, or could not be started."""
        self._report_death(trial)

    def _report_death(self, slot: Any) -> None:
        lines = _last_lines(slot)
        self._mailbox.report_death.remote(
            slot.trial_id, lines[-1], any(NODE_DIED in line for line in lines)
        )


class WhenOver(_Unsaved, tune.Stopper):
    """Ends Tune when the run is over, also while a slot still waits for a node to hold it.

    Args:
        exchange: knows whether slots have anything left to say.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never ends a single slot: slots end by themselves."""
        return False

    def stop_all(self) -> bool:
        """Returns whether to end all slots that are left."""
        return self._exchange.over


def _last_lines(slot: Any) -> list[str]:
    """Returns the lines of what Tune kept of the end of a slot, at least one."""
    try:
        text = Path(slot.error_file or os.devnull).read_text(encoding="utf-8", errors="replace")
    except OSError as fault:
        text = f"what it said cannot be read: {fault}"
    lines = [line.strip() for line in redacted(text).strip().splitlines()]
    return lines or [f"{slot.trial_id} left no message"]

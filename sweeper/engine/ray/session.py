"""One Ray Tune session: joins Ray, proposes slots to Tune, exchanges orders for events."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from prometheus_client import CollectorRegistry
from ray import tune
from ray.tune.execution import class_cache
from ray.tune.progress_reporter import TrialProgressCallback
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper.engine.dispatch import Dispatcher
from sweeper.engine.notice import Notices
from sweeper.engine.ray.board import Board
from sweeper.engine.ray.capacity import Capacity, check_shapes
from sweeper.engine.ray.cluster import answered, cluster
from sweeper.engine.ray.exchange import Exchange
from sweeper.engine.ray.mailbox import Mailbox
from sweeper.engine.ray.meters import Meters
from sweeper.engine.ray.nodes import require_shared
from sweeper.engine.ray.proposer import SlotProposer, Unsaved, Withdrawal
from sweeper.engine.ray.pulse import Call, aside
from sweeper.engine.ray.roster import Roster
from sweeper.engine.ray.slot import Slot
from sweeper.errors import ClusterError
from sweeper.outcome import first_line
from sweeper.secrets import is_secret, redacted
from sweeper.store import Paths, signature, signer_has_ended

SETTINGS = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_MAX_PENDING_TRIALS_PG": "256",
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

NODE_DIED = ("its node has died", "never ran")
"""How Ray says that an actor ended with its node, and that its node went before it had begun."""


def run_ray(
    dispatcher: Dispatcher,
    paths: Paths,
    *,
    stopped: Callable[[], bool],
    address: str | None = None,
    hang_seconds: float = math.inf,
    priority: int = 0,
    notices: Notices | None = None,
    note: Callable[[str], None] = lambda text: None,
    study: str = "",
    scale: str = "",
    metrics: CollectorRegistry | None = None,
) -> None:
    """Runs everything that waits on a Ray cluster.

    Args:
        dispatcher: what to run.
        paths: where curves and checkpoints go.
        stopped: polled several times a second; True ends gracefully, with checkpoints.
        address: of a running cluster (``auto`` or ``host:port``); None starts a local one.
        hang_seconds: a worker that says nothing about its order for so long is ended, and what
            it held runs again.
        priority: studies of a higher one come first on a joined cluster.
        notices: where workers hear that their node will be taken away, unless the environment of
            the node says so.
        note: is given what a person should know while the run goes on.
        study, scale: names of the study and its scale, by which Ray's dashboard calls slots.
        metrics: what the run measures of itself; None nothing.

    Raises:
        ClusterError: Ray cannot be started or joined, breaks off, or has not what a trial needs.
        StoreError: a node of a cluster does not see what others write to the store's place.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    with cluster(address, note=note) as pulse, _scratch() as scratch:
        check_shapes(dispatcher.shapes(), may_grow=address is not None, note=note)
        if address is not None:
            require_shared(paths, note)
        mailbox = answered(_mailbox, study)
        joined = address is not None
        roster = Roster(dispatcher, Capacity(), may_grow=joined, priority=priority, note=note)
        proposer = SlotProposer(roster, mailbox, notices, study=study, scale=scale)
        exchange = Exchange(
            dispatcher,
            mailbox,
            stopped,
            roster=roster,
            pulse=pulse,
            hang_seconds=hang_seconds,
            note=note,
        )
        sharing = Board(study, roster) if joined else contextlib.nullcontext()
        with sharing, Meters(metrics):
            _tune(proposer, exchange, scratch)


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


def _mailbox(study: str) -> Any:
    here = ray.get_runtime_context().get_node_id()
    return (
        ray.remote(Mailbox)
        .options(
            name=f"sweeper {study} mailbox",
            num_cpus=0,
            max_concurrency=10_000,
            scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
        )
        .remote()
    )


def _tune(proposer: SlotProposer, exchange: Exchange, scratch: Path) -> None:
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
            search_alg=proposer, scheduler=Withdrawal(proposer), reuse_actors=False
        ),
        run_config=tune.RunConfig(
            name="slots",
            storage_path=str(scratch),
            verbose=0,
            callbacks=[Watch(proposer.mailbox)],
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


class Watch(Unsaved, TrialProgressCallback):
    """Tune callback that reports the order of a dead slot as lost at once, rather than when the
    slot's next process pulls. It takes the place of the one with which Tune prints progress."""

    def __init__(self, mailbox: Any) -> None:
        super().__init__()
        self._mailbox = mailbox

    def on_trial_result(self, *args: Any, **info: Any) -> None:
        """Slots have no results of their own."""

    def on_trial_complete(self, *args: Any, **info: Any) -> None:
        """A slot ended, or was taken back before it had started."""

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A slot died and Tune will start it again."""
        self._report_death(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A slot died for good, or could not be started."""
        self._report_death(trial)

    def _report_death(self, slot: Any) -> None:
        lines = _last_lines(slot)
        self._mailbox.report_death.remote(
            slot.trial_id, lines[-1], any(said in line for said in NODE_DIED for line in lines)
        )


class WhenOver(Unsaved, tune.Stopper):
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

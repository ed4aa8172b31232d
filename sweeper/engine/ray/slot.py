"""A slot: a long-lived Tune trainable that pulls orders until there are none of its shape."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Sequence
from os import _exit  # kept: a trial's call of it is turned into its failure
from typing import Any

import ray
from ray import tune
from ray._raylet import setproctitle  # type: ignore[attr-defined]

from sweeper.engine.messages import Advanced, Event, Leaving, Order, Shape
from sweeper.engine.notice import Notices, NoticeWatch
from sweeper.engine.ray.mailbox import PARK, Reply, WorkerProcess
from sweeper.engine.worker import Host, hostname

LOOK_SECONDS = 0.5


def end_with_parent() -> None:
    """Makes this process end within a second of the one that started it, as if it were killed.

    The parent of a Ray worker is the raylet of its node. Some seconds after a raylet has died Ray
    gives its node up and the trials there run elsewhere, but a worker in the middle of its work
    goes on for minutes (measured with 2.60): it would train them a second time.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        _exit(1)

    threading.Thread(target=watch, name="orphan", daemon=True).start()


PATIENCE_SECONDS = 2.0
"""How long a slot waits for an order before it asks whether it is still needed."""


SAVE_SECONDS = 10.0
"""After so long without a reply of the mailbox a slot writes checkpoints."""

SILENT_SECONDS = 600.0
"""After so long it ends: its controller has given the run up before."""


class Slot(tune.Trainable):
    """Hosts packs, one after the other, in one process."""

    _name: str = ""

    def setup(self, config: dict[str, Any]) -> None:
        """Takes up the slot's name, shape and mailbox from Tune's config."""
        end_with_parent()
        _leave_signals()
        self._name = config["slot"]
        self._shape: Shape = config["shape"]
        self._mailbox = config["mailbox"]
        self._process = _this_process()
        self._study: str = config.get("study", "")
        self._scale: str = config.get("scale", "")
        self._host: Host | None = None
        self._events: list[Event] = []
        self._orders = 0
        self._silent_until = 0.0
        self._orphaned = False
        notices = Notices.of_environment(other=config.get("notices"))
        self._watch = NoticeWatch(notices).__enter__()
        os.environ["OMP_NUM_THREADS"] = str(self._shape.threads)

    def __repr__(self) -> str:
        """How Ray's dashboard and logs call it, for example ``sweeper muon_width cpu1-gpu0 slot
        3``."""
        if not self._name:
            return "slot"  # one that could not be set up
        shape, _, number = self._name.rpartition("-slot")
        return f"sweeper {self._study} {shape} slot {number}"

    def step(self) -> dict[str, Any]:
        """Runs orders until none of this shape is left, or nobody is there to give any: in one
        step of Tune's, so that it does not matter to them whether Tune itself goes on."""
        while not self._orphaned:
            if self._host is not None:
                self._advance(self._host)
            elif not self._pull():
                break
        return {"orders": self._orders, "done": True}

    def _pull(self) -> bool:
        events, self._events = self._events, []
        pulled = self._mailbox.pull.remote(
            self._name, self._process, self._shape, events, PATIENCE_SECONDS, self._watch.given
        )
        order: Order | str | None = self._heard(pulled)
        if order is None:
            return False
        if order == PARK:
            return True  # with nothing in hand: it asks again, and holds its place meanwhile
        assert isinstance(order, Order)
        self._host = Host(order)
        self._orders += 1
        self._entitle(order)
        return True

    def _entitle(self, order: Order) -> None:
        """Has the process be called by what it trains, as the dashboard and ``ps`` show it."""
        sizes = {task.config.get(self._scale) for task in order.tasks} - {None}
        at = "".join(f" {self._scale}={size}" for size in sorted(sizes, key=str))
        number = self._name.rpartition("-slot")[2]
        setproctitle(f"ray::sweeper {self._study}{at} slot {number}")

    def _advance(self, host: Host) -> None:
        self._events.extend(host.advance())
        if host.done:
            self._host = None
            return
        if (notice := self._watch.given) is not None:
            leaving = Leaving(slot=self._name, place=self._process.place, reason=notice)
            self._events.extend((leaving, *host.stop()))
            self._host = None
            return
        if time.monotonic() < self._silent_until and not _has_news(self._events):
            self._events = self._events[-1:]  # how far it is now
            return
        events, self._events = self._events, []
        reply: Reply | None = self._heard(self._mailbox.post.remote(self._name, events))
        self._silent_until = time.monotonic() + (0.0 if reply is None else reply.quiet)
        if reply is not None and reply.drop:
            host.drop(reply.drop)
        if reply is not None and reply.dominated:
            host.end_dominated(reply.dominated)
        if reply is not None and reply.halt:
            host.halt(reply.halt)
        if reply is None or reply.stop:
            self._events.extend(host.stop())
            self._host = None

    def _heard(self, reply: Any) -> Any:
        """The mailbox's reply; None once the mailbox is gone, and with it everybody who could
        give this slot work or hear of it. What trains is saved when that takes long."""
        since, saved = time.monotonic(), False
        while True:
            try:
                return ray.get(reply, timeout=SAVE_SECONDS)
            except ray.exceptions.GetTimeoutError:
                if self._host is not None and not saved:
                    self._host.save()
                    saved = True
                if time.monotonic() - since < SILENT_SECONDS:
                    continue
            except ray.exceptions.RayActorError:
                pass
            self._orphaned = True
            return None

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Tune keeps no checkpoints of ours; trials have their own."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """A restarted slot starts empty; its lost order comes back through the mailbox."""

    def cleanup(self) -> None:
        """Ends gracefully if Tune ends the slot with a trial in hand."""
        if self._host is not None:
            self._events.extend(self._host.stop())
            self._host = None
        if self._events:
            self._heard(self._mailbox.post.remote(self._name, self._events))
            self._events = []


def _has_news(events: Sequence[Event]) -> bool:
    return any(not isinstance(event, Advanced) for event in events)


def _leave_signals() -> None:
    """SIGTERM, which Ray turns into an exception wherever a trial stands, ends this process as a
    kill does: its trial runs again from its checkpoint, and has not failed. Ctrl-C at the
    terminal is the controller's."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: _exit(1))
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _this_process() -> WorkerProcess:
    """This process, with the node and the accelerators that Ray gave it."""
    context = ray.get_runtime_context()
    node = context.get_node_id()
    devices = ",".join(str(name) for name in context.get_accelerator_ids().get("GPU", []))
    place = f"{hostname()} (node {node[:8]})" + (f" GPU {devices}" if devices else "")
    return WorkerProcess(
        id=uuid.uuid4().hex, host=hostname(), pid=os.getpid(), node=node, place=place
    )

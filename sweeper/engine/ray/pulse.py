"""Whether Ray's own processes live and answer, asked beside Ray, whose calls hang with them."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import ParamSpec, TypeVar

from sweeper.errors import HANGING

Asked = ParamSpec("Asked")
Told = TypeVar("Told")

KNOCK_SECONDS = 5.0
"""How long a process of Ray may take to accept a connection."""

PULSE_SECONDS = 2.0
"""How often Ray's processes are asked for a sign of life."""

RESTART_SECONDS = 30.0
"""How long the head of a joined cluster may be gone: one with a lasting store is restarted. After
60 s Ray ends the process."""

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
EMPTY_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""A frame without content of type 4; see RFC 9113, sections 4.1 and 6.5."""


class Call(Future[Told]):
    """The answer to be of a call that is made on a thread of its own, which ends with the process.

    A call of Ray may hang for ever: nobody has to hang with it.
    """

    def __init__(self, call: Callable[[], Told]) -> None:
        super().__init__()
        self._thread = threading.Thread(target=self._run, args=(call,), name="call", daemon=True)
        self._thread.start()

    def give_up(self) -> None:
        """Notes that the call hangs for good."""
        self._thread.name = HANGING

    def _run(self, call: Callable[[], Told]) -> None:
        try:
            self.set_result(call())
        except BaseException as fault:
            self.set_exception(fault)


def aside(call: Callable[Asked, Told], *args: Asked.args, **named: Asked.kwargs) -> Call[Told]:
    """Makes a call on a thread of its own; returns its answer to be."""
    return Call(partial(call, *args, **named))


def knock(address: str) -> None:
    """Returns once a process of Ray has answered at ``host:port``.

    Ray's processes speak gRPC, so they answer the opening of HTTP/2 with a SETTINGS frame (RFC
    9113, section 3.4); with TLS they cannot be asked this way, and a connection has to do.

    Raises:
        TimeoutError: what listens there, if anything, does not answer in time.
        OSError: nothing listens there, or something that is not Ray.
    """
    host, _, port = address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS) as link:
        if os.environ.get("RAY_USE_TLS", "0") in ("0", ""):
            link.sendall(HTTP2_PREFACE + EMPTY_SETTINGS)
            answer = link.recv(len(EMPTY_SETTINGS))
            if answer[3:4] != EMPTY_SETTINGS[3:4]:
                raise ConnectionError("something that is not Ray listens there")


class Pulse:
    """Context that watches the two processes without which nothing goes on: the head of the
    cluster (the GCS) and the node of this machine (the raylet).

    Args:
        head, node: their addresses, ``host:port``; an empty one is not watched.
        restart_seconds: how long the head may be gone before it counts as dead.
        ask: returns when a process has answered, and raises OSError if it does not.
        clock: tells the time, in seconds.
    """

    def __init__(
        self,
        head: str,
        node: str,
        *,
        restart_seconds: float = 0.0,
        ask: Callable[[str], None] = knock,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = {name: at for name, at in ((HEAD, head), (NODE, node)) if at}
        self._patience = {HEAD: restart_seconds, NODE: 0.0}
        self._ask = ask
        self._clock = clock
        self._heard = dict.fromkeys(self._places, clock())
        self._gone: dict[str, float] = {}
        self._left = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> Pulse:
        for name in self._places:
            aside(self._watch, name)
        return self

    def __exit__(self, *exc: object) -> None:
        self._left.set()

    def look(self, name: str) -> None:
        """Asks a process for a sign of life, and keeps what it found."""
        try:
            self._ask(self._places[name])
        except TimeoutError:
            return  # it may be stopped, or its machine busy
        except OSError:
            with self._lock:
                self._gone.setdefault(name, self._clock())
            return
        with self._lock:
            self._gone.pop(name, None)
            self._heard[name] = self._clock()

    @property
    def fault(self) -> str | None:
        """Which process is dead, in words; None as long as none is known to be."""
        with self._lock:
            for name, since in self._gone.items():
                if self._clock() - since >= self._patience[name]:
                    return f"{name} at {self._places[name]} has died"
        return None

    @property
    def silence(self) -> tuple[float, str]:
        """Seconds since the more silent process has answered, and which one, in words."""
        with self._lock:
            told = [(self._clock() - heard, name) for name, heard in self._heard.items()]
        return max(told, default=(0.0, ""))

    @property
    def ill(self) -> bool:
        """True if a call of Ray is likely to hang now."""
        return bool(self._gone) or self.silence[0] > 2 * KNOCK_SECONDS

    def node_died(self) -> bool:
        """Returns whether the node of this machine is dead; asks it."""
        if NODE in self._places:
            self.look(NODE)
        return NODE in self._gone

    def _watch(self, name: str) -> None:
        while not self._left.wait(PULSE_SECONDS):
            self.look(name)


HEAD = "Ray's head process (GCS)"
NODE = "Ray's node process (raylet) of this machine"

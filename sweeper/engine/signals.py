"""Signals: the first one asks a run to end, the second one ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from os import _exit  # kept: a trial's call of it is turned into its failure
from typing import Protocol

from sweeper.errors import Interrupted

GRACE_SECONDS = 30.0
"""How long running trials may take to write checkpoints after the first signal."""

PRINT_SECONDS = 2.0
"""How long a terminal may take to take the last words."""

INSISTING = frozenset({signal.SIGINT, signal.SIGTERM})
"""What a person or a scheduler sends again to end a process at once."""

WARNINGS = frozenset(
    number
    for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if (number := getattr(signal, name, None)) is not None
)
"""What schedulers and closing terminals send, which would end a process that does not heed it."""


class Stoppable(Protocol):
    """What can be asked to end, as :class:`Run` can."""

    @property
    def stopping(self) -> bool:
        """True once it was asked."""
        ...

    @property
    def preempted(self) -> str | None:
        """The notice that ends it; a signal that follows on it is a first one."""
        ...

    def stop(self) -> None:
        """Asks it, from any thread."""
        ...


@contextlib.contextmanager
def graceful(run: Stoppable, *, seconds: float = GRACE_SECONDS) -> Iterator[None]:
    """Context in which a first signal to end (:data:`INSISTING`, and those of :data:`WARNINGS`
    that are not ignored or handled already) ends a run gracefully, and a second SIGINT or
    SIGTERM, or the end of the grace, ends the process at once with exit code 3. What is accepted
    is in the store either way.

    Signals are attended to on a thread of their own, however long the main one hangs in a call.

    Args:
        run: what to stop.
        seconds: the grace.
    """
    ours = [n for n in WARNINGS if signal.getsignal(n) is signal.SIG_DFL] + [*INSISTING]
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    terminals = [fd for fd in (1, 2) if _is_terminal(fd)]
    attending = threading.Thread(
        target=_attend, args=(reader, run, seconds, terminals), name="signals", daemon=True
    )
    before = {number: signal.signal(number, lambda *_: None) for number in ours}
    woken = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    attending.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()
        attending.join()
        reader.close()


def _attend(reader: socket.socket, run: Stoppable, seconds: float, terminals: list[int]) -> None:
    """Heeds signals, whose numbers Python writes into a socket as they come in."""
    end: float | None = None
    while True:
        reader.settimeout(None if end is None else max(0.01, end - time.monotonic()))
        try:
            numbers = reader.recv(64)
        except TimeoutError:
            _give_up(seconds)
        if not numbers:
            return
        for number in numbers:
            if number == getattr(signal, "SIGHUP", None):
                _leave(terminals)
            stopped = run.stopping and run.preempted is None
            if number in INSISTING and (end is not None or stopped):
                _exit(Interrupted.exit_code)
            if end is None and (number in INSISTING or number in WARNINGS):
                end = time.monotonic() + seconds
                run.stop()


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _leave(terminals: list[int]) -> None:
    """Says nothing more to terminals that were closed: writing to one is an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for fd in terminals:
        os.dup2(nowhere, fd)
    os.close(nowhere)


def _give_up(seconds: float) -> None:
    """Ends the process; whatever it waits for may take for ever, and so may a terminal."""
    said = (
        f"some trials wrote no checkpoint within {seconds:g} s and go on from their last one: "
        "run the same command again"
    )

    def say() -> None:
        with contextlib.suppress(OSError, ValueError):
            print(said, file=sys.stderr, flush=True)

    saying = threading.Thread(target=say, daemon=True)
    saying.start()
    saying.join(PRINT_SECONDS)
    _exit(Interrupted.exit_code)

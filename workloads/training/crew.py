"""The processes that train one trial together, seen from the one that starts them: the lead.

The lead trains nothing. It has the processes make one step after the other, so that it can
checkpoint, report and stop between any two of them, and it ends them all as soon as one fails:
none waits for another that will not come.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, cast

from workloads.workload import Card, Measurement, Member, ProcessLostError

PATIENCE_SECONDS = 600.0
"""How long a process waits for the others in the middle of a step."""

GRACE_SECONDS = 2.0
"""How long the cause is waited for when a process says that another one does not answer."""

_START = """
import json, sys
told = json.loads(sys.argv[1])
sys.path[:] = told.pop("path")
from workloads.training import serve
serve(**told)
"""


class _Elsewhere(Exception):
    """The traceback of another process, shown as the cause of what is raised in this one."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Crew:
    """Processes that train one trial after the other, together.

    They find each other by a file, talk on the loopback interface alone, and end with this
    process, however it ends.
    """

    def __init__(
        self, processes: int, *, threads: int, device: str, patience_seconds: float
    ) -> None:
        """Starts the processes and has them find each other.

        Args:
            processes: how many; on ``cuda`` as many accelerators.
            threads: processor threads of each.
            device: ``cpu`` or ``cuda``.
            patience_seconds: how long each waits for the others before it gives them up.

        Raises:
            ProcessLostError: one of them has ended, or is not found by the others.
            RuntimeError: there are not enough accelerators.
        """
        self.shape = (processes, threads, device, patience_seconds)
        self.busy = False
        self._folder = tempfile.mkdtemp(prefix="sweeper-ranks-")
        self._links: list[Connection] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(processes):
                self._start(rank)
            self.ask("drop")  # answered by all once they have come up, one sooner than another
            self.ask("join", str(Path(self._folder, "meeting")), patience_seconds)
        except BaseException:
            self.end()
            raise

    def _start(self, rank: int) -> None:
        processes, threads, device, _ = self.shape
        ours, theirs = socket.socketpair()
        told = {
            "path": sys.path,
            "socket": theirs.fileno(),
            "rank": rank,
            "size": processes,
            "threads": threads,
            "device": device,
            "folder": self._folder,
        }
        names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
        loopback = names[0] if names else "lo"
        own = {
            "OMP_NUM_THREADS": str(threads),
            "GLOO_SOCKET_IFNAME": loopback,
            "NCCL_SOCKET_IFNAME": f"={loopback}",
        }
        self._links.append(Connection(ours.detach()))
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(told)],
                env=os.environ | own,
                stdin=subprocess.DEVNULL,
                stdout=2,  # this process's own output is read by programs
                pass_fds=[theirs.fileno()],
            )
        self._processes.append(process)

    def ask(self, what: str, *arguments: Any) -> Any:
        """Has every process do something; returns the answer of the first one.

        Args:
            what: a method of :class:`Served`.
            arguments: what it is given.

        Raises:
            ProcessLostError: a process has ended, or does not answer the others.
            Exception: whatever a process raised. All of them have been ended in either case.
        """
        if not self._processes:
            raise ProcessLostError("the processes of the trial have been ended")
        self.busy = True
        try:
            said = self._answers(pickle.dumps((what, *arguments)))
        except Exception:
            self.end()
            raise
        self.busy = False
        return said

    def _answers(self, request: bytes) -> Any:
        for link in self._links:
            with suppress(OSError):  # of a process that has ended, which is seen below
                link.send_bytes(request)
        waiting = {link: rank for rank, link in enumerate(self._links)}
        said: dict[int, Any] = {}
        lost: ProcessLostError | None = None
        until = math.inf
        while waiting:
            ready = wait(list(waiting), None if lost is None else until - time.monotonic())
            if not ready:
                break
            for link in cast("list[Connection]", ready):
                rank = waiting.pop(link)
                try:
                    well, said[rank] = link.recv()
                except (EOFError, OSError):
                    raise self._ended(rank) from None
                if not well:
                    fault = _raised(*said[rank])
                    if not isinstance(fault, ProcessLostError):
                        raise fault
                    lost, until = lost or fault, min(until, time.monotonic() + GRACE_SECONDS)
        if lost is not None:
            raise lost
        return said[0]

    def _ended(self, rank: int) -> ProcessLostError:
        process = self._processes[rank]
        how = "has closed its connection"
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(GRACE_SECONDS)
            how = f"ended with code {code}"
            if code < 0:
                how = f"was killed by {signal.Signals(-code).name}"
        return ProcessLostError(
            f"process {rank} of the {len(self._processes)} that train the trial {how}"
        )

    def end(self) -> None:
        """Ends the processes at once, whatever they are doing."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        for link in self._links:
            link.close()
        self._processes, self._links = [], []
        shutil.rmtree(self._folder, ignore_errors=True)


def _raised(packed: bytes | None, text: str) -> Exception:
    """Returns the exception of a process, with its traceback there as the cause."""
    fault: Exception | None = None
    if packed is not None:
        with suppress(Exception):
            fault = pickle.loads(packed)
    fault = fault or RuntimeError(text.strip().splitlines()[-1])
    fault.__cause__ = _Elsewhere(text)
    return fault


_resting: list[Crew] = []
"""A crew without a trial: the next one of its shape has no processes to start."""


def _hired(processes: int, *, threads: int, device: str, patience_seconds: float) -> Crew:
    """Returns the crew that rests, if it has that shape and has not ended meanwhile, or a new
    one."""
    shape = (processes, threads, device, patience_seconds)
    while _resting:
        crew = _resting.pop()
        if crew.shape == shape:
            with suppress(ProcessLostError):
                crew.ask("drop")
                return crew
        crew.end()
    return Crew(processes, threads=threads, device=device, patience_seconds=patience_seconds)


@atexit.register
def _dismissed() -> None:
    while _resting:
        _resting.pop().end()


class ParallelTraining:
    """Trains a pack in several processes; satisfies :class:`Trainer`.

    Each process has the trainer of the card, for the same pack, and takes its share of every
    batch. The first one writes checkpoints, which are those of a trainer alone.
    """

    def __init__(
        self,
        card: Card,
        members: Sequence[Member],
        *,
        processes: int,
        threads: int,
        device: str,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Has the processes make their trainers; see :class:`TrainerFactory`.

        Args:
            card: card of the workload; its trainers take a :class:`Ranks` as ``ranks``.
            members: the pack.
            processes: how many, at least 2; on ``cuda`` as many accelerators.
            threads: processor threads of each process.
            device: ``cpu`` or ``cuda``.
            patience_seconds: how long one process waits for the others in the middle of a step.
        """
        self._crew = _hired(
            processes, threads=threads, device=device, patience_seconds=patience_seconds
        )
        self._device = f"{processes} x {self._crew.ask('build', card, list(members))}"

    def run(self) -> Iterator[Sequence[Measurement]]:
        """Yields what the first process says after each step, once all have made it."""
        while (said := self._crew.ask("step")) is not None:
            yield said

    def save(self, member: int, path: Path) -> None:
        """Has the first process write a checkpoint of one member at ``path``."""
        self._crew.ask("save", member, path)

    def let_go(self, member: int) -> None:
        """Ends a member in every process."""
        self._crew.ask("let_go", member)

    def device_name(self) -> str:
        """Returns how many of what it trains on."""
        return self._device

    def close(self) -> None:
        """Has the processes wait for another trial; those that are in the middle of something
        are ended."""
        if self._crew.busy:
            self._crew.end()
            return
        with suppress(Exception):  # they have ended, all of them
            self._crew.ask("drop")
            _resting.append(self._crew)

"""Who holds a lease, and whether that process is still there."""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class System:
    """What this process can find out about others of its machine.

    Attributes:
        proc: where the file system of processes is mounted.
        signal: sends a signal to a process, by number; signal 0 asks whether it is there.
    """

    proc: Path = Path("/proc")
    signal: Callable[[int, int], None] = os.kill

    def place(self) -> str:
        """Returns what the number and the start of a process are true for: this boot, these
        namespaces of processes and of time, this mount of ``proc``. Empty where the system does
        not say, or ``proc`` is that of another namespace, in which we have another number."""
        own = self.proc / "self"
        try:
            if os.readlink(own) != str(os.getpid()):
                return ""
            boot = (self.proc / "sys/kernel/random/boot_id").read_bytes().decode().strip()
            time = os.readlink(own / "ns/time") if (own / "ns/time").is_symlink() else ""
            mount = os.stat(self.proc).st_dev
            return f"{boot}/{os.readlink(own / 'ns/pid')}/{time}/{mount}" if boot else ""
        except (OSError, ValueError):
            return ""

    def start_of(self, pid: int) -> str | None:
        """Returns when a process started, in clock ticks since boot; empty if it is certain that
        it has ended; None if nothing can be told (``hidepid`` hides what is another user's)."""
        if pid <= 0:
            return None
        try:
            self.signal(pid, 0)
        except ProcessLookupError:
            return ""
        except (OSError, OverflowError):
            pass  # there, and another user's
        try:
            stat = (self.proc / str(pid) / "stat").read_bytes()
            # The name in parentheses may hold spaces; after it come the state, 17 on the number
            # of threads and 19 on the start.
            fields = stat.rpartition(b")")[2].split()
            # Killed, and its parent has not noticed yet; none of its threads is left.
            ended = fields[0] in (b"Z", b"X") and int(fields[17]) <= 1
            return "" if ended else fields[19].decode()
        except (OSError, ValueError, IndexError):
            return None


HERE = System()


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process that runs attempts.

    Attributes:
        id: unique to this run of the process.
        host: name of the machine.
        pid: process number on that machine; None if it does not matter.
        started: what tells this process from another that is later given the same number:
            :meth:`System.place` and start; empty where the system does not say.
    """

    id: str
    host: str
    pid: int | None = None
    started: str = ""

    @classmethod
    def here(cls, system: System = HERE) -> Owner:
        """Returns an owner for this process, with a new id."""
        host, pid = socket.gethostname(), os.getpid()
        place, start = system.place(), system.start_of(pid)
        started = f"{place}:{start}" if place and start else ""
        return cls(id=f"{host}-{pid}-{uuid.uuid4().hex[:8]}", host=host, pid=pid, started=started)

    def is_alive(self, system: System = HERE) -> bool | None:
        """Returns whether the process still runs; None where that cannot be told from here.

        Only a process of this machine, since its last start and in the same namespaces (two
        containers may share a host name) can be judged, and of these only one that may be seen;
        of any other nothing is known, and only its lease says when it is given up.
        """
        if self.host != socket.gethostname():
            return None
        if self.id in _RETIRED:
            return False
        place, _, start = self.started.rpartition(":")
        if self.pid is None or not (place and start) or place != system.place():
            return None
        found = system.start_of(self.pid)
        return None if found is None else found == start

    def shares_clock(self, system: System = HERE) -> bool:
        """Returns whether the process is certainly of this machine, and so goes by its clock.
        Machines may be named alike: the name counts only where the boot is not known."""
        boot, here = (each.partition("/")[0] for each in (self.started, system.place()))
        return boot == here if boot and here else self.host == socket.gethostname()

    def retire(self) -> None:
        """Says that this owner, of this process, is done although the process may live on.

        Whoever asks in this process (a notebook that runs a study again) is not kept waiting by
        leases that could not be given back because the store was away.
        """
        _RETIRED.add(self.id)


_RETIRED: set[str] = set()


def signature(system: System = HERE) -> str:
    """Returns a word for this process, another one each time, that the name of a file may hold;
    :func:`signer_has_ended` tells later whether the process is gone."""
    start = system.start_of(os.getpid()) or ""
    return f"{_namespace(system)}.{os.getpid()}.{start}.{uuid.uuid4().hex[:6]}"


def signer_has_ended(signed: str, system: System = HERE) -> bool:
    """Returns True if it is certain from here that the process of a signature has ended."""
    namespace, pid, start = (*signed.split("."), "", "", "")[:3]
    if not (namespace and start and pid.isdecimal()) or namespace != _namespace(system):
        return False
    found = system.start_of(int(pid))
    return found is not None and found != start


def _namespace(system: System) -> str:
    """Short for :meth:`System.place`; empty where the system does not say."""
    place = system.place()
    return hashlib.sha256(place.encode()).hexdigest()[:8] if place else ""

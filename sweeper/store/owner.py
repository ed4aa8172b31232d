"""Who holds a lease, and whether that process is still there."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process that runs attempts.

    Attributes:
        id: unique to this run of the process.
        host: name of the machine.
        pid: process number on that machine; None if it does not matter.
        started: what tells this process from another that is later given the same number:
            boot, process namespace and start time; empty where the system does not say.
    """

    id: str
    host: str
    pid: int | None = None
    started: str = ""

    @classmethod
    def here(cls) -> Owner:
        """Returns an owner for this process, with a new id."""
        host, pid = socket.gethostname(), os.getpid()
        started = f"{_place()}:{_start_time(pid)}" if _place() else ""
        return cls(id=f"{host}-{pid}-{uuid.uuid4().hex[:8]}", host=host, pid=pid, started=started)

    def is_alive(self) -> bool | None:
        """Returns whether the process still runs; None where that cannot be told from here.

        Only a process of this machine, since its last start and in the same process namespace
        (two containers may share a host name) can be judged; of any other nothing is known,
        and only its lease says when it is given up.
        """
        place, _, start = self.started.rpartition(":")
        if self.pid is None or not place or place != _place() or self.host != socket.gethostname():
            return None
        return self.id not in _RETIRED and _start_time(self.pid) == start

    def retire(self) -> None:
        """Says that this owner, of this process, is done although the process may live on.

        Whoever asks in this process (a notebook that runs a study again) is not kept waiting by
        leases that could not be given back because the store was away.
        """
        _RETIRED.add(self.id)


_RETIRED: set[str] = set()


def signature() -> str:
    """Returns a word for this process, another one each time, that the name of a file may hold;
    :func:`signer_has_ended` tells later whether the process is gone."""
    return f"{_namespace()}.{os.getpid()}.{_start_time(os.getpid())}.{uuid.uuid4().hex[:6]}"


def signer_has_ended(signed: str) -> bool:
    """Returns True if it is certain from here that the process of a signature has ended."""
    namespace, pid, start = (*signed.split("."), "", "", "")[:3]
    here = bool(namespace) and namespace == _namespace() and pid.isdigit()
    return here and _start_time(int(pid)) != start


def _namespace() -> str:
    """Short for :func:`_place`; empty where the system does not say."""
    return hashlib.sha256(_place().encode()).hexdigest()[:8] if _place() else ""


@functools.cache
def _place() -> str:
    """This boot and process namespace; empty where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _start_time(pid: int) -> str:
    """Start of a process in clock ticks since boot; empty if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The name in parentheses may hold spaces; after it come the state and, 19 on, the start.
    fields = stat.rpartition(b")")[2].split()
    ended = fields[0] in (b"Z", b"X")  # killed, and its parent has not noticed yet
    return "" if ended else fields[19].decode("ascii")

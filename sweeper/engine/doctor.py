"""What is wrong with the machines of a run, told before its first trial: each is asked for its
versions, devices and clock, writes a token to the place of the store's files, and reads those that
all others wrote."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from sweeper.engine.messages import Shape
from sweeper.engine.worker import VERSIONS, Inspection, Reading, inspect, read_all
from sweeper.errors import SweeperError
from sweeper.store import FileStore, token_file

CLOCK_SECONDS = 1.0
"""How far clocks may be apart."""

ANSWER_SECONDS = 180.0
"""How long a machine may take to answer: it starts a process, and perhaps imports torch."""

LISTED = 4
"""Machines that a sentence lists; of more, it gives the number."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One that is asked.

    Attributes:
        name: in words.
        cpus, gpus: what it has for trials; none where no trial is put there.
        custom: how much it has of other resources, by Ray's names.
        node: Ray's name of it; empty for this process.
    """

    name: str
    cpus: float
    gpus: float
    custom: tuple[tuple[str, float], ...] = ()
    node: str = ""

    @property
    def trains(self) -> bool:
        """Whether trials may be put there."""
        return self.cpus > 0 or self.gpus > 0

    @property
    def resources(self) -> dict[str, float]:
        """All that it has for trials, by Ray's names."""
        return {"CPU": self.cpus, "GPU": self.gpus, **dict(self.custom)}


Ask = Callable[..., "Future[Any]"]
"""Given a machine, a function and its arguments, calls it there; returns the answer to be."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What became of asking a machine.

    Attributes:
        machine: the one.
        told: what it said of itself; None if it did not answer.
        reading: what it found of the tokens; None if it was not asked.
        fault: why it did not answer; None if it did.
        ahead: seconds by which its clock is ahead of this machine's at least, negative where it
            is behind, 0 where the time of its answer leaves that open.
    """

    machine: Machine
    told: Inspection | None = None
    reading: Reading | None = None
    fault: str | None = None
    ahead: float = 0.0


def here(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Calls a function in this process; returns its answer."""
    answer: Future[Any] = Future()
    answer.set_result(function(*arguments))
    return answer


def examine(
    machines: Sequence[Machine], files: FileStore, ask: Ask, *, ask_devices: bool
) -> list[Visit]:
    """Asks all machines, side by side; returns what became of it, in their order.

    Args:
        machines: the ones; their names differ.
        files: the place of the store's files.
        ask: calls a function on a machine.
        ask_devices: have torch tell the GPUs of those that have any, which takes seconds.
    """
    run = uuid.uuid4().hex[:12]
    tokens = {machine: f"{run}-{number}" for number, machine in enumerate(machines)}
    try:
        asked = {
            each: (time.time(), ask(each, inspect, files, token, ask_devices and each.gpus > 0))
            for each, token in tokens.items()
        }
        visits = [_visit(each, *call) for each, call in asked.items()]
        written = [tokens[v.machine] for v in visits if v.told and not v.told.files_fault]
        again = {
            visit.machine: (time.time(), ask(visit.machine, read_all, files, written))
            for visit in visits
            if visit.told is not None
        }
        return [_with_reading(v, again.get(v.machine), tokens) for v in visits]
    finally:
        with contextlib.suppress(SweeperError):
            for token in tokens.values():
                files.remove(token_file(token))


def _visit(machine: Machine, began: float, call: Future[Inspection]) -> Visit:
    try:
        told = call.result(max(0.0, began + ANSWER_SECONDS - time.time()))
    except Exception as fault:
        return Visit(machine=machine, fault=_why(fault))
    return Visit(machine=machine, told=told, ahead=_ahead(told.clock, began))


def _with_reading(
    visit: Visit, asked: tuple[float, Future[Reading]] | None, tokens: Mapping[Machine, str]
) -> Visit:
    if asked is None:
        return visit
    began, call = asked
    try:
        found = call.result(max(0.0, began + ANSWER_SECONDS - time.time()))
    except Exception as fault:
        return replace(visit, fault=_why(fault))
    names = tuple(each.name for each, token in tokens.items() if token in found.missing)
    closer = min(visit.ahead, _ahead(found.clock, began), key=abs)
    return replace(visit, reading=replace(found, missing=names), ahead=closer)


def _ahead(clock: float, began: float) -> float:
    """Returns how far a clock is ahead at least that was read between a moment and now."""
    return clock - min(max(clock, began), time.time())


def _why(fault: Exception) -> str:
    if isinstance(fault, TimeoutError):
        return f"it has not answered for {ANSWER_SECONDS:.0f} s"
    cause = getattr(fault, "cause", None) or fault  # Ray's error holds the one raised there
    lines = str(cause).strip().splitlines() or [""]
    return f"{type(cause).__name__}: {lines[0]}"


def file_faults(visits: Sequence[Visit], place: str) -> Iterator[str]:
    """Yields what is wrong with the place of the store's files, as the machines see it."""
    for why, names in _grouped((v.told.files_fault, v) for v in visits if v.told):
        if why:
            yield f"{listed(names)} cannot write the store's files: {why}"
    for why, names in _grouped((v.reading.fault, v) for v in visits if v.reading):
        if why:
            yield f"{listed(names)} cannot read the store's files: {why}"
    read = [v for v in visits if v.reading and not v.reading.fault]
    for missing, names in _grouped((v.reading.missing, v) for v in read if v.reading):
        if missing:
            do = "do" if names[1:] else "does"
            yield (
                f"{listed(names)} {do} not see in {place} what {listed(missing)} wrote there: "
                "it is another folder on each machine; keep curves and checkpoints where all of "
                "them see the same (a shared folder, or a bucket), named in SWEEPER_FILES"
            )


def answer_faults(visits: Sequence[Visit]) -> Iterator[str]:
    """Yields which machines did not answer, and why."""
    for why, names in _grouped((v.fault, v) for v in visits):
        if why:
            yield (
                f"{listed(names)} cannot be asked: {why}; sweeper, Python and Ray have to be "
                "installed there as they are here"
            )


def version_faults(visits: Sequence[Visit]) -> Iterator[str]:
    """Yields which versions differ between machines."""
    told = [v for v in visits if v.told is not None]
    for name in VERSIONS:
        groups = _grouped((v.told.versions.get(name, "not there"), v) for v in told if v.told)
        if len(groups) > 1:
            which = " and ".join(f"{version} on {listed(names)}" for version, names in groups)
            yield (
                f"{name} is {which}: install the same everywhere (one image, or pip install -c "
                "constraints.txt), or results are not comparable"
            )


def clock_faults(visits: Sequence[Visit]) -> Iterator[str]:
    """Yields whose clocks are too far from this machine's."""
    for visit in visits:
        if abs(visit.ahead) > CLOCK_SECONDS:
            yield off_clock(f"the clock of {visit.machine.name}", visit.ahead)


def off_clock(whose: str, ahead: float) -> str:
    """Returns what is said of a clock that is too far from this machine's."""
    way = "ahead of" if ahead > 0 else "behind"
    return (
        f"{whose} is {abs(ahead):.1f} s {way} that of this machine: have both set by NTP, or "
        "leases and times are wrong by as much"
    )


def device_faults(visits: Sequence[Visit], shapes: Iterable[Shape]) -> Iterator[str]:
    """Yields which GPUs cannot be used, and which trials fit on no machine.

    Args:
        visits: to the machines.
        shapes: what trials of the study need.
    """
    for visit in visits:
        told, gpus = visit.told, visit.machine.gpus
        if told is not None and told.device_fault is not None:
            yield f"torch does not tell the GPUs of {visit.machine.name}: {told.device_fault}"
        elif told is not None and told.devices is not None and len(told.devices) < gpus:
            yield (
                f"torch sees {len(told.devices)} of the {gpus:g} GPUs of {visit.machine.name}: "
                "check `nvidia-smi` there, and that torch is built for CUDA"
            )
    places = [visit.machine for visit in visits if visit.machine.trains]
    for shape in sorted(set(shapes)):
        if not any(shape.fitting(place.resources) for place in places):
            more = "".join(f" and {amount:g} {name}" for name, amount in shape.custom)
            yield (
                f"trials need {shape.cpus:g} CPUs and {shape.gpus:g} GPUs{more} each, and no "
                "machine has them: lower `resources` in the study, or have such machines join"
            )


def listed(names: Sequence[str]) -> str:
    """Returns machines as a sentence names them."""
    if len(names) > LISTED:
        return f"{', '.join(names[:LISTED])} and {len(names) - LISTED} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def _grouped(told: Iterable[tuple[Any, Visit]]) -> list[tuple[Any, list[str]]]:
    """Returns the names of machines by what they said, the most frequent first."""
    groups: dict[Any, list[str]] = {}
    for what, visit in told:
        groups.setdefault(what, []).append(visit.machine.name)
    return sorted(groups.items(), key=lambda group: -len(group[1]))

"""Where controllers on one Ray cluster tell each other what their studies could use: the key-value
store of its head, which every cluster has, whatever store the studies have."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from functools import partial

import ray
from ray._private.state import state
from ray.experimental import internal_kv

from sweeper.engine.priority import Entry
from sweeper.engine.ray.pulse import aside
from sweeper.engine.ray.roster import Roster

NAMESPACE = "sweeper"
PREFIX = "priority/"

BEAT_SECONDS = 1.0
"""How often a controller tells and listens."""

LEAVE_SECONDS = 2.0
"""How long it may take to take the entry back; without that it counts until it is stale, or Ray
tells that the process has ended."""

_put = partial(internal_kv._internal_kv_put, namespace=NAMESPACE)
_get = partial(internal_kv._internal_kv_get, namespace=NAMESPACE)
_del = partial(internal_kv._internal_kv_del, namespace=NAMESPACE)
_list = partial(internal_kv._internal_kv_list, namespace=NAMESPACE)


def _job_of(name: str) -> str:
    return name.removeprefix(PREFIX).partition("-")[0]


def _dead_jobs() -> set[str]:
    jobs = state.job_table()  # type: ignore[no-untyped-call]
    return {job["JobID"] for job in jobs if job["IsDead"]}


class Board:
    """Context in which a run is on the board of its cluster, and heeds the studies above it.

    Args:
        study: name of the study.
        roster: knows what it could use, and is told of the others.
    """

    def __init__(self, study: str, roster: Roster) -> None:
        self._study = study
        self._roster = roster
        job = ray.get_runtime_context().get_job_id()
        self._key = f"{PREFIX}{job}-{os.urandom(4).hex()}"
        self._beat = 0
        self._left = threading.Event()

    def __enter__(self) -> Board:
        self._watching = aside(self._watch)
        return self

    def __exit__(self, *exc: object) -> None:
        self._left.set()
        with contextlib.suppress(Exception):
            self._watching.result(LEAVE_SECONDS)
            aside(_del, self._key).result(LEAVE_SECONDS)

    def exchange(self) -> None:
        """Tells what this study could use, listens to the others, and clears away what those who
        are gone have left."""
        self._beat += 1
        entry = self._roster.entry(self._study, self._beat)
        _put(self._key, json.dumps(entry.document()))
        others = {key.decode() for key in _list(PREFIX)} - {self._key}
        dead = _dead_jobs() if others else set()
        gone = {name for name in others if _job_of(name) in dead}
        entries: dict[str, Entry] = {}
        for name in others - gone:
            with contextlib.suppress(LookupError, TypeError, ValueError):
                entries[name] = Entry.of(json.loads(_get(name) or b""))
        for name in gone | self._roster.above.see(entries):
            _del(name)

    def _watch(self) -> None:
        while not self._left.wait(BEAT_SECONDS if self._beat else 0.0):
            with contextlib.suppress(Exception):  # what ails Ray is said by who needs it
                self.exchange()

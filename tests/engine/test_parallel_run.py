"""Runs of trials that take several processes each, inline and on Ray."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_studies import TINY_LLAMA, attempts_of, bits, starter

from sweeper.engine.messages import Event, Started
from sweeper.engine.run import Run
from sweeper.store.store import Store
from sweeper.study.study import Study

STEPS = 400


def study(name: str = "wide", *, processes: int = 2, **fixed: Any) -> Study:
    settings = {**TINY_LLAMA, "steps": STEPS, "accumulation": 2, "learning_rate": 0.01, **fixed}
    settings.pop("width")
    return Study.from_document(
        {
            "name": name,
            "workload": "llama",
            "scale": "width",
            "fixed": settings,
            "sweep": {"width": [16, 32]},
            "resources": {"cpus": processes, "processes": processes},
        }
    )


@pytest.fixture(params=["inline", pytest.param("ray", marks=pytest.mark.ray)])
def start(request: pytest.FixtureRequest) -> Callable[..., Run]:
    """Returns what makes a run for the executor under test."""
    return starter(request.param, request)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


def children(pid: int) -> list[int]:
    """Returns the processes of a process that train for it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_text()
        except OSError:
            continue  # it has ended meanwhile
        if parent == pid and "workloads.training" in command:
            found.append(int(folder.name))
    return found


class Killer:
    """Kills one of the processes that train the first trial, once it has a checkpoint."""

    def __init__(self, store: Store) -> None:
        self.others: list[int] = []
        self._store = store
        self._thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        """Takes in an event of the run."""
        if isinstance(event, Started) and self._thread is None:
            self._thread = threading.Thread(target=self._kill, args=(event.pid,))
            self._thread.start()

    def _kill(self, lead: int) -> None:
        until = time.monotonic() + 240
        while not list(self._store.paths.checkpoint_folders()) and time.monotonic() < until:
            time.sleep(0.01)
        killed, *self.others = children(lead)
        os.kill(killed, signal.SIGKILL)

    def join(self) -> None:
        """Waits for it."""
        assert self._thread is not None
        self._thread.join()


def test_a_run_in_two_processes_that_loses_one_has_the_results_of_one_process(
    start: Callable[..., Run], store: Store, tmp_path: Path
) -> None:
    killer = Killer(store)
    summary = start(study(), store, observe=killer, checkpoint_seconds=0.2).execute()
    killer.join()
    assert (summary.declared, summary.finished, summary.failed) == (2, 2, 0)
    states = [state for (state,) in attempts_of(store)]
    assert sorted(states) == ["completed", "completed", "lost_worker"]
    assert "was killed by SIGKILL" in attempts_of(store, "error")[0][0]
    assert killer.others
    assert not [pid for pid in killer.others if Path(f"/proc/{pid}/exe").exists()]
    with Store.open(tmp_path / "calm", create=True) as calm:
        alone = study(processes=1)
        Run(alone, calm, executor="inline").execute()
        assert bits(store, "wide") == bits(calm, "wide")
    again = start(study(processes=1), store).execute()
    assert (again.reused, again.finished) == (2, 0), "resources are no part of a trial"

"""Two runs that share a cluster, each with a store of its own, one study above the other."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from engine_program import Program
from engine_studies import RATES, attempts_of, planted

from sweeper.engine.messages import Event, Started
from sweeper.engine.run import Run
from sweeper.store.store import Store

pytestmark = pytest.mark.ray


class Above:
    """A study above another one: its run starts when it is told to, and finishes or is killed.

    Attributes:
        program: its run.
        stopped: what of the study below had been stopped by the time it had a result.
        ended: is set at the end.
    """

    def __init__(self, program: Program, below: Store, *, killed: bool) -> None:
        self.program = program
        self.stopped = 0
        self.ended = threading.Event()
        self._below = below
        self._killed = killed
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self.program.start()
            self._thread = threading.Thread(target=self._follow)
            self._thread.start()

    def join(self) -> None:
        assert self._thread is not None
        self._thread.join()

    def _follow(self) -> None:
        try:
            self.program.await_results(1)
            states = [state for (state,) in attempts_of(self._below)]
            self.stopped = states.count("stopped")
            if self._killed:
                self.program.kill()
            else:
                self.program.wait()
        finally:
            self.ended.set()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("killed", [False, True], ids=["finishes", "is killed"])
def test_a_study_above_gets_the_slots_and_the_one_below_goes_on_when_it(
    ray_cluster: Any, tmp_path: Path, killed: bool
) -> None:
    sweep = {"width": [32], "learning_rate": RATES[:1]}
    seeds = list(range(200))
    # Long ones below: a slot that is asked between two trials ends without stopping any.
    long, short = {"steps": 150, "step_seconds": 0.1}, {"steps": 20, "step_seconds": 0.1}
    below = planted("below", fixed=long, sweep=sweep | {"seed": seeds})
    above = planted("above", fixed=short, sweep=sweep | {"seed": seeds if killed else seeds[:2]})
    (tmp_path / "high").mkdir()
    options = ["--address", ray_cluster.address, "--priority", "5"]
    program = Program(tmp_path / "high", above, "ray", options=options)
    with Store.open(tmp_path / "low", create=True) as store:
        high, slots = Above(program, store, killed=killed), set[str]()

        def follow(event: Event) -> None:
            if isinstance(event, Started):
                slots.add(event.slot)
                if len(slots) == 2:  # one that had begun nothing would go before those at work
                    high.start()
                if high.ended.is_set():
                    run.stop()  # it has its slots again

        run = Run(below, store, address=ray_cluster.address, observe=follow)
        summary = run.execute()
        high.join()
        assert program.process.returncode == (-9 if killed else 0), program.said
        assert high.stopped >= 1, "it gave way at a checkpoint"
        assert (summary.failed, summary.interrupted) == (0, True)
        assert {state for (state,) in attempts_of(store)} <= {"completed", "stopped"}
    notes = " | ".join(run.progress.view().notes)
    assert "above (priority 5) comes first" in notes
    assert "has the slots of the cluster again" in notes

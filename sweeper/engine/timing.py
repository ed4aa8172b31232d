"""How long a trial takes: from finished trials of its shape, else from a short probe."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sweeper.engine.messages import Shape
from sweeper.engine.packing import pack_size, shape_at
from sweeper.engine.worker import processor, told
from sweeper.errors import DataError, RequestError, StoreReadOnly
from sweeper.store import Probe, Store
from sweeper.study import (
    PlannedTrial,
    SecondsFrom,
    Study,
    shape_digest,
    shape_settings,
    unique_trials,
)
from sweeper.trial import Trial
from workloads.workload import Closes, DataUnavailableError, Member, factory_of

PROBE_SECONDS = 1.0
PROBE_STEPS = 20
WARM_STEPS = 2
"""Steps before the clock starts: the first ones allocate memory."""


class Timings:
    """Seconds per trial, one measurement per shape.

    Args:
        study: the study.
        store: knows finished trials and earlier probes; new probes are kept in it.
        planned: the declared trials.
        probe: False never trains; what no finished trial tells is then unknown.
    """

    def __init__(
        self, study: Study, store: Store, planned: Sequence[PlannedTrial], *, probe: bool
    ) -> None:
        self._study = study
        self._store = store
        self._scales = {item.trial.key: item.scale for item in planned}
        self._probe = probe
        self._step_seconds: dict[str, tuple[float | None, SecondsFrom]] = {}
        self._finished = self._finished_shapes(planned)

    def seconds(self, trial: Trial) -> tuple[float | None, SecondsFrom]:
        """Returns the device seconds of a trial, and from what they are known."""
        digest = shape_digest(self._study, trial.config)
        if digest not in self._step_seconds:
            self._step_seconds[digest] = self._measure(digest, trial)
        per_step, source = self._step_seconds[digest]
        steps = int(trial.derived["steps"])
        return (None if per_step is None else per_step * steps), source

    def _finished_shapes(self, planned: Sequence[PlannedTrial]) -> dict[str, list[float]]:
        trials = unique_trials(planned)
        spent = self._store.step_seconds(list(trials))
        shapes: dict[str, list[float]] = {}
        for key, seconds in spent.items():
            digest = shape_digest(self._study, trials[key].config)
            shapes.setdefault(digest, []).append(seconds)
        return shapes

    def _measure(self, digest: str, trial: Trial) -> tuple[float | None, SecondsFrom]:
        finished = self._finished.get(digest)
        if finished:
            return sum(finished) / len(finished), "finished trials"
        if not self._probe:
            return None, "unknown"
        shape = shape_at(self._study, self._scales[trial.key])
        device = shape.device if shape.gpus else processor()
        if shape.processes > 1:
            device = f"{shape.processes} x {device}"
        pack = pack_size(self._study, shape, trial)
        what: dict[str, Any] = {
            "workload": trial.workload,
            "workload_version": trial.version,
            "shape": shape_settings(self._study, trial.config),
            "device": device,
            "threads": shape.threads,
            "pack": pack,
        }
        known = self._store.probe_for(**what)
        if known is None:
            known = Probe(**what, **self._train(trial, shape, pack))
            with suppress(StoreReadOnly):
                self._store.save_probe(known)
        return known.step_seconds * shape.processes / known.pack, "probe"

    def _train(self, trial: Trial, shape: Shape, size: int) -> dict[str, Any]:
        """Trains a pack of copies of a trial for a moment; returns the seconds until it began,
        those of a step, and the steps that were timed."""
        members = [Member(config=trial.config, seed=trial.seed) for _ in range(size)]
        began = time.perf_counter()
        ends: list[float] = []
        trainer = None
        try:
            factory = factory_of(self._study.card, shape.processes)
            trainer = factory(members, threads=shape.threads, device=shape.device)
            ends.append(time.perf_counter())
            for _ in trainer.run():
                ends.append(time.perf_counter())
                timed = len(ends) - 1 - WARM_STEPS
                long = timed > 0 and ends[-1] - ends[WARM_STEPS] > PROBE_SECONDS
                if timed >= PROBE_STEPS or long:
                    break
        except DataUnavailableError as fault:
            raise DataError(str(fault)) from fault
        except KeyboardInterrupt:
            raise
        except BaseException as fault:  # the trainer is the user's, who may raise anything
            raise RequestError(
                f"a few steps of a trial with {self._study.scale} {self._scales[trial.key]:g}, by "
                f"which its time is told, failed: {told(fault).splitlines()[0]}; mend it, or plan "
                "with --no-probe"
            ) from fault
        finally:
            if isinstance(trainer, Closes):
                trainer.close()
        # A trial that ends before it is warm is timed as it is.
        first = WARM_STEPS if len(ends) > WARM_STEPS + 1 else 0
        steps = len(ends) - 1 - first
        return {
            "startup_seconds": ends[0] - began,
            "step_seconds": (ends[-1] - ends[first]) / max(1, steps),
            "steps": steps,
        }

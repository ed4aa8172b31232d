"""How long a trial takes: from finished trials of its shape, else from a short probe."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sweeper.engine.messages import Shape
from sweeper.engine.pace import Pace
from sweeper.engine.packing import pack_size, shape_at
from sweeper.engine.worker import processor, told
from sweeper.errors import DataError, StoreReadOnly
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
from workloads.programs import Programmed
from workloads.workload import (
    Closes,
    DataUnavailableError,
    Member,
    factory_of,
)

PROBE_SECONDS = 1.0
PROBE_STEPS = 20
WARM_STEPS = 2
"""Steps before the clock starts: the first ones allocate memory."""


def probe_of(
    study: Study, store: Store, trial: Trial, scale: float
) -> tuple[dict[str, Any], Probe | None]:
    """Returns what a probe of a trial at a scale is known by, and the one that was made before."""
    shape = shape_at(study, scale)
    device = shape.device if shape.gpus else processor()
    what: dict[str, Any] = {
        "workload": trial.workload,
        "workload_version": trial.version,
        "shape": shape_settings(study, trial.config),
        "device": f"{shape.processes} x {device}" if shape.processes > 1 else device,
        "threads": shape.threads,
        "pack": pack_size(study, shape, trial),
    }
    return what, store.probe_for(**what)


def _device_seconds(probe: Probe, processes: int) -> float:
    """Returns the device seconds of a step of one member of the pack that was probed."""
    return probe.step_seconds * processes / probe.pack


def pace_of(study: Study, store: Store) -> Pace:
    """Returns the pace of a run of a study, which knows the probes in the store."""

    def probed(trial: Trial, scale: float) -> float | None:
        probe = probe_of(study, store, trial, scale)[1]
        processes = study.resources.processes_at(scale)
        return None if probe is None else _device_seconds(probe, processes)

    return Pace(lambda trial: shape_digest(study, trial.config), probed)


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
        self._causes: dict[str, float] = {}

    def seconds(self, trial: Trial) -> tuple[float | None, SecondsFrom]:
        """Returns the device seconds of a trial, and from what they are known."""
        digest = shape_digest(self._study, trial.config)
        if digest not in self._step_seconds:
            self._step_seconds[digest] = self._measure(digest, trial)
        per_step, source = self._step_seconds[digest]
        steps = int(trial.derived["steps"])
        return (None if per_step is None else per_step * steps), source

    @property
    def faults(self) -> list[str]:
        """Why probes failed, a sentence a cause; the seconds of their shapes are unknown."""
        return [
            f"a few steps of a trial with {self._study.scale} {scale:g}, by which its time would "
            f"be told, failed: {cause}; a run would fail likewise"
            for cause, scale in self._causes.items()
        ]

    def _finished_shapes(self, planned: Sequence[PlannedTrial]) -> dict[str, list[float]]:
        trials = unique_trials(planned)
        spent = self._store.device_seconds(list(trials))
        shapes: dict[str, list[float]] = {}
        for key, seconds in spent.items():
            digest = shape_digest(self._study, trials[key].config)
            steps = int(trials[key].derived["steps"])
            shapes.setdefault(digest, []).append(seconds / steps)
        return shapes

    def _measure(self, digest: str, trial: Trial) -> tuple[float | None, SecondsFrom]:
        finished = self._finished.get(digest)
        if finished:
            return sum(finished) / len(finished), "finished trials"
        scale = self._scales[trial.key]
        what, known = probe_of(self._study, self._store, trial, scale)
        if known is None and (not self._probe or isinstance(self._study.card, Programmed)):
            return None, "unknown"  # a command runs in earnest or not at all
        shape = shape_at(self._study, scale)
        if known is None:
            timed = self._train(trial, shape, what["pack"])
            if timed is None:
                return None, "unknown"
            known = Probe(**what, **timed)
            with suppress(StoreReadOnly):
                self._store.save_probe(known)
        return _device_seconds(known, shape.processes), "probe"

    def _train(self, trial: Trial, shape: Shape, size: int) -> dict[str, Any] | None:
        """Trains a pack of copies of a trial for a moment; returns the seconds until it began,
        those of a step, and the steps that were timed; None if that failed."""
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
            self._causes.setdefault(told(fault).splitlines()[0], self._scales[trial.key])
            return None
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

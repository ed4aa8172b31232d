"""Packs: trials of equal shape and resources that train side by side, no slot left empty for a
pack's sake."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from sweeper.engine.messages import Order, Shape, Task
from sweeper.engine.policy import flops_of, steps_of
from sweeper.study import PlannedTrial, Study, shape_digest
from sweeper.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Trials of equal shape that train side by side.

    Attributes:
        shape: resources of the slot that they need.
        trials: the members.
        avoid: places that should not take it while another one would.
    """

    shape: Shape
    trials: tuple[Trial, ...]
    avoid: frozenset[str] = frozenset()

    def members(self, keys: Container[str]) -> list[Trial]:
        """Returns the members whose keys are among those given."""
        return [trial for trial in self.trials if trial.key in keys]


@dataclass
class Flight:
    """An order that is handed out, the members of it that have not ended, and those that were
    stopped and run again once the others have ended too."""

    order: Order
    trials: dict[str, Trial]
    place: str = ""
    slot: str = ""
    again: list[Trial] = field(default_factory=list)


def task_of(trial: Trial, attempt: int) -> Task:
    """Returns what a worker is told about a claimed trial."""
    return Task(
        key=trial.key,
        attempt=attempt,
        config={**trial.config, **trial.derived.get("beside", {})},
        seed=trial.seed,
        flops=flops_of(trial),
        steps=steps_of(trial),
        tokens=int(trial.derived.get("tokens", 0)),
        data=trial.data,
    )


CGROUP_CPU = Path("/sys/fs/cgroup/cpu.max")
DEVICES = Path("/dev")


def shape_at(study: Study, scale: float) -> Shape:
    """Returns the resources of a trial at a value of the scale."""
    resources = study.resources
    return Shape(
        cpus=resources.cpus_at(scale),
        gpus=resources.gpus_at(scale),
        custom=resources.custom_at(scale),
        processes=resources.processes_at(scale),
    )


def pack_size(study: Study, shape: Shape, trial: Trial) -> int:
    """Returns how many trials like one train side by side at most: those that pay, or that the
    study asks for; of those that each take several devices one."""
    if shape.processes > 1:
        return 1
    asked = study.resources.pack
    return study.card.pack_size(trial.config, shape.device) if asked == "auto" else asked


def local_processors(quota_file: Path = CGROUP_CPU) -> int:
    """Returns the number of processors that this process may use; a container's quota counts."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = quota_file.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return allowed  # no such limit here
    return allowed if quota == "max" else max(1, min(allowed, int(quota) // int(period)))


def local_accelerators(devices: Path = DEVICES) -> int:
    """Returns the number of GPUs that this process may use, as far as the system tells."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip()])
    return len(list(devices.glob("nvidia[0-9]*")))


def make_packs(
    study: Study,
    planned: Sequence[PlannedTrial],
    *,
    short: Collection[str] = (),
    processors: int | None = None,
    accelerators: int | None = None,
) -> list[Pack]:
    """Returns packs in the order of the plan.

    With ``pack: auto`` the workload says how many members pay, and the packs of a group are
    made smaller where fewer than one for every slot would come out.

    Args:
        study: the study.
        planned: what is left to run.
        short: keys of trials that have run out of memory: each runs alone on its device.
        processors: of the whole cluster; None is this machine.
        accelerators: GPUs of the whole cluster; None is this machine.
    """
    here = {
        "CPU": float(local_processors() if processors is None else processors),
        "GPU": float(local_accelerators() if accelerators is None else accelerators),
        **dict.fromkeys(study.resources.custom, math.inf),
    }
    groups: dict[tuple[Shape, str], list[PlannedTrial]] = {}
    alone = [item for item in planned if item.trial.key in short]
    for item in planned:
        if item.trial.key in short:
            continue
        group = (shape_at(study, item.scale), shape_digest(study, item.trial.config))
        groups.setdefault(group, []).append(item)
    packs = [
        Pack(shape=shape, trials=tuple(item.trial for item in members[start:end]))
        for (shape, _), members in groups.items()
        for start, end in _cuts(study, shape, members, max(1, shape.fitting(here)))
    ]
    return packs + [
        Pack(shape=replace(shape_at(study, item.scale), alone=True), trials=(item.trial,))
        for item in alone
    ]


def _cuts(
    study: Study, shape: Shape, members: Sequence[PlannedTrial], slots: int
) -> list[tuple[int, int]]:
    """Returns start and end of each pack: of the size asked for, or as even as can be."""
    size, total = pack_size(study, shape, members[0].trial), len(members)
    if study.resources.pack != "auto":
        return [(start, min(start + size, total)) for start in range(0, total, size)]
    count = max(math.ceil(total / size), min(slots, total))
    edges = [total * index // count for index in range(count + 1)]
    return list(pairwise(edges))

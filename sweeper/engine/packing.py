"""Groups trials into packs: equal shape, equal resources, no slot left empty for a pack's sake."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from sweeper.engine.dispatch import Pack
from sweeper.engine.order import Shape
from sweeper.plan import PlannedTrial, shape_digest
from sweeper.study import Study


def shape_at(study: Study, scale: float) -> Shape:
    """Returns the resources of a trial at a value of the scale."""
    resources = study.resources
    return Shape(cpus=resources.cpus_at(scale), gpus=resources.gpus_at(scale))


def local_processors() -> int:
    """Returns the number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


def make_packs(
    study: Study, planned: Sequence[PlannedTrial], *, processors: int | None = None
) -> list[Pack]:
    """Returns packs in the order of the plan.

    With ``pack: auto`` the workload says how many members pay, and the packs of a group are
    made smaller where fewer than one for every slot would come out.

    Args:
        study: the study.
        planned: what is left to run.
        processors: of the whole cluster; None is this machine.
    """
    processors = processors or local_processors()
    groups: dict[tuple[Shape, str], list[PlannedTrial]] = {}
    for item in planned:
        group = (shape_at(study, item.scale), shape_digest(study, item.trial.config))
        groups.setdefault(group, []).append(item)
    packs = []
    for (shape, _), members in groups.items():
        size = _size(study, shape, members, processors)
        for start in range(0, len(members), size):
            chunk = members[start : start + size]
            packs.append(Pack(shape=shape, trials=tuple(item.trial for item in chunk)))
    return packs


def _size(study: Study, shape: Shape, members: Sequence[PlannedTrial], processors: int) -> int:
    asked = study.resources.pack
    if asked != "auto":
        return int(asked)
    best = study.card.pack_size(members[0].trial.config, shape.device)
    slots = max(1, int(processors / shape.cpus))
    return max(1, min(best, math.ceil(len(members) / slots)))

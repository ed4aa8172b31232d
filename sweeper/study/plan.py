"""From a study to its trials: keys, what remains, order and price."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sweeper.errors import DataError
from sweeper.study.study import Study
from sweeper.trial import Trial, canonical_json
from workloads.workload import DataUnavailableError


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """A trial as a study declares it.

    Attributes:
        trial: what is run; the same trial may stand in several variants and studies.
        variant: name of the variant that declares it.
        scale: value of the study's scale.
        settings: those of its point, as the study gives them.
    """

    trial: Trial
    variant: str
    scale: float
    settings: Mapping[str, Any] = field(default_factory=dict, compare=False)


def expand(study: Study) -> list[PlannedTrial]:
    """Returns every declared trial of a study, cheapest first.

    Sorting by FLOPs gives a first answer at the small scales early; within one price the order
    of the file is kept.

    Raises:
        DataError: the data that a workload names is missing or altered.
    """
    planned = [plan_trial(study, *cell) for cell in study.cells()]
    return sorted(planned, key=lambda item: (item.trial.derived["flops"], item.scale))


def plan_trial(study: Study, variant: str, settings: Mapping[str, Any], seed: int) -> PlannedTrial:
    """Returns the trial of a study at one point.

    Args:
        study: the study.
        variant: name of the variant that the trial belongs to.
        settings: the settings that apply, in canonical values, the scale among them; the
            workload fills in its defaults.
        seed: the seed.

    Raises:
        DataError: the data that the workload names is missing or altered.
    """
    card = study.card
    resolved = card.resolve(settings)
    try:
        data = study.kept(resolved.config, seed) or card.data_fingerprint(resolved.config)
    except DataUnavailableError as fault:
        raise DataError(f"study {study.name}: {fault}") from fault
    trial = Trial.of(
        workload=study.workload,
        version=card.version,
        data=data,
        config=resolved.config,
        seed=seed,
        derived=resolved.derived,
    )
    return PlannedTrial(
        trial=trial, variant=variant, scale=float(settings[study.scale]), settings=settings
    )


def plan_warnings(planned: Iterable[PlannedTrial]) -> list[str]:
    """Returns what a workload warns of in any trial, each warning once, in order."""
    return list(
        dict.fromkeys(
            warning for item in planned for warning in item.trial.derived.get("warnings", ())
        )
    )


def unique_trials(planned: Iterable[PlannedTrial]) -> dict[str, Trial]:
    """Returns the trials by key, each once, in order."""
    return {item.trial.key: item.trial for item in planned}


def remaining(planned: Iterable[PlannedTrial], accepted: Collection[str]) -> list[PlannedTrial]:
    """Returns what has no accepted result yet, each key once: resume, retry and growth of a
    study are this one set difference."""
    left: dict[str, PlannedTrial] = {}
    for item in planned:
        if item.trial.key not in accepted:
            left.setdefault(item.trial.key, item)
    return list(left.values())


def shape_settings(study: Study, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings that members of one pack have to share."""
    packable = {setting.name for setting in study.card.settings if setting.packable}
    return {name: value for name, value in config.items() if name not in packable}


def shape_digest(study: Study, config: Mapping[str, Any]) -> str:
    """Returns the canonical JSON of :func:`shape_settings`: equal for what can share a pack."""
    return canonical_json(shape_settings(study, config))


SecondsFrom = Literal["finished trials", "probe", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Price:
    """What one value of the scale costs.

    Attributes:
        scale: value of the scale.
        trials: declared trials.
        left: trials without a result.
        params: parameters of the model, (smallest, largest).
        flops: training FLOPs of what is left.
        device_seconds: device seconds of what is left; None if unknown.
        source: where the seconds come from.
    """

    scale: float
    trials: int
    left: int
    params: tuple[int, int]
    flops: float
    device_seconds: float | None
    source: SecondsFrom


Seconds = Callable[[Trial], tuple[float | None, SecondsFrom]]
"""Estimates the device seconds of one trial, and says from what."""


def price(
    planned: Sequence[PlannedTrial], accepted: Collection[str], seconds: Seconds
) -> list[Price]:
    """Returns the price per value of the scale, ascending."""
    rows = []
    for scale in sorted({item.scale for item in planned}):
        here = unique_trials(item for item in planned if item.scale == scale)
        left = [trial for key, trial in here.items() if key not in accepted]
        params = [int(trial.derived["params"]) for trial in here.values()]
        total, source = _seconds(left, seconds)
        rows.append(
            Price(
                scale=scale,
                trials=len(here),
                left=len(left),
                params=(min(params), max(params)),
                flops=sum(float(trial.derived["flops"]) for trial in left),
                device_seconds=total,
                source=source,
            )
        )
    return rows


def _seconds(left: Sequence[Trial], seconds: Seconds) -> tuple[float | None, SecondsFrom]:
    estimates = [seconds(trial) for trial in left]
    if not estimates:
        return 0.0, "finished trials"
    known = [value for value, _ in estimates if value is not None]
    if len(known) < len(estimates):
        return None, "unknown"
    sources = {source for _, source in estimates}
    return sum(known), "probe" if "probe" in sources else "finished trials"

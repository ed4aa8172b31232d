"""Trains the models of a study for a few steps at every size, and measures them; keeps what was
measured beside the results."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.check.measured import Measured, Model, measured_at
from sweeper.errors import DataError, Interrupted, RequestError, shown, suggestion
from sweeper.study import Check, Study, by_name, canonical_value
from sweeper.trial import canonical_json
from workloads.workload import (
    DataUnavailableError,
    HasCoordinates,
    HasLayers,
    Layer,
    Measurement,
    Member,
    Record,
    Records,
    ShortRun,
)

NEEDED = ("updates", "activations", "coordinates")
"""What a card has to record."""

MOST_STEPS = 1000
"""Steps beyond which it is no check before the grid any more."""


@dataclass(frozen=True, kw_only=True)
class CheckRequest:
    """What is to be checked.

    Attributes:
        study: the study.
        variants: their names; empty for all.
        steps: that each model makes.
        seeds: of each size; at least 2, an interval needs them.
        settings: values in place of those of the study, as written.
    """

    study: Study
    variants: tuple[str, ...] = ()
    steps: int = Check().steps
    seeds: int = Check().seeds
    settings: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        card, scale = self.study.card, self.study.scale
        recorded = set(card.recordings) if isinstance(card, Records) else set()
        if not isinstance(card, HasCoordinates) or not recorded.issuperset(NEEDED):
            raise RequestError(
                f"workload {card.name} has no layers to measure, so there is nothing to check; "
                "a check is for workloads that train a model, such as llama and mlp"
            )
        if scale not in ("width", "depth") and scale in {s.name for s in _built_in(card)}:
            raise RequestError(
                f"the scale of study {self.study.name} is {scale}; a coordinate check goes over "
                "models that grow: sweep width or depth as the scale"
            )
        known = tuple(self.study.variants)
        for name in self.variants:
            if name not in known:
                raise RequestError(
                    f"study {self.study.name} has no variant {shown(name)}; "
                    f"{suggestion(name, known)}"
                )
        if not 1 <= self.steps <= MOST_STEPS:
            raise RequestError(
                f"--steps {self.steps}: a check makes 1 to {MOST_STEPS} steps at each size"
            )
        if self.seeds < 2:
            raise RequestError(
                f"--seeds {self.seeds}: an interval needs at least 2 seeds; 5 are usual"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The variants that are checked."""
        return self.variants or tuple(self.study.variants)

    def runs(self, variant: str) -> dict[float, ShortRun]:
        """Returns the run of every size of a variant, ascending.

        Raises:
            RequestError: the variant has a single size, or a setting is wrong.
        """
        card = self.study.card
        assert isinstance(card, HasCoordinates)
        sizes = sorted(float(each) for each in self.study.axes(variant)[self.study.scale])
        if len(sizes) < 2:
            raise RequestError(
                f"variant {variant} of study {self.study.name} has one {self.study.scale}, "
                f"{sizes[0]:g}; a slope needs at least two: add values to sweep.{self.study.scale}"
            )
        settings = self.settings_of(variant)
        found = {}
        for size in sizes:
            config = {**settings, self.study.scale: _whole(size)}
            faults = card.problems(config)
            if faults:
                raise RequestError(f"variant {variant}: {faults[0].message}")
            found[size] = card.short_run(config, self.steps)
        return found

    def settings_of(self, variant: str) -> dict[str, Any]:
        """Returns the settings at which a variant is checked, the scale apart: its constants, the
        smallest learning rate of its axis (steps are to stay in the linear part of training) and
        the first value of every other."""
        space = self.study.space(variant)
        found = dict(next(space.points()))
        axes = self.study.axes(variant)
        if "learning_rate" in axes:
            found["learning_rate"] = min(axes["learning_rate"])
        known = by_name(self.study.card.settings)
        for name, value in (self.settings or {}).items():
            if name == self.study.scale:
                raise RequestError(
                    f"--set {name}={value}: {name} is the scale, and a check goes over all its "
                    "values; leave it out"
                )
            if name not in known:
                hint = suggestion(name, tuple(known))
                raise RequestError(f"--set {name}={value}: there is no such setting; {hint}")
            try:
                found[name] = canonical_value(known[name], value)
            except ValueError as fault:
                raise RequestError(f"--set {name}={value}: {fault}") from fault
        del found[self.study.scale]
        return found

    @property
    def record(self) -> Record:
        """What is measured of the models, and when."""
        return Record(quantities=NEEDED, steps=measured_at(self.steps))

    def name(self) -> str:
        """Returns the name of the files that hold this check, without their ending: the same for
        the same models, data, steps and seeds."""
        card = self.study.card
        runs = {name: list(self.runs(name).items()) for name in self.names}
        parts = [
            [name, size, dict(run.config), _fingerprint(self.study, run.config)]
            for name, each in runs.items()
            for size, run in each
        ]
        what = [FORMAT, card.name, card.version, self.steps, self.seeds, parts]
        digest = hashlib.sha256(canonical_json(what).encode()).hexdigest()
        return f"checks/{self.study.name}/{digest[:16]}"


FORMAT = 1
"""Version of what is measured and of the files; a change of either raises it."""


def measured_study(
    request: CheckRequest,
    *,
    tell: Callable[[str], None] = lambda text: None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Measured]:
    """Returns what was measured of every variant, in this process.

    Args:
        request: what is to be checked.
        tell: is told which models train, a sentence each.
        stopped: whether to leave off; asked after every step.

    Raises:
        Interrupted: it was stopped; nothing of it is kept.
        RequestError: a variant has one size, or a trainer says nothing of its layers.
        DataError: the data of the study is missing.
    """
    return [_variant(request, name, tell, stopped) for name in request.names]


def _variant(
    request: CheckRequest, name: str, tell: Callable[[str], None], stopped: Callable[[], bool]
) -> Measured:
    runs, scale = request.runs(name), request.study.scale
    models = []
    for size, run in runs.items():
        tell(f"variant {name}: {scale} {size:g}, {request.seeds} seeds of {request.steps} steps")
        models.append(_model(request, size, run, stopped))
    if all(model.layers == models[0].layers for model in models):
        raise RequestError(
            f"study {request.study.name}: no tensor of the model changes with {scale}, so there "
            "is nothing to check"
        )
    return Measured(
        variant=name,
        scale=scale,
        models=tuple(models),
        initial=next(iter(runs.values())).initial,
        settings=request.settings_of(name),
    )


def _model(
    request: CheckRequest, size: float, run: ShortRun, stopped: Callable[[], bool]
) -> Model:
    members = [Member(config=run.config, seed=seed) for seed in range(request.seeds)]
    factory: Any = request.study.card.trainer()
    threads = max(1, int(request.study.resources.cpus_at(size)))
    try:
        trainer = factory(members, threads=threads, device="cpu", record=request.record)
        running = trainer.run()
    except DataUnavailableError as fault:
        raise DataError(str(fault)) from fault
    if not isinstance(trainer, HasLayers):
        raise RequestError(
            f"the trainer of workload {request.study.card.name} does not say what its layers are "
            "(workloads.workload.HasLayers), so they cannot be checked"
        )
    layers = dict(trainer.layers())
    values, diverged = _trained(running, request, stopped)
    groups = run.derived.get("groups", {})
    rates = {name: _rate(groups, layer) for name, layer in layers.items()}
    return Model(
        size=size,
        layers=layers,
        values=values,
        rates={name: rate for name, rate in rates.items() if rate},
        branch=float(run.derived.get("branch_multiplier", 1.0)),
        diverged=tuple(sorted(diverged)),
    )


def _trained(
    running: Iterator[Sequence[Measurement]], request: CheckRequest, stopped: Callable[[], bool]
) -> tuple[dict[int, dict[str, tuple[float, ...]]], set[int]]:
    """Returns what was recorded after each step, one value a seed, and the seeds that diverged."""
    found: dict[int, dict[int, Mapping[str, float]]] = {}
    diverged: set[int] = set()
    for done, said in enumerate(running, start=1):
        for item in said:
            if item.status == "diverged":
                diverged.add(item.member)
            elif item.step in request.record.steps and not item.mark:
                found.setdefault(item.step, {})[item.member] = item.metrics
        if done >= request.steps:
            break
        if stopped():
            raise Interrupted("interrupted during the coordinate check; nothing is lost")
    whole = {step: each for step, each in found.items() if len(each) == request.seeds}
    return {step: _columns(each) for step, each in whole.items()}, diverged


def _columns(members: Mapping[int, Mapping[str, float]]) -> dict[str, tuple[float, ...]]:
    names = [name for name in members[0] if "." in name]
    return {name: tuple(float(members[i][name]) for i in sorted(members)) for name in names}


def _rate(groups: Mapping[str, Any], layer: Layer) -> float:
    group = groups.get(layer.kind) or groups.get(layer.role) or {}
    return float(group.get("learning_rate", 0.0))


def _fingerprint(study: Study, config: Mapping[str, Any]) -> str:
    try:
        return study.card.data_fingerprint(config)
    except DataUnavailableError as fault:
        raise DataError(f"study {study.name}: {fault}") from fault


def _whole(size: float) -> float | int:
    return int(size) if size == int(size) else size


def _built_in(card: Any) -> Sequence[Any]:
    """Returns the settings of a card of ours; its scales other than width and depth change no
    tensor, or change them otherwise than a rule speaks of."""
    return card.settings if card.name in ("llama", "mlp") else ()

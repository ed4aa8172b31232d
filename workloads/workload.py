"""What a workload is: a card that plans it and a trainer that runs it.

The card is free of torch and is all that planning, validation and documentation load. The
trainer may be anything that takes a pack of trials of equal shape and yields measurements.
A workload of another package is a full citizen: name it in a study as ``package.module:CARD``
or register the card under the entry point group ``sweeper.workloads``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:  # planning does without numpy
    import numpy as np
    from numpy.typing import NDArray

Config = Mapping[str, Any]
"""Settings by name. A resolved config holds every setting that applies, and no other."""

Kind = Literal["int", "float", "bool", "choice", "text"]

Condition = Mapping[str, tuple[Any, ...]]
"""Settings by name, each with the values of which it has to have one."""


class DataUnavailableError(Exception):
    """Data that a config names is missing or is not what was expected; says what to do."""


class ProcessLostError(Exception):
    """A process that a trainer started is gone; the trial is not to blame, and goes on from its
    checkpoint, where nothing else tells against it."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of a workload.

    Attributes:
        name: the key in a study file.
        kind: type of the value.
        doc: one sentence: what it means, and its unit.
        default: value where the study says nothing; ignored if ``required``.
        required: True if a study has to give it.
        optional: True if null is allowed.
        low, high: inclusive bounds of a number; None is unbounded.
        low_open: True if ``low`` itself is not allowed.
        choices: allowed values of a ``choice``.
        when: settings that must have one of the given values for this one to apply, for example
            ``{"optimizer": ("muon",)}``, or several such conditions of which one has to hold; a
            setting that does not apply is no part of a config.
        packable: True if members of one pack may differ in it.
    """

    name: str
    kind: Kind
    doc: str
    default: Any = None
    required: bool = False
    optional: bool = False
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    choices: tuple[str, ...] = ()
    when: Condition | tuple[Condition, ...] = ()
    packable: bool = False

    def admits(self, value: float) -> bool:
        """Returns whether a number is finite and within the bounds."""
        above = self.low is None or value > self.low or (value == self.low and not self.low_open)
        return -inf < value < inf and above and (self.high is None or value <= self.high)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions of which one has to hold; empty for a setting that always applies."""
        return (self.when,) if isinstance(self.when, Mapping) else self.when


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A combination of settings that cannot be trained.

    Attributes:
        keys: the settings involved, the one to change first.
        message: what is wrong, with the values, what is allowed and what to do.
    """

    keys: tuple[str, ...]
    message: str


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What a card makes of a config.

    Attributes:
        config: the canonical config: defaults filled in, settings that do not apply left out,
            the horizon as ``steps`` (tokens and tokens_per_param turned into it), numbers in
            their declared type. Two configs that train the same have the same canonical config.
        derived: what follows: at least ``params``, ``steps``, ``tokens``, ``flops`` (training
            FLOPs of the whole run); for the built-in workloads also ``flops_per_token``
            (forward), ``warmup_steps``, ``weight_decay_convention``, ``groups`` (per role, and
            per kind of tensor that differs from its role: optimizer, learning_rate,
            weight_decay, epsilon and init_std as they really are) and ``warnings``, what the
            author of the config may not have meant, in sentences; and ``beside``, settings that
            the worker is given and that decide no result, so that they are no part of the key.
    """

    config: dict[str, Any]
    derived: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class FirstStudy:
    """What a first study of a workload holds, as YAML text by key.

    Attributes:
        scale: the setting along which optima are tracked.
        hyperparameter: the setting whose optimum is tracked.
        fixed: settings with one value.
        variants: settings of each variant.
        sweep: axes.
    """

    scale: str
    hyperparameter: str
    fixed: Mapping[str, str]
    variants: Mapping[str, str]
    sweep: Mapping[str, str]


@runtime_checkable
class PartialMetrics(Protocol):
    """A card of which some configs do not measure every metric."""

    def unmeasured(self, config: Config) -> Mapping[str, str]:
        """Returns the metrics that a config, perhaps incomplete, leaves out, each with the
        reason and what to do."""
        ...


@dataclass(frozen=True, kw_only=True)
class ShortRun:
    """How a coordinate check trains a model.

    Attributes:
        config: canonical config of the run: some steps at the full learning rate, without decay.
        derived: as of :class:`Resolved`.
        initial: by role, the power of the width in the initial spread where the rule has another
            than the spectral condition (arXiv 2310.17813).
    """

    config: Config
    derived: Config
    initial: Mapping[str, float]


@runtime_checkable
class HasCoordinates(Protocol):
    """A card whose models a coordinate check can measure: its ``recordings`` have ``updates``,
    ``activations`` and ``coordinates``, and its trainers are :class:`HasLayers`."""

    def short_run(self, config: Config, steps: int) -> ShortRun:
        """Returns the run by which a config, without faults, is checked: longer than ``steps``,
        after which it is left."""
        ...


@runtime_checkable
class HasTheory(Protocol):
    """A card of which theory says how fast the best setting moves."""

    @property
    def theory(self) -> str:
        """What it says, as a clause."""
        ...


@runtime_checkable
class Tailored(Protocol):
    """A card of which the settings depend on what a study fixes, as on the columns of a table."""

    def tailored(self, fixed: Config) -> Card | Problem:
        """Returns the card with all settings, or why there is none.

        Args:
            fixed: the constant settings of a study as written, not yet checked.
        """
        ...


@runtime_checkable
class Parallel(Protocol):
    """A card whose trainers may use several devices for one trial: GPUs, or on a CPU processes."""

    def parallel_problems(self, config: Config, processes: int) -> list[Problem]:
        """Returns why a config without other faults cannot be trained on so many devices; empty
        if it can."""
        ...

    def parallel_trainer(self, processes: int) -> TrainerFactory:
        """Returns the factory of a trainer that uses so many devices, at least 2.

        It is made in one process, which sees all of them, starts what processes it needs by
        itself, and ends them when it is closed (:class:`Closes`), fails, or its own process is
        killed. A trial has one result on any number of devices, up to rounding.
        """
        ...


Tables = Callable[[str], Path]
"""Finds the file of a table by the name that a config has for it, ``study:NAME`` or
``sha256:DIGEST``; raises :class:`DataUnavailableError` if there is none."""


@runtime_checkable
class ReadsTables(Protocol):
    """A card of which a config may name tables that lie with the results of studies."""

    def with_tables(self, tables: Tables) -> Card:
        """Returns the card that finds such tables; what it resolves names them by content."""
        ...


class Card(Protocol):
    """The torch-free half of a workload."""

    @property
    def name(self) -> str:
        """Name in study files."""
        ...

    @property
    def version(self) -> str:
        """Semantic version; raise it whenever the same config would train differently."""
        ...

    @property
    def doc(self) -> str:
        """One paragraph on what is trained."""
        ...

    @property
    def settings(self) -> tuple[Setting, ...]:
        """All settings but ``seed``, in the order in which documentation shows them."""
        ...

    @property
    def metrics(self) -> Mapping[str, str]:
        """Metrics of a finished trial: name to one sentence with the unit."""
        ...

    def problems(self, config: Config) -> list[Problem]:
        """Returns every fault of a combination of (type-checked) settings; empty if none."""
        ...

    def resolve(self, config: Config) -> Resolved:
        """Returns the canonical config and its derived quantities; pure and fast."""
        ...

    def data_fingerprint(self, config: Config) -> str:
        """Returns the fingerprint of the data that a canonical config trains on.

        Raises:
            DataUnavailableError: the data is missing or is not what it should be.
        """
        ...

    def pack_size(self, config: Config, device: str) -> int:
        """Returns how many trials of this shape train well side by side on a device."""
        ...

    def trainer(self) -> TrainerFactory:
        """Returns the trainer's factory; only here may torch be imported."""
        ...


@dataclass(frozen=True, kw_only=True)
class Member:
    """One trial of a pack.

    Attributes:
        config: canonical config. Members of a pack differ only in packable settings.
        seed: seed of initialisation and of the order of the data.
        checkpoint: a checkpoint of this trial to go on from, or None to start.
        key: key of the trial, for what it is called outside.
    """

    config: Config
    seed: int
    checkpoint: Path | None = None
    key: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a trainer is to record on the way, besides what it says anyway; no result depends on
    it, so it is no part of a config.

    Attributes:
        quantities: names among the card's ``recordings``.
        every: steps between two recordings; None is a twentieth of the run, 16 at least.
        steps: the steps to record after, in place of ``every``; those beyond the run never come.
    """

    quantities: tuple[str, ...]
    every: int | None = None
    steps: tuple[int, ...] = ()

    def at(self, total: int) -> frozenset[int]:
        """Returns the steps to record after, in a run of so many; the last one is among them
        unless ``steps`` says otherwise."""
        if self.steps:
            return frozenset(step for step in self.steps if step <= total)
        every = self.every or max(LEAST_APART, total // RECORDINGS)
        return frozenset((*range(every, total + 1, every), total))


RECORDINGS = 20
"""Times that a run records where nothing else is said, about."""

LEAST_APART = 16
"""Steps between two recordings, at least, where nothing else is said: a recording of updates,
activations and attention logits costs about two thirds of a step, 4% of so many."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a trainer says about one member after a step.

    Attributes:
        member: index into the pack.
        step: optimizer steps done.
        tokens: tokens seen (or examples, for a workload without tokens).
        metrics: values by name; ``train_loss`` at curve points, evaluation metrics at marks.
        mark: True if the metrics are an evaluation to be kept as a mark.
        status: ``running``; ``completed`` on the last measurement of a member, whose metrics
            are then its final ones; ``diverged`` if its loss left the finite, which ends it.
        arrays: what was recorded of the whole run, by name, in float64; on the last measurement
            of a completed member, if it was asked for.
        anew: True if the member began anew here: what was said of this step and of later ones
            counts no more.
    """

    member: int
    step: int
    tokens: int
    metrics: Mapping[str, float]
    mark: bool = False
    status: Literal["running", "completed", "diverged"] = "running"
    arrays: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    anew: bool = False


class Trainer(Protocol):
    """Trains one pack."""

    def run(self) -> Iterator[Sequence[Measurement]]:
        """Yields after every optimizer step (an empty sequence where there is nothing to say),
        so that the host can checkpoint, report and stop between any two steps."""
        ...

    def save(self, member: int, path: Path) -> None:
        """Writes a checkpoint of one member as one file at ``path``, between two steps. The
        caller owns the name, the rename into place and the checksum."""
        ...

    def device_name(self) -> str:
        """Returns the name of the processor or accelerator that it trains on."""
        ...


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One tensor of a model, as a scaling rule sees it.

    Attributes:
        kind: ``embedding``, ``hidden``, ``readout`` or ``vector``, its role, or the role, a dot
            and a name; the role and the kind are what a card's ``derived.groups`` are called by.
        inputs: of the matrix; 1 of a vector, and of a table the number of its rows.
        outputs: of the matrix; the entries of a vector, of a table those of a row.
    """

    kind: str
    inputs: int
    outputs: int

    @property
    def role(self) -> str:
        """What it is to a rule."""
        return self.kind.partition(".")[0]


@runtime_checkable
class HasLayers(Protocol):
    """A trainer that can say what its model is made of."""

    def layers(self) -> Mapping[str, Layer]:
        """Returns every tensor by the name that recorded columns have for it."""
        ...


@runtime_checkable
class LetsGo(Protocol):
    """A trainer that can do without a member, which no longer costs what training it would."""

    def let_go(self, member: int) -> None:
        """Trains a member no longer, from between two steps on; the others keep their bits."""
        ...


@runtime_checkable
class Closes(Protocol):
    """A trainer that holds more than memory, such as processes."""

    def close(self) -> None:
        """Ends what it holds; it is asked for nothing else from then on."""
        ...


@runtime_checkable
class Records(Protocol):
    """A card whose trainers can record more than they say. Their factory takes another keyword
    then, ``record``, a :class:`Record`; what it asks for stands among the metrics of a curve
    point after each of its steps, a column each, named ``QUANTITY.LAYER``, or, if it is about the
    whole run, among the ``arrays`` of the last measurement."""

    @property
    def recordings(self) -> Mapping[str, str]:
        """What can be recorded: name to one sentence with the columns."""
        ...


class TrainerFactory(Protocol):
    """Makes a trainer for a pack."""

    def __call__(self, members: Sequence[Member], *, threads: int, device: str) -> Trainer:
        """Returns a trainer.

        Args:
            members: the pack; their checkpoints, if any, are all of the same step.
            threads: processor threads to use, at least 1; of several processes, by each.
            device: ``cpu`` or ``cuda``.

        Raises:
            DataUnavailableError: the data cannot be read.
            ValueError: a checkpoint is unreadable or of another trial.
            ProcessLostError: as every method of the trainer: a process that it started is gone.
        """
        ...


def factory_of(card: Card, processes: int) -> TrainerFactory:
    """Returns the factory of a card's trainers on so many devices.

    Raises:
        ValueError: they are several, and its trainers use one alone.
    """
    if processes == 1:
        return card.trainer()
    if not isinstance(card, Parallel):
        raise ValueError(f"workload {card.name} trains a trial on one device, not on {processes}")
    return card.parallel_trainer(processes)


def applies(setting: Setting, config: Config) -> bool:
    """Returns whether a setting has a meaning under the other settings of a config."""
    return not setting.when or any(meets(config, each) for each in setting.conditions)


def meets(config: Config, condition: Condition) -> bool:
    """Returns whether every setting that a condition names has one of its values."""
    return all(config.get(name) in allowed for name, allowed in condition.items())


def unit_of(card: Card, metric: str) -> str:
    """Returns the unit that a card gives for a metric in its optional ``units``, a mapping such
    as ``{"val_loss": "nats per token"}``; empty if it gives none."""
    units: Mapping[str, str] = getattr(card, "units", {})
    return units.get(metric, "")


def first_study_of(card: Card) -> FirstStudy | None:
    """Returns the first study that a card proposes in its optional ``start``, or None."""
    return getattr(card, "start", None)

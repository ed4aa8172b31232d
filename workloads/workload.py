"""What a workload is: a card that plans it and a trainer that runs it.

The card is free of torch and is all that planning, validation and documentation load. The
trainer may be anything that takes a pack of trials of equal shape and yields measurements.
A workload of another package is a full citizen: name it in a study as ``package.module:CARD``
or register the card under the entry point group ``sweeper.workloads``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
            author of the config may not have meant, in sentences.
    """

    config: dict[str, Any]
    derived: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ScaledTensor:
    """How the hyperparameters of one kind of tensor go from the base model to a larger one.

    Attributes:
        optimizer: what drives it.
        factors: ``learning_rate``, ``epsilon`` (1 where the optimizer has none) and further
            epsilons, ``weight_decay`` (of the share of a weight that a step takes away; 0 where
            nothing is ever taken) and ``init_std``, each over its value in the base model.
        formulas: the same as formulas in the symbols of the table.
    """

    optimizer: str
    factors: Mapping[str, float]
    formulas: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class RuleTable:
    """A scaling rule written out for one model.

    Attributes:
        config: the completed config that it is for; settings that do not apply are left out.
        source: where the rule is from, in words.
        roles: by role, ``embedding``, ``hidden``, ``readout`` and ``vector``.
        leaves: by name, the tensors whose factors differ from those of their role.
        branch_multiplier: factor on residual branches.
        symbols: what each symbol of the formulas means.
        warnings: what the author of the config may not have meant.
    """

    config: Config
    source: str
    roles: Mapping[str, ScaledTensor]
    leaves: Mapping[str, ScaledTensor]
    branch_multiplier: float
    symbols: Mapping[str, str]
    warnings: tuple[str, ...]


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
class HasScalingRules(Protocol):
    """A card that can write out its scaling rules."""

    def rules(self, config: Config) -> RuleTable:
        """Returns the scaling rule of a config, in which only ``width`` is required.

        Raises:
            ValueError: the config has faults; the message lists them all.
        """
        ...


@runtime_checkable
class PartialMetrics(Protocol):
    """A card of which some configs do not measure every metric."""

    def unmeasured(self, config: Config) -> Mapping[str, str]:
        """Returns the metrics that a config, perhaps incomplete, leaves out, each with the
        reason and what to do."""
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
    """

    config: Config
    seed: int
    checkpoint: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a trainer is to record on the way, besides what it says anyway; no result depends on
    it, so it is no part of a config.

    Attributes:
        quantities: names among the card's ``recordings``.
        every: steps between two recordings; None is a twentieth of the run.
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
        every = self.every or max(1, total // RECORDINGS)
        return frozenset((*range(every, total + 1, every), total))


RECORDINGS = 20
"""Times that a run records where nothing else is said, about."""


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
    """

    member: int
    step: int
    tokens: int
    metrics: Mapping[str, float]
    mark: bool = False
    status: Literal["running", "completed", "diverged"] = "running"
    arrays: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


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


@runtime_checkable
class LetsGo(Protocol):
    """A trainer that can do without a member, which no longer costs what training it would."""

    def let_go(self, member: int) -> None:
        """Trains a member no longer, from between two steps on; the others keep their bits."""
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
            threads: processor threads to use, at least 1.
            device: ``cpu`` or ``cuda``.

        Raises:
            DataUnavailableError: the data cannot be read.
            ValueError: a checkpoint is unreadable or of another trial.
        """
        ...


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

"""What an optimizer is, free of torch: one value beside its algorithm, and all of them by name.

A new optimizer is a module in ``specs`` with its ``SPECS``, found by being there, and a module
with its algorithm; nothing else has to know it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Literal

from workloads.parametrization import OptimizerTraits, TensorKind, UpdateRule
from workloads.settings import Share, choice, count, positive
from workloads.workload import Condition, Config, Problem, Resolved, Setting, meets

if TYPE_CHECKING:
    from workloads.optimizers.algorithm import Algorithm
    from workloads.optimizers.layout import Parameters
    from workloads.optimizers.optimizer import Group, Optimizer

DEFAULT = "adamw"
"""The optimizer of a config that names none, and of the tensors that an optimizer of matrices
does not drive."""


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """All that planning, rules and documentation ask of an optimizer.

    Attributes:
        name: its name in study files.
        kind: ``elementwise`` if it updates tensors of any shape; ``matrix`` if it treats a matrix
            as one, so that vectors beside it are driven by AdamW.
        doc: what its update is, in a sentence.
        rule: how learning rate and epsilons go with the size of a tensor.
        build: returns the algorithm of a resolved config; only in here may torch be imported.
        settings: what it reads, each of them under the condition that one of the optimizers that
            list it is used, unless it has a condition of its own.
        borrowed: settings of another optimizer that it reads too, each with the condition.
        epsilons: its own name for each of its epsilons, and the setting that gives it.
        traits: what ``rule`` reads of a completed config; None for the name alone.
        rule_settings: what ``traits`` reads besides ``settings``, each under a condition that
            names the parametrizations that ask for it.
        faults: yields what is wrong with its settings in a completed config, its own or not.
        fused: returns the optimizer of a group where one kernel makes its whole step; None where
            the core of all optimizers makes it from the algorithm.
        orthogonal: True if its update is (nearly) a semi-orthogonal matrix, of spectral norm one.
        norm_one: settings under which its update has spectral norm one without that.
        moonlight: True if parametrization ``moonlight`` is defined for it.
        moves_by_size: True if it moves weights in proportion to their size.
        hidden_only: True if it drives hidden matrices only, never embedding and readout.
        without_clip: of an optimizer with QK-clip, whose trainer scales queries and keys of
            attention down, what is left of it in a model without attention; else None.
    """

    name: str
    kind: Literal["elementwise", "matrix"]
    doc: str
    rule: Callable[[OptimizerTraits, TensorKind], UpdateRule]
    build: Callable[[Resolved], Algorithm]
    settings: tuple[Setting, ...] = ()
    borrowed: Mapping[str, Condition] = field(default_factory=dict)
    epsilons: Mapping[str, str] = field(default_factory=dict)
    traits: Callable[[Config], OptimizerTraits] | None = None
    rule_settings: tuple[Setting, ...] = ()
    faults: Callable[[Config], Iterable[Problem]] = lambda config: ()
    fused: Callable[[Parameters, Group, Config], Optimizer] | None = None
    orthogonal: bool = False
    norm_one: Condition | None = None
    moonlight: bool = False
    moves_by_size: bool = False
    hidden_only: bool = False
    without_clip: str | None = None

    @property
    def clips_attention(self) -> bool:
        """Whether it has QK-clip."""
        return self.without_clip is not None

    def reads(self, setting: str) -> bool:
        """Returns whether a setting is one of its own."""
        return any(each.name == setting for each in self.settings)

    def has_norm_one(self, config: Config) -> bool:
        """Returns whether its update has spectral norm one under a completed config."""
        return self.orthogonal or (self.norm_one is not None and meets(config, self.norm_one))


def _found() -> tuple[OptimizerSpec, ...]:
    """Returns the optimizers of every module in ``specs``, as they stand there."""
    package = "workloads.optimizers.specs"
    modules = sorted(each.name for each in iter_modules(import_module(package).__path__))
    return tuple(spec for name in modules for spec in import_module(f"{package}.{name}").SPECS)


_FOUND = _found()

SPECS: Mapping[str, OptimizerSpec] = {
    spec.name: spec for spec in sorted(_FOUND, key=lambda each: each.kind)
}
"""Every optimizer by name, the elementwise ones first."""


def _names(keep: Callable[[OptimizerSpec], bool]) -> tuple[str, ...]:
    return tuple(name for name, spec in SPECS.items() if keep(spec))


OPTIMIZERS: tuple[str, ...] = tuple(SPECS)
ELEMENTWISE: tuple[str, ...] = _names(lambda spec: spec.kind == "elementwise")
MATRIX: tuple[str, ...] = _names(lambda spec: spec.kind == "matrix")
ORTHOGONAL: tuple[str, ...] = _names(lambda spec: spec.orthogonal)
SHARES: tuple[str, ...] = tuple(
    dict.fromkeys(each.name for s in _FOUND for each in s.settings if isinstance(each, Share))
)
"""Settings that have to be at least 0 and below 1."""


def spec_of(optimizer: str) -> OptimizerSpec:
    """Returns an optimizer by name.

    Raises:
        ValueError: there is no such optimizer.
    """
    if optimizer not in SPECS:
        raise ValueError(f"no optimizer named {optimizer!r}; known: {', '.join(SPECS)}")
    return SPECS[optimizer]


def traits_of(optimizer: str, config: Config) -> OptimizerTraits:
    """Returns what the rule of an optimizer reads of a completed config."""
    traits = spec_of(optimizer).traits
    return OptimizerTraits(optimizer=optimizer) if traits is None else traits(config)


def others_of(config: Config) -> str:
    """Returns the optimizer of embedding and readout: ``auto`` is the one of the hidden matrices
    if it is elementwise, else adamw."""
    others: str = config["others"]
    if others != "auto":
        return others
    return str(config["optimizer"]) if config["optimizer"] in ELEMENTWISE else DEFAULT


def vectors_of(config: Config) -> str:
    """Returns the optimizer of gains and biases: that of the others unless it needs matrices."""
    others = others_of(config)
    return others if others in ELEMENTWISE else DEFAULT


def used(*names: str, vectors: Condition) -> tuple[Condition, ...]:
    """Returns the conditions under which one of some optimizers drives anything.

    Args:
        names: optimizers.
        vectors: the condition under which a model has vectors.
    """
    conditions: list[Condition] = [{"optimizer": names}]
    if not all(SPECS[name].hidden_only for name in names):
        conditions.append({"others": names})
    if DEFAULT in names:
        conditions += [{"optimizer": MATRIX, "others": ("auto",)}, {**vectors, "others": MATRIX}]
    return tuple(conditions)


def algorithm_settings(vectors: Condition, *, attention: bool) -> tuple[Setting, ...]:
    """Returns the settings of every optimizer, each once.

    Args:
        vectors: the condition under which the model has vectors.
        attention: False leaves out what optimizers with QK-clip alone read.
    """
    readers = [spec for spec in _FOUND if attention or not spec.clips_attention]
    settings = {each.name: each for spec in readers for each in spec.settings}
    return tuple(
        each if each.when else replace(each, when=_conditions(each.name, vectors))
        for each in settings.values()
    )


def optimizer_rule_settings(vectors: Condition) -> tuple[Setting, ...]:
    """Returns the settings that the rules of optimizers read besides, see ``rule_settings``.

    Args:
        vectors: the condition under which the model has vectors.
    """
    return tuple(
        replace(each, when=tuple({**use, **own} for use in uses for own in each.conditions))
        for spec in SPECS.values()
        for uses in [used(spec.name, vectors=vectors)]
        for each in spec.rule_settings
    )


def _conditions(setting: str, vectors: Condition) -> tuple[Condition, ...]:
    """Returns the conditions under which an optimizer reads a setting."""
    readers = (spec.name for spec in SPECS.values() if spec.reads(setting))
    borrowers = (s.borrowed[setting] for s in SPECS.values() if setting in s.borrowed)
    return (*used(*readers, vectors=vectors), *borrowers)


def choice_settings() -> tuple[Setting, ...]:
    """Returns the settings that choose the optimizers."""
    return (
        choice("optimizer", DEFAULT, OPTIMIZERS, "Optimizer of the hidden matrices."),
        choice(
            "others",
            "auto",
            ("auto", *_names(lambda spec: not spec.hidden_only)),
            "Optimizer of embedding, readout and vectors: auto is that of the hidden matrices "
            f"if it works on single numbers ({', '.join(ELEMENTWISE)}), else adamw. Vectors have "
            "adamw where it needs matrices.",
        ),
        positive(
            "others_learning_rate_ratio",
            None,
            "Learning rate of embedding, readout and vectors over learning_rate; null is 0.3 "
            f"beside optimizers whose update has spectral norm one ({_of_norm_one()}) where the "
            "others have another optimizer, else 1.",
        ),
    )


def _of_norm_one() -> str:
    """Returns ``muon, muonclip, dion, and shampoo with graft none``."""
    conditional = [
        f"{spec.name} with {name} {' or '.join(map(str, values))}"
        for spec in SPECS.values()
        for name, values in (spec.norm_one or {}).items()
    ]
    return ", and ".join([", ".join(ORTHOGONAL), *conditional])


def power_settings() -> tuple[Setting, ...]:
    """Returns the settings of explicit spectral normalisation."""
    normalized: Condition = {"parametrization": ("normalized",)}
    return (
        count(
            "power_iterations",
            1,
            "Power iterations an update for its largest singular value, after warm-up.",
            when=normalized,
        ),
        Setting(
            name="power_warmup_steps",
            kind="int",
            default=50,
            low=0,
            when=normalized,
            doc="First steps with five power iterations each.",
        ),
    )


def block_settings() -> tuple[Setting, ...]:
    """Returns the setting of how matrix optimizers see the projections of attention."""
    return (
        choice(
            "qkv",
            "split",
            ("split", "fused", "per_head"),
            "What a matrix optimizer takes for one matrix of attention: queries, keys and "
            "values each, all three on top of each other, or each head of each.",
            when=({"optimizer": MATRIX},),
        ),
    )

"""The settings that choose optimizers and that no single one of them has."""

from __future__ import annotations

from workloads.optimizers.spec import ELEMENTWISE, MATRIX, OPTIMIZERS, SPECS
from workloads.workload import Condition, Setting

_OTHERS = tuple(name for name, spec in SPECS.items() if not spec.hidden_only)


def choice_settings() -> tuple[Setting, ...]:
    """Returns the settings that choose the optimizers."""
    return (
        Setting(
            name="optimizer",
            kind="choice",
            default="adamw",
            choices=OPTIMIZERS,
            doc="Optimizer of the hidden matrices.",
        ),
        Setting(
            name="others",
            kind="choice",
            default="auto",
            choices=("auto", *_OTHERS),
            doc="Optimizer of embedding, readout and vectors: auto is that of the hidden matrices "
            f"if it works on single numbers ({', '.join(ELEMENTWISE)}), else adamw. Vectors have "
            "adamw where it needs matrices.",
        ),
        Setting(
            name="others_learning_rate_ratio",
            kind="float",
            optional=True,
            low=0.0,
            low_open=True,
            doc="Learning rate of embedding, readout and vectors over learning_rate; null is 0.3 "
            "beside optimizers whose update has spectral norm one (muon, muonclip, dion, and "
            "shampoo without a graft) where the others have another optimizer, else 1.",
        ),
    )


def power_settings() -> tuple[Setting, ...]:
    """Returns the settings of explicit spectral normalisation."""
    normalized: Condition = {"parametrization": ("normalized",)}
    return (
        Setting(
            name="power_iterations",
            kind="int",
            default=1,
            low=1,
            when=normalized,
            doc="Power iterations an update for its largest singular value, after warm-up.",
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
        Setting(
            name="qkv",
            kind="choice",
            default="split",
            choices=("split", "fused", "per_head"),
            when=({"optimizer": MATRIX},),
            doc="What a matrix optimizer takes for one matrix of attention: queries, keys and "
            "values each, all three on top of each other, or each head of each.",
        ),
    )

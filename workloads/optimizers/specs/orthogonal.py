"""Optimizers whose update is a (nearly) semi-orthogonal matrix: Muon and its kin, and Dion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.optimizers.coefficients import MARGINS, NEWTON_SCHULZ, Coefficients
from workloads.optimizers.spec import OptimizerSpec
from workloads.parametrization import (
    NORM,
    ONE,
    SIGNS,
    STEP,
    OptimizerTraits,
    TensorKind,
    UpdateRule,
)
from workloads.settings import choice, count, epsilon, flag, positive, share
from workloads.workload import Config, Resolved, Setting

if TYPE_CHECKING:
    import torch

    from workloads.optimizers.algorithm import Algorithm

_MOMENTUM = share("momentum", 0.95, "Decay of Muon's mean gradient, below 1.")

_ITERATED = (
    choice(
        "newton_schulz",
        "keller_jordan",
        tuple(NEWTON_SCHULZ),
        "Coefficients of the Newton-Schulz iteration; a trial stores the numbers.",
    ),
    count(
        "newton_schulz_steps",
        None,
        "Newton-Schulz iterations a step; null for as many as the coefficients are for.",
    ),
    Setting(
        name="newton_schulz_margin",
        kind="float",
        default=None,
        optional=True,
        low=1.0,
        when={"newton_schulz": tuple(MARGINS)},
        doc="What the norm is multiplied by before Newton-Schulz divides by it, with coefficients "
        "that allow for it; null is "
        + ", ".join(f"{value} for {name}" for name, value in MARGINS.items())
        + ".",
    ),
    epsilon(
        "muon_epsilon",
        1e-7,
        "Muon's epsilon at the base width, added to the Frobenius norm of the momentum.",
    ),
)

_NESTEROV = flag("nesterov", True, "Whether Muon looks ahead; MuonClip never does.")

_SHAPE_FACTOR = choice(
    "shape_factor",
    "none",
    ("none", "keller_jordan", "moonlight", "mup"),
    "Factor on the update of an m x n matrix (m outputs): keller_jordan is "
    "sqrt(max(1, m/n)), moonlight 0.2 sqrt(max(m, n)), mup sqrt(m/n). Only with a "
    "parametrization that leaves shapes alone (sp, custom).",
)

_ADAMUON = (
    share("adamuon_beta2", 0.999, "AdaMuon's second decay, below 1."),
    epsilon(
        "adamuon_epsilon",
        1e-8,
        "AdaMuon's epsilon at the base width, added to the root of the second moment.",
    ),
    flag("adamuon_sign", False, "Whether AdaMuon orthogonalises the sign of the momentum."),
    flag(
        "adamuon_rms_align",
        False,
        "Whether AdaMuon's update is scaled to a root mean square of 0.2.",
    ),
)

_CLIP = (
    positive(
        "qk_clip_threshold",
        100.0,
        "MuonClip's tau: a head whose largest attention logit exceeds it is scaled down. "
        "With qk_norm no logit exceeds sqrt(head_dim), so a larger threshold never acts.",
    ),
    Setting(
        name="qk_clip_alpha",
        kind="float",
        default=0.5,
        low=0.0,
        high=1.0,
        doc="Share of MuonClip's scaling that falls on the queries; the keys get the rest.",
    ),
    count("qk_clip_frequency", 1, "Steps from one look at the attention logits to the next."),
)

_DION = (
    share("dion_momentum", 0.95, "Dion's momentum, the error feedback, below 1."),
    Setting(
        name="dion_rank",
        kind="float",
        default=1.0,
        low=0.0,
        low_open=True,
        high=1.0,
        doc="Rank of Dion's update over the smaller side of the matrix.",
    ),
    epsilon(
        "dion_epsilon",
        1e-8,
        "Dion's epsilon at the base width, added to the norms of the right factor's columns.",
    ),
)


def _orthogonal_rule(traits: OptimizerTraits, tensor: TensorKind) -> UpdateRule:
    """The update has spectral norm one; epsilon is added to the norm of the gradient."""
    return UpdateRule(learning_rate=STEP, epsilons={"epsilon": NORM})


def _adamuon_rule(traits: OptimizerTraits, tensor: TensorKind) -> UpdateRule:
    """The update is an orthogonal matrix over its own entries' size, so its entries are of order
    one; epsilon is added to that size."""
    norm = SIGNS if traits.sign else NORM
    return UpdateRule(
        learning_rate=STEP / SIGNS, epsilons={"epsilon": ONE / SIGNS, "norm_epsilon": norm}
    )


def _adamuon_traits(config: Config) -> OptimizerTraits:
    return OptimizerTraits(optimizer="adamuon", sign=config["adamuon_sign"])


def _muon(plan: Resolved) -> Algorithm:
    return _iterated(plan, nesterov=plan.config["nesterov"])


def _muonclip(plan: Resolved) -> Algorithm:
    return _iterated(plan, nesterov=False)  # its heads are clipped by the trainer


def _iterated(plan: Resolved, *, nesterov: bool) -> Algorithm:
    from workloads.optimizers.muon import Muon

    return Muon(
        momentum=plan.config["momentum"],
        nesterov=nesterov,
        coefficients=_coefficients(plan),
        margin=plan.config.get("newton_schulz_margin", 1.0),
        shape_factor=plan.config["shape_factor"],
        products=_products(plan.config),
    )


def _adamuon(plan: Resolved) -> Algorithm:
    from workloads.optimizers.adamuon import AdaMuon

    return AdaMuon(
        momentum=plan.config["momentum"],
        nesterov=plan.config["nesterov"],
        coefficients=_coefficients(plan),
        margin=plan.config.get("newton_schulz_margin", 1.0),
        beta2=plan.config["adamuon_beta2"],
        sign=plan.config["adamuon_sign"],
        rms_align=plan.config["adamuon_rms_align"],
        products=_products(plan.config),
    )


def _dion(plan: Resolved) -> Algorithm:
    from workloads.optimizers.dion import Dion

    return Dion(
        momentum=plan.config["dion_momentum"],
        rank=plan.config["dion_rank"],
        shape_factor=plan.config["shape_factor"],
    )


def _coefficients(plan: Resolved) -> Coefficients:
    return [(a, b, c) for a, b, c in plan.derived["newton_schulz_coefficients"]]


def _products(config: Config) -> torch.dtype | None:
    """Returns the number format of the model's products, Newton-Schulz's too; None for auto."""
    import torch

    return {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(config.get("dtype", "auto"))


SPECS = (
    OptimizerSpec(
        name="muon",
        kind="matrix",
        doc="The momentum, orthogonalised by Newton-Schulz.",
        orthogonal=True,
        moonlight=True,
        settings=(_MOMENTUM, _NESTEROV, *_ITERATED, _SHAPE_FACTOR),
        epsilons={"epsilon": "muon_epsilon"},
        rule=_orthogonal_rule,
        build=_muon,
    ),
    OptimizerSpec(
        name="muonclip",
        kind="matrix",
        doc="Muon that never looks ahead, with QK-clip (arXiv 2507.20534).",
        orthogonal=True,
        moonlight=True,
        hidden_only=True,
        without_clip="muon with nesterov: false",
        settings=(_MOMENTUM, *_ITERATED, _SHAPE_FACTOR, *_CLIP),
        epsilons={"epsilon": "muon_epsilon"},
        rule=_orthogonal_rule,
        build=_muonclip,
    ),
    OptimizerSpec(
        name="dion",
        kind="matrix",
        doc="A low-rank orthogonal update with error feedback (arXiv 2504.05295).",
        orthogonal=True,
        moonlight=True,
        settings=(_SHAPE_FACTOR, *_DION),
        epsilons={"epsilon": "dion_epsilon"},
        rule=_orthogonal_rule,
        build=_dion,
    ),
    OptimizerSpec(
        name="adamuon",
        kind="matrix",
        doc="Muon's update over the root of its own second moment.",
        moonlight=True,
        settings=(_MOMENTUM, _NESTEROV, *_ITERATED, *_ADAMUON),
        epsilons={"epsilon": "adamuon_epsilon", "norm_epsilon": "muon_epsilon"},
        rule=_adamuon_rule,
        traits=_adamuon_traits,
        build=_adamuon,
    ),
)

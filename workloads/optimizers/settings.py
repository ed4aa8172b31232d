"""The settings of the optimizers, each under a key of its own; shared by the workloads."""

from __future__ import annotations

from workloads.optimizers.names import (
    ELEMENTWISE,
    MATRIX,
    NEWTON_SCHULZ,
    OPTIMIZERS,
    ORTHOGONAL,
    used,
)
from workloads.optimizers.preconditioner_settings import preconditioner_settings
from workloads.settings import epsilon, share
from workloads.workload import Condition, Setting

_OTHERS = tuple(name for name in OPTIMIZERS if name != "muonclip")


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


def algorithm_settings(vectors: Condition) -> tuple[Setting, ...]:
    """Returns the settings of every optimizer.

    Args:
        vectors: the condition under which the model has vectors.
    """
    return (
        *_elementwise(vectors),
        *_orthogonal(vectors),
        *preconditioner_settings(vectors),
    )


def _elementwise(vectors: Condition) -> tuple[Setting, ...]:
    adamw = used("adamw", vectors=vectors)
    grafts: tuple[Condition, ...] = ({"graft": ("adam", "rmsprop")},)
    sgd, adopt, lamb, sophia = (
        used(name, vectors=vectors) for name in ("sgd", "adopt", "lamb", "sophia")
    )
    return (
        share("beta1", 0.9, adamw, "AdamW's first decay, below 1."),
        share("beta2", 0.95, adamw, "AdamW's second decay, below 1."),
        epsilon(
            "epsilon",
            1e-8,
            adamw + grafts,
            "AdamW's epsilon (and that of an Adam or RMSprop graft) at the base width, added to "
            "the root of the second moment.",
        ),
        share("sgd_momentum", 0.9, sgd, "Decay of SGD's mean gradient, below 1; 0 for none."),
        share("adopt_beta1", 0.9, adopt, "ADOPT's first decay, below 1."),
        share("adopt_beta2", 0.9999, adopt, "ADOPT's second decay, below 1."),
        epsilon(
            "adopt_epsilon", 1e-6, adopt, "ADOPT's epsilon at the base width, the least divisor."
        ),
        share("lamb_beta1", 0.9, lamb, "LAMB's first decay, below 1."),
        share("lamb_beta2", 0.999, lamb, "LAMB's second decay, below 1."),
        epsilon(
            "lamb_epsilon",
            1e-6,
            lamb,
            "LAMB's epsilon at the base width, added to the root of the second moment.",
        ),
        share("sophia_beta1", 0.965, sophia, "Sophia-G's first decay, below 1."),
        share(
            "sophia_beta2", 0.99, sophia, "Sophia-G's decay of the Hessian's diagonal, below 1."
        ),
        Setting(
            name="sophia_rho",
            kind="float",
            default=0.04,
            low=0.0,
            low_open=True,
            when=sophia,
            doc="Sophia-G's rho: the larger, the fewer entries are clipped to a sign.",
        ),
        Setting(
            name="sophia_frequency",
            kind="int",
            default=10,
            low=1,
            when=sophia,
            doc="Steps from one estimate of the Hessian's diagonal to the next; each costs a "
            "forward and backward pass on labels sampled from the model.",
        ),
        epsilon(
            "sophia_epsilon",
            1e-15,
            sophia,
            "Sophia-G's epsilon at the base width, added to the scaled diagonal.",
        ),
    )


def _orthogonal(vectors: Condition) -> tuple[Setting, ...]:
    iterated = used("muon", "muonclip", "adamuon", vectors=vectors)
    ahead = used("muon", "adamuon", vectors=vectors)
    adamuon = used("adamuon", vectors=vectors)
    shaped = used(*ORTHOGONAL, vectors=vectors)
    dion = used("dion", vectors=vectors)
    clip: tuple[Condition, ...] = ({"optimizer": ("muonclip",)},)
    return (
        share("momentum", 0.95, iterated, "Decay of Muon's mean gradient, below 1."),
        Setting(
            name="nesterov",
            kind="bool",
            default=True,
            when=ahead,
            doc="Whether Muon looks ahead; MuonClip never does.",
        ),
        Setting(
            name="newton_schulz",
            kind="choice",
            default="keller_jordan",
            choices=tuple(NEWTON_SCHULZ),
            when=iterated,
            doc="Coefficients of the Newton-Schulz iteration; a trial stores the numbers.",
        ),
        Setting(
            name="newton_schulz_steps",
            kind="int",
            optional=True,
            low=1,
            when=iterated,
            doc="Newton-Schulz iterations a step; null for as many as the coefficients are for.",
        ),
        epsilon(
            "muon_epsilon",
            1e-7,
            iterated,
            "Muon's epsilon at the base width, added to the Frobenius norm of the momentum.",
        ),
        Setting(
            name="shape_factor",
            kind="choice",
            default="none",
            choices=("none", "keller_jordan", "moonlight", "mup"),
            when=shaped,
            doc="Factor on the update of an m x n matrix (m outputs): keller_jordan is "
            "sqrt(max(1, m/n)), moonlight 0.2 sqrt(max(m, n)), mup sqrt(m/n). Only with a "
            "parametrization that leaves shapes alone (sp, custom).",
        ),
        share("adamuon_beta2", 0.999, adamuon, "AdaMuon's second decay, below 1."),
        epsilon(
            "adamuon_epsilon",
            1e-8,
            adamuon,
            "AdaMuon's epsilon at the base width, added to the root of the second moment.",
        ),
        Setting(
            name="adamuon_sign",
            kind="bool",
            default=False,
            when=adamuon,
            doc="Whether AdaMuon orthogonalises the sign of the momentum.",
        ),
        Setting(
            name="adamuon_rms_align",
            kind="bool",
            default=False,
            when=adamuon,
            doc="Whether AdaMuon's update is scaled to a root mean square of 0.2.",
        ),
        Setting(
            name="qk_clip_threshold",
            kind="float",
            default=100.0,
            low=0.0,
            low_open=True,
            when=clip,
            doc="MuonClip's tau: a head whose largest attention logit exceeds it is scaled down. "
            "With qk_norm no logit exceeds sqrt(head_dim), so a larger threshold never acts.",
        ),
        Setting(
            name="qk_clip_alpha",
            kind="float",
            default=0.5,
            low=0.0,
            high=1.0,
            when=clip,
            doc="Share of MuonClip's scaling that falls on the queries; the keys get the rest.",
        ),
        Setting(
            name="qk_clip_frequency",
            kind="int",
            default=1,
            low=1,
            when=clip,
            doc="Steps from one look at the attention logits to the next.",
        ),
        share("dion_momentum", 0.95, dion, "Dion's momentum, the error feedback, below 1."),
        Setting(
            name="dion_rank",
            kind="float",
            default=1.0,
            low=0.0,
            low_open=True,
            high=1.0,
            when=dion,
            doc="Rank of Dion's update over the smaller side of the matrix.",
        ),
        epsilon(
            "dion_epsilon",
            1e-8,
            dion,
            "Dion's epsilon at the base width, added to the norms of the right factor's columns.",
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


SHARES = (
    "beta1",
    "beta2",
    "sgd_momentum",
    "adopt_beta1",
    "adopt_beta2",
    "lamb_beta1",
    "lamb_beta2",
    "sophia_beta1",
    "sophia_beta2",
    "momentum",
    "adamuon_beta2",
    "dion_momentum",
    "shampoo_beta1",
    "shampoo_beta2",
    "soap_beta1",
    "soap_beta2",
)
"""Settings that have to be at least 0 and below 1."""

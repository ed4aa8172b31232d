"""The settings of a run of training, shared by the workloads, their faults, and what can be
recorded on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from workloads.settings import choice, count, flag
from workloads.workload import Config, Problem, Setting

RUN = (
    count(
        "accumulation",
        1,
        "Equal parts of a batch that are computed one after the other, to save memory; a "
        "divisor of batch_size.",
    ),
    Setting(
        name="warmup",
        kind="float",
        default=0.1,
        low=0.0,
        doc="Share of the steps over which the schedule rises linearly, below 1.",
    ),
    choice(
        "schedule",
        "linear",
        ("linear", "cosine"),
        "Shape of the decay after warmup, of learning rate and weight decay alike.",
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
    count("evals", 4, "Evenly spaced evaluations, the final one included; at most one a step."),
    choice(
        "dtype",
        "auto",
        ("auto", "float32", "bfloat16"),
        "Number format of the matrix products: auto is float32 on a CPU, bfloat16 on CUDA.",
    ),
    flag("compile", False, "Whether to compile the training step."),
)
"""Parts of a batch, schedule, clipping, evaluations and number format."""

RECORDINGS: Mapping[str, str] = MappingProxyType(
    {
        "updates": "What the step adds to each tensor (weight decay included): update_rms, "
        "update_norm (spectral), update_stable_rank and update_alignment (with its inputs, 0 to "
        "1), for each tensor and, as root mean square, for hidden and vector.",
        "activations": "activation_rms after the step and activation_change, how far the step "
        "moves it, root mean square over the entries of each activation.",
        "coordinates": "What a coordinate check needs besides: activation_moved, how far an "
        "activation is from the start on the same inputs; initial_rms of each tensor; "
        "epsilon_share, the share of each update that is lost to the optimizer's epsilon. It "
        "makes every recorded update twice.",
        "attention_logits": "attention_logit_max, the largest over heads and sequences after the "
        "step, for each block and for all.",
        "topk": "The change of the held-out loss along the averaged path, direction by direction "
        "of every matrix, for sweeper decompose; at points of its own unless `every` or `steps` "
        "is given.",
        "examples": "topk, and the same for every held-out example (or token).",
    }
)
"""What can be recorded, with its columns."""

STEP_RECORDINGS: Mapping[str, str] = MappingProxyType(
    {name: RECORDINGS[name] for name in ("updates", "activations", "coordinates")}
)
"""Those of a step of any model that tells of its activations."""


def run_faults(config: Config, horizons: Sequence[str]) -> Iterator[Problem]:
    """Yields the faults of a completed config.

    Args:
        config: completed.
        horizons: settings of which exactly one gives the length of the run.
    """
    yield from _horizon_faults(config, horizons)
    if config["warmup"] >= 1:
        yield Problem(
            keys=("warmup",),
            message=f"warmup is {config['warmup']:g}; it has to be at least 0 and below 1",
        )
    yield from _accumulation_faults(config)


def has_one_horizon(config: Config, horizons: Sequence[str]) -> bool:
    """Returns whether exactly one setting gives the length of the run."""
    return sum(config[name] is not None for name in horizons) == 1


def _horizon_faults(config: Config, horizons: Sequence[str]) -> Iterator[Problem]:
    given = [name for name in horizons if config[name] is not None]
    if not given:
        yield Problem(
            keys=tuple(horizons),
            message="the length of the run is missing; give one of "
            f"{', '.join(horizons[:-1])} and {horizons[-1]}",
        )
    if len(given) > 1:
        values = " and ".join(f"{name} {config[name]:g}" for name in given)
        yield Problem(
            keys=tuple(given),
            message=f"{values} are both lengths of the run; keep one of them and remove the rest",
        )


def _accumulation_faults(config: Config) -> Iterator[Problem]:
    parts, size = config["accumulation"], config["batch_size"]
    if size % parts:
        below = max(number for number in range(1, parts) if size % number == 0)
        yield Problem(
            keys=("accumulation", "batch_size"),
            message=f"batch_size {size} does not divide into accumulation {parts} equal parts; "
            f"the next smaller accumulation that does is {below}",
        )

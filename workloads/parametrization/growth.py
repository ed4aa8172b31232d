"""How one tensor grows from the base model to a larger one: the numbers that rules are made of."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import ceil

from workloads.parametrization.roles import TensorKind


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Numbers of a tensor over those of its counterpart in the base model.

    Attributes:
        gamma: gradient that arrives at the outputs, beyond its 1 / r_out under maximal updates:
            1 / N^alpha inside residual blocks whose branches are divided by N^alpha, and
            sqrt(m) under ``ntk``, whose readout is sqrt(m) larger.
        depth: N^(alpha - 1) inside residual blocks: each of N updates is to move its branch by
            that much, so that all of them together move the sum by order one.
        r_in: inputs.
        r_out: outputs.
        n_in: blocks of a blocked preconditioner along the inputs.
        n_out: blocks along the outputs.
        std: standard deviation of the initial values.
        longest: the larger side.
        m: width of the model.
    """

    gamma: float = 1.0
    depth: float = 1.0
    r_out: float = 1.0
    r_in: float = 1.0
    n_out: float = 1.0
    n_in: float = 1.0
    std: float = 1.0
    longest: float = 1.0
    m: float = 1.0


SYMBOLS = tuple(field.name for field in fields(Growth))
"""The numbers, in the order in which formulas show them."""

MEANINGS = {
    "gamma": "gradient at the outputs beyond 1 / r_out: 1 / N^alpha in residual blocks, N the "
    "depth; sqrt(m) under ntk, m the width",
    "depth": "N^(alpha - 1) in residual blocks",
    "r_out": "outputs",
    "r_in": "inputs",
    "n_out": "preconditioner blocks along the outputs",
    "n_in": "preconditioner blocks along the inputs",
    "std": "standard deviation of the initial values",
    "longest": "the larger side",
    "m": "width",
}
"""Each number in words; all are relative to the base model."""


def sizes(leaf: TensorKind, *, block_size: int | None, max_dim: int) -> dict[str, float]:
    """Returns the part of a growth that is geometry: r_in, r_out, n_in, n_out and longest.

    Args:
        leaf: the tensor.
        block_size: side of the blocks of a preconditioner; None for no blocks.
        max_dim: a side longer than this is not cut into blocks.
    """

    def blocks(here: float, base: float) -> float:
        if block_size is None or here > max_dim:
            return 1.0
        return _blocks(here, block_size) / _blocks(base, block_size)

    longest, base = max(leaf.fan_in, leaf.fan_out), max(leaf.base_fan_in, leaf.base_fan_out)
    return {
        "r_in": leaf.fan_in / leaf.base_fan_in,
        "r_out": leaf.fan_out / leaf.base_fan_out,
        "n_in": blocks(leaf.fan_in, leaf.base_fan_in),
        "n_out": blocks(leaf.fan_out, leaf.base_fan_out),
        "longest": longest / base,
    }


def _blocks(side: float, size: int) -> int:
    return ceil(side / size - 1e-9)  # a side computed as ratio times width may be off by rounding

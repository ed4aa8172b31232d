"""What each tensor is to a scaling rule: its role, and how its sides grow with the model."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

Role = Literal["embedding", "hidden", "readout", "vector"]
"""Token embedding; matrix from width to width (or a fixed multiple of it); matrix from width to
the vocabulary; gain of a norm."""

ROLES: tuple[Role, ...] = get_args(Role)


class Growth(NamedTuple):
    """Sizes of a tensor over those of its counterpart in the base model.

    Attributes:
        fan_in: r_in, inputs over inputs at base; 1 for a lookup and for a gain.
        fan_out: r_out, outputs over outputs at base.
        depth: N, depth over base depth inside the residual blocks, 1 outside.
    """

    fan_in: float
    fan_out: float
    depth: float


def growth(role: Role, *, width_ratio: float, depth_ratio: float = 1.0) -> Growth:
    """Returns how a tensor of a role grows with the model (arXiv 2512.05620, section 3.2).

    A hidden matrix from or to an MLP's hidden layer counts as m on both sides, since the MLP's
    ratio is fixed. Gains count as inside the blocks, where all of them but the last one are.

    Args:
        role: what the tensor is.
        width_ratio: width over base width, m.
        depth_ratio: depth over base depth.
    """
    if role == "embedding":
        return Growth(1.0, width_ratio, 1.0)
    if role == "hidden":
        return Growth(width_ratio, width_ratio, depth_ratio)
    if role == "readout":
        return Growth(width_ratio, 1.0, 1.0)
    return Growth(1.0, width_ratio, depth_ratio)

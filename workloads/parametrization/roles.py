"""What each tensor is to a scaling rule: its role, and its sizes here and in the base model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["embedding", "hidden", "readout", "vector"]
"""Input layer or token embedding, whose outputs alone grow; matrix between sides that both go
with the width; matrix whose inputs alone grow; gain or bias."""

ROLES: tuple[Role, ...] = get_args(Role)

INSIDE: tuple[Role, ...] = ("hidden", "vector")
"""Roles of tensors inside the residual blocks, gains and biases of another layer apart."""


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One kind of tensor, as an optimizer sees it.

    Attributes:
        key: the role for the usual tensor of a role, or the role, a dot and a name.
        role: what it is.
        fan_in: inputs; 1 for a vector.
        fan_out: outputs.
        base_fan_in, base_fan_out: those of its counterpart in the base model.
        base_std: standard deviation of the initial values in the base model; 0 for a constant.
        layer: of a gain or bias, the role of the matrix whose layer it is of, where that is not
            hidden; else None.
    """

    key: str
    role: Role
    fan_in: float
    fan_out: float
    base_fan_in: float
    base_fan_out: float
    base_std: float
    layer: Role | None = None

"""What each tensor is to a scaling rule: its role, and its sizes here and in the base model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

Role = Literal["embedding", "hidden", "readout", "vector"]
"""Input layer or token embedding, whose outputs alone grow; matrix between sides that both go
with the width; matrix whose inputs alone grow; gain or bias."""

ROLES: tuple[Role, ...] = get_args(Role)

INSIDE: tuple[Role, ...] = ("hidden", "vector")
"""Roles of tensors inside the residual blocks, gains and biases of another layer apart."""


@dataclass(frozen=True, kw_only=True)
class TensorKind:
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


def tensor_kinds(
    sizes: Mapping[str, tuple[float, float]],
    base: Mapping[str, tuple[float, float]],
    stds: Mapping[Role, float],
    layers: Mapping[str, Role] = MappingProxyType({}),
) -> tuple[TensorKind, ...]:
    """Returns the tensors of a model.

    Args:
        sizes: inputs and outputs of each kind of tensor, by key.
        base: those in the base model.
        stds: by role, standard deviation of the initial values in the base model.
        layers: by key of a gain or bias, see ``layer``.
    """
    return tuple(
        TensorKind(
            key=key,
            role=role,
            fan_in=fan_in,
            fan_out=fan_out,
            base_fan_in=base[key][0],
            base_fan_out=base[key][1],
            base_std=stds[role],
            layer=layers.get(key),
        )
        for key, (fan_in, fan_out) in sizes.items()
        for role in ROLES
        if role == key.partition(".")[0]
    )

"""What the tests of the rules share: tensors of a model m times as wide as its base."""

from __future__ import annotations

from typing import Any

from workloads.parametrization.parametrizations import Scaling
from workloads.parametrization.roles import Role, TensorKind
from workloads.parametrization.rules import Multipliers, multipliers
from workloads.parametrization.updates import OptimizerTraits


def tensor_of(role: Role, width: int, *, base: int = 128, vocabulary: int = 256) -> TensorKind:
    """Returns the usual tensor of a role."""

    def sides(width: int) -> tuple[int, int]:
        return {
            "embedding": (vocabulary, width),
            "hidden": (width, width),
            "readout": (width, vocabulary),
            "vector": (1, width),
        }[role]

    (fan_in, fan_out), (base_in, base_out) = sides(width), sides(base)
    return TensorKind(
        key=role,
        role=role,
        fan_in=fan_in,
        fan_out=fan_out,
        base_fan_in=base_in,
        base_fan_out=base_out,
        base_std=1.0,
    )


def factors(
    parametrization: str,
    optimizer: str,
    role: Role,
    m: float,
    *,
    vocabulary: int = 256,
    depth: float = 1.0,
    alpha: float = 1.0,
    **traits: Any,
) -> Multipliers:
    """Returns the factors of a tensor at m times the base width of 128."""
    scaling = Scaling(
        parametrization=parametrization, width_ratio=m, depth_ratio=depth, depth_alpha=alpha
    )
    tensor = tensor_of(role, round(m * 128), vocabulary=vocabulary)
    return multipliers(scaling, OptimizerTraits(optimizer=optimizer, **traits), tensor)

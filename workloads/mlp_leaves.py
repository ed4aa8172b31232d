"""The kinds of tensors of an ``mlp`` as scaling rules see them."""

from __future__ import annotations

from functools import lru_cache

from workloads.mlp_shape import shape_of
from workloads.parametrization.roles import ROLES, Leaf, Role
from workloads.workload import Config

GAINS = {"relu": 2.0**0.5, "gelu": 2.0**0.5, "tanh": 1.0}
"""Initial spread over fan_in^(-1/2) that keeps the size of a value through a layer: exactly for
relu (He et al., arXiv 1502.01852, eq. 10), about for the others."""


def leaves_of(config: Config) -> tuple[Leaf, ...]:
    """Returns the tensors of a completed config.

    The bias of the readout, ``vector.readout``, is apart from the others because it does not grow.
    """
    shape = shape_of(config)
    gain = config["init_gain"]
    return _leaves(
        shape.width,
        config.get("base_width") or shape.width,
        shape.features,
        shape.classes,
        GAINS[config["activation"]] if gain is None else gain,
        config["zero_init"],
        shape.biases,
    )


@lru_cache(maxsize=1024)
def _leaves(
    width: int,
    base_width: int,
    features: int,
    classes: int,
    gain: float,
    zero_init: bool,
    biases: bool,
) -> tuple[Leaf, ...]:
    def sizes(width: int) -> dict[str, tuple[int, int]]:
        """Returns inputs and outputs of each kind of tensor."""
        return {
            "embedding": (features, width),
            "hidden": (width, width),
            "readout": (width, classes),
            **({"vector": (1, width), "vector.readout": (1, classes)} if biases else {}),
        }

    stds: dict[Role, float] = {
        "embedding": gain * features**-0.5,
        "hidden": gain * base_width**-0.5,
        "readout": 0.0 if zero_init else base_width**-0.5,
        "vector": 0.0,
    }
    base = sizes(base_width)
    return tuple(
        Leaf(
            key=key,
            role=role,
            fan_in=fan_in,
            fan_out=fan_out,
            base_fan_in=base[key][0],
            base_fan_out=base[key][1],
            base_std=stds[role],
        )
        for key, (fan_in, fan_out) in sizes(width).items()
        for role in ROLES
        if role == key.partition(".")[0]
    )

"""The kinds of tensors of an ``mlp`` as scaling rules see them."""

from __future__ import annotations

from functools import lru_cache

from workloads.mlp.shape import MlpShape, shape_of
from workloads.parametrization import Role, TensorKind, tensor_kinds
from workloads.workload import Config

GAINS = {"relu": 2.0**0.5, "gelu": 2.0**0.5, "tanh": 1.0}
"""Initial spread over fan_in^(-1/2) that keeps the size of a value through a layer: exactly for
relu (He et al., arXiv 1502.01852, equation 10), nearly for the others."""

_PLACES: dict[str, Role] = {"vector.embedding": "embedding", "vector.readout": "readout"}
"""Biases outside the hidden layers, and the layers they are of."""


def leaves_of(config: Config) -> tuple[TensorKind, ...]:
    """Returns the tensors of a completed config.

    The input layer is an ``embedding``: its inputs are as many at every width, so its spread is
    gain * features^(-1/2). A bias is a ``vector`` with one input and the outputs of its layer.
    Those of input layer and readout are apart from the hidden ones: they are in no residual
    branch, and the readout's does not grow with the width.
    """
    return _leaves(
        shape_of(config),
        config.get("base_width") or config["width"],
        gain_of(config),
        config["zero_init"],
    )


def gain_of(config: Config) -> float:
    """Returns ``init_gain``, that of the activation where it is null."""
    given = config["init_gain"]
    return GAINS[config["activation"]] if given is None else float(given)


@lru_cache(maxsize=1024)
def _leaves(
    shape: MlpShape, base_width: int, gain: float, zero_init: bool
) -> tuple[TensorKind, ...]:
    inner = float(base_width**-0.5)
    stds: dict[Role, float] = {
        "embedding": gain * shape.features**-0.5,
        "hidden": gain * inner,
        "readout": 0.0 if zero_init else inner,
        "vector": 0.0,
    }
    return tensor_kinds(_sizes(shape, shape.width), _sizes(shape, base_width), stds, _PLACES)


def _sizes(shape: MlpShape, width: int) -> dict[str, tuple[int, int]]:
    """Returns inputs and outputs of each kind of tensor at a width."""
    biases = {
        "vector": (1, width),
        "vector.embedding": (1, width),
        "vector.readout": (1, shape.classes),
    }
    return {
        "embedding": (shape.features, width),
        "hidden": (width, width),
        "readout": (width, shape.classes),
        **(biases if shape.biases else {}),
    }

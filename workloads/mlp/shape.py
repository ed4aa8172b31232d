"""The sizes of an ``mlp`` and of its tensors, and what follows: parameters and FLOPs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from workloads.data import sizes_of
from workloads.parametrization import Role, TensorKind, tensor_kinds
from workloads.workload import Config

GAINS = {"relu": 2.0**0.5, "gelu": 2.0**0.5, "tanh": 1.0}
"""Initial spread over fan_in^(-1/2) that keeps the size of a value through a layer: exactly for
relu (He et al., arXiv 1502.01852, equation 10), nearly for the others."""

_PLACES: dict[str, Role] = {"vector.embedding": "embedding", "vector.readout": "readout"}
"""Biases outside the hidden layers, and the layers they are of."""


@dataclass(frozen=True, kw_only=True)
class MlpShape:
    """Sizes of one model and of its batch.

    Attributes:
        features: inputs F of the model.
        width: size D of the hidden layers.
        depth: matrices N from width to width.
        classes: labels C.
        batch_size: examples a step.
        biases: True if every layer adds a bias.
    """

    features: int
    width: int
    depth: int
    classes: int
    batch_size: int
    biases: bool

    @property
    def params_non_embedding(self) -> int:
        """Parameters without the matrices of input layer and readout."""
        biases = (self.depth + 1) * self.width + self.classes if self.biases else 0
        return self.depth * self.width**2 + biases

    @property
    def params(self) -> int:
        """All parameters."""
        return self.params_non_embedding + (self.features + self.classes) * self.width

    @property
    def flops_per_example(self) -> int:
        """Forward FLOPs an example, those of the matrix products: 2 (F D + N D^2 + D C)."""
        return 2 * self.width * (self.features + self.depth * self.width + self.classes)


def shape_of(config: Config) -> MlpShape:
    """Returns the shape of a completed config without faults."""
    sizes = sizes_of(config["data"])
    return MlpShape(
        features=sizes.features,
        width=config["width"],
        depth=config["depth"],
        classes=sizes.classes,
        batch_size=config["batch_size"],
        biases=config["biases"],
    )


def tensors_of(config: Config) -> tuple[TensorKind, ...]:
    """Returns the kinds of tensors of a completed config, as scaling rules see them.

    The input layer is an ``embedding``: its inputs are as many at every width, so its spread is
    gain * features^(-1/2). A bias is a ``vector`` with one input and the outputs of its layer.
    Those of input layer and readout are apart from the hidden ones: they are in no residual
    branch, and the readout's does not grow with the width.
    """
    return _tensor_kinds(
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
def _tensor_kinds(
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

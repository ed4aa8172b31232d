"""The sizes of an ``mlp`` and what follows from them: parameters and FLOPs."""

from __future__ import annotations

from dataclasses import dataclass

from workloads.data import sizes_of
from workloads.workload import Config


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

"""Shampoo, SOAP, grafts and blocks as the tests make them, and plain pieces of their equations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workloads.optimizers.adamw import Adam
from workloads.optimizers.algorithm import Algorithm
from workloads.optimizers.blocked import Blocked
from workloads.optimizers.grafted import Grafted, RMSprop
from workloads.optimizers.layout import Parameters
from workloads.optimizers.optimizer import Group, Optimizer
from workloads.optimizers.shampoo import Shampoo
from workloads.optimizers.soap import Soap

Matrix = NDArray[np.float64]
EPSILONS = (1e-3, 1e-2, 0.1)
"""Of three members; so large that what rounding leaves of a null space does not count."""

FULL = {"a": (5, 3), "b": (4, 4), "twin": (5, 3), "wide": (3, 5)}
"""Matrices whose statistics have full rank from the second gradient on."""


def shampoo(**changes: Any) -> Shampoo:
    """Returns Shampoo with few steps between roots."""
    settings: dict[str, Any] = {
        "beta1": 0.9,
        "beta2": 0.95,
        "exponent": 0.25,
        "sides": "both",
        "max_dim": 1000,
        "frequency": 3,
        "relative": True,
        "root": "eigh",
    }
    return Shampoo(**settings | changes)


def soap(**changes: Any) -> Soap:
    """Returns SOAP with a short warm-up and few steps between bases."""
    settings: dict[str, Any] = {
        "beta1": 0.9,
        "beta2": 0.95,
        "sides": "both",
        "max_dim": 1000,
        "frequency": 3,
        "eigh_steps": 5,
    }
    return Soap(**settings | changes)


ADAM = Adam(beta1=0.9, beta2=0.95)

ALGORITHMS: dict[str, Algorithm] = {
    "shampoo": shampoo(),
    "shampoo by newton": shampoo(root="newton"),
    "shampoo absolute": shampoo(relative=False, exponent=0.5, sides="input"),
    "grafted": Grafted(Blocked(shampoo(), size=5, max_dim=20), ADAM, start=3),
    "grafted blocks": Blocked(
        Grafted(shampoo(exponent=0.5), RMSprop(beta1=0.9, beta2=0.95), start=1),
        size=5,
        max_dim=20,
    ),
    "soap": soap(),
    "soap of one side": soap(sides="output"),
    "soap blocks": Blocked(soap(), size=4, max_dim=1000),
}
"""One of each kind."""


class Preconditioned:
    """Makes the core drive a group by an algorithm, with the group's epsilon under every name."""

    def __init__(self, algorithm: Algorithm) -> None:
        self._algorithm = algorithm

    def __call__(self, parameters: Parameters, group: Group) -> Optimizer:
        """Returns the optimizer."""
        names = ("epsilon", "graft_epsilon", "adam_epsilon", "basis_epsilon")
        epsilons = dict.fromkeys(names, group.epsilons["epsilon"])
        return Optimizer(parameters, replace(group, epsilons=epsilons), self._algorithm)


def array(tensor: Tensor) -> Matrix:
    """Returns a copy of one matrix."""
    return np.array(tensor.numpy(), dtype=np.float64)


def tensor(matrix: Matrix) -> Tensor:
    """Returns the way back."""
    return torch.from_numpy(np.ascontiguousarray(matrix))


def orthogonal(generator: torch.Generator, size: int) -> Tensor:
    """Returns an orthogonal matrix in double precision."""
    drawn = torch.randn((size, size), generator=generator, dtype=torch.float64)
    return torch.linalg.qr(drawn)[0]

"""The rules against their derivation: one step of each optimizer on one example, by brute force.

A gradient delta x^T with entries of x of order 1 and of delta of order gamma / fan_out goes
through a plain float64 version of each update. Learning rate times the step's spectral norm has
to go as sqrt(fan_out / fan_in) (times N^(alpha - 1) inside N residual blocks), and an epsilon as
what it is added to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil, isclose, sqrt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from workloads.parametrization.parametrizations import Scaling
from workloads.parametrization.roles import Role, TensorKind
from workloads.parametrization.rules import Multipliers, multipliers
from workloads.parametrization.updates import OptimizerTraits

Matrix = NDArray[np.float64]

BASE, WIDTH, VOCABULARY = 8, 32, 48

SHAPES: dict[Role, Callable[[int], tuple[int, int]]] = {
    "embedding": lambda width: (width, VOCABULARY),
    "hidden": lambda width: (width, width),
    "readout": lambda width: (VOCABULARY, width),
}
"""Outputs and inputs by width."""


def gradient(outputs: int, inputs: int, gamma: float) -> Matrix:
    x = np.resize([1.0, -1.0], inputs)
    delta = np.resize([1.0, 1.0, -1.0], outputs) * gamma / outputs
    outer: Matrix = np.outer(delta, x)
    return outer


def blocks(whole: Matrix, traits: OptimizerTraits) -> Iterator[tuple[slice, slice]]:
    rows, columns = (
        range(0, side, traits.block_size)
        if traits.block_size and side <= traits.max_dim
        else range(0, side, side)
        for side in whole.shape
    )
    for i in rows:
        for j in columns:
            yield (
                slice(i, i + rows.step),
                slice(j, j + columns.step),
            )


def sides(whole: Matrix, traits: OptimizerTraits) -> tuple[bool, bool]:
    """Returns whether outputs and inputs have a preconditioner."""
    outputs, inputs = (side <= traits.max_dim for side in whole.shape)
    return outputs and traits.sides != "input", inputs and traits.sides != "output"


def root(square: Matrix, exponent: float) -> Matrix:
    """Returns the inverse root on the range of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(square)
    kept = values > 1e-10 * values.max()
    powers = np.zeros_like(values)
    powers[kept] = values[kept] ** -exponent
    found: Matrix = (vectors * powers) @ vectors.T
    return found


def polar(matrix: Matrix) -> Matrix:
    u, _, v = np.linalg.svd(matrix, full_matrices=False)
    found: Matrix = np.outer(u[:, 0], v[0])
    return found


def shampoo(block: Matrix, traits: OptimizerTraits, active: tuple[bool, bool]) -> Matrix:
    left = root(block @ block.T, traits.exponent) if active[0] else np.eye(block.shape[0])
    right = root(block.T @ block, traits.exponent) if active[1] else np.eye(block.shape[1])
    return left @ block @ right


def rotated(block: Matrix, active: tuple[bool, bool]) -> tuple[Matrix, Matrix, Matrix]:
    """Returns the bases of a block's sides and the block in them."""
    outputs = np.linalg.eigh(block @ block.T)[1] if active[0] else np.eye(block.shape[0])
    inputs = np.linalg.eigh(block.T @ block)[1] if active[1] else np.eye(block.shape[1])
    inner = outputs.T @ block @ inputs
    return outputs, inputs, np.where(np.abs(inner) > 1e-9 * np.abs(inner).max(), inner, 0.0)


def blockwise(whole: Matrix, traits: OptimizerTraits, each: Callable[[Matrix], Matrix]) -> Matrix:
    result = np.zeros_like(whole)
    for place in blocks(whole, traits):
        result[place] = each(whole[place])
    return result


def update(traits: OptimizerTraits, whole: Matrix, std: float) -> Matrix:
    """Returns the step of an optimizer at its first update, all epsilons 0."""
    active = sides(whole, traits)
    if traits.optimizer == "sgd":
        return whole
    if traits.optimizer in ("adamw", "adopt", "sophia"):
        return np.sign(whole)
    if traits.optimizer == "lamb":
        return np.sign(whole) * std
    if traits.optimizer in ("muon", "muonclip", "dion"):
        return polar(whole)
    if traits.optimizer == "adamuon":
        orthogonal = polar(np.sign(whole) if traits.sign else whole)
        return orthogonal / np.abs(orthogonal)
    if traits.optimizer == "soap":

        def soap(block: Matrix) -> Matrix:
            outputs, inputs, inner = rotated(block, active)
            turned: Matrix = outputs @ np.sign(inner) @ inputs.T
            return turned

        return blockwise(whole, traits, soap)
    direction = blockwise(whole, traits, lambda block: shampoo(block, traits, active))
    if traits.graft == "none":
        return direction
    graft = whole if traits.graft == "sgd" else np.sign(whole)
    if traits.graft_per == "matrix":
        return lent(direction, graft)
    for place in blocks(whole, traits):
        direction[place] = lent(direction[place], graft[place])
    return direction


def lent(direction: Matrix, graft: Matrix) -> Matrix:
    resized: Matrix = direction * (np.linalg.norm(graft) / np.linalg.norm(direction))
    return resized


def added_to(traits: OptimizerTraits, name: str, whole: Matrix) -> float:
    """Returns the size of what an epsilon is added to."""
    active, first = sides(whole, traits), whole[next(blocks(whole, traits))]
    norm, entry = float(np.linalg.norm(whole)), float(np.abs(whole).mean())
    if name == "adam_epsilon" or traits.optimizer in ("adamw", "adopt", "lamb"):
        return entry
    if traits.optimizer == "sophia":
        return entry**2
    if name == "norm_epsilon":
        return float(np.linalg.norm(np.sign(whole))) if traits.sign else norm
    if traits.optimizer == "adamuon":
        return float(np.abs(polar(whole)).mean())
    if traits.optimizer in ("muon", "muonclip", "dion"):
        return norm
    if name == "basis_epsilon" or (traits.optimizer == "shampoo" and name == "epsilon"):
        return float(np.linalg.eigvalsh(first @ first.T).max())
    if traits.optimizer == "soap":
        return float(np.abs(rotated(first, active)[2]).max())
    if traits.graft_per == "block":
        return float(np.linalg.norm(shampoo(first, traits, active)))
    plain = OptimizerTraits(**{**vars(traits), "graft": "none"})
    return float(np.linalg.norm(update(plain, whole, 1.0)))


METHODS: list[dict[str, Any]] = [
    *({"optimizer": name} for name in ("sgd", "adamw", "adopt", "sophia", "lamb")),
    *({"optimizer": name} for name in ("muon", "muonclip", "dion", "adamuon")),
    {"optimizer": "adamuon", "sign": True},
    *(
        {"optimizer": "shampoo", "exponent": exponent, "relative": False, **blocked, **sided}
        for exponent in (0.25, 0.5)
        for blocked in ({}, {"block_size": 8})
        for sided in ({}, {"sides": "output"}, {"sides": "input"}, {"max_dim": 40})
    ),
    *(
        {"optimizer": "shampoo", "graft": graft, "relative": False, **blocked}
        for graft in ("adam", "sgd")
        for blocked in ({}, {"block_size": 8}, {"block_size": 8, "graft_per": "block"})
    ),
    *(
        {"optimizer": "soap", **blocked, **sided}
        for blocked in ({}, {"block_size": 8})
        for sided in ({}, {"sides": "output"}, {"sides": "input"}, {"max_dim": 40})
    ),
]

CASES = [("mup", 1.0, 1.0), ("mup", 3.0, 1.0), ("completep", 3.0, 0.5), ("ntk", 1.0, 1.0)]
"""Parametrization, depth ratio, alpha."""


def found_factors(
    case: tuple[str, float, float], traits: OptimizerTraits, role: Role
) -> tuple[Multipliers, float]:
    """Returns the factors, and gamma of the larger model."""
    parametrization, depth, alpha = case
    (outputs, inputs), (base_out, base_in) = SHAPES[role](WIDTH), SHAPES[role](BASE)
    tensor = TensorKind(
        key=role,
        role=role,
        fan_in=inputs,
        fan_out=outputs,
        base_fan_in=base_in,
        base_fan_out=base_out,
        base_std=1.0,
    )
    scaling = Scaling(
        parametrization=parametrization,
        width_ratio=WIDTH / BASE,
        depth_ratio=depth,
        depth_alpha=alpha,
    )
    gamma = depth**-alpha if role == "hidden" else 1.0
    if parametrization == "ntk" and role != "readout":
        gamma *= sqrt(WIDTH / BASE)
    return multipliers(scaling, traits, tensor), gamma


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("settings", METHODS, ids=lambda each: " ".join(map(str, each.values())))
def test_rates_and_epsilons_follow_from_one_step(
    settings: dict[str, Any], case: tuple[str, float, float]
) -> None:
    traits = OptimizerTraits(**settings)
    for role, shape in SHAPES.items():
        found, gamma = found_factors(case, traits, role)
        small, large = gradient(*shape(BASE), 1.0), gradient(*shape(WIDTH), gamma)

        def needed(whole: Matrix, std: float) -> float:
            step = update(traits, whole, std)
            return sqrt(whole.shape[0] / whole.shape[1]) / float(np.linalg.norm(step, 2))

        rate = needed(large, found.init_std) / needed(small, 1.0)
        if role == "hidden":
            rate *= case[1] ** (case[2] - 1)
        assert isclose(found.learning_rate, rate, rel_tol=1e-9), role
        for name, epsilon in found.epsilons.items():
            ratio = added_to(traits, name, large) / added_to(traits, name, small)
            assert isclose(epsilon, ratio, rel_tol=1e-9), (role, name)


def test_the_blocks_of_these_tests_cover_a_matrix() -> None:
    whole = np.zeros((20, 30))
    for place in blocks(whole, OptimizerTraits(optimizer="soap", block_size=8)):
        whole[place] += 1
    assert (whole == 1).all()
    assert sum(1 for _ in blocks(whole, OptimizerTraits(optimizer="soap", block_size=8))) == ceil(
        20 / 8
    ) * ceil(30 / 8)

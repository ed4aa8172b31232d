"""Updates scaled by their norm, against plain references and singular value decompositions."""

from __future__ import annotations

import math

import pytest
import torch
from matrix_cases import draws, group
from plain_runs import (
    EPSILONS,
    MATRICES,
    PeerUpdates,
    assert_follows,
    departure,
    now,
    ran,
    stacked,
)
from torch import Tensor

from workloads.optimizers.adamw import Adam
from workloads.optimizers.adopt import Adopt
from workloads.optimizers.algorithm import tensor_in
from workloads.optimizers.optimizer import Optimizer
from workloads.optimizers.sgd import SGD
from workloads.optimizers.sophia import Sophia
from workloads.optimizers.spectral import RootMeanSquare, Spectral

BETAS = (0.9, 0.98)
KEYS = {name: ("a+twin" if name in ("a", "twin") else name) for name in MATRICES}
PLACES = {name: int(name == "twin") for name in MATRICES}
"""Bucket of each matrix, and its place in it."""


def adam() -> Adam:
    return Adam(beta1=BETAS[0], beta2=BETAS[1])


def torch_adam(member: int) -> PeerUpdates:
    return PeerUpdates(
        lambda weight: torch.optim.Adam([weight], lr=1.0, betas=BETAS, eps=EPSILONS[member])
    )


class PlainSpectral:
    """The update of torch's Adam over its largest singular value, by power iterations of A A'."""

    def __init__(self, vector: Tensor, member: int, *, iterations: int, warmup: int) -> None:
        self._adam = torch_adam(member)
        self._vector = vector.flatten().clone()
        self._iterations, self._warmup = iterations, warmup

    def update(self, gradient: Tensor, weight: Tensor, step: int) -> Tensor:
        """Returns U."""
        a = self._adam.update(gradient, weight, step)
        sigma = 0.0
        for _ in range(5 if step <= self._warmup else self._iterations):
            sigma = float((self._vector @ a @ a.T @ self._vector).sqrt())
            turned = a @ a.T @ self._vector
            self._vector = turned / turned.norm()
        return a / sigma * math.sqrt(a.shape[0] / a.shape[1])


@pytest.mark.parametrize("iterations", [1, 3])
def test_every_member_follows_the_equations(iterations: int) -> None:
    def reference(name: str, member: int, optimizer: Optimizer) -> PlainSpectral:
        vector = optimizer.state(member)[f"{KEYS[name]}:vector"][PLACES[name]]
        return PlainSpectral(vector, member, iterations=iterations, warmup=10)

    # The floors of 1e-10 under the norms are in the update, not in the reference.
    make = stacked(Spectral(adam(), iterations=iterations, warmup_steps=10))
    assert_follows(make, reference, shapes=MATRICES, tolerance=1e-9)


def test_after_warmup_the_spectral_norm_is_the_root_of_outputs_over_inputs() -> None:
    """From above, since the vector lags: on gradients of mere noise, a new one each step, by up
    to 26 %, as measured with one iteration."""
    shapes = {
        "square": (16, 16),
        "tall": (48, 8),
        "wide": (8, 48),
        "row": (1, 9),
        "column": (9, 1),
    }
    for name, (outputs, inputs) in shapes.items():
        algorithm = Spectral(SGD(momentum=0.95), iterations=1, warmup_steps=20)
        state = algorithm.start(torch.zeros(1, outputs, inputs, dtype=torch.float64))
        steps = draws(3, 1, steps=60, shapes={name: (outputs, inputs)})
        for step, gradients in enumerate(steps, start=1):
            update = algorithm.update(gradients[name], state, now(step))
            if step <= 20:
                continue
            norm = float(torch.linalg.matrix_norm(update, 2)) / math.sqrt(outputs / inputs)
            assert 1 - 1e-9 <= norm < 1.3, f"{name}, step {step}: {norm}"


def test_on_a_constant_gradient_the_norm_is_exact_and_the_vector_singular() -> None:
    gradient = next(draws(1, 2, steps=1, shapes={"w": (12, 5)}))["w"]
    algorithm = Spectral(SGD(momentum=0.0), iterations=1, warmup_steps=50)
    state = algorithm.start(torch.zeros(2, 12, 5, dtype=torch.float64))
    for step in range(1, 101):
        update = algorithm.update(gradient.clone(), state, now(step))
    left, sigma, _ = torch.linalg.svd(gradient, full_matrices=False)
    torch.testing.assert_close(update, gradient * math.sqrt(12 / 5) / sigma[:, :1, None])
    vector = tensor_in(state, "vector")
    torch.testing.assert_close((vector * left[:, :, :1]).sum((1, 2)).abs(), torch.ones(2).double())


def test_a_zero_update_leaves_the_vector_and_the_next_one_is_as_large_as_ever() -> None:
    """As ADOPT's first is."""
    algorithm = Spectral(Adopt(beta1=0.9, beta2=0.99), iterations=1, warmup_steps=0)
    gradients = draws(2, 1, steps=2, shapes={"w": (4, 4)})
    state = algorithm.start(torch.zeros(1, 4, 4, dtype=torch.float64))
    before = tensor_in(state, "vector")
    update = algorithm.update(next(gradients)["w"], state, now(1, 1e-6))
    assert update.count_nonzero() == 0
    assert torch.equal(tensor_in(state, "vector"), before)
    update = algorithm.update(next(gradients)["w"], state, now(2, 1e-6))
    assert float(torch.linalg.matrix_norm(update, 2)) >= 1 - 1e-9


def test_matrices_start_from_unit_vectors_of_their_own_and_members_from_the_same() -> None:
    start = next(draws(0, 3, steps=1, shapes=MATRICES))
    make = stacked(Spectral(adam(), iterations=1, warmup_steps=5))
    its_group = group(tuple(MATRICES), rates=(1.0,) * 3, epsilon=(1e-8,) * 3)
    _, optimizer = ran(make, its_group, start, [])
    vectors = [optimizer.state(member)["a+twin:vector"] for member in range(3)]
    assert torch.equal(vectors[0], vectors[2])
    assert not torch.equal(vectors[0][0], vectors[0][1])
    torch.testing.assert_close(vectors[0].square().sum((1, 2)), torch.ones(2).double())


class PlainRootMeanSquare:
    """The update of torch's Adam over its root mean square."""

    def __init__(self, member: int) -> None:
        self._adam = torch_adam(member)

    def update(self, gradient: Tensor, weight: Tensor, step: int) -> Tensor:
        """Returns U."""
        a = self._adam.update(gradient, weight, step)
        return a / a.square().mean().sqrt()


def test_every_member_has_an_update_of_root_mean_square_one() -> None:
    def reference(name: str, member: int, optimizer: Optimizer) -> PlainRootMeanSquare:
        return PlainRootMeanSquare(member)

    assert_follows(stacked(RootMeanSquare(adam())), reference)


def test_the_wrappers_want_what_the_inner_algorithm_wants() -> None:
    inner = Sophia(beta1=0.9, beta2=0.9, rho=0.04, frequency=3, batch_tokens=10)
    for wrapped in (Spectral(inner, iterations=1, warmup_steps=0), RootMeanSquare(inner)):
        assert [t for t in range(1, 8) if wrapped.wants_curvature(t)] == [1, 4, 7]
    assert not Spectral(inner, iterations=1, warmup_steps=0).elementwise
    assert RootMeanSquare(inner).elementwise
    assert not RootMeanSquare(Spectral(inner, iterations=1, warmup_steps=0)).elementwise


def test_single_precision_stays_near_double() -> None:
    spectral = Spectral(adam(), iterations=1, warmup_steps=5)
    assert departure(stacked(spectral), shapes=MATRICES) < 1e-6
    assert departure(stacked(RootMeanSquare(adam()))) < 1e-6

"""The shallow linear network: the closed form against gradient descent, coupled draws against
networks, and rates against theory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from workloads.beds.linear_network import (
    LINEAR_NETWORK,
    after_steps,
    coupled,
    examples,
    independent,
    limit,
)
from workloads.workload import Member

SIZES: dict[str, Any] = {"samples": 8, "dim": 16}


def test_the_closed_form_is_what_gradient_descent_does() -> None:
    config = LINEAR_NETWORK.resolve(
        {"width": 24, "learning_rate": 3.0, "steps": 5, "draws": "independent", **SIZES}
    ).config
    inputs, labels = examples(config)
    draw = np.random.default_rng([7, 24])  # in the order of `independent`
    first = torch.from_numpy(draw.standard_normal((24, 16)) / 4)
    middle = torch.from_numpy(draw.standard_normal((24, 24)) / 24**0.5).requires_grad_()
    last = torch.from_numpy(draw.standard_normal(24) / 24)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)

    def loss() -> torch.Tensor:
        return ((x @ first.T @ middle.T @ last - y) ** 2).mean() / 2

    for _ in range(5):
        (gradient,) = torch.autograd.grad(loss(), middle)
        with torch.no_grad():
            middle -= 3.0 * gradient
    assert LINEAR_NETWORK.loss_of(config, 7) == pytest.approx(loss().item(), rel=1e-12)


def test_coupled_draws_have_the_distribution_of_networks() -> None:
    inputs, labels = examples({**SIZES, "inputs": "gaussian"})

    def moments(make: Any) -> np.ndarray:
        drawn = [make(inputs, labels, 12, seed) for seed in range(3000)]
        traces = np.array([np.trace(matrix) for matrix, _ in drawn])
        corners = np.array([matrix[0, 1] for matrix, _ in drawn])
        starts = np.array([(errors + labels)[:2] for _, errors in drawn])
        products = starts[:, 0] * starts[:, 1]
        values = np.stack(
            [traces, traces**2, corners, corners**2, starts[:, 0] ** 2, products, starts[:, 0]]
        )
        return np.stack([values.mean(1), values.std(1) / len(drawn) ** 0.5])

    one, other = moments(coupled), moments(independent)
    assert (np.abs(one[0] - other[0]) < 4.5 * np.hypot(one[1], other[1])).all()


@pytest.mark.parametrize(
    ("inputs", "steps", "rates"),
    [
        ("gaussian", 1, (0.5, 0.5, 1.0)),
        ("orthogonal", 1, (1.0, 0.5, 1.0)),
        ("orthogonal", 2, (2.0, 0.5, 2.0)),
    ],
)
def test_gaps_close_at_the_rates_of_the_theory(
    inputs: str, steps: int, rates: tuple[float, float, float]
) -> None:
    x, y = examples({**SIZES, "inputs": inputs})

    def best(matrix: Any, errors: Any) -> tuple[float, float]:
        def loss(place: float) -> float:
            return after_steps(matrix, errors, rate=2**place, steps=steps)

        grid = np.linspace(0, 5, 501)
        near = grid[np.argmin([loss(place) for place in grid])]
        bounds, options = (near - 0.02, near + 0.02), {"xatol": 1e-9}
        found = minimize_scalar(loss, bounds=bounds, method="bounded", options=options)
        return found.x, found.fun

    ideal = limit(x, y)
    place, lowest = best(*ideal)
    gaps = []
    for width in (2**14, 2**18, 2**22):
        found, loss = best(*coupled(x, y, width, seed=2))
        paid = after_steps(*ideal, rate=2**found, steps=steps) - lowest
        gaps.append([abs(loss - lowest), abs(found - place), paid])
    slopes = -np.diff(np.log2(gaps), axis=0) / 4
    assert slopes[-1] == pytest.approx(rates, abs=0.06)


def test_a_rate_that_blows_up_has_diverged_and_says_so() -> None:
    config = LINEAR_NETWORK.resolve(
        {"width": 16, "learning_rate": 1e6, "steps": 400, **SIZES}
    ).config
    trainer = LINEAR_NETWORK.trainer()([Member(config=config, seed=0)], threads=1, device="cpu")
    ((said,),) = trainer.run()
    assert said.status == "diverged" and not said.metrics


def test_what_has_no_such_draw_is_refused_in_words() -> None:
    given = {"width": 4, "learning_rate": 1.0, "samples": 32, "dim": 16, "inputs": "orthogonal"}
    messages = [problem.message for problem in LINEAR_NETWORK.problems(given)]
    assert "32 orthogonal examples need as many dimensions, and dim is 16" in messages[0]
    assert "coupled draws need a width of at least the 32 samples" in messages[1]

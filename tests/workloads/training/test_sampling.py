"""Sampled labels, and the curvature that gradients on them estimate."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from workloads.training.sampling import sampled, uniform


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_draws_depend_on_seed_and_step_only() -> None:
    first = uniform((3, 5), seed=4, step=9)
    assert torch.equal(first, uniform((3, 5), seed=4, step=9))
    others = [uniform((3, 5), seed=s, step=t) for s, t in ((5, 9), (4, 10), (-4, 9))]
    assert all(not torch.equal(first, each) for each in others)


def test_draws_are_uniform() -> None:
    draws = uniform((100_000,), seed=1, step=1)
    assert draws.min() >= 0 and draws.max() < 1
    counts = torch.histc(draws, bins=10, min=0, max=1) / len(draws)
    assert (counts - 0.1).abs().max() < 0.004  # four standard deviations


def test_a_class_is_the_inverse_of_the_distribution_at_the_draw() -> None:
    logits = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log().expand(6, 3)
    draws = torch.tensor([0.0, 0.19, 0.21, 0.69, 0.71, 1 - 2.0**-53], dtype=torch.float64)
    assert sampled(logits, draws).tolist() == [0, 0, 1, 1, 2, 2]


def test_classes_without_probability_are_never_drawn() -> None:
    logits = torch.tensor([-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf])
    draws = uniform((1000,), seed=0, step=1)
    assert set(sampled(logits.expand(1000, 5), draws).tolist()) == {1, 3}
    ends = torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64)
    assert sampled(logits.expand(2, 5), ends).tolist() == [1, 3]


def test_rows_that_are_not_finite_get_some_class_and_leave_the_others() -> None:
    logits = torch.randn(2, 4, 7, generator=generator())
    draws = uniform((2, 4), seed=3, step=2)
    before = sampled(logits, draws)
    logits[1] = torch.nan
    after = sampled(logits, draws)
    assert torch.equal(before[0], after[0])
    assert after.min() >= 0 and after.max() < 7


def test_frequencies_are_the_probabilities() -> None:
    logits = 2 * torch.randn(9, generator=generator(5))
    classes = sampled(logits.expand(200_000, 9), uniform((200_000,), seed=2, step=1))
    found = torch.bincount(classes, minlength=9) / 200_000
    assert (found - logits.softmax(-1)).abs().max() < 0.005


def gauss_newton_diagonal(weight: Tensor, x: Tensor) -> Tensor:
    """Returns the diagonal for the mean loss of softmax regression: mean x_j^2 p_c (1 - p_c)."""
    p = (x @ weight.T).softmax(-1)
    return torch.einsum("bc,bj->cj", p * (1 - p), x.square()) / len(x)


def test_squared_gradients_on_sampled_labels_have_the_gauss_newton_diagonal_for_a_mean() -> None:
    batch, classes = 8, 3
    weight = torch.randn(classes, 4, dtype=torch.float64, generator=generator(1)).requires_grad_()
    x = torch.randn(batch, 4, dtype=torch.float64, generator=generator(2))
    squares = []
    for step in range(1, 4001):
        labels = sampled(x @ weight.T, uniform((batch,), seed=0, step=step))
        (gradient,) = torch.autograd.grad(F.cross_entropy(x @ weight.T, labels), weight)
        squares.append(batch * gradient.square())
    all_squares = torch.stack(squares)
    error = all_squares.mean(0) - gauss_newton_diagonal(weight.detach(), x)
    deviation = all_squares.std(0) / len(squares) ** 0.5
    assert (error.abs() < 4 * deviation).all()


def test_enumerated_labels_give_the_gauss_newton_diagonal_exactly() -> None:
    """Over all labels, weighted by their probability, B c^2 is the diagonal of a batch of two."""
    weight = torch.randn(3, 4, dtype=torch.float64, generator=generator(3)).requires_grad_()
    x = torch.randn(2, 4, dtype=torch.float64, generator=generator(4))
    p = (x @ weight.T).softmax(-1).detach()
    total = torch.zeros_like(weight)
    for first in range(3):
        for second in range(3):
            loss = F.cross_entropy(x @ weight.T, torch.tensor([first, second]))
            (gradient,) = torch.autograd.grad(loss, weight)
            total = total + p[0, first] * p[1, second] * 2 * gradient.square()
    expected = gauss_newton_diagonal(weight.detach(), x)
    torch.testing.assert_close(total.detach(), expected, rtol=1e-12, atol=1e-14)

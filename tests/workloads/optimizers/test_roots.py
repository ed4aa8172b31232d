"""Inverse roots: by eigenvalues and by Newton iterations, and where they have to hold out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from preconditioned_cases import orthogonal
from torch import Tensor

from workloads.optimizers.shampoo import (
    inverse_root,
    largest_eigenvalue,
    root_by_eigenvalues,
    root_by_newton,
)

Root = Callable[..., Tensor]
ROOTS = (root_by_eigenvalues, root_by_newton)
SPECTRA = {
    "even": [1.0, 1.0, 1.0, 1.0, 1.0],
    "spread": [1.0, 0.1, 1e-2, 1e-4, 1e-6],
    "rank one": [3.0, 0.0, 0.0, 0.0, 0.0],
    "large": [4e8, 1e8, 1e7, 2e6, 1e6],
    "small": [3e-9, 2e-9, 1e-9, 1e-10, 0.0],
}


def matrices(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Returns matrices of the spectra, their eigenvectors and eigenvalues."""
    generator = torch.Generator().manual_seed(3)
    vectors = torch.stack([orthogonal(generator, 5) for _ in SPECTRA])
    values = torch.tensor(list(SPECTRA.values()), dtype=torch.float64)
    return (vectors @ values.diag_embed() @ vectors.mT).to(dtype), vectors, values


def column(value: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.full((len(SPECTRA), 1, 1), value, dtype=dtype)


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("exponent", [1.0, 0.5, 1 / 3, 0.25])
@pytest.mark.parametrize("relative", [True, False])
def test_a_root_is_that_of_the_eigenvalues_and_the_ridge(
    root: Root, exponent: float, relative: bool
) -> None:
    stack, vectors, values = matrices()
    ridge = 1e-4 * (values[:, :1] if relative else torch.ones(5, 1, dtype=torch.float64))
    expected = vectors @ ((values + ridge) ** -exponent).diag_embed() @ vectors.mT
    found = root(stack, exponent=exponent, epsilon=column(1e-4), relative=relative)
    sizes = expected.norm(dim=(-2, -1), keepdim=True)
    tolerance = 1e-9 if root is root_by_eigenvalues else 2e-6
    torch.testing.assert_close(found / sizes, expected / sizes, rtol=0, atol=tolerance)


@pytest.mark.parametrize("root", ROOTS)
def test_single_precision_stays_near_double(root: Root) -> None:
    single, _, _ = matrices(torch.float32)
    double = root_by_eigenvalues(
        single.double(), exponent=0.25, epsilon=column(1e-3), relative=True
    )
    epsilon = column(1e-3, torch.float32)
    found = root(single, exponent=0.25, epsilon=epsilon, relative=True).double()
    sizes = double.norm(dim=(-2, -1), keepdim=True)
    torch.testing.assert_close(found / sizes, double / sizes, rtol=0, atol=1e-4)


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_root_depends_on_no_other_matrix_of_the_stack(
    root: Root, relative: bool, dtype: torch.dtype
) -> None:
    stack, _, _ = matrices(torch.float32)
    together = root(stack.to(dtype), exponent=0.25, epsilon=column(1e-5, dtype), relative=relative)
    for matrix, expected in zip(stack.to(dtype), together, strict=True):
        alone = root(
            matrix[None],
            exponent=0.25,
            epsilon=column(1e-5, dtype)[:1],
            relative=relative,
        )[0]
        if dtype == torch.float32:
            assert torch.equal(alone, expected)
        else:  # a power's last bit depends on how many numbers are raised
            torch.testing.assert_close(alone, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_matrix_that_is_not_finite_leaves_the_others(root: Root, bad: float) -> None:
    stack, _, _ = matrices(torch.float32)
    epsilon = column(1e-5, torch.float32)
    expected = root(stack, exponent=0.5, epsilon=epsilon, relative=True)
    stack[2] = bad
    found = root(stack, exponent=0.5, epsilon=epsilon, relative=True)
    others = [0, 1, 3, 4]
    assert torch.equal(found[others], expected[others])


@pytest.mark.parametrize("root", ROOTS)
def test_nothing_has_the_identity_for_a_root_or_the_ridge_s(root: Root) -> None:
    nothing = torch.zeros(5, 3, 3)
    epsilon = column(1e-4, torch.float32)
    relative = root(nothing, exponent=0.25, epsilon=epsilon, relative=True)
    torch.testing.assert_close(relative, torch.eye(3).expand(5, 3, 3))
    absolute = root(nothing, exponent=0.25, epsilon=epsilon, relative=False)
    torch.testing.assert_close(absolute, 10 * torch.eye(3).expand(5, 3, 3))


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("size", [1e-44, 1e-39, 1e-30, 1e30])
def test_extreme_sizes_have_finite_roots(root: Root, size: float) -> None:
    stack = torch.eye(4).mul(size).expand(5, 4, 4)
    found = root(stack, exponent=0.25, epsilon=column(1e-5, torch.float32), relative=True)
    assert bool(found.isfinite().all())


@pytest.mark.parametrize("root", ROOTS)
def test_rounding_below_zero_does_not_count(root: Root) -> None:
    """A ridge below single precision's rounding cannot keep a rank-one matrix positive."""
    generator = torch.Generator().manual_seed(0)
    row = torch.randn((5, 1, 40), generator=generator)
    found = root(row.mT @ row, exponent=0.25, epsilon=column(1e-9, torch.float32), relative=True)
    assert bool(found.isfinite().all())


@pytest.mark.parametrize("power", [1, 2, 3, 4, 7])
def test_newton_iterations_invert_the_power(power: int) -> None:
    stack, _, _ = matrices()
    stack = stack[:2] + 1e-3 * torch.eye(5, dtype=torch.float64)
    root = inverse_root(stack, power)
    whole = torch.linalg.matrix_power(root, power) @ stack
    torch.testing.assert_close(whole, torch.eye(5).double().expand(2, 5, 5), rtol=0, atol=1e-5)


def test_newton_iterations_stop_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past convergence an iteration would only fill the matrices with denormals."""
    powers: list[Tensor] = []
    power_of = torch.linalg.matrix_power

    def counted(matrix: Tensor, power: int) -> Tensor:
        powers.append(matrix)
        return power_of(matrix, power)

    monkeypatch.setattr(torch.linalg, "matrix_power", counted)
    stack, _, _ = matrices(torch.float32)
    numbers = []
    for some in (stack[:1], stack[1:2], stack[:2]):
        powers.clear()
        inverse_root(some + 1e-5 * torch.eye(5), 4)
        numbers.append(len(powers))
    assert numbers[2] == numbers[0] + numbers[1], "each stops when it is done itself"
    assert 0 < min(numbers) < 10
    assert max(numbers[:2]) < 40


def test_the_largest_eigenvalue_is_found() -> None:
    stack, _, values = matrices()
    found = largest_eigenvalue(stack).flatten()
    torch.testing.assert_close(found, values.amax(-1), rtol=1e-5, atol=0)

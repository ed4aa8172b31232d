"""Eigenbases: exact, and refined by a power iteration and QR."""

from __future__ import annotations

import torch
from preconditioned_cases import orthogonal
from torch import Tensor

from workloads.optimizers.soap import exact_basis, refined_basis

EPSILON = torch.full((2, 1, 1), 1e-10, dtype=torch.float64)


def statistics() -> tuple[Tensor, Tensor]:
    """Returns two matrices, [2, 6, 6], and their eigenvectors in rows, largest value first."""
    generator = torch.Generator().manual_seed(5)
    vectors = torch.stack([orthogonal(generator, 6) for _ in range(2)])
    values = torch.tensor([[9.0, 5, 3, 2, 1, 0.1], [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8]])
    return vectors.mT @ values.double().diag_embed() @ vectors, vectors


def assert_same_vectors(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Compares rows up to their signs."""
    torch.testing.assert_close(
        (found @ expected.mT).abs(), torch.eye(6).double().expand(2, 6, 6), rtol=0, atol=tolerance
    )


def test_an_exact_basis_has_the_largest_eigenvalue_first() -> None:
    matrices, vectors = statistics()
    assert_same_vectors(exact_basis(matrices, 0 * EPSILON), vectors, 1e-7)


def test_nothing_has_a_basis_through_its_ridge() -> None:
    found = exact_basis(torch.zeros(2, 6, 6).double(), EPSILON)
    assert bool(((found == 0) | (found.abs() == 1)).all())


def test_refining_sorts_vectors_and_says_from_where() -> None:
    matrices, vectors = statistics()
    shuffled = torch.tensor([3, 0, 5, 1, 4, 2])
    refined, order = refined_basis(matrices, vectors[:, shuffled], 0 * EPSILON)
    assert_same_vectors(refined, vectors, 1e-7)
    assert shuffled[order].tolist() == [[0, 1, 2, 3, 4, 5]] * 2


def test_refining_again_and_again_finds_the_eigenvectors() -> None:
    matrices, vectors = statistics()
    basis = torch.eye(6, dtype=torch.float64).repeat(2, 1, 1)
    for _ in range(60):
        basis, _ = refined_basis(matrices, basis, 0 * EPSILON)
    assert_same_vectors(basis, vectors, 1e-7)


def test_a_refined_basis_is_orthonormal_whatever_the_rank() -> None:
    row = torch.randn((2, 1, 6), generator=torch.Generator().manual_seed(0))
    for matrices in (row.mT @ row, torch.zeros(2, 6, 6)):
        basis = torch.eye(6).repeat(2, 1, 1)
        for _ in range(5):
            basis, _ = refined_basis(matrices, basis, EPSILON.float())
            torch.testing.assert_close(basis @ basis.mT, torch.eye(6).expand(2, 6, 6))


def test_a_matrix_that_is_not_finite_leaves_the_other() -> None:
    matrices, vectors = statistics()
    exact = exact_basis(matrices, EPSILON)
    refined, order = refined_basis(matrices, vectors, EPSILON)
    matrices[1, 2, 3] = float("nan")
    assert torch.equal(exact_basis(matrices, EPSILON)[0], exact[0])
    found, found_order = refined_basis(matrices, vectors, EPSILON)
    assert torch.equal(found[0], refined[0])
    assert torch.equal(found_order[0], order[0])

"""Eigenvalues of stacks: right, whatever else is in the stack."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from workloads.optimizers.linalg import eigh


def symmetric(number: int, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    drawn = torch.randn((number, size, size), generator=torch.Generator().manual_seed(0))
    return (drawn + drawn.mT).to(dtype)


def test_vectors_and_values_make_up_the_matrix() -> None:
    matrices = symmetric(3, 6, torch.float64)
    values, vectors = eigh(matrices)
    torch.testing.assert_close(vectors @ values.diag_embed() @ vectors.mT, matrices)
    assert bool((values.diff() >= 0).all())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_matrix_that_is_not_finite_is_an_identity_and_leaves_the_others(bad: float) -> None:
    matrices = symmetric(3, 5)
    expected = eigh(matrices)
    matrices[1, 2, 3] = bad
    values, vectors = eigh(matrices)
    assert torch.equal(values[1], torch.ones(5))
    torch.testing.assert_close(vectors[1].abs(), torch.eye(5))
    for found, whole in zip((values, vectors), expected, strict=True):
        assert torch.equal(found[[0, 2]], whole[[0, 2]])


def test_only_the_matrix_that_is_too_hard_goes_through_double_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matrices = symmetric(3, 5)
    expected = eigh(matrices)
    real, formats = torch.linalg.eigh, []

    def failing(each: Tensor) -> tuple[Tensor, Tensor]:
        formats.append(each.dtype)
        if each.dtype == torch.float32 and (each.ndim == 3 or torch.equal(each, matrices[1])):
            raise torch.linalg.LinAlgError("did not converge")
        found: tuple[Tensor, Tensor] = real(each)
        return found

    monkeypatch.setattr(torch.linalg, "eigh", failing)
    values, vectors = eigh(matrices)
    assert formats.count(torch.float64) == 1
    assert values.dtype == vectors.dtype == torch.float32
    torch.testing.assert_close(values, expected[0])
    assert torch.equal(vectors[[0, 2]], expected[1][[0, 2]])


def test_a_matrix_that_is_too_hard_in_double_precision_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(each: Tensor) -> tuple[Tensor, Tensor]:
        raise torch.linalg.LinAlgError("did not converge")

    monkeypatch.setattr(torch.linalg, "eigh", failing)
    with pytest.raises(torch.linalg.LinAlgError, match="did not converge"):
        eigh(symmetric(2, 3))

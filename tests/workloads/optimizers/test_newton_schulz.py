"""Newton-Schulz, against the scalar polynomial that it is."""

from __future__ import annotations

import torch

from workloads.cards import LLAMA
from workloads.optimizers.newton_schulz import newton_schulz

CONFIG = {"width": 32, "steps": 5, "learning_rate": 0.1, "optimizer": "muon"}
COEFFICIENTS = [
    (a, b, c) for a, b, c in LLAMA.resolve(CONFIG).derived["newton_schulz_coefficients"]
]


def with_singular_values(values: torch.Tensor, columns: int) -> torch.Tensor:
    """Returns a matrix [m, columns] with the given m singular values."""
    generator = torch.Generator().manual_seed(1)
    rows = len(values)
    left = torch.linalg.qr(torch.randn(rows, rows, generator=generator, dtype=torch.float64))[0]
    right = torch.linalg.qr(torch.randn(columns, rows, generator=generator, dtype=torch.float64))[
        0
    ]
    return left * values @ right.T


def test_singular_values_go_through_the_polynomial_and_vectors_stay() -> None:
    values = torch.logspace(-3, 0, 12, dtype=torch.float64)
    matrix = with_singular_values(values, 20)
    found = newton_schulz(matrix[None], coefficients=COEFFICIENTS, epsilon=0.01)[0]
    scalars = values / (values.norm() + 0.01)
    for a, b, c in COEFFICIENTS:
        scalars = a * scalars + b * scalars**3 + c * scalars**5
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    order = torch.argsort(values, descending=True)
    torch.testing.assert_close(found, left * scalars[order] @ right, rtol=1e-10, atol=1e-10)


def test_singular_values_land_in_the_published_band() -> None:
    values = torch.logspace(-1.5, 0, 40, dtype=torch.float64)
    assert values.min() / values.norm() > 7e-3  # where the band of these coefficients begins
    matrix = with_singular_values(values * 7.0, 64)
    found = newton_schulz(matrix[None], coefficients=COEFFICIENTS, epsilon=0.0)
    landed = torch.linalg.svdvals(found)
    assert landed.min() > 0.68
    assert landed.max() < 1.135


def test_a_matrix_of_the_batch_is_what_it_is_alone() -> None:
    matrices = torch.randn(6, 16, 48, generator=torch.Generator().manual_seed(2))
    matrices[3] = torch.nan
    together = newton_schulz(matrices, coefficients=COEFFICIENTS, epsilon=1e-7)
    for place in (0, 1, 2, 4, 5):
        alone = newton_schulz(matrices[place, None], coefficients=COEFFICIENTS, epsilon=1e-7)
        assert torch.equal(together[place], alone[0])
    assert together[3].isnan().all()


def test_zero_and_rank_one_matrices_stay_finite() -> None:
    zero = torch.zeros(8, 8)
    line = torch.outer(torch.arange(8.0), torch.ones(8))
    found = newton_schulz(
        torch.stack((zero, line)), coefficients=COEFFICIENTS, epsilon=torch.full((2, 1, 1), 1e-7)
    )
    assert torch.equal(found[0], zero)
    values = torch.linalg.svdvals(found[1])
    assert 0.68 < values[0] < 1.135
    assert values[1] < 1e-3

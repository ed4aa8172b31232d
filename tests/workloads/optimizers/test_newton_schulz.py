"""Newton-Schulz, against the scalar polynomial that it is."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from workloads.optimizers.coefficients import (
    MARGINS,
    NEWTON_SCHULZ,
    Coefficients,
    newton_schulz_coefficients,
)
from workloads.optimizers.muon import CACHED, newton_schulz

BANDS = {  # lowest and highest image of singular values from 7e-3, then from 1e-3, up to 1
    ("keller_jordan", None): ((0.682, 1.134), (0.471, 1.202)),
    ("quintic", None): ((0.978, 1.032), (0.475, 1.145)),
    ("polar_express", None): ((0.876, 1.124), (0.876, 1.124)),
    ("polar_express", 8): ((1.000, 1.000), (1.000, 1.000)),
    ("polar_express_safe", None): ((0.859, 1.141), (0.859, 1.141)),
    ("cans", None): ((0.884, 1.120), (0.884, 1.120)),
    ("modula", None): ((0.996, 0.999), (0.866, 0.999)),
    ("deepseek", None): ((1.000, 1.000), (1.000, 1.000)),
    ("cubic", None): ((0.774, 1.300), (0.119, 1.300)),
}
SETS = [pytest.param(*key, id=f"{key[0]}-{key[1] or 'default'}") for key in BANDS]
SLOPES = {  # of the polynomial at zero: what a tiny singular value is multiplied by
    ("keller_jordan", None): 485,
    ("quintic", None): 493,
    ("polar_express", None): 1026,
    ("polar_express", 8): 6822,
    ("polar_express_safe", None): 990,
    ("cans", None): 1049,
    ("modula", None): 1138,
    ("deepseek", None): 79263,
    ("cubic", None): 119,
}
EPSILON = torch.tensor(1e-7)
KELLER_JORDAN = [(3.4445, -4.7750, 2.0315)] * 5


def coefficients_of(name: str, steps: int | None) -> Coefficients:
    return [(a, b, c) for a, b, c in newton_schulz_coefficients(name, steps)]


def image(values: Tensor, coefficients: Coefficients) -> Tensor:
    """Returns where singular values land."""
    for a, b, c in coefficients:
        values = a * values + b * values**3 + c * values**5
    return values


def with_singular_values(values: Tensor, columns: int) -> Tensor:
    """Returns a matrix [m, columns] with the given m singular values."""
    generator = torch.Generator().manual_seed(1)
    rows = len(values)
    left = torch.linalg.qr(torch.randn(rows, rows, generator=generator, dtype=torch.float64))[0]
    right = torch.linalg.qr(torch.randn(columns, rows, generator=generator, dtype=torch.float64))
    return left * values @ right[0].T


def grid(lowest: float) -> Tensor:
    """Returns singular values from ``lowest`` to 1, dense on a logarithmic scale."""
    return torch.logspace(torch.tensor(lowest).log10().item(), 0, 40_001, dtype=torch.float64)


def test_every_set_has_a_band() -> None:
    assert {name for name, _ in BANDS} == set(NEWTON_SCHULZ)


@pytest.mark.parametrize(("name", "steps"), SETS)
def test_each_set_sends_singular_values_into_its_band(name: str, steps: int | None) -> None:
    coefficients = coefficients_of(name, steps)
    for lowest, band in zip((7e-3, 1e-3), BANDS[name, steps], strict=True):
        landed = image(grid(lowest), coefficients)
        assert (landed.min().item(), landed.max().item()) == pytest.approx(band, abs=1e-3)


@pytest.mark.parametrize(("name", "steps"), SETS)
def test_each_set_has_its_slope_at_zero(name: str, steps: int | None) -> None:
    slope = image(torch.tensor(1e-9, dtype=torch.float64), coefficients_of(name, steps)) / 1e-9
    assert slope.item() == pytest.approx(SLOPES[name, steps], rel=5e-3)


@pytest.mark.parametrize(("name", "steps"), SETS)
def test_the_singular_values_of_a_matrix_land_where_the_polynomial_sends_them(
    name: str, steps: int | None
) -> None:
    coefficients = coefficients_of(name, steps)
    values = torch.logspace(-1.5, 0, 24, dtype=torch.float64)
    scaled = values / values.norm()
    assert scaled.min() > 7e-3  # where the bands begin
    matrix = with_singular_values(values * 7.0, 40)
    found = newton_schulz(matrix[None], coefficients=coefficients, epsilon=torch.tensor(0.0))
    landed = torch.linalg.svdvals(found)[0]
    expected = image(scaled, coefficients).sort(descending=True).values
    torch.testing.assert_close(landed, expected, rtol=1e-10, atol=1e-10)
    low, high = BANDS[name, steps][0]
    assert low - 1e-3 < landed.min() and landed.max() < high + 1e-3


def test_singular_vectors_stay_and_epsilon_is_added_to_the_norm() -> None:
    values = torch.logspace(-3, 0, 12, dtype=torch.float64)
    matrix = with_singular_values(values, 20)
    found = newton_schulz(
        matrix[None], coefficients=KELLER_JORDAN, epsilon=torch.tensor(0.01, dtype=torch.float64)
    )[0]
    scalars = image(values / (values.norm() + 0.01), KELLER_JORDAN)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    order = torch.argsort(values, descending=True)
    torch.testing.assert_close(found, left * scalars[order] @ right, rtol=1e-10, atol=1e-10)


def test_float32_follows_float64() -> None:
    generator = torch.Generator().manual_seed(3)
    exact = torch.randn(4, 24, 40, generator=generator, dtype=torch.float64)
    wanted = newton_schulz(exact, coefficients=KELLER_JORDAN, epsilon=EPSILON)
    found = newton_schulz(exact.float(), coefficients=KELLER_JORDAN, epsilon=EPSILON)
    # 485, the slope of the polynomial, is what a rounding of the input is multiplied by.
    assert (found - wanted).norm() < 485 * 2.0**-24 * wanted.norm()


@pytest.mark.parametrize(
    ("shape", "products"),
    [
        *itertools.product([(16, 48), (48, 16), (33, 33), (1, 7), (7, 1)], [None, torch.bfloat16]),
        ((300, 900), None),
        ((900, 300), None),
        ((250, 600), torch.bfloat16),
    ],
)
def test_a_matrix_of_the_stack_is_what_it_is_alone(
    shape: tuple[int, int], products: torch.dtype | None
) -> None:
    matrices = torch.randn(6, *shape, generator=torch.Generator().manual_seed(2))
    matrices[3] = torch.nan
    kept = matrices.clone()
    settings = {"coefficients": KELLER_JORDAN, "epsilon": EPSILON, "products": products}
    together = newton_schulz(matrices, **settings)
    for place in (0, 1, 2, 4, 5):
        alone = newton_schulz(matrices[place, None], **settings)
        assert torch.equal(together[place], alone[0])
    assert together[3].isnan().all()
    assert torch.equal(kept.nan_to_num(), matrices.nan_to_num())  # the input is not changed


def test_large_stacks_are_cut_into_parts_that_stay_in_the_cache() -> None:
    assert CACHED < 6 * 250 * 600  # so the test before this one saw both


def test_a_tall_matrix_is_the_transpose_of_the_wide_one() -> None:
    wide = torch.randn(3, 5, 11, generator=torch.Generator().manual_seed(4))
    settings = {"coefficients": KELLER_JORDAN, "epsilon": EPSILON}
    tall = newton_schulz(wide.mT.contiguous(), **settings)
    torch.testing.assert_close(tall.mT, newton_schulz(wide, **settings), rtol=0, atol=1e-5)


def test_products_in_bfloat16_stay_within_its_rounding() -> None:
    matrices = torch.randn(4, 32, 48, generator=torch.Generator().manual_seed(5))
    settings = {"coefficients": KELLER_JORDAN, "epsilon": EPSILON}
    exact = newton_schulz(matrices, **settings)
    rough = newton_schulz(matrices, **settings, products=torch.bfloat16)
    assert rough.dtype == torch.float32
    assert 1e-4 < (rough - exact).norm() / exact.norm() < 2e-2


WITHIN = {  # as BANDS from 7e-3, of the sets with a margin
    "polar_express": (0.870, 1.124),
    "polar_express_safe": (0.859, 1.141),
    "cans": (0.860, 1.114),
    "cubic": (0.735, 1.300),
}
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
ROUGH = {"cans": 0.15}
"""How far bfloat16 leads singular values below a band: 0.01, but for the steepest of the sets."""


def rank_one(rows: int, columns: int, seed: int) -> Tensor:
    """Returns matrices of rank one [6, m, n]: normal, of signs alone, and of ones; what all
    entries have in common makes roundings add up."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(6, rows, 1, generator=generator, dtype=torch.float64)
    right = torch.randn(6, 1, columns, generator=generator, dtype=torch.float64)
    left[2:5], right[2:5] = left[2:5].sign() * (1 + left[2:5, :1] % 0.004), right[2:5].sign()
    left[5], right[5] = 1.0, 1.0
    return left * right


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NEWTON_SCHULZ)
def test_a_set_keeps_to_its_band_in_every_number_format(name: str, dtype: torch.dtype) -> None:
    """Rank one, where roundings lift the singular value above 1; full rank; and condition 1e6."""
    margin = MARGINS.get(name, 1.0)
    coefficients = newton_schulz_coefficients(name, None, margin)
    low, high = WITHIN.get(name) or BANDS[name, None][0]
    highest = image(grid(1e-9) / margin, coefficients).max().item()
    below = ROUGH.get(name, 0.01) if dtype == torch.bfloat16 else 0.01

    def iterated(matrices: Tensor) -> Tensor:
        exact = matrices.to(torch.promote_types(dtype, torch.float32))
        settings = {"epsilon": torch.tensor(1e-12), "margin": margin, "products": dtype}
        return newton_schulz(exact, coefficients=coefficients, **settings).double()

    for seed, shape in enumerate([(8, 8), (32, 32), (16, 48), (100, 33), (1, 64), (64, 1)] * 2):
        matrices = rank_one(*shape, seed)
        left, _, right = torch.linalg.svd(matrices, full_matrices=False)
        along = left[:, None, :, 0] @ iterated(matrices) @ right[:, 0, :, None]
        assert low - 0.01 < along.min() and along.max() < high + 0.01  # with its sign
        for span, lowest in ((0.5, low - below), (6.0, 0.0)):
            values = torch.logspace(0, -span, min(shape), dtype=torch.float64)
            matrix = with_singular_values(values, max(shape))
            landed = torch.linalg.svdvals(iterated(matrix[None]))
            assert lowest - 1e-9 < landed.min() and landed.max() < highest + 0.02


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NEWTON_SCHULZ)
def test_zero_stays_zero_and_the_size_of_a_matrix_does_not_matter(
    name: str, dtype: torch.dtype
) -> None:
    margin = MARGINS.get(name, 1.0)
    settings = {
        "coefficients": newton_schulz_coefficients(name, None, margin),
        "epsilon": torch.tensor(1e-12),
        "margin": margin,
        "products": dtype,
    }
    drawn = torch.randn(1, 33, 48, generator=torch.Generator().manual_seed(7))
    assert not newton_schulz(torch.zeros_like(drawn), **settings).any()
    huge = newton_schulz(drawn * 2.0**100, **settings)
    plain = newton_schulz(drawn, **settings)
    assert (huge - plain).norm() < 0.05 * plain.norm()  # roundings to 16 bits fall elsewhere


def test_margins_divide_the_norm_and_the_arguments_of_the_steps() -> None:
    plain = newton_schulz_coefficients("polar_express", 8)
    divided = newton_schulz_coefficients("polar_express", 8, 1.01)
    for before, after in zip(plain[:7], divided[:7], strict=True):
        assert after == pytest.approx([before[i] / 1.01 ** (2 * i + 1) for i in range(3)])
    assert divided[7] == plain[7]  # keeps one where it is
    safe = newton_schulz_coefficients("polar_express_safe", None, 1.02)
    assert safe == newton_schulz_coefficients("polar_express_safe", None)


def test_zero_and_rank_one_matrices_stay_finite() -> None:
    zero = torch.zeros(8, 8)
    line = torch.outer(torch.arange(8.0), torch.ones(8))
    found = newton_schulz(
        torch.stack((zero, line)), coefficients=KELLER_JORDAN, epsilon=torch.full((2, 1, 1), 1e-7)
    )
    assert torch.equal(found[0], zero)
    values = torch.linalg.svdvals(found[1])
    assert 0.68 < values[0] < 1.135
    assert values[1] < 1e-3


def test_denormal_matrices_vanish_against_epsilon_or_keep_their_direction() -> None:
    tiny = torch.full((1, 4, 4), 1e-41)
    found = newton_schulz(tiny, coefficients=KELLER_JORDAN, epsilon=EPSILON)
    assert found.isfinite().all()
    assert found.norm() < 1e-30
    matrix = torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    small = newton_schulz(matrix * 1e-100, coefficients=KELLER_JORDAN, epsilon=torch.tensor(0.0))
    plain = newton_schulz(matrix, coefficients=KELLER_JORDAN, epsilon=torch.tensor(0.0))
    torch.testing.assert_close(small, plain, rtol=1e-10, atol=1e-10)

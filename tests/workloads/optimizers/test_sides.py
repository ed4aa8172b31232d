"""Statistics of the sides of a matrix: which there are, and that panels change nothing."""

from __future__ import annotations

import pytest
import torch

from workloads.optimizers.sides import Side, Sides, accumulate, completed


def test_a_side_is_active_if_it_is_chosen_and_not_too_long() -> None:
    assert Sides("both", 6).of(torch.empty(9, 4, 6)) == ("left", "right")
    assert Sides("both", 5).of(torch.empty(9, 4, 6)) == ("left",)
    assert Sides("both", 3).of(torch.empty(9, 4, 6)) == ()
    assert Sides("output", 6).of(torch.empty(9, 4, 6)) == ("left",)
    assert Sides("input", 6).of(torch.empty(9, 4, 6)) == ("right",)
    assert Sides("input", 5).of(torch.empty(9, 4, 6)) == ()


@pytest.mark.parametrize("shape", [(5, 3), (1, 4), (130, 20), (7, 193), (65, 256)])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_statistic_is_the_mean_of_products(shape: tuple[int, int], side: Side) -> None:
    """Sides longer than two panels, some with a ragged last one, are computed in panels."""
    generator = torch.Generator().manual_seed(1)
    size = shape[0] if side == "left" else shape[1]
    found = torch.zeros((2, size, size), dtype=torch.float64)
    expected = found.clone()
    for step in range(4):
        gradient = torch.randn((2, *shape), generator=generator, dtype=torch.float64)
        product = gradient @ gradient.mT if side == "left" else gradient.mT @ gradient
        expected = 0.9 * expected + (1 - 0.9) * product
        accumulate(found, gradient, side, 0.9)
        if step % 2:
            torch.testing.assert_close(completed(found), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [64, 129, 200, 320])
def test_a_statistic_has_the_same_bits_alone_as_among_others(size: int) -> None:
    for dtype in (torch.float32, torch.float64):
        gradients = torch.randn((3, size, 40), generator=torch.Generator().manual_seed(2))
        gradients = gradients.to(dtype)
        together = torch.zeros((3, size, size), dtype=dtype)
        accumulate(together, gradients, "left", 0.9)
        for each, gradient in zip(together, gradients, strict=True):
            alone = torch.zeros((1, size, size), dtype=dtype)
            accumulate(alone, gradient[None], "left", 0.9)
            assert torch.equal(completed(alone)[0], completed(each[None])[0])

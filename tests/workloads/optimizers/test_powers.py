"""Powers: right, and the same however many numbers are raised at once."""

from __future__ import annotations

import pytest
import torch

from workloads.optimizers.linalg import raised


@pytest.mark.parametrize("exponent", [-0.125, 0.25, -1 / 3, 0.3, 2.0])
def test_a_number_has_the_power_that_it_has_among_others(exponent: float) -> None:
    values = torch.rand(1000, generator=torch.Generator().manual_seed(0)) * 10
    together = raised(values, exponent)
    alone = torch.cat([raised(values[i : i + 1], exponent) for i in range(len(values))])
    assert torch.equal(together, alone)
    assert together.tolist() == pytest.approx([v**exponent for v in values.tolist()], rel=1e-6)


def test_double_precision_stays_double() -> None:
    value = torch.tensor([2.0], dtype=torch.float64)
    assert raised(value, 0.5).item() == pytest.approx(2**0.5, rel=1e-15)

"""The scale of attention and the largest logits of heads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from workloads.llama.attention import attention_scale, largest_products


def heads(number: int = 6, size: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (2, number, 3, size, 4)
    q, k = torch.randn(*shape, dtype=torch.float64, generator=generator)
    return q, k


def plain_largest(q: Tensor, k: Tensor) -> Tensor:
    found = torch.full(q.shape[:2], -torch.inf, dtype=q.dtype)
    for i in range(q.shape[2]):
        for j in range(i + 1):
            found = torch.maximum(found, (q[:, :, i] * k[:, :, j]).sum(-1))
    return found


@pytest.mark.parametrize("limit", [1 << 24, 3 * 12 * 12 * 4, 3 * 12 * 12, 3 * 12 * 5, 1])
def test_the_largest_product_is_that_of_all_causal_pairs_however_few_fit(
    limit: int,
) -> None:
    q, k = heads()
    found = largest_products(q, k, at_once=limit)
    torch.testing.assert_close(found, plain_largest(q, k), rtol=1e-14, atol=0)


def test_a_pair_in_the_future_does_not_count() -> None:
    q, k = heads(number=1, size=2)
    before = largest_products(q, k)
    q[:, :, 1] = 0  # leaves the first query, which sees the first key only
    k[:, :, 1] = 1e6 * q[:, :, 0]
    expected = (q[:, :, 0] * k[:, :, 0]).sum(-1).clamp(min=0)
    torch.testing.assert_close(largest_products(q, k), expected)
    assert not torch.equal(before, expected)


def test_products_in_bfloat16_come_back_in_float32() -> None:
    q, k = (each.bfloat16() for each in heads())
    assert largest_products(q, k).dtype == torch.float32


def test_the_linear_scale_is_the_usual_one_at_the_base() -> None:
    assert attention_scale({"attention_scale": "sqrt"}) is None
    linear = {"attention_scale": "linear", "base_head_dim": 16}
    assert attention_scale({**linear, "head_dim": 16}) == 16**-0.5
    assert attention_scale({**linear, "head_dim": 64}) == 4 / 64

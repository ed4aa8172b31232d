"""The readout in parts, against all logits at once."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from workloads.llama.readout import Readout
from workloads.training.sampling import uniform

E, N, D, V = 2, 20, 8, 31


def product(x: Tensor, weight: Tensor) -> Tensor:
    return torch.bmm(x, weight.mT)


def case() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(E, N, D, dtype=torch.float64, generator=generator)
    weight = torch.randn(E, V, D, dtype=torch.float64, generator=generator)
    return x, weight, torch.randint(V, (E, N), generator=generator)


@pytest.mark.parametrize("together", [1, 7, 10, 20, 64])
def test_losses_and_gradients_do_not_depend_on_the_parts(together: int) -> None:
    x, weight, targets = case()
    leaves = [x.requires_grad_(), weight.requires_grad_()]
    logits = torch.einsum("end,evd->evn", x, weight)
    expected = F.cross_entropy(logits, targets, reduction="none")
    found = Readout(product, together=together).losses(x, weight, targets)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    factors = torch.arange(float(E * N)).view(E, N)
    gradients = [torch.autograd.grad((factors * each).sum(), leaves) for each in (found, expected)]
    for mine, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-12, atol=1e-11)


def test_no_product_has_more_tokens_than_are_to_be_read_out_together() -> None:
    sizes: list[int] = []

    def noted(x: Tensor, weight: Tensor) -> Tensor:
        sizes.append(x.shape[1])
        return product(x, weight)

    x, weight, targets = case()
    readout = Readout(noted, together=6)
    readout.losses(x, weight.requires_grad_(), targets).sum().backward()  # type: ignore[no-untyped-call]
    assert sizes == [6, 6, 6, 2, 2, 6, 6, 6]  # forward, then backward once more
    sizes.clear()
    with torch.no_grad():
        readout.losses(x, weight, targets)
    readout.sampled(x, weight, uniform((E, N), seed=0, step=1))
    assert sizes == [6, 6, 6, 2] * 2


def test_guesses_do_not_depend_on_the_parts() -> None:
    x, weight, _ = case()
    draws = uniform((E, N), seed=0, step=1)
    whole = Readout(product, together=N).sampled(x, weight, draws)
    assert torch.equal(Readout(product, together=3).sampled(x, weight, draws), whole)
    assert whole.shape == (E, N)


def test_the_loss_has_the_format_of_the_weight() -> None:
    x, weight, targets = case()

    def rough(x: Tensor, weight: Tensor) -> Tensor:
        return product(x.bfloat16(), weight.bfloat16())

    found = Readout(rough, together=N).losses(x.float(), weight.float(), targets)
    assert found.dtype == torch.float32

"""Clipping, member by member."""

from __future__ import annotations

import torch

from workloads.training.loop import clip


def draw() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = {"matrix": (4, 3, 5), "vector": (4, 7)}
    gradients = {name: torch.randn(size, generator=generator) for name, size in sizes.items()}
    for gradient in gradients.values():
        gradient[1] *= 0.01
        gradient[2] = torch.inf
    return gradients


def test_each_member_is_clipped_as_torch_clips_it() -> None:
    gradients, theirs = draw(), draw()
    norms = clip(gradients, 1.0)
    for member in (0, 1, 3):
        leaves = [torch.zeros_like(g[member]).requires_grad_() for g in theirs.values()]
        for leaf, gradient in zip(leaves, theirs.values(), strict=True):
            leaf.grad = gradient[member].clone()
        norm = torch.nn.utils.clip_grad_norm_(leaves, 1.0)
        torch.testing.assert_close(norms[member], norm)
        for leaf, gradient in zip(leaves, gradients.values(), strict=True):
            torch.testing.assert_close(gradient[member], leaf.grad)


def test_a_member_without_finite_norm_leaves_the_others_bits_alone() -> None:
    gradients = draw()
    norms = clip(gradients, 1.0)
    assert not norms[2].isfinite()
    for member in (0, 1, 3):
        alone = {name: g[member : member + 1] for name, g in draw().items()}
        assert torch.equal(clip(alone, 1.0)[0], norms[member])
        assert all(torch.equal(g[0], gradients[name][member]) for name, g in alone.items())


def test_a_limit_of_zero_measures_and_changes_nothing() -> None:
    gradients = draw()
    norms = clip(gradients, 0.0)
    assert all(torch.equal(gradients[name], g) for name, g in draw().items())
    expected = sum(g[0].square().sum() for g in gradients.values())
    torch.testing.assert_close(norms[0] ** 2, torch.as_tensor(expected))

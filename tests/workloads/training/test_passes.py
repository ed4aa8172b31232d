"""Passes through the model: parts of a batch, sampled labels, any number of members at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pack_runs import SMALL, history, measured, member, trainer
from torch import Tensor

from workloads.llama.card import LLAMA
from workloads.llama.model import Llama
from workloads.training.model import Batch
from workloads.training.pack import Pack
from workloads.training.passes import Passes
from workloads.training.sampling import uniform
from workloads.workload import Resolved

SEEDS = (3, 1, 3)
BATCH, CONTEXT = 12, 16


def passes(
    dtype: torch.dtype, *, accumulation: int = 1, together: int = 3, **changes: Any
) -> tuple[Passes, Pack, Llama]:
    members = [member(seed=seed, **{**SMALL, **changes}) for seed in SEEDS]
    plan = Resolved(config=members[0].config, derived=LLAMA.resolve(members[0].config).derived)
    model = Llama(plan, compute=dtype)
    plans = [plan] * len(members)
    pack = Pack(members, plans, card=LLAMA, model=model, vocabulary=256, device="cpu")
    for name, each in pack.parameters.items():
        pack.parameters[name] = each.to(dtype)
    made = Passes(pack, model, together=together, accumulation=accumulation, compiled=False)
    return made, pack, model


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    windows = torch.randint(256, (len(SEEDS), BATCH, CONTEXT + 1), generator=generator)
    return Batch(windows[..., :-1], windows[..., 1:])


def close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    for name, each in expected.items():
        torch.testing.assert_close(
            found[name], each, rtol=tolerance, atol=tolerance * each.abs().max().item()
        )


@pytest.mark.parametrize("parts", [2, 3, 12])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(
    parts: int, dtype: torch.dtype, tolerance: float
) -> None:
    whole, split = passes(dtype)[0], passes(dtype, accumulation=parts)[0]
    loss, gradients = whole.gradients(batch())
    loss_in_parts, gradients_in_parts = split.gradients(batch())
    torch.testing.assert_close(loss_in_parts, loss, rtol=tolerance, atol=tolerance)
    close(gradients_in_parts, gradients, tolerance)


def test_curvature_in_parts_is_that_of_the_whole() -> None:
    whole, split = passes(torch.float64)[0], passes(torch.float64, accumulation=3)[0]
    drawn = whole.draws(batch(), step=4)
    close(split.curvature(drawn), whole.curvature(drawn), 1e-12)


def test_curvature_is_the_gradient_on_guessed_labels() -> None:
    made, pack, model = passes(torch.float64)
    found = made.curvature(made.draws(batch(), step=4))
    draws = torch.stack([uniform((BATCH, CONTEXT), seed=seed, step=4) for seed in SEEDS])
    leaves = {name: each.clone().requires_grad_() for name, each in pack.parameters.items()}
    loss = model.sampled_losses(leaves, batch().inputs, draws).mean(1).sum()
    plain = torch.autograd.grad(loss, list(leaves.values()))
    close(found, dict(zip(leaves, plain, strict=True)), 1e-12)


def test_members_of_one_seed_have_the_same_draws_and_others_have_others() -> None:
    draws = passes(torch.float32)[0].draws(batch(), step=1).targets
    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])


@pytest.mark.parametrize("together", [1, 2])
def test_members_have_the_same_bits_however_many_go_through_at_once(together: int) -> None:
    all_at_once, few = passes(torch.float32)[0], passes(torch.float32, together=together)[0]
    drawn = few.draws(batch(), step=2)
    pairs = (
        (all_at_once.gradients(batch())[1], few.gradients(batch())[1]),
        (all_at_once.curvature(drawn), few.curvature(drawn)),
    )
    for mine, theirs in pairs:
        assert all(torch.equal(each, theirs[name]) for name, each in mine.items())


@pytest.mark.parametrize("parts", [1, 4])
def test_the_largest_attention_logits_are_those_of_the_whole_batch(parts: int) -> None:
    made, pack, model = passes(torch.float64, accumulation=parts, together=2, qk_norm=False)
    expected = model.peaks(pack.parameters, batch().inputs)
    torch.testing.assert_close(made.largest(model.peaks, batch()), expected, rtol=1e-12, atol=0)


def test_training_in_parts_has_the_losses_of_whole_batches() -> None:
    changes = {**SMALL, "batch_size": 8, "learning_rate": 2.0**-7}
    whole = history(measured(trainer(member(**changes))))
    split = history(measured(trainer(member(**changes, accumulation=4))))
    assert len(whole) == len(split) == 8
    for mine, plain in zip(split, whole, strict=True):
        assert mine[:2] == plain[:2]
        assert mine[2] == pytest.approx(plain[2], rel=1e-5)


def test_an_accumulation_that_does_not_divide_the_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size 4 does not divide .* 3 equal .* that does"):
        member(batch_size=4, accumulation=3)

"""QK-clip: heads over the threshold come down to it, all others stay as they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from workloads.llama.attention import qk_clip_of
from workloads.llama.card import LLAMA
from workloads.llama.model import Llama
from workloads.llama.stream import TokenStream
from workloads.optimizers.qk_clip import QKClip
from workloads.training import initial_parameters
from workloads.workload import Member, Resolved

CONFIG: dict[str, Any] = {
    "optimizer": "muonclip",
    "width": 32,
    "depth": 2,
    "head_dim": 8,
    "context": 16,
    "batch_size": 4,
    "steps": 4,
    "learning_rate": 0.02,
    "eval_tokens": 64,
    "evals": 1,
    "zero_init": False,
    "qk_norm": False,
    "qk_clip_threshold": 1.0,
}


def resolved(**changes: Any) -> Resolved:
    return LLAMA.resolve({**CONFIG, **changes})


def case(**changes: Any) -> tuple[QKClip, dict[str, Tensor], Tensor]:
    """Returns a clip, parameters of two members of which one has large queries, and inputs."""
    plan = resolved(**changes)
    model = Llama(plan, compute=torch.float64)
    parameters = {
        name: each.double() for name, each in initial_parameters(model.tensors, [0, 1]).items()
    }
    parameters["1.query"][1, 8:24] *= 20  # heads 1 and 2 of the second block
    parameters["1.query"][0] *= 0.01
    parameters["0.key"][0] *= 0.01
    clip = qk_clip_of(plan, model.peaks)
    assert clip is not None
    inputs = torch.randint(256, (2, 4, 16), generator=torch.Generator().manual_seed(5))
    return clip, parameters, inputs


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_the_largest_logit_of_the_same_batch_comes_down_to_the_threshold(alpha: float) -> None:
    clip, parameters, inputs = case(qk_clip_alpha=alpha)
    before = clip.peaks(parameters, inputs)
    over = before > 1
    assert over[1, 1, 1:3].all() and over[1, 0].any() and not over[0].any()
    clip.scale(parameters, before)
    after = clip.peaks(parameters, inputs)  # the first block's inputs are still the same
    expected = before[:, 0].clamp(max=1.0)
    torch.testing.assert_close(after[:, 0], expected, rtol=1e-12, atol=0)


def test_the_second_block_comes_down_too_where_its_inputs_stay() -> None:
    clip, parameters, inputs = case()
    before = clip.peaks(parameters, inputs)
    before[:, 0] = 0  # leave the first block
    clip.scale(parameters, before)
    after = clip.peaks(parameters, inputs)
    expected = before[:, 1].clamp(max=1.0)
    torch.testing.assert_close(after[:, 1], expected, rtol=1e-12, atol=0)


def test_queries_and_keys_share_the_factor_by_alpha_and_other_heads_keep_their_bits() -> None:
    clip, parameters, _ = case(qk_clip_alpha=0.25)
    start = {name: each.clone() for name, each in parameters.items()}
    peaks = torch.full((2, 2, 4), 0.5, dtype=torch.float64)
    peaks[1, 0, 2] = 16.0
    peaks[0, 1, 0] = -300.0  # far below, not far above
    clip.scale(parameters, peaks)
    rows = slice(16, 24)  # head 2
    query, key = (parameters[f"0.{name}"][1, rows] for name in ("query", "key"))
    torch.testing.assert_close(query, start["0.query"][1, rows] * 16**-0.25)
    torch.testing.assert_close(key, start["0.key"][1, rows] * 16**-0.75)
    for name in ("query", "key"):
        parameters[f"0.{name}"][1, rows] = start[f"0.{name}"][1, rows]
    assert all(torch.equal(each, start[name]) for name, each in parameters.items())


def test_logits_that_are_not_finite_leave_the_other_members() -> None:
    clip, parameters, _ = case()
    start = {name: each.clone() for name, each in parameters.items()}
    peaks = torch.full((2, 2, 4), 0.5, dtype=torch.float64)
    peaks[0] = torch.nan
    clip.scale(parameters, peaks)
    for name, each in parameters.items():
        assert torch.equal(each[1], start[name][1])


def test_logits_are_looked_at_from_the_first_step_on() -> None:
    clip = case(qk_clip_frequency=3)[0]
    assert [step for step in range(1, 9) if clip.reads_logits(step)] == [1, 4, 7]


def test_there_is_no_clip_where_it_cannot_act() -> None:
    def clip_of(**changes: Any) -> QKClip | None:
        plan = resolved(**changes)
        return qk_clip_of(plan, Llama(plan).peaks)

    assert clip_of(qk_norm=True, qk_clip_threshold=8**0.5) is None
    assert clip_of(qk_norm=True, qk_clip_threshold=2.8) is not None
    linear = {"attention_scale": "linear", "base_head_dim": 2, "qk_norm": True}
    assert clip_of(**linear, qk_clip_threshold=1.5) is None  # at most sqrt(2)
    assert clip_of(**linear, qk_clip_threshold=1.4) is not None
    plan = LLAMA.resolve(
        {k: v for k, v in CONFIG.items() if "clip" not in k} | {"optimizer": "muon"}
    )
    assert qk_clip_of(plan, Llama(plan).peaks) is None


def weights(**changes: Any) -> list[dict[str, Tensor]]:
    """Returns the weights after each step."""
    member = Member(config=resolved(**changes).config, seed=2)
    running = LLAMA.trainer()([member], threads=1, device="cpu")
    return [
        {name: each.clone() for name, each in running.parameters(0).items()} for _ in running.run()
    ]


def test_training_clips_after_the_update_by_the_logits_before_it() -> None:
    plan = resolved(qk_clip_threshold=0.05)
    free = weights(qk_clip_threshold=1e9)[0]
    clipped = weights(qk_clip_threshold=0.05)[0]
    member = Member(config=plan.config, seed=2)
    running = LLAMA.trainer()([member], threads=1, device="cpu")
    model = Llama(plan)
    inputs = TokenStream(plan.config, device="cpu").training([2], step=1).inputs
    clip = qk_clip_of(plan, model.peaks)
    assert clip is not None
    peaks = clip.peaks(running.parameters(0), inputs)
    assert (peaks > 0.05).all()
    clip.scale(free, peaks)
    for name, each in clipped.items():
        torch.testing.assert_close(each, free[name], rtol=1e-6, atol=1e-9)

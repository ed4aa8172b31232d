"""Batches as tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pack_runs import member

from workloads.data.tokens import batch, read_tokens
from workloads.llama.stream import EVALUATION_TOKENS, TokenStream
from workloads.workload import DataUnavailableError

CONFIG = member().config


def test_members_of_one_seed_see_the_batch_that_the_data_gives_it() -> None:
    found = TokenStream(CONFIG, device="cpu").training([4, 9, 4], step=3)
    for place, seed in enumerate((4, 9, 4)):
        windows = batch(read_tokens(CONFIG).train, seed=seed, step=3, batch_size=4, context=16)
        assert np.array_equal(found.inputs[place].numpy(), windows[:, :-1])
        assert np.array_equal(found.targets[place].numpy(), windows[:, 1:])
    assert not torch.equal(found.inputs[0], found.inputs[1])


def test_an_evaluation_covers_the_held_out_tokens_once_for_every_member() -> None:
    config = {**CONFIG, "eval_tokens": 3 * EVALUATION_TOKENS - 16}
    parts = list(TokenStream(config, device="cpu").evaluation(2))
    assert [part.inputs.shape[1] * 16 for part in parts] == [8192, 8192, 8192 - 16]
    assert all(torch.equal(part.inputs[0], part.inputs[1]) for part in parts)
    held_out = torch.cat([part.targets[0] for part in parts])
    assert held_out.numel() == config["eval_tokens"]


def test_a_corpus_too_small_for_the_config_is_refused_at_once() -> None:
    with pytest.raises(DataUnavailableError, match="lower eval_tokens"):
        TokenStream({**CONFIG, "eval_tokens": 10**9}, device="cpu")

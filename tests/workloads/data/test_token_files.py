"""Token files in both layouts."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_configs import data_config, other_gpt2
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.data import bpe
from workloads.data.token_files import Chunks, load_token_files
from workloads.data.tokens import TokenArray, batch, read_tokens
from workloads.llama.card import LLAMA
from workloads.llama.plan import corpus_fingerprint
from workloads.workload import DataUnavailableError, Member

IDS = (np.arange(60_000, dtype=np.int64) * 7919 % 50_257).astype("<u2")
MAGIC = 20240520


def raw(path: Path, ids: Any = IDS) -> Path:
    path.write_bytes(np.asarray(ids, dtype="<u2").tobytes())
    return path


def headed(
    path: Path, ids: Any = IDS, *, version: int = 1, count: int | None = None, magic: int = MAGIC
) -> Path:
    header = np.zeros(256, dtype="<i4")
    header[:3] = magic, version, len(ids) if count is None else count
    path.write_bytes(header.tobytes() + np.asarray(ids, dtype="<u2").tobytes())
    return path


def every(stream: TokenArray) -> list[int]:
    listed: list[int] = stream[np.arange(len(stream))].tolist()
    return listed


def split(ids: Any, chunk: int) -> tuple[list[int], list[int]]:
    """Returns training and held-out ids, chunk by chunk."""
    chunks = [ids[start : start + chunk].tolist() for start in range(0, len(ids), chunk)]
    train = [token for i, each in enumerate(chunks) if i % 20 for token in each]
    return train, [token for each in chunks[::20] for token in each]


def test_both_layouts_hold_the_same_tokens_under_one_fingerprint(tmp_path: Path) -> None:
    plain, with_header = raw(tmp_path / "raw.bin"), headed(tmp_path / "headed.bin")
    expected = split(IDS, 300)
    for path in (plain, with_header):
        found = read_tokens(data_config(f"bin:{path}"))
        assert (every(found.train), every(found.held_out)) == expected
        assert (found.vocabulary, found.bytes_per_token) == (50257, None)
    prints = {corpus_fingerprint(data_config(f"bin:{path}")) for path in (plain, with_header)}
    assert len(prints) == 1


def test_the_fingerprint_is_that_of_the_ids(tmp_path: Path) -> None:
    path = raw(tmp_path / "raw.bin")
    before = corpus_fingerprint(data_config(f"bin:{path}"))
    changed = IDS.copy()
    changed[-1] += 1
    raw(path, changed)
    assert corpus_fingerprint(data_config(f"bin:{path}")) != before


def test_a_folder_is_its_files_in_order_of_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    headed(folder / "b.bin", IDS[25_001:])
    raw(folder / "a.bin", IDS[:25_001])
    (folder / "README.txt").write_text("no tokens")
    whole = read_tokens(data_config(f"bin:{raw(tmp_path / 'whole.bin')}"))
    parts = read_tokens(data_config(f"bin:{folder}"))
    assert every(parts.train) == every(whole.train)
    assert every(parts.held_out) == every(whole.held_out)
    assert parts.sha256 == whole.sha256


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 90), min_size=1, max_size=5),
    chunk=st.integers(1, 7),
    held_out=st.booleans(),
)
def test_chunks_are_the_tokens_of_a_plain_copy(
    sizes: Sequence[int], chunk: int, held_out: bool
) -> None:
    ids = np.arange(sum(sizes), dtype=np.uint16)
    found = Chunks(np.split(ids, np.cumsum(sizes)[:-1]), chunk, held_out=held_out)
    expected = split(ids, chunk)[held_out]
    assert every(found) == expected
    assert [token for piece in found.pieces() for token in piece.tolist()] == expected
    places = np.arange(len(expected)).reshape(1, -1)[:, ::-1]
    assert found[places].tolist() == [expected[::-1]]


def test_a_chunk_has_at_most_65536_tokens(tmp_path: Path) -> None:
    path = raw(tmp_path / "raw.bin", np.arange(14_000_000) % 50_000)
    found = read_tokens(data_config(f"bin:{path}"))
    assert every(found.held_out)[65_535:65_537] == [15_535, 20 * 65_536 % 50_000]
    assert every(found.train)[0] == 15_536


def test_batches_of_token_files_are_those_of_a_copy_in_memory(tmp_path: Path) -> None:
    found = read_tokens(data_config(f"bin:{headed(tmp_path / 'headed.bin')}")).train
    drawn = {"seed": 3, "step": 5, "batch_size": 20, "context": 700}
    copy = np.array(every(found), dtype=np.uint16)
    assert (batch(found, **drawn) == batch(copy, **drawn)).all()
    assert batch(found, **drawn).dtype == np.int64


def test_the_tokens_stay_on_disk(tmp_path: Path) -> None:
    path = raw(tmp_path / "raw.bin", np.arange(2_000_000) % 50_000)
    tracemalloc.start()
    try:
        chunks = load_token_files(path).train
        assert len(chunks) > 1_800_000
        assert tracemalloc.get_traced_memory()[0] < path.stat().st_size / 4
    finally:
        tracemalloc.stop()


def test_bytes_a_token_are_known_where_the_tokenizer_is(tmp_path: Path) -> None:
    texts = [f"This is paragraph number {i} of a short text.".encode() for i in range(400)]
    ids = np.concatenate([np.append(bpe.encoder()(text), bpe.END_OF_TEXT) for text in texts])
    path = raw(tmp_path / "raw.bin", ids)
    as_gpt2 = read_tokens(data_config(f"bin:{path}", tokenizer="gpt2"))
    held_out = every(as_gpt2.held_out)
    text = other_gpt2().decode(held_out, skip_special_tokens=False)
    text = text.replace("<|endoftext|>", "\n\n")
    assert as_gpt2.bytes_per_token == pytest.approx(len(text) / len(held_out), rel=1e-12)
    as_bytes = raw(tmp_path / "bytes.bin", np.frombuffer(b"".join(texts), np.uint8))
    found = read_tokens(data_config(f"bin:{as_bytes}", tokenizer="bytes"))
    assert (found.vocabulary, found.bytes_per_token) == (256, 1.0)


def test_files_of_another_layout_or_size_are_refused(tmp_path: Path) -> None:
    def refused(path: Path, message: str) -> None:
        with pytest.raises(DataUnavailableError, match=message):
            corpus_fingerprint(data_config(f"bin:{path}"))

    refused(tmp_path / "none.bin", r"none\.bin cannot be read \(No such file")
    refused(tmp_path, r"holds no token files \*\.bin")
    refused(headed(tmp_path / "v2", version=2), "is a token file of version 2; write one of.* 1$")
    refused(
        headed(tmp_path / "wide", magic=20240801),
        "starts with the magic 20240801 of tokens of 32 bits.*header with the magic 20240520",
    )
    refused(headed(tmp_path / "more", count=60_001), "60001 tokens, which makes 121026.*121024")
    refused(headed(tmp_path / "less", count=59_999), "59999 tokens, which makes 121022.*121024")
    cut = headed(tmp_path / "cut")
    cut.write_bytes(cut.read_bytes()[:500])
    refused(cut, "declares 60000 tokens, which makes 121024 bytes with the header, but has 500")
    odd = raw(tmp_path / "odd")
    odd.write_bytes(odd.read_bytes()[:-1])
    refused(odd, "has 119999 bytes, which is no whole number of tokens of 2 bytes")
    refused(raw(tmp_path / "empty", []), "has 0 training tokens")
    refused(headed(tmp_path / "bare", []), "has 0 training tokens")
    refused(raw(tmp_path / "few", IDS[:40]), "has 0 training tokens .*context 8 needs 9")


def test_an_id_that_is_not_in_the_vocabulary_is_refused_with_its_place(tmp_path: Path) -> None:
    ids = IDS.copy()
    ids[1234] = 50_300
    path = headed(tmp_path / "tokens.bin", ids)
    with pytest.raises(DataUnavailableError, match=r"token 1234, is 50300.*to 50301 or"):
        corpus_fingerprint(data_config(f"bin:{path}"))
    padded = data_config(f"bin:{path}", vocabulary=50_304)
    assert corpus_fingerprint(padded).startswith("sha256:")
    with pytest.raises(DataUnavailableError, match=r"token 1234, is 50300.*no token of.* gpt2"):
        corpus_fingerprint({**padded, "tokenizer": "gpt2"})


@pytest.mark.parametrize("tokenizer", [None, "gpt2"])
def test_a_model_trains_on_token_files(tmp_path: Path, tokenizer: str | None) -> None:
    torch.set_num_threads(1)
    path = headed(tmp_path / "tokens.bin", IDS % 1000)
    settings = {"width": 16, "depth": 1, "context": 16, "batch_size": 2, "steps": 2, "evals": 1}
    data = {"data": f"bin:{path}", "eval_tokens": 256, "tokenizer": tokenizer}
    config = LLAMA.resolve({**settings, **data, "vocabulary": 1000, "learning_rate": 0.01}).config
    trainer = LLAMA.trainer()([Member(config=config, seed=0)], threads=1, device="cpu")
    last = [measurement for said in trainer.run() for measurement in said][-1]
    assert last.status == "completed"
    assert last.metrics["val_loss"] == pytest.approx(np.log(1000), abs=0.5)
    assert ("val_bits_per_byte" in last.metrics) == (tokenizer == "gpt2")

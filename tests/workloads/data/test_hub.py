"""Data sets in the on-disk format of the library datasets, without a network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import datasets
import pytest
from data_configs import data_config

from workloads.data.text import load_corpus
from workloads.data.tokens import read_tokens
from workloads.llama.plan import corpus_fingerprint
from workloads.workload import DataUnavailableError

TEXTS = [f"Row {i} tells of {'very ' * (i % 7)}little — nothing new." for i in range(200)]


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the library off the network, and its files in the test's folder."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")


def table(texts: Sequence[str | None], **columns: list[int]) -> datasets.Dataset:
    return datasets.Dataset.from_dict({"text": list(texts), **columns})


def saved(path: Path, made: datasets.Dataset | datasets.DatasetDict) -> str:
    made.save_to_disk(str(path))
    return f"hf:{path}"


def test_the_rows_of_a_saved_data_set_are_its_documents(tmp_path: Path) -> None:
    source = saved(tmp_path / "saved", table(TEXTS, number=list(range(200))))
    corpus = load_corpus(source)
    expected = [text.encode() for text in TEXTS]
    assert list(corpus.documents) == expected
    assert list(corpus.part(held_out=True)) == expected[::20]
    assert corpus.held_out_bytes == len(b"\n\n".join(expected[::20]))
    assert load_corpus(source) is corpus


def test_rows_without_text_are_no_documents(tmp_path: Path) -> None:
    rows: list[str | None] = ["", None, *TEXTS[:3], None, *TEXTS[3:], ""]
    whole = load_corpus(saved(tmp_path / "whole", table(TEXTS)))
    gaps = load_corpus(saved(tmp_path / "gaps", table(rows)))
    assert list(gaps.documents) == list(whole.documents)
    assert gaps.sha256 == whole.sha256


def test_a_data_set_that_was_saved_for_arrow_is_text_all_the_same(tmp_path: Path) -> None:
    source = saved(tmp_path / "arrow", table(TEXTS).with_format("arrow"))
    assert list(load_corpus(source).documents) == [text.encode() for text in TEXTS]


def test_the_split_train_is_read_where_there_are_several(tmp_path: Path) -> None:
    both = datasets.DatasetDict(test=table(["other"]), train=table(TEXTS))
    assert len(list(load_corpus(saved(tmp_path / "both", both)).documents)) == 200
    only = datasets.DatasetDict(test=table(["other"]), valid=table(TEXTS))
    with pytest.raises(DataUnavailableError, match="has the splits test, valid and no train"):
        load_corpus(saved(tmp_path / "only", only))


def test_a_folder_of_parquet_files_is_a_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "parquet"
    folder.mkdir()
    table(TEXTS).to_parquet(str(folder / "train.parquet"))
    corpus = load_corpus(f"hf:{folder}")
    assert list(corpus.documents) == [text.encode() for text in TEXTS]


def test_a_changed_data_set_has_another_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "saved"
    before = corpus_fingerprint(data_config(saved(path, table(TEXTS))))
    assert corpus_fingerprint(data_config(f"hf:{path}", tokenizer="gpt2")) == before
    assert corpus_fingerprint(data_config(saved(path, table([*TEXTS, "more"])))) != before


def test_a_data_set_can_be_read_as_gpt2_tokens(tmp_path: Path) -> None:
    source = saved(tmp_path / "saved", table(TEXTS))
    found = read_tokens(data_config(source, tokenizer="gpt2"))
    as_bytes = read_tokens(data_config(source))
    assert found.bytes_per_token is not None
    bytes_held_out = found.bytes_per_token * len(found.held_out)
    assert bytes_held_out == pytest.approx(len(as_bytes.held_out), rel=1e-12)
    assert 2 < found.bytes_per_token < 5


def test_a_data_set_without_a_column_of_text_lists_those_it_has(tmp_path: Path) -> None:
    made = datasets.Dataset.from_dict({"body": TEXTS, "number": list(range(200))})
    with pytest.raises(
        DataUnavailableError, match=r"columns are body \(string\), number \(int64\); rename"
    ):
        load_corpus(saved(tmp_path / "body", made))
    numbers = datasets.Dataset.from_dict({"text": [1, 2]})
    with pytest.raises(DataUnavailableError, match=r"columns are text \(int64\)"):
        load_corpus(saved(tmp_path / "numbers", numbers))


def test_a_data_set_that_cannot_be_reached_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailableError, match=r"none cannot be loaded .*hf:PATH of a folder"):
        load_corpus(f"hf:{tmp_path}/none")
    with pytest.raises(DataUnavailableError, match=r"nobody/nothing/default cannot be loaded \("):
        load_corpus("hf:nobody/nothing/default")
    (tmp_path / "links").mkdir()
    (tmp_path / "links/train.parquet").symlink_to(tmp_path / "gone.parquet")
    with pytest.raises(DataUnavailableError, match=r"links cannot be loaded .*No such file"):
        load_corpus(f"hf:{tmp_path}/links")


def test_a_data_set_that_brings_a_script_is_refused_and_the_script_not_run(tmp_path: Path) -> None:
    brought = tmp_path / "brought"
    brought.mkdir()
    (brought / "brought.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    with pytest.raises(DataUnavailableError, match=r"cannot be loaded .*scripts are no longer"):
        load_corpus(f"hf:{brought}")
    assert not (tmp_path / "ran").exists()


def test_a_missing_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = saved(tmp_path / "saved", table(TEXTS))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataUnavailableError, match=r"not installed.*pip install 'sweeper\[hf\]'"):
        load_corpus(source)

"""Names of sources, and the vocabulary that follows from them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from data_configs import data_config

from workloads.data.sources import absolute, canonical_source, kind_of, tokenizer_of, vocabulary_of
from workloads.llama.card import LLAMA

BASE = {"width": 32, "steps": 2, "learning_rate": 0.01}


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("sotu", "sotu"),
        ("text:books.txt", "text"),
        ("bin:~/fineweb", "bin"),
        ("hf:wikitext/wikitext-2-raw-v1", "hf"),
        ("hf:Salesforce/wikitext/wikitext-2-raw-v1", "hf"),
        ("hf:./saved", "hf"),
        ("hf:/data/saved", "hf"),
        ("hf:wikitext", None),
        ("hf:a/b/c/d", None),
        ("hf:a b/c", None),
        ("hf:a//c", None),
        ("text:", None),
        ("bin: ", None),
        ("text:a\0b", None),
        ("SOTU", None),
        ("sotu:", None),
        ("books.txt", None),
    ],
)
def test_a_source_is_of_the_kind_that_its_name_says(source: str, kind: str | None) -> None:
    assert kind_of(source) == kind


def test_paths_are_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    assert absolute("text:a/../b.txt") == f"text:{tmp_path}/b.txt"
    assert absolute("text:~/b.txt") == "text:/home/ada/b.txt"
    assert absolute("bin:shards") == f"bin:{tmp_path}/shards"
    assert absolute("hf:./saved/") == f"hf:{tmp_path}/saved"
    assert absolute("hf:~/saved") == "hf:/home/ada/saved"
    for same in ("sotu", "hf:owner/name/config", "hf:name/config"):
        assert absolute(same) == same


@pytest.mark.parametrize(
    ("config", "tokenizer", "vocabulary"),
    [
        (data_config("sotu"), "bytes", 256),
        (data_config("text:a", tokenizer="gpt2"), "gpt2", 50257),
        (data_config("bin:a"), None, 50257),
        (data_config("bin:a", tokenizer="bytes"), "bytes", 256),
        (data_config("bin:a", tokenizer="gpt2", vocabulary=50304), "gpt2", 50304),
        ({"data": "hf:a/b", "tokenizer": "gpt2"}, "gpt2", 50257),
    ],
)
def test_tokenizer_and_vocabulary_follow_from_the_source(
    config: dict[str, Any], tokenizer: str | None, vocabulary: int
) -> None:
    assert tokenizer_of(config) == tokenizer
    assert vocabulary_of(config) == vocabulary


def test_equal_sources_have_one_canonical_form_that_is_its_own() -> None:
    assert canonical_source(data_config("sotu")) == {
        "data": "sotu",
        "tokenizer": "bytes",
        "vocabulary": None,
    }
    implied = canonical_source(data_config("bin:/a/../b"))
    assert implied == {"data": "bin:/b", "tokenizer": None, "vocabulary": 50257}
    assert canonical_source(data_config("bin:/b", vocabulary=50257)) == implied
    assert canonical_source(implied) == implied


def test_the_model_has_the_vocabulary_of_its_data() -> None:
    sizes = {
        vocabulary: LLAMA.resolve({**BASE, **settings}).derived
        for vocabulary, settings in (
            (256, {}),
            (50257, {"tokenizer": "gpt2"}),
            (1000, {"data": "bin:/tokens.bin", "vocabulary": 1000}),
        )
    }
    assert {found["vocabulary"] for found in sizes.values()} == sizes.keys()
    fixed = {found["params"] - 2 * 32 * size for size, found in sizes.items()}
    assert fixed == {sizes[256]["params_non_embedding"]}


def test_faults_of_the_data_say_what_is_allowed() -> None:
    (problem,) = LLAMA.problems({**BASE, "data": "books"})
    assert problem.keys == ("data",)
    assert "'books' is no source; use sotu, text:PATH" in problem.message
    (problem,) = LLAMA.problems({**BASE, "vocabulary": 300})
    assert problem.keys == ("vocabulary", "data")
    assert "vocabulary 300 is given, and that of data sotu follows" in problem.message
    assert not LLAMA.problems({**BASE, "vocabulary": 300, "data": "bin:tokens.bin"})


def test_the_vocabulary_is_known_without_numpy() -> None:
    code = (
        "import sys; from workloads.data.sources import vocabulary_of; "
        "print(vocabulary_of({'data': 'sotu', 'tokenizer': 'gpt2'}), "
        "{'torch', 'numpy', 'tiktoken', 'datasets'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["50257", "set()"]

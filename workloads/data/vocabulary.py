"""The number of different tokens of a config, which the shape of a model needs."""

from __future__ import annotations

from typing import Any

from workloads.data.sources import absolute, kind_of, tokenizer_of
from workloads.workload import Config

BYTES = 256
"""Tokens of the tokenizer ``bytes``."""

GPT2 = 50_257
"""Tokens of the tokenizer ``gpt2``, end-of-text included; also what a token file is taken to be
of where nothing is said."""


def vocabulary_of(config: Config) -> int:
    """Returns the number V of different tokens; ids are from 0 to V - 1.

    Args:
        config: a completed or canonical config; reads data, tokenizer and vocabulary.
    """
    given = config.get("vocabulary")
    if given is not None:
        return int(given)
    return BYTES if tokenizer_of(config) == "bytes" else GPT2


def canonical_source(config: Config) -> dict[str, Any]:
    """Returns data, tokenizer and vocabulary in the one form that all their equals share.

    Paths are absolute and the tokenizer of a text is named. The vocabulary of token files is
    named too, that of a text follows from its tokenizer and is None.
    """
    from_files = kind_of(config["data"]) == "bin"
    return {
        "data": absolute(config["data"]),
        "tokenizer": tokenizer_of(config),
        "vocabulary": vocabulary_of(config) if from_files else None,
    }

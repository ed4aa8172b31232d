"""Sources of text and tokens as a study writes them, their tokenizers and vocabularies."""

from __future__ import annotations

import os
import re
from typing import Any, Literal

from workloads.workload import Config

Kind = Literal["sotu", "text", "bin", "hf"]

FORMS = (
    "sotu, text:PATH (a UTF-8 file), bin:PATH (a token file, or a folder of them), "
    "hf:NAME/CONFIG (a data set of the Hugging Face hub) or hf:PATH (one saved on disk, its path "
    "starting with /, . or ~)"
)
"""What a source may be, for messages."""

_HUB = re.compile(r"([\w.-]+/)?[\w.-]+/[\w.-]+")
"""A data set with or without its owner, and its configuration."""

BYTES = 256
"""Tokens of the tokenizer ``bytes``."""

GPT2 = 50_257
"""Tokens of the tokenizer ``gpt2``, end-of-text included; also what a token file is taken to be
of where nothing is said."""


def kind_of(source: str) -> Kind | None:
    """Returns the kind of source that a name is written like, or None."""
    if source == "sotu":
        return "sotu"
    kind, separator, rest = source.partition(":")
    if not separator or not rest.strip() or "\0" in rest:
        return None
    if kind == "text":
        return "text"
    if kind == "bin":
        return "bin"
    return "hf" if kind == "hf" and (_is_local(rest) or _HUB.fullmatch(rest)) else None


def known_kind(source: str) -> Kind:
    """Returns the kind of a source.

    Raises:
        ValueError: it is not written like one.
    """
    kind = kind_of(source)
    if kind is None:
        raise ValueError(f"data {source!r} is no source; use {FORMS}")
    return kind


def path_of(source: str) -> str | None:
    """Returns the absolute path that a source names, or None if it names none."""
    kind, _, rest = source.partition(":")
    if kind in ("text", "bin") or (kind == "hf" and _is_local(rest)):
        return os.path.abspath(os.path.expanduser(rest))
    return None


def absolute(source: str) -> str:
    """Returns a source that means the same in every folder: paths made absolute.

    Workers run in folders of their own, so a path relative to the one in which a study was read
    would be lost on them.
    """
    path = path_of(source)
    return source if path is None else f"{source.partition(':')[0]}:{path}"


def tokenizer_of(config: Config) -> str | None:
    """Returns the tokenizer of a config: bytes if it names none, but None for token files,
    whose ids may be of any."""
    given: str | None = config.get("tokenizer")
    return given or (None if kind_of(config["data"]) == "bin" else "bytes")


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


def _is_local(rest: str) -> bool:
    return rest.startswith(("/", ".", "~"))

"""Tokens of a source, and the batches and evaluation windows cut from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from workloads.data import bpe
from workloads.data.cache import Ids, tokens_in_memory, tokens_on_disk
from workloads.data.corpus import SEPARATOR, Corpus
from workloads.data.draws import WINDOWS, drawn
from workloads.data.sources import BYTES, GPT2, known_kind, path_of, tokenizer_of, vocabulary_of
from workloads.data.text import load_corpus
from workloads.data.token_files import Chunks, TokenFiles, load_token_files
from workloads.workload import Config, DataUnavailableError

Windows = NDArray[np.int64]

IN_MEMORY_BYTES = 1 << 25
"""Text of up to this size that is its own tokens is held in memory: nothing is saved by a file."""

PREPARED_VERSION = 1
"""Raise it whenever the same text would be cut, split or encoded differently."""


class TokenArray(Protocol):
    """Tokens one after the other; an array is one."""

    def __len__(self) -> int:
        """Returns their number."""
        ...

    def __getitem__(self, places: NDArray[np.int64], /) -> NDArray[Any]:
        """Returns the tokens at places, of any shape."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokens:
    """The tokens of a source, read-only and shared within the process.

    Attributes:
        train: training tokens.
        held_out: tokens of the held-out documents, or chunks.
        vocabulary: number of different tokens.
        bytes_per_token: mean bytes of held-out text a token; None where nobody knows.
        sha256: 64 hex digits over the text, or over the ids of token files.
    """

    train: TokenArray
    held_out: TokenArray
    vocabulary: int
    bytes_per_token: float | None
    sha256: str


class Tokenizer(NamedTuple):
    """How documents become tokens: what stands between two, and what makes one into its own."""

    vocabulary: int
    dtype: type[np.unsignedinteger[Any]]
    separator: Ids
    encoder: Callable[[], Callable[[bytes], Ids]]


def _as_bytes() -> Callable[[bytes], Ids]:
    return partial(np.frombuffer, dtype=np.uint8)


TOKENIZERS = {
    "bytes": Tokenizer(BYTES, np.uint8, np.frombuffer(SEPARATOR, np.uint8), _as_bytes),
    "gpt2": Tokenizer(GPT2, np.uint16, np.array([bpe.END_OF_TEXT], np.uint16), bpe.encoder),
}


def read_tokens(config: Config, *, in_memory_bytes: int = IN_MEMORY_BYTES) -> Tokens:
    """Returns the tokens that a completed or canonical config names.

    A second call in a process reads nothing. GPT-2 tokens, and the bytes of large texts, are
    prepared once on a machine and mapped from disk.

    Args:
        config: completed or canonical.
        in_memory_bytes: size of the largest text whose bytes are held in memory.

    Raises:
        DataUnavailableError: the source is missing, altered or unreadable, holds ids that are
            not in the vocabulary, or needs something that is not installed.
        ValueError: the source is not written like one.
    """
    source = config["data"]
    if known_kind(source) == "bin":
        files = load_token_files(Path(str(path_of(source))))
        return _from_files(files, vocabulary_of(config), tokenizer_of(config))
    corpus, tokenizer = load_corpus(source), str(tokenizer_of(config))
    return _encoded(corpus, known_kind(source), tokenizer, in_memory_bytes)


@lru_cache(maxsize=4)
def _encoded(corpus: Corpus, kind: str, name: str, in_memory_bytes: int) -> Tokens:
    tokenizer = TOKENIZERS[name]
    parts = [partial(_pieces, corpus, tokenizer, held_out=flag) for flag in (False, True)]
    size = corpus.train_bytes + corpus.held_out_bytes
    if name == "bytes" and size <= in_memory_bytes:
        streams = [tokens_in_memory(part(), tokenizer.dtype) for part in parts]
    else:
        file = f"{kind}-{name}-{corpus.sha256}.v{PREPARED_VERSION}"
        streams = tokens_on_disk(file, tokenizer.dtype, parts)
    train, held_out = streams
    return Tokens(
        train=train,
        held_out=held_out,
        vocabulary=tokenizer.vocabulary,
        bytes_per_token=corpus.held_out_bytes / max(1, len(held_out)),
        sha256=corpus.sha256,
    )


def _pieces(corpus: Corpus, tokenizer: Tokenizer, *, held_out: bool) -> Iterator[Ids]:
    """Yields the tokens of the documents of one part and of what joins them."""
    encode = tokenizer.encoder()
    for number, document in enumerate(corpus.part(held_out=held_out)):
        if number:
            yield tokenizer.separator
        yield encode(document)


@lru_cache(maxsize=4)
def _from_files(files: TokenFiles, vocabulary: int, tokenizer: str | None) -> Tokens:
    known = vocabulary if tokenizer is None else TOKENIZERS[tokenizer].vocabulary
    if files.highest >= vocabulary:
        raise DataUnavailableError(
            f"{files.highest_place}, is {files.highest}, and a vocabulary of {vocabulary} has ids "
            f"below it; set vocabulary to {files.highest + 1} or more, or repair the file"
        )
    if files.highest >= known:
        raise DataUnavailableError(
            f"{files.highest_place}, is {files.highest}, which is no token of the tokenizer "
            f"{tokenizer} (ids below {known}); leave tokenizer out for ids of another"
        )
    return Tokens(
        train=files.train,
        held_out=files.held_out,
        vocabulary=vocabulary,
        bytes_per_token=_mean_bytes(files.held_out, tokenizer),
        sha256=files.sha256,
    )


def _mean_bytes(held_out: Chunks, tokenizer: str | None) -> float | None:
    """Returns the mean bytes of text that a token of token files stands for."""
    if tokenizer != "gpt2":
        return None if tokenizer is None else 1.0
    lengths = bpe.byte_lengths()
    return sum(int(lengths[piece].sum()) for piece in held_out.pieces()) / max(1, len(held_out))


def batch(stream: TokenArray, *, seed: int, step: int, batch_size: int, context: int) -> Windows:
    """Returns the batch of one step: random windows of a token stream.

    Their starts depend on seed and step alone, see :func:`drawn`.

    Args:
        stream: tokens, [n].
        seed: seed of the trial, any integer.
        step: number of the step.
        batch_size: windows B.
        context: tokens T of an input.

    Returns:
        [B, T + 1]; inputs are ``[:, :-1]`` and targets ``[:, 1:]``.

    Raises:
        DataUnavailableError: the stream is shorter than one window.
    """
    room = len(stream) - context
    if room < 1:
        raise DataUnavailableError(
            f"{len(stream)} training tokens hold no window of context {context} and a target; "
            "lower context or use a larger text"
        )
    draws = drawn(batch_size, seed=seed, step=step, use=WINDOWS)
    return _windows(stream, draws % np.uint64(room), context)


def evaluation_windows(stream: TokenArray, *, eval_tokens: int, context: int) -> Windows:
    """Returns the fixed windows of an evaluation, spread evenly over a held-out stream.

    Their targets never overlap, so each of the ``N * T`` target tokens counts once.

    Args:
        stream: held-out tokens, [m].
        eval_tokens: tokens of an evaluation; N is this over ``context``, rounded down.
        context: tokens T of an input.

    Returns:
        [N, T + 1]; inputs are ``[:, :-1]`` and targets ``[:, 1:]``.

    Raises:
        DataUnavailableError: the stream is too short for so many windows.
    """
    number = eval_tokens // context
    if number < 1 or number * context + 1 > len(stream):
        raise DataUnavailableError(
            f"{len(stream)} held-out tokens hold no {eval_tokens} tokens of evaluation in windows "
            f"of context {context}; lower eval_tokens or use a larger text"
        )
    stride = (len(stream) - 1) // number
    return _windows(stream, np.arange(number, dtype=np.uint64) * np.uint64(stride), context)


def _windows(stream: TokenArray, starts: NDArray[np.uint64], context: int) -> Windows:
    places = starts[:, None].astype(np.int64) + np.arange(context + 1)  # [B, T + 1]
    windows: Windows = stream[places].astype(np.int64)
    return windows

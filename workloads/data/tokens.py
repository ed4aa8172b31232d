"""Byte tokens of a corpus, and the batches and evaluation windows cut from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from workloads.data.text import Corpus, load
from workloads.workload import DataUnavailableError

Bytes = NDArray[np.uint8]
Windows = NDArray[np.int64]

_ORDER_STREAM = 0x5EED
"""Second half of the key of the generator: sets data order apart from any other use of a seed."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """A corpus as tokens.

    Attributes:
        train: training tokens, [n].
        held_out: tokens of the held-out documents, [m].
        vocabulary: number of different tokens.
        bytes_per_token: mean bytes of held-out text a token.
    """

    train: Bytes
    held_out: Bytes
    vocabulary: int = 256
    bytes_per_token: float = 1.0


def tokens(source: str) -> Tokens:
    """Returns the byte tokens of a source, read-only and shared within the process.

    Raises:
        DataUnavailableError: the source is missing, altered or unreadable.
        ValueError: the source is not written like one.
    """
    return _tokens(load(source))


@lru_cache(maxsize=4)
def _tokens(corpus: Corpus) -> Tokens:
    return Tokens(
        np.frombuffer(corpus.train, dtype=np.uint8),
        np.frombuffer(corpus.held_out, dtype=np.uint8),
    )


def batch(stream: Bytes, *, seed: int, step: int, batch_size: int, context: int) -> Windows:
    """Returns the batch of one step: random windows of a token stream.

    A counter-based generator (Philox) under the key ``seed`` at the counter ``step`` draws the
    starts, so a step's batch depends on nothing that came before it: a resumed run sees the same
    batches, and so does every model of one seed, whatever its width.

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
    key = np.array([seed % 2**64, _ORDER_STREAM], dtype=np.uint64)
    counter = np.array([0, 0, step, 0], dtype=np.uint64)
    draws = np.random.Philox(key=key, counter=counter).random_raw(batch_size)
    return _windows(stream, draws % np.uint64(room), context)


def evaluation_windows(stream: Bytes, *, eval_tokens: int, context: int) -> Windows:
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


def _windows(stream: Bytes, starts: NDArray[np.uint64], context: int) -> Windows:
    places = starts[:, None].astype(np.int64) + np.arange(context + 1)  # [B, T + 1]
    windows: Windows = stream[places].astype(np.int64)
    return windows

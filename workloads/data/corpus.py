"""A corpus: documents, what is held out of them, and the digest of their text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

SEPARATOR = b"\n\n"
"""What stands between two documents of a text."""

HOLD_OUT_EVERY = 20
"""Every 20th document, the first included, is held out: over the whole corpus, because language
drifts along it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """Documents of a source.

    Attributes:
        documents: UTF-8 text of each document, in order; can be gone through repeatedly, and
            need not lie in memory.
        sha256: 64 hex digits over the text.
        train_bytes: bytes of the documents that are trained on, joined by blank lines.
        held_out_bytes: bytes of the held-out documents, joined by blank lines.
    """

    documents: Iterable[bytes]
    sha256: str
    train_bytes: int
    held_out_bytes: int

    def part(self, *, held_out: bool) -> Iterator[bytes]:
        """Yields the documents that are held out, or all others."""
        for number, document in enumerate(self.documents):
            if (number % HOLD_OUT_EVERY == 0) == held_out:
                yield document


def corpus_of(documents: Iterable[bytes], *, sha256: str | None = None) -> Corpus:
    """Returns the corpus of documents, which it goes through once.

    Args:
        documents: UTF-8 text of each document; can be gone through repeatedly.
        sha256: digest of the text; if None, that of the documents joined by blank lines.
    """
    digest = hashlib.sha256()
    train: list[int] = []
    held_out: list[int] = []
    for number, document in enumerate(documents):
        (train if number % HOLD_OUT_EVERY else held_out).append(len(document))
        if sha256 is None:
            digest.update(SEPARATOR + document if number else document)
    return Corpus(
        documents=documents,
        sha256=sha256 or digest.hexdigest(),
        train_bytes=_joined_size(train),
        held_out_bytes=_joined_size(held_out),
    )


def _joined_size(sizes: list[int]) -> int:
    return sum(sizes) + len(SEPARATOR) * max(0, len(sizes) - 1)

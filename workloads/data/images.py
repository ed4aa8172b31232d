"""Labelled images: the digits of scikit-learn, or Fashion-MNIST from its four files.

Free of numpy, so that planning can check the data and take their fingerprint.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path

from workloads.data.packages import folder_of
from workloads.workload import DataUnavailableError

DIGITS = "digits"
DIGITS_FILE = "sklearn/datasets/data/digits.csv.gz"
DIGITS_SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
"""SHA-256 of the unpacked file: a line an image, 64 pixels from 0 to 16 and the digit."""

HOLD_OUT_EVERY = 5
"""Every 5th digit, the first included, is held out: over the whole file, in which one writer's
digits stand together."""

FASHION = "fashion-mnist"
FASHION_PREFIX = f"{FASHION}:"
FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the files."""

_SIDE = 28
_MAGIC = {"images": 2051, "labels": 2049}
_ADVICE = (
    "install the package with: apt-get install dataset-fashion-mnist, or give the folder of the "
    f"four files as data: {FASHION_PREFIX}FOLDER"
)


@dataclass(frozen=True, kw_only=True)
class ImageSizes:
    """Sizes of a source, known before it is read.

    Attributes:
        features: pixels of an image.
        classes: number of labels.
        train: training images.
        held_out: held-out images.
    """

    features: int
    classes: int
    train: int
    held_out: int


DIGITS_SIZES = ImageSizes(features=64, classes=10, train=1437, held_out=360)
FASHION_SIZES = ImageSizes(features=_SIDE**2, classes=10, train=60_000, held_out=10_000)
"""Those of MNIST and of KMNIST too, whose files can be given in place of Fashion-MNIST's."""


@dataclass(frozen=True, eq=False)
class Part:
    """Images and their labels.

    Attributes:
        pixels: one byte a pixel, image after image.
        labels: one byte a label, below the number of classes.
    """

    pixels: bytes
    labels: bytes


@dataclass(frozen=True, eq=False, kw_only=True)
class Images:
    """A source, read. An input of a model is (pixel / white - mean) / spread.

    Attributes:
        sizes: how much of everything there is.
        train: training images.
        held_out: held-out images.
        white: the largest pixel.
        mean, spread: mean and standard deviation of pixel / white that are taken out.
        sha256: 64 hex digits over the files as they unpack.
    """

    sizes: ImageSizes
    train: Part
    held_out: Part
    white: float
    mean: float
    spread: float
    sha256: str


def is_source(name: str) -> bool:
    """Returns whether a name is written like a source: ``digits``, ``fashion-mnist`` or
    ``fashion-mnist:FOLDER``."""
    folder = name.removeprefix(FASHION_PREFIX)
    given = folder != name and bool(folder.strip()) and "\0" not in folder
    return name in (DIGITS, FASHION) or given


def sizes_of(source: str) -> ImageSizes:
    """Returns the sizes of a source; reads nothing."""
    return DIGITS_SIZES if source == DIGITS else FASHION_SIZES


def absolute(source: str) -> str:
    """Returns a source that means the same in every folder: the path made absolute."""
    if not source.startswith(FASHION_PREFIX):
        return source
    folder = os.path.expanduser(source.removeprefix(FASHION_PREFIX))
    return FASHION_PREFIX + os.path.abspath(folder)


def load(source: str, *, fashion: Path = FASHION_FOLDER) -> Images:
    """Returns the images of a source; a second call in a process reads nothing.

    Files are looked at again when the size or time of change of one is another.

    Args:
        source: ``digits``, ``fashion-mnist`` or ``fashion-mnist:FOLDER``.
        fashion: folder that ``fashion-mnist`` alone means.

    Raises:
        DataUnavailableError: a file is missing, damaged or not the one expected.
        ValueError: the source is not written like one.
    """
    if not is_source(source):
        raise ValueError(
            f"data {source!r} is no source; use {DIGITS}, {FASHION} or {FASHION_PREFIX}FOLDER"
        )
    if source == DIGITS:
        return _digits()
    name = absolute(source).removeprefix(FASHION_PREFIX)
    return _fashion(_files(fashion if source == FASHION else Path(name)))


def images_fingerprint(source: str) -> str:
    """Returns ``sha256:`` and the SHA-256 of a source's files as they unpack.

    Raises:
        DataUnavailableError: a file is missing, damaged or not the one expected.
    """
    return f"sha256:{load(source).sha256}"


def _digits() -> Images:
    advice = "install it with: pip install --force-reinstall scikit-learn"
    missing = f"the digits come with scikit-learn, which is not installed; {advice}"
    return _digits_in(folder_of("scikit-learn", missing=missing) / DIGITS_FILE, advice)


@lru_cache(maxsize=1)
def _digits_in(path: Path, advice: str) -> Images:
    try:
        text = _unpacked(path)
    except OSError as error:
        raise DataUnavailableError(f"the digits cannot be read ({error}); {advice}") from error
    found = hashlib.sha256(text).hexdigest()
    if found != DIGITS_SHA256:
        raise DataUnavailableError(
            f"{path} has SHA-256 {found} where {DIGITS_SHA256} is expected; {advice}"
        )
    rows = [bytes(map(int, line.split(b","))) for line in text.splitlines()]
    train = [row for i, row in enumerate(rows) if i % HOLD_OUT_EVERY]
    return Images(
        sizes=DIGITS_SIZES,
        train=_part(train),
        held_out=_part(rows[::HOLD_OUT_EVERY]),
        white=16.0,
        mean=0.0,
        spread=1.0,
        sha256=found,
    )


def _part(rows: list[bytes]) -> Part:
    """Returns rows of pixels with their label at the end as one part."""
    return Part(b"".join(row[:-1] for row in rows), bytes(row[-1] for row in rows))


File = tuple[Path, int, int]
"""A file, its time of change in ns and its size: together, what it holds."""


def _files(folder: Path) -> tuple[File, ...]:
    """Returns the four files of a folder: training images and labels, held-out ones."""
    names = [
        f"{part}-{kind}"
        for part in ("train", "t10k")
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ]
    return tuple(_file(folder, name) for name in names)


def _file(folder: Path, name: str) -> File:
    for path in (folder / f"{name}.gz", folder / name):
        try:
            status = path.stat()
        except OSError:
            continue  # the other name, or the message below
        return path, status.st_mtime_ns, status.st_size
    raise DataUnavailableError(f"{folder} holds no {name}.gz, packed or not; {_ADVICE}")


@lru_cache(maxsize=2)
def _fashion(files: tuple[File, ...]) -> Images:
    contents = [_content(path) for path, _, _ in files]
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    counts = (FASHION_SIZES.train, FASHION_SIZES.held_out)
    parts = [
        Part(
            _pixels(files[2 * i][0], contents[2 * i], count),
            _labels(files[2 * i + 1][0], contents[2 * i + 1], count),
        )
        for i, count in enumerate(counts)
    ]
    return Images(
        sizes=FASHION_SIZES,
        train=parts[0],
        held_out=parts[1],
        white=255.0,
        mean=0.2860,
        spread=0.3530,
        sha256=digest.hexdigest(),
    )


def _content(path: Path) -> bytes:
    try:
        return _unpacked(path)
    except OSError as error:
        raise DataUnavailableError(f"{path} cannot be read ({error}); {_ADVICE}") from error


def _unpacked(path: Path) -> bytes:
    """Returns what a file holds, unpacked if its name ends in ``.gz``.

    Raises:
        OSError: it cannot be read, or is damaged.
    """
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, zlib.error) as error:
        raise OSError(f"damaged gzip file: {error}") from error


def _pixels(path: Path, content: bytes, count: int) -> bytes:
    return _idx(path, content, _MAGIC["images"], (count, _SIDE, _SIDE))


def _labels(path: Path, content: bytes, count: int) -> bytes:
    labels = _idx(path, content, _MAGIC["labels"], (count,))
    if max(labels) >= FASHION_SIZES.classes:
        raise DataUnavailableError(
            f"{path} holds the label {max(labels)}; labels are 0 to {FASHION_SIZES.classes - 1}; "
            f"{_ADVICE}"
        )
    return labels


def _idx(path: Path, content: bytes, magic: int, shape: tuple[int, ...]) -> bytes:
    """Returns the numbers of a file in the idx format: big-endian 32-bit words for the magic
    number and each side, then one byte a number."""
    wanted = struct.pack(f">{1 + len(shape)}I", magic, *shape)
    expected = len(wanted) + prod(shape)
    head = content[: len(wanted)]
    if head != wanted:
        words = struct.unpack(f">{len(head) // 4}I", head[: len(head) // 4 * 4])
        raise DataUnavailableError(
            f"{path} begins with the numbers {words}, where magic number and sizes "
            f"{(magic, *shape)} are expected; {_ADVICE}"
        )
    if len(content) != expected:
        raise DataUnavailableError(
            f"{path} unpacks to {len(content)} bytes where {expected} are expected; {_ADVICE}"
        )
    return content[len(wanted) :]

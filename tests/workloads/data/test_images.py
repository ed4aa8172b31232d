"""Images: the digits against scikit-learn, files in the layout of Fashion-MNIST, damage."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_configs import install
from sklearn.datasets import load_digits

from workloads.data.images import (
    DIGITS_FILE,
    DIGITS_SHA256,
    FASHION_FOLDER,
    absolute,
    images_fingerprint,
    is_source,
    load,
    sizes_of,
)
from workloads.workload import DataUnavailableError

COUNTS = {"train": 60_000, "t10k": 10_000}


def packed(*header: int, content: bytes) -> bytes:
    packed = struct.pack(f">{len(header)}I", *header) + content
    return gzip.compress(packed, 1, mtime=0)


@pytest.fixture(scope="module")
def clothes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder of four files of the right layout and size; random images, repeated."""
    folder = tmp_path_factory.mktemp("clothes")
    some = np.random.default_rng(0).integers(0, 256, (20, 784), dtype=np.uint8).tobytes()
    for part, count in COUNTS.items():
        pixels = packed(2051, count, 28, 28, content=some * (count // 20))
        labels = packed(2049, count, content=bytes(range(10)) * (count // 10))
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(pixels)
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(labels)
    return folder


@pytest.fixture
def copied(clothes: Path, tmp_path: Path) -> Path:
    """Returns a folder of links to the four files, of which a test may replace some."""
    for path in clothes.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def test_the_digits_are_those_of_scikit_learn_with_every_fifth_held_out() -> None:
    pixels, labels = load_digits(return_X_y=True)
    held_out = np.arange(len(labels)) % 5 == 0
    found = load("digits")
    for part, chosen in ((found.train, ~held_out), (found.held_out, held_out)):
        mine = np.frombuffer(part.pixels, dtype=np.uint8).reshape(-1, 64)
        assert np.array_equal(mine, pixels[chosen])
        assert np.array_equal(np.frombuffer(part.labels, dtype=np.uint8), labels[chosen])
    assert (found.white, found.mean, found.spread) == (16.0, 0.0, 1.0)


@pytest.mark.parametrize("source", ["digits", "clothes"])
def test_sizes_are_known_before_a_source_is_read(source: str, clothes: Path) -> None:
    name = source if source == "digits" else f"fashion-mnist:{clothes}"
    found = load(name)
    assert found.sizes == sizes_of(name)
    for part, number in ((found.train, found.sizes.train), (found.held_out, found.sizes.held_out)):
        assert len(part.labels) == number
        assert len(part.pixels) == number * found.sizes.features
        assert max(part.labels) == found.sizes.classes - 1


def test_files_are_read_by_their_headers(clothes: Path) -> None:
    found = load(f"fashion-mnist:{clothes}")
    some = np.random.default_rng(0).integers(0, 256, (20, 784), dtype=np.uint8)
    assert found.train.pixels[: 20 * 784] == found.held_out.pixels[-20 * 784 :] == some.tobytes()
    assert found.train.labels[:12] == bytes([*range(10), 0, 1])
    assert found.white == 255.0


def test_files_that_are_not_packed_are_the_same_data(copied: Path) -> None:
    packed_data = images_fingerprint(f"fashion-mnist:{copied}")
    for path in list(copied.iterdir()):
        (copied / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert images_fingerprint(f"fashion-mnist:{copied}") == packed_data


def test_the_fingerprint_is_of_the_data_and_of_nothing_else(copied: Path) -> None:
    before = images_fingerprint(f"fashion-mnist:{copied}")
    path = copied / "t10k-labels-idx1-ubyte.gz"
    content = gzip.decompress(path.read_bytes())
    path.unlink()
    path.write_bytes(gzip.compress(content, 9, mtime=1))
    assert images_fingerprint(f"fashion-mnist:{copied}") == before
    path.write_bytes(gzip.compress(content[:-1] + b"\3", 9))
    assert images_fingerprint(f"fashion-mnist:{copied}") != before
    assert images_fingerprint("digits") == f"sha256:{DIGITS_SHA256}"


def test_a_file_that_changed_is_read_again_and_no_other(copied: Path) -> None:
    first = load(f"fashion-mnist:{copied}")
    assert load(f"fashion-mnist:{copied}") is first
    os.utime(copied / "t10k-labels-idx1-ubyte.gz", ns=(1, 1))
    assert load(f"fashion-mnist:{copied}") is not first


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (packed(2049, 10_000, 28, 28, content=b""), r"numbers \(2049, 10000, 28, 28\).*\(2051,"),
        (packed(2051, 9_999, 28, 28, content=b""), r"\(2051, 9999, 28, 28\), where"),
        (packed(2051, 10_000, 32, 32, content=b""), r"\(2051, 10000, 32, 32\), where"),
        (packed(2051, content=b"ab"), r"begins with the numbers \(2051,\)"),
        (packed(content=b""), r"begins with the numbers \(\), where"),
        (packed(2051, 10_000, 28, 28, content=b"abc"), "19 bytes where 7840016 are expected"),
        (packed(2051, 10_000, 28, 28, content=b"abc")[:-9], "damaged gzip file"),
        (b"\x1f\x8b\x08\x00 no deflate stream", "damaged gzip file"),
        (b"hello", "cannot be read"),
    ],
)
def test_a_file_that_is_not_the_one_expected_is_refused(
    content: bytes, message: str, copied: Path
) -> None:
    path = copied / "t10k-images-idx3-ubyte.gz"
    path.unlink()
    path.write_bytes(content)
    with pytest.raises(DataUnavailableError, match=message) as refusal:
        load(f"fashion-mnist:{copied}")
    assert str(path) in str(refusal.value)
    assert "apt-get install dataset-fashion-mnist" in str(refusal.value)


def test_a_label_beyond_the_classes_is_refused(copied: Path) -> None:
    path = copied / "train-labels-idx1-ubyte.gz"
    path.unlink()
    path.write_bytes(packed(2049, 60_000, content=b"\0" * 59_999 + b"\12"))
    with pytest.raises(DataUnavailableError, match="holds the label 10; labels are 0 to 9"):
        load(f"fashion-mnist:{copied}")


def test_a_missing_file_is_told_with_what_to_do(copied: Path) -> None:
    (copied / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataUnavailableError) as refusal:
        load("fashion-mnist", fashion=copied)
    message = str(refusal.value)
    assert f"{copied} holds no t10k-labels-idx1-ubyte.gz" in message
    assert "apt-get install dataset-fashion-mnist" in message
    assert "fashion-mnist:FOLDER" in message


def test_debians_folder_is_read_where_none_is_given(clothes: Path) -> None:
    assert load("fashion-mnist", fashion=clothes) is load(f"fashion-mnist:{clothes}")
    assert Path("/usr/share/datasets/fashion-mnist") == FASHION_FOLDER


def test_altered_or_missing_digits_are_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "scikit-learn", "1.0", {})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DataUnavailableError, match=r"cannot be read.*pip install"):
        load("digits")
    install(tmp_path, "scikit-learn", "1.0", {DIGITS_FILE: gzip.compress(b"0,1\n")})
    with pytest.raises(DataUnavailableError, match=r"has SHA-256 .* where .* is expected"):
        load("digits")
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(DataUnavailableError, match="scikit-learn, which is not installed"):
        load("digits")


@pytest.mark.parametrize("name", ["mnist", "digits ", "fashion-mnist:", "fashion-mnist:a\0b", ""])
def test_what_is_not_written_like_a_source_is_refused(name: str) -> None:
    assert not is_source(name)
    with pytest.raises(ValueError, match="use digits, fashion-mnist or fashion-mnist:FOLDER"):
        load(name)


def test_a_folder_means_the_same_everywhere() -> None:
    assert absolute("fashion-mnist:a/../b") == f"fashion-mnist:{Path.cwd()}/b"
    assert absolute("fashion-mnist:~/b") == f"fashion-mnist:{Path.home()}/b"
    assert absolute("fashion-mnist") == "fashion-mnist"
    assert absolute("digits") == "digits"


def test_a_fingerprint_is_taken_without_numpy() -> None:
    code = (
        "import sys; from workloads.mlp.card import MLP; "
        "config = {'width': 16, 'steps': 3, 'learning_rate': 0.1}; "
        "MLP.resolve(config); MLP.data_fingerprint(config); "
        "print(sorted({'torch', 'numpy', 'sklearn', 'sweeper'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

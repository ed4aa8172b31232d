"""Prepared tokens on disk."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workloads.data.cache import HEADER_BYTES, Ids, folder, tokens_on_disk

TRAIN, HELD_OUT = [[5, 6, 7], [], [40_000]], [[1], [2]]


class Counted:
    """Makes a stream and counts how often."""

    def __init__(self, pieces: Iterable[list[int]]) -> None:
        self.pieces, self.calls = list(pieces), 0

    def __call__(self) -> Iterator[Ids]:
        self.calls += 1
        yield from (np.array(piece, dtype=np.uint16) for piece in self.pieces)


def streams() -> tuple[Counted, Counted]:
    return Counted(TRAIN), Counted(HELD_OUT)


def listed(found: list[Ids]) -> list[list[int]]:
    return [each.tolist() for each in found]


EXPECTED = [[5, 6, 7, 40_000], [1, 2]]


def test_tokens_are_made_once_and_mapped_from_disk_after(cache_folder: Path) -> None:
    first, second = streams(), streams()
    assert listed(tokens_on_disk("a", np.uint16, first)) == EXPECTED
    again = tokens_on_disk("a", np.uint16, second)
    assert listed(again) == EXPECTED
    assert [stream.calls for stream in (*first, *second)] == [1, 1, 0, 0]
    assert all(not each.flags.writeable and not each.flags.owndata for each in again)
    assert [each.name for each in cache_folder.iterdir()] == ["a"]


def test_another_name_is_another_file() -> None:
    tokens_on_disk("a", np.uint16, streams())
    assert listed(tokens_on_disk("b", np.uint16, [Counted([[9]]), Counted([[8]])])) == [[9], [8]]
    assert listed(tokens_on_disk("a", np.uint16, streams())) == EXPECTED


def test_streams_may_be_empty() -> None:
    for _ in range(2):
        assert listed(tokens_on_disk("a", np.uint8, [Counted([]), Counted([[1]])])) == [[], [1]]
        assert listed(tokens_on_disk("b", np.uint8, [Counted([]), Counted([])])) == [[], []]


def damage(path: Path, how: str) -> None:
    raw = bytearray(path.read_bytes())
    if how == "cut short":
        raw = raw[:-3]
    elif how == "too long":
        raw += b"\0\0"
    elif how == "another token":
        raw[-1] ^= 1
    elif how == "empty":
        raw = bytearray()
    elif how == "no header":
        raw[:HEADER_BYTES] = os.urandom(HEADER_BYTES)
    elif how == "a list for a header":
        raw[:HEADER_BYTES] = b"[]".ljust(HEADER_BYTES)
    else:
        header = json.loads(raw[:HEADER_BYTES])
        header["sizes"] = {"another split": [3, 3], "one stream": [6]}[how]
        raw[:HEADER_BYTES] = json.dumps(header).encode().ljust(HEADER_BYTES)
    path.write_bytes(raw)


@pytest.mark.parametrize(
    "how",
    [
        "cut short",
        "too long",
        "another token",
        "empty",
        "no header",
        "a list for a header",
        "another split",
        "one stream",
    ],
)
def test_a_damaged_file_is_noticed_and_made_anew(cache_folder: Path, how: str) -> None:
    tokens_on_disk("a", np.uint16, streams())
    damage(cache_folder / "a", how)
    with pytest.warns(RuntimeWarning, match=r"tokens/a are damaged .* made anew"):
        assert listed(tokens_on_disk("a", np.uint16, streams())) == EXPECTED
    unused = streams()
    assert listed(tokens_on_disk("a", np.uint16, unused)) == EXPECTED
    assert [stream.calls for stream in unused] == [0, 0]


def test_a_folder_that_cannot_be_written_leaves_the_tokens_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match=r"cannot be kept.*set SWEEPER_CACHE to a folder"):
        found = tokens_on_disk("a", np.uint16, streams())
    assert listed(found) == EXPECTED
    assert not any(each.flags.writeable for each in found)


def test_a_disk_that_fills_up_leaves_nothing_behind(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        assert listed(tokens_on_disk("a", np.uint16, streams())) == EXPECTED
    assert list(cache_folder.iterdir()) == []


def test_a_fault_of_the_source_is_told_and_leaves_nothing_behind(cache_folder: Path) -> None:
    def broken() -> Iterator[Ids]:
        yield np.array([1], dtype=np.uint16)
        raise LookupError("no such document")

    with pytest.raises(LookupError, match="no such document"):
        tokens_on_disk("a", np.uint16, [broken])
    assert list(cache_folder.iterdir()) == []


def slow_stream(seen: Any) -> Iterator[Ids]:
    """Makes a stream only after all processes have begun to make theirs."""
    seen.wait(30)
    for number in range(200):
        yield np.full(1000, number, dtype=np.uint16)


def prepare(seen: Any, results: Any) -> None:
    (found,) = tokens_on_disk("shared", np.uint16, [lambda: slow_stream(seen)])
    results.put((len(found), int(found.astype(np.int64).sum())))


def test_processes_that_prepare_at_once_do_not_disturb_each_other(cache_folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    seen, results = context.Barrier(3), context.Queue()
    workers = [context.Process(target=prepare, args=(seen, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    answers = {results.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join(60)
    assert answers == {(200_000, 1000 * sum(range(200)))}
    assert [each.name for each in cache_folder.iterdir()] == ["shared"]


def test_the_folder_is_the_first_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder() == tmp_path / "cache" / "tokens"
    monkeypatch.delenv("SWEEPER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert folder() == tmp_path / "xdg/sweeper/tokens"
    monkeypatch.setenv("HOME", str(tmp_path))
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert folder() == tmp_path / ".cache/sweeper/tokens"


def test_a_file_can_be_read_by_those_who_may_read_what_its_maker_writes(
    cache_folder: Path, tmp_path: Path
) -> None:
    tokens_on_disk("a", np.uint16, streams())
    (tmp_path / "plain").touch()
    assert _mode(cache_folder / "a") == _mode(tmp_path / "plain")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)

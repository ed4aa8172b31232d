"""Where a listing lags behind, what has a name that is known is not lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from memory_files import LateFiles
from sample_store import outcome

from sweeper.store.files.checkpoints import Journal, forget_older, read_journal, write_checkpoint
from sweeper.store.files.curves import write_curve
from sweeper.store.files.paths import Paths

KEY = "ab" + "0" * 62


@pytest.fixture
def files() -> LateFiles:
    return LateFiles("late:")


def write(files: LateFiles, step: int) -> str:
    name = Paths.checkpoint(KEY, step)
    journal = Journal(key=KEY, step=step, tokens=step, device_seconds=1.0, curve=(), marks=())

    def save(aside: Path) -> None:
        aside.write_bytes(b"weights after %d" % step)

    write_checkpoint(files, name, journal, save)
    return name


def test_the_last_checkpoint_is_found_though_no_listing_has_it(files: LateFiles) -> None:
    first, last = write(files, 10), write(files, 20)
    files.unlisted = {last, Paths.journal(last)}

    assert Paths(files).checkpoints_of(KEY) == [first, last]
    assert read_journal(files, last, key=KEY).step == 20
    files.unlisted = {*files.contents}
    assert Paths(files).checkpoints_of(KEY) == [last]


def test_a_journal_whose_checkpoint_is_not_listed_is_not_alone(files: LateFiles) -> None:
    first, last = write(files, 10), write(files, 20)
    files.unlisted = {first, last}

    assert Paths(files).checkpoints_of(KEY) == [first, last]
    assert Paths(files).lone_journals_of(KEY) == []
    files.remove(first)
    assert Paths(files).lone_journals_of(KEY) == [Paths.journal(first)]


def test_nothing_that_is_needed_is_forgotten_by_a_listing_that_lags(files: LateFiles) -> None:
    names = [write(files, step) for step in (10, 20, 30)]
    files.unlisted = {names[1]}

    forget_older(Paths(files), KEY, 30)

    assert names[1] in files.contents and names[2] in files.contents
    assert Paths(files).checkpoints_of(KEY)[-2:] == names[1:]


def test_a_checkpoint_that_is_listed_and_gone_is_one_that_cannot_be_used(
    files: LateFiles,
) -> None:
    name = write(files, 10)
    files.ghosts = {Paths.checkpoint(KEY, 20)}

    assert Paths(files).checkpoints_of(KEY) == [name, Paths.checkpoint(KEY, 20)]
    with pytest.raises(ValueError, match="is missing"):
        read_journal(files, Paths.checkpoint(KEY, 20), key=KEY)


def test_curves_of_earlier_attempts_are_asked_for_by_name(files: LateFiles) -> None:
    names = [Paths.curve(KEY, number) for number in (1, 3)]
    for name in names:
        write_curve(files, name, {}, outcome=outcome(KEY))
    files.unlisted = {names[0]}

    assert Paths(files).curves_of(KEY) == [names[1]]
    assert Paths(files).curves_of(KEY, attempts=2) == names
    files.unlisted = {*names}
    assert Paths(files).curves_of(KEY, attempts=4) == names

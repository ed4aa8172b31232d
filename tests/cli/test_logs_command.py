"""`sweeper logs`: the output that is kept of programs, as a user would ask for it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_harness import Sweeper
from ended_trials import end, put
from sample_store import save

from sweeper.cli import logs
from sweeper.store.owner import Owner
from sweeper.store.store import Store

FIRST, SECOND = "begins\n\x1b[31mred\x1b[0m\tand \x1b]0;title\x07\nfails\n", "begins anew\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Yields a store of three trials: two attempts at the first, one at the second."""
    with Store.open(tmp_path / "store", create=True) as opened:
        keys = save(opened, 3)
        for number, kind in ((1, "bug"), (2, "completed")):
            opened.claim(keys[:1], owner=Owner.here(), lease_s=60)
            end(opened, keys[0], kind, number)  # type: ignore[arg-type]
            opened.forgive(keys[:1])
        put(opened, opened.paths.output(keys[0], 1), FIRST.encode())
        put(opened, opened.paths.output(keys[0], 2), SECOND.encode())
        opened.claim(keys[1:2], owner=Owner.here(), lease_s=60)
        yield opened


def key_of(store: Store, number: int) -> str:
    rows = store.query("select key from trials order by learning_rate").rows
    return str(rows[number][0])


def test_the_last_attempt_is_printed_or_the_one_that_is_asked_for(
    sweeper: Sweeper, store: Store
) -> None:
    key = key_of(store, 0)
    assert sweeper("logs", "widths", "--key", key[:8]).out == SECOND
    said = sweeper("logs", "widths", "--key", key, "--attempt", 1).out.splitlines()
    assert (said[0], said[-1]) == ("begins", "fails")
    assert said[1].startswith("red    and ") and "\x1b" not in said[1]
    document = sweeper("logs", "widths", "--key", key[:8], "--attempt", 1, "--json").document
    assert document["output"] == FIRST
    assert (document["key"], document["number"], document["state"]) == (key, 1, "bug")
    assert Path(document["file"]).read_text() == FIRST


def test_without_a_key_the_attempts_are_listed(sweeper: Sweeper, store: Store) -> None:
    key = key_of(store, 0)
    said = sweeper("logs", "widths").out
    assert [line.split()[:3] for line in said.splitlines()[1:3]] == [
        [key[:12], "2", "completed"],
        [key[:12], "1", "bug"],
    ]
    assert f"next: sweeper logs widths --key {key[:12]}" in said
    (last, first) = sweeper("logs", "widths", "--json").document["attempts"]
    assert (last["number"], first["number"]) == (2, 1)


@pytest.mark.parametrize(
    ("which", "options", "words"),
    [
        (0, ["--attempt", "9"], "the trial has the attempts 1, 2"),
        (1, [], "no output is kept; it is kept of trials of the workload command"),
        (2, [], "no attempt at the trial has begun"),
    ],
)
def test_what_is_not_there_is_said(
    which: int, options: list[str], words: str, sweeper: Sweeper, store: Store
) -> None:
    answer = sweeper("logs", "widths", "--key", key_of(store, which), *options)
    assert answer.code == 2
    assert words in answer.err


def test_options_about_one_trial_ask_for_its_key(sweeper: Sweeper, store: Store) -> None:
    answer = sweeper("logs", "widths", "--follow")
    assert (answer.code, "give its --key" in answer.err) == (2, True)


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_an_attempt_that_runs_is_followed_to_its_end(
    options: list[str], sweeper: Sweeper, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LOOK_SECONDS", 0.01)
    key = key_of(store, 1)
    name = store.paths.output(key, 1)

    def work() -> None:
        for text in ("one\n", "one\ntwo\n", "one\ntwo\nthree\n"):
            put(store, name, text.encode())
            time.sleep(0.1)
        end(store, key)

    worker = threading.Thread(target=work)
    worker.start()
    answer = sweeper("logs", "widths", "--key", key, "--follow", *options)
    worker.join()
    if options:
        pieces = [json.loads(line) for line in answer.out.splitlines()]
        assert "".join(piece["text"] for piece in pieces[:-1]) == "one\ntwo\nthree\n"
        assert pieces[-1]["state"] == "completed"
    else:
        assert answer.out == "one\ntwo\nthree\n"
        assert "attempt 1 has ended: completed" in answer.err


def test_what_is_new_is_found_also_where_the_middle_was_left_out_meanwhile() -> None:
    lines = [f"line {number}\n" for number in range(1000)]
    before = "".join(lines)
    now = "".join([*lines[:10], "... left out ...\n", *lines[500:], "new\n"])
    assert logs.added(before, before + "more") == "more"
    assert logs.added(before, now) == "new\n"
    assert logs.added("", now) == now
    assert logs.added("something else", "wholly\nnew") == "wholly\nnew"

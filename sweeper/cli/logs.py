"""`sweeper logs`: what the program of a trial has printed, attempt by attempt."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import JsonOption, StoreOption, StudyName, name_of, open_store
from sweeper.cli.text import console, grid, print_json
from sweeper.errors import RequestError
from sweeper.words import plural, visible

if TYPE_CHECKING:
    from sweeper.store import AttemptRecord, Store

SHOWN = 20
"""Attempts that are listed; the others are counted."""

LOOK_SECONDS = 1.0
"""How often a program that runs is looked after."""

OVERLAP = 2_000
"""Characters by which the end of what was printed before is found in what there is now."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def logs(
    study: StudyName,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="A trial, by 6 or more digits of its key.", show_default=False
        ),
    ] = None,
    attempt: Annotated[
        int | None,
        typer.Option(min=1, help="Which attempt at it (default: the last).", show_default=False),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on printing until the attempt ends.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what the program of a trial has printed; without a key, the attempts there are."""
    name = name_of(study, store)
    if key is None and (attempt is not None or follow):
        raise RequestError("--attempt and --follow are about one trial: give its --key")
    with open_store(store, read_only=True) as opened, suppress(KeyboardInterrupt):
        if key is None:
            _list(opened, name, as_json=as_json)
            return
        here = _chosen(opened, name, key, attempt)
        if follow:
            _follow(opened, name, here, as_json=as_json)
            return
        text = _output(opened, here)
        if text is None:
            raise RequestError(
                f"trial {here.key[:12]}, attempt {here.number} ({here.state}): no output is kept; "
                "it is kept of trials of the workload command, from their first seconds until "
                "`sweeper prune` removes it"
            )
        if as_json:
            shown = opened.paths.files.shown(opened.paths.output(here.key, here.number))
            print_json({"study": name, **asdict(here), "file": shown, "output": text})
        else:
            _print(text)


def _chosen(store: Store, study: str, key: str, attempt: int | None) -> AttemptRecord:
    found = store.attempts_of(study, key)
    if not found:
        raise RequestError(f"--key {key}: no attempt at the trial has begun")
    if attempt is None:
        return found[0]
    for each in found:
        if each.number == attempt:
            return each
    numbers = ", ".join(str(each.number) for each in reversed(found))
    raise RequestError(f"--attempt {attempt}: the trial has the attempts {numbers}")


def _output(store: Store, attempt: AttemptRecord) -> str | None:
    try:
        with store.paths.files.open(store.paths.output(attempt.key, attempt.number)) as source:
            return source.read().decode(errors="replace")
    except FileNotFoundError:
        return None


def _print(text: str) -> None:
    """Prints what a program has printed: nothing in it acts on the terminal."""
    for line in text.splitlines():
        print(visible(_COLOURS.sub("", line.replace("\t", "    "))))
    sys.stdout.flush()


def _follow(store: Store, study: str, attempt: AttemptRecord, *, as_json: bool) -> None:
    for text in _pieces(store, study, attempt):
        if as_json:
            said = {"key": attempt.key, "attempt": attempt.number, "text": text}
            print(json.dumps(said), flush=True)
        else:
            _print(text)
    ended = _now(store, study, attempt)
    if as_json:
        print(json.dumps({"study": study, **asdict(ended)}), flush=True)
    else:
        print(f"attempt {ended.number} has ended: {ended.state}", file=sys.stderr)


def _now(store: Store, study: str, attempt: AttemptRecord) -> AttemptRecord:
    return _chosen(store, study, attempt.key, attempt.number)


def _pieces(store: Store, study: str, attempt: AttemptRecord) -> Iterator[str]:
    """Yields what is new, until the attempt has ended."""
    before, wait = "", 0.0
    while True:
        time.sleep(wait)
        began = time.monotonic()
        running = _now(store, study, attempt).state == "running"
        text = _output(store, attempt) or ""
        if piece := added(before, text):
            yield piece
        if not running:
            return
        before, wait = text, max(LOOK_SECONDS, 5 * (time.monotonic() - began))


def added(before: str, now: str) -> str:
    """Returns what a text has more than before; its middle may have been left out meanwhile."""
    if now.startswith(before):
        return now[len(before) :]
    at = now.rfind(before[-OVERLAP:])
    return now if at < 0 else now[at + len(before[-OVERLAP:]) :]


def _list(store: Store, study: str, *, as_json: bool) -> None:
    kept = {name for _, name in store.paths.output_files()}
    found = [
        each
        for each in store.attempts_of(study)
        if store.paths.output(each.key, each.number) in kept
    ]
    if as_json:
        print_json({"study": study, "attempts": [asdict(each) for each in found]})
        return
    if not found:
        print(f"{study}: no output of programs is kept")
        return
    rows = [
        [
            ("key", each.key[:12]),
            ("attempt", str(each.number)),
            ("state", each.state),
            ("step", "" if each.step is None else str(each.step)),
            ("why", (each.error or "").partition("\n")[0][:50]),
        ]
        for each in found[:SHOWN]
    ]
    out = console()
    out.print(grid(rows, words=("key", "state", "why")))
    if len(found) > SHOWN:
        out.print(f"and {plural(len(found) - SHOWN, 'earlier attempt')}, which --json lists")
    out.print(f"next: sweeper logs {study} --key {found[0].key[:12]}")

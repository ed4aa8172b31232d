"""`sweeper merge`, `rename`, `delete` and `backup`: what is done with studies and stores as a
whole."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeper.cli.options import JsonOption, StoreOption, StudyName, name_of, open_store
from sweeper.cli.text import console, print_json
from sweeper.errors import RequestError
from sweeper.words import plural, quantity

if TYPE_CHECKING:
    from collections.abc import Callable

    from sweeper.store import Disposal, Merge

LISTED = 20
"""Trials with differing results that are printed; --json has them all."""


class Side(StrEnum):
    """Which of two results of one trial counts."""

    here = "here"
    there = "there"


def merge(
    other: Annotated[
        str, typer.Argument(metavar="OTHER_STORE", help="Its folder or database URL.")
    ],
    study: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STUDY", help="Take this study alone; repeatable.", show_default=False
        ),
    ] = None,
    files: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="Where its curves are, if it is a database URL (default: SWEEPER_FILES).",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        Side | None,
        typer.Option(
            help="Which result counts where both stores have one and they differ.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what there is; change nothing.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the studies and results of another store into this one, by the keys of the trials."""
    with open_store(store) as opened:
        done = opened.merge(
            other,
            files,
            studies=study or [],
            keep=None if keep is None else keep.value,
            dry_run=dry_run,
            note=_note(as_json),
        )
    if as_json:
        print_json({"dry_run": dry_run, "keep": keep, **asdict(done)})
        return
    _print_merge(done, keep, dry_run=dry_run)


def _note(as_json: bool) -> Callable[[str], None]:
    return (lambda text: None) if as_json else typer.echo


def _print_merge(done: Merge, keep: Side | None, *, dry_run: bool) -> None:
    out = console()
    verb = "would take in" if dry_run else "took in"
    new = f"{plural(len(done.studies), 'study', 'studies')} ({', '.join(done.studies)})"
    parts = [
        *([new] if done.studies else []),
        *([f"more trials of {', '.join(done.extended)}"] if done.extended else []),
        plural(done.trials, "trial"),
        plural(done.results, "result"),
        plural(done.attempts, "attempt"),
        plural(done.files, "file"),
    ]
    changed = done.studies or done.extended or done.results or done.attempts or done.files
    out.print(f"{verb} {', '.join(parts)}" if changed else "nothing is there that is not here")
    if done.same:
        out.print(f"{plural(done.same, 'trial has', 'trials have')} the same result in both")
    for each in done.differing[:LISTED]:
        (mine, ours), (other, theirs) = each.here, each.there
        out.print(
            f"{each.key[:12]}: here {mine} {'' if ours is None else ours}, there {other} "
            f"{'' if theirs is None else theirs}"
        )
    if len(done.differing) > LISTED:
        out.print(f"and {len(done.differing) - LISTED} more that differ, which --json lists")
    if done.differing:
        says = f"those of {'the other' if keep is Side.there else 'this'} store count"
        if dry_run and keep is None:
            says = "--keep here or --keep there says which count"
        out.print(f"{plural(len(done.differing), 'trial has', 'trials have')} another: {says}")
    if done.withdrawn:
        out.print(f"left out: {plural(done.withdrawn, 'result')} that was withdrawn here")
    if done.checkpoints:
        out.print(f"{plural(done.checkpoints, 'trial')} can go on from checkpoints made there")
    if done.missing_curves:
        out.print(
            f"{plural(done.missing_curves, 'curve')} of taken results could not be found there; "
            "--files says where those of a database URL lie"
        )


def rename(
    study: StudyName,
    new: Annotated[str, typer.Argument(metavar="NEW", help="What it is to be called.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Call a study of the store otherwise; its results stay as they are."""
    from sweeper.study import require_name

    name = name_of(study, store)
    require_name(new)
    with open_store(store) as opened:
        opened.rename(name, new)
    if as_json:
        print_json({"study": name, "renamed": new})
        return
    out = console()
    out.print(f"study {name} is called {new} now")
    out.print(
        f"next: write name: {new} in its file (and study:{new} in studies that replay it); under "
        "the old name a run would make a study of the same trials, without training them again"
    )


def delete(
    study: StudyName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a study with its trials and curves for good; trials of other studies stay."""
    name = name_of(study, store)
    with open_store(store) as opened:
        if not yes or dry_run:  # its files are listed, which a bucket takes its time for
            found = opened.disposal_of(name)
        if not dry_run:
            if not yes:
                _ask(name, found, as_json=as_json)
            found = opened.delete(name)
    if as_json:
        print_json({"study": name, "dry_run": dry_run, **asdict(found)})
        return
    verb = "would delete" if dry_run else "deleted"
    console().print(f"{verb} study {name}: {_amount(found)}")
    if not dry_run and found.trials:
        console().print("a run of its file would train them again")


def _amount(found: Disposal) -> str:
    said = (
        f"{plural(found.trials, 'trial')}, {plural(found.results, 'result')}, "
        f"{plural(found.files, 'file')} of {quantity(found.size, 'B')}"
    )
    if not found.shared:
        return said
    return f"{said}; {plural(found.shared, 'trial')} that other studies have too stay"


def _ask(name: str, found: Disposal, *, as_json: bool) -> None:
    """Raises RequestError unless a person says yes."""
    if as_json or not sys.stdin.isatty():
        raise RequestError(
            f"study {name}: {_amount(found)} would be deleted for good; --yes does so without "
            f"asking, sweeper export {name} --to parquet or sweeper backup keeps a copy before"
        )
    typer.echo(f"study {name}: {_amount(found)}; sweeper export {name} keeps a copy", err=True)
    if not typer.confirm("delete it for good?", err=True):
        raise RequestError("nothing was deleted")


def backup(
    to: Annotated[
        str, typer.Argument(metavar="TO", help="A folder that is not there yet, or is empty.")
    ],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the whole store into a folder while runs go on, as it is at one moment."""
    with open_store(store, read_only=True) as opened:
        done = opened.backup(to, note=_note(as_json))
        shown = opened.shown
    document: dict[str, Any] = {"store": shown, "backup": to, **asdict(done)}
    if as_json:
        print_json(document)
        return
    out = console()
    rows = sum(done.rows.values())
    out.print(
        f"wrote {to}: {plural(rows, 'row')} and {plural(done.files, 'file')}, "
        f"{quantity(done.size, 'B')}, each compared"
    )
    if done.running:
        out.print(
            f"{plural(done.running, 'trial ran', 'trials ran')} at that moment: pending there"
        )
    if done.missing_curves:
        missing = plural(done.missing_curves, "curve")
        out.print(f"{missing} of results were missing here already; sweeper verify names them")
    out.print(f"look at it with: sweeper verify --store {shlex.quote(to)}", soft_wrap=True)

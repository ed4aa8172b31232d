"""`sweeper retry`, `prune`, `verify` and `move-store`: trials again, space back, faults found and
mended, a store at another place."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import (
    JsonOption,
    OneStudy,
    StoreOption,
    StudyName,
    name_of,
    open_store,
)
from sweeper.cli.text import console, print_json
from sweeper.words import plural, quantity

if TYPE_CHECKING:
    from sweeper.store import Verification, Waste


def retry(
    study: StudyName,
    failed: Annotated[
        bool, typer.Option("--failed", help="All failed trials (the default).")
    ] = False,
    diverged: Annotated[
        bool, typer.Option("--diverged", help="All diverged trials: their results are withdrawn.")
    ] = False,
    dominated: Annotated[
        bool,
        typer.Option("--dominated", help="All stopped as dominated: they run to their end."),
    ] = False,
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="One trial, by 6 or more digits of its key, whatever became of it; repeatable.",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make trials pending again; a plain run never repeats a failed one."""
    name, keys = name_of(study, store), key or []
    with open_store(store) as opened:
        done = opened.retry(
            name,
            failed=failed or not (diverged or dominated or keys),
            diverged=diverged,
            dominated=dominated,
            keys=keys,
        )
    if as_json:
        print_json({"study": name, **{field: list(keys) for field, keys in vars(done).items()}})
        return
    out = console()
    for count, what in (
        (len(done.failed), "failed before: pending again"),
        (len(done.withdrawn), "had a result, which is withdrawn: pending again"),
        (len(done.pending), "had neither failed nor a result: pending as before"),
    ):
        if count:
            out.print(f"{name}: {plural(count, 'trial')} {what}")
    if any(vars(done).values()):
        out.print(
            f"next: sweeper run {study if study != name else '(with the file of the study)'}"
        )
    else:
        asked = {"failed": failed, "diverged": diverged, "been dominated": dominated}
        kinds = [kind for kind, wanted in asked.items() if wanted] or ["failed"]
        out.print(f"{name}: no trial has {' or '.join(kinds)}; nothing was changed")


KINDS = ("checkpoint", "output", "temporary", "withdrawn")


def prune(
    study: OneStudy = None,
    hidden: Annotated[
        bool,
        typer.Option("--hidden", help="Also checkpoints and output of trials no study declares."),
    ] = False,
    withdrawn: Annotated[
        bool, typer.Option("--withdrawn", help="Also curves of results that were withdrawn.")
    ] = False,
    logs: Annotated[
        bool, typer.Option("--logs", help="Also output of trials that have their result.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove checkpoints and unfinished files that nothing needs; running trials keep theirs."""
    name = name_of(study, store) if study else None
    with open_store(store) as opened:
        found = opened.prune(name, hidden=hidden, withdrawn=withdrawn, logs=logs, dry_run=dry_run)
    if as_json:
        kinds = {kind: _sums([item for item in found if item.kind == kind]) for kind in KINDS}
        print_json({"study": name, "dry_run": dry_run, **_sums(found), "kinds": kinds})
        return
    out = console()
    groups: dict[tuple[str, str], list[Waste]] = {}
    for item in found:
        groups.setdefault((item.kind, item.why), []).append(item)
    for (kind, why), items in groups.items():
        out.print(f"  {kind} ({why}): {_amount(items)}")
    total = _amount(found) if found else "nothing to remove"
    out.print(
        f"would remove {total}" if dry_run and found else f"removed {total}" if found else total
    )


def _sums(found: Sequence[Waste]) -> dict[str, int]:
    return {"files": sum(item.files for item in found), "bytes": sum(item.size for item in found)}


def _amount(found: Sequence[Waste]) -> str:
    sums = _sums(found)
    return f"{plural(sums['files'], 'file')}, {quantity(sums['bytes'], 'B')}"


LISTED = 20
"""Findings of one kind that are printed; --json has them all."""


def verify(
    study: OneStudy = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be rebuilt.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that database, curves and checkpoints are whole and agree."""
    name = name_of(study, store) if study else None
    with open_store(store, read_only=not repair) as opened:
        found = opened.verify(name, repair=repair)
    if as_json:
        print_json(_document(name, found))
    else:
        _print(found, repair=repair)
    raise typer.Exit(1 if found.left else 0)


def _document(name: str | None, found: Verification) -> dict[str, object]:
    return {
        "study": name,
        "checked": {
            what: getattr(found, what) for what in ("trials", "results", "curves", "checkpoints")
        },
        "findings": [
            {
                "kind": finding.kind,
                "where": finding.where,
                "what": finding.what,
                "key": finding.key,
                "repairable": finding.repair is not None,
                "repaired": finding.repaired,
                "remedy": finding.remedy,
            }
            for finding in found.findings
        ],
        "left": found.left,
    }


def _print(found: Verification, *, repair: bool) -> None:
    out = console()
    out.print(
        f"looked at {found.trials} trials, {found.results} results, {found.curves} curve files "
        f"and the checkpoints of {found.checkpoints} trials"
    )
    shown: dict[str, int] = {}
    for finding in found.findings:
        shown[finding.kind] = shown.get(finding.kind, 0) + 1
        if shown[finding.kind] <= LISTED:
            mended = (
                "mended" if finding.repaired else "with --repair" if finding.repair else "to do"
            )
            out.print(
                f"{finding.kind}: {finding.where}: {finding.what}; {mended}: {finding.remedy}"
            )
    for kind, count in shown.items():
        if count > LISTED:
            out.print(f"{kind}: and {count - LISTED} more, which --json lists")
    out.print(_verdict(found, repair=repair))


def _verdict(found: Verification, *, repair: bool) -> str:
    if not found.findings:
        return "everything is whole and agrees"
    mended = len(found.findings) - found.left
    if not found.left:
        return f"{plural(mended, 'fault')}, all mended"
    can = sum(finding.repair is not None for finding in found.findings)
    if repair:
        return f"{plural(len(found.findings), 'fault')}: {mended} mended, {found.left} left to you"
    return f"{plural(found.left, 'fault')}, of which `sweeper verify --repair` mends {can}"


def move_store(
    to: Annotated[
        str | None, typer.Option("--to", help="New folder or database URL.", show_default=False)
    ] = None,
    to_files: Annotated[
        str | None,
        typer.Option(
            "--to-files",
            metavar="PLACE",
            help="New place of curves and checkpoints: a folder, s3:// or gs://.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what there is; copy nothing.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the store to another place, every row and file compared; the old one stays."""
    from sweeper.store import Store

    said = typer.echo if not as_json else lambda text: None
    done, place, files = Store.move(store, to, to_files, dry_run=dry_run, note=said)
    if done.missing_curves:
        typer.echo(
            f"note: {plural(done.missing_curves, 'curve')} of results could not be moved, since "
            "the place of the files lacks them; SWEEPER_FILES says where those of a database URL "
            "lie, and `sweeper verify` names what is missing",
            err=True,
        )
    if as_json:
        print_json({"dry_run": dry_run, "store": place, "files_at": files, **vars(done)})
        return
    out = console()
    rows = sum(done.rows.values())
    what = f"{plural(rows, 'row')} and {plural(done.files, 'file')}, {quantity(done.size, 'B')}"
    if dry_run:
        out.print(f"would move {what}; nothing was changed")
        return
    out.print(f"moved {what} (of which copied now: {done.copied_rows} and {done.copied_files})")
    out.print("every row and every file was compared; nothing was removed from the old place")
    if place == f"{files}/sweeper.db":
        where = f"--store {shlex.quote(files)}"
    else:
        url = place if "://" in place else f"sqlite:///{place}"
        where = f"SWEEPER_STORE={shlex.quote(url)} SWEEPER_FILES={shlex.quote(files)}"
    out.print(f"next: {where}", soft_wrap=True)

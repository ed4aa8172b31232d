"""`sweeper verify`: database, curves and checkpoints are checked against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import JsonOption, OneStudy, StoreOption

if TYPE_CHECKING:
    from sweeper.store.verification.verify import Verification

LISTED = 20
"""Findings of one kind that are printed; --json has them all."""


def verify_command(
    study: OneStudy = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be rebuilt.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that database, curves and checkpoints are whole and agree."""
    from sweeper.cli.answers import name_of
    from sweeper.cli.printing import print_json
    from sweeper.store.store import Store

    name = name_of(study) if study else None
    with Store.open(store, create=False, read_only=not repair) as opened:
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
    from sweeper.cli.printing import console

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
        return f"{_faults(mended)}, all mended"
    can = sum(finding.repair is not None for finding in found.findings)
    if repair:
        return f"{_faults(len(found.findings))}: {mended} mended, {found.left} left to you"
    return f"{_faults(found.left)}, of which `sweeper verify --repair` mends {can}"


def _faults(number: int) -> str:
    return f"{number} fault{'s' * (number != 1)}"

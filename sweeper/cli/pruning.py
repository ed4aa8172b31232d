"""`sweeper prune`: files that nothing needs are removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.options import JsonOption, OneStudy, StoreOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweeper.store.prune import Waste

KINDS = ("checkpoint", "temporary", "withdrawn")


def prune_command(
    study: OneStudy = None,
    hidden: Annotated[
        bool, typer.Option("--hidden", help="Also checkpoints of trials no study declares.")
    ] = False,
    withdrawn: Annotated[
        bool, typer.Option("--withdrawn", help="Also curves of results that were withdrawn.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove checkpoints and unfinished files that nothing needs; running trials keep theirs."""
    from sweeper.cli.answers import name_of
    from sweeper.cli.printing import console, print_json
    from sweeper.store.store import Store

    name = name_of(study) if study else None
    with Store.open(store, create=False) as opened:
        found = opened.prune(name, hidden=hidden, withdrawn=withdrawn, dry_run=dry_run)
    if as_json:
        kinds = {kind: _sums([item for item in found if item.kind == kind]) for kind in KINDS}
        print_json({"study": name, "dry_run": dry_run, **_sums(found), "kinds": kinds})
        return
    out = console()
    groups: dict[tuple[str, str], list[Waste]] = {}
    for item in found:
        groups.setdefault((item.kind, item.why), []).append(item)
    for (kind, why), items in groups.items():
        out.print(f"  {kind} ({why}): {_words(items)}")
    total = _words(found) if found else "nothing to remove"
    out.print(
        f"would remove {total}" if dry_run and found else f"removed {total}" if found else total
    )


def _sums(found: Sequence[Waste]) -> dict[str, int]:
    return {"files": sum(item.files for item in found), "bytes": sum(item.size for item in found)}


def _words(found: Sequence[Waste]) -> str:
    from sweeper.cli.words import quantity

    sums = _sums(found)
    return f"{sums['files']} file{'s' * (sums['files'] != 1)}, {quantity(sums['bytes'])}B"

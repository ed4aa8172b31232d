"""`sweeper doctor`: what is wrong with machines, store and cluster, before the first trial."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeper.cli.options import JsonOption, StoreOption, TrustOption, runnable_study
from sweeper.cli.text import console, grid, print_json
from sweeper.errors import ClusterError, StoreError
from sweeper.words import plural

if TYPE_CHECKING:
    from sweeper.engine import Cluster, Shape, Visit
    from sweeper.store import Store

BROKEN = 4
"""Exit code where something is wrong."""


def doctor(
    study: Annotated[
        Path | None,
        typer.Argument(
            metavar="[STUDY.yaml]", help="A study whose GPUs and processors to look for."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Ray cluster to look at: auto, or HOST:PORT (default: this machine alone).",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check machines, store and cluster before the first trial: files, versions, GPUs, clocks."""
    found = _examined(study, store, address, trust=trust)
    if as_json:
        print_json(_document(found))
    else:
        _print(found)
    raise typer.Exit(BROKEN if found.wrong else 0)


@dataclass(kw_only=True)
class _Findings:
    """What was found.

    Attributes:
        store, files: where database and files are.
        ahead: seconds by which the clock of a server's database is ahead; None for SQLite, which
            has none of its own, or where it was not reached.
        visits: to the machines.
        cluster: what is known of it; None without one.
        wrong: what has to be mended.
        notes: what should be known.
    """

    store: str
    files: str
    ahead: float | None = None
    visits: Sequence[Visit] = ()
    cluster: Cluster | None = None
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _examined(
    study: Path | None, store: str | None, address: str | None, *, trust: bool
) -> _Findings:
    """Looks at everything that can be reached; what cannot is one of the things found wrong."""
    from sweeper import engine
    from sweeper.store import Store, locate

    place = locate(store)
    found = _Findings(store=place.shown, files=place.paths.files.shown(""))
    shapes: set[Shape] = set()
    try:
        with Store.open(store, create=True) as opened:
            _look_at_database(opened, found)
            if study is not None:
                shapes = _shapes(study, opened, store, trust=trust)
    except StoreError as fault:
        found.wrong.append(str(fault))
    needs_devices = any(shape.gpus for shape in shapes)
    if address is None:
        machine = engine.Machine(
            name=engine.hostname(),
            cpus=engine.local_processors(),
            gpus=engine.local_accelerators(),
        )
        found.visits = engine.examine(
            [machine],
            place.paths.files,
            lambda machine, function, *arguments: engine.here(function, *arguments),
            ask_devices=needs_devices,
        )
    else:
        _look_at_cluster(address, found, place.paths, ask_devices=needs_devices)
    found.wrong += [
        *engine.answer_faults(found.visits),
        *engine.file_faults(found.visits, found.files),
        *engine.version_faults(found.visits),
        *engine.clock_faults(found.visits),
        *(engine.device_faults(found.visits, shapes) if found.visits else ()),
    ]
    return found


def _look_at_database(store: Store, found: _Findings) -> None:
    from sweeper.engine import off_clock

    if lacks := store.missing_rights():
        found.wrong.append(
            f"store {store.shown}: this role may not {', '.join(lacks[:4])}"
            f"{' and more' if len(lacks) > 4 else ''}: have the owner of the database grant it "
            "(docs/store.md)"
        )
    if store.database.is_sqlite:
        return
    began = time.time()
    moment = store.time().timestamp()
    ahead = moment - min(max(moment, began), time.time())
    found.ahead = ahead
    if abs(ahead) > 1.0:
        found.wrong.append(off_clock(f"the clock of {store.shown}", ahead))


def _shapes(study: Path, store: Store, place: str | None, *, trust: bool) -> set[Shape]:
    """Returns what trials of a study need."""
    from sweeper.engine import Proposals, shape_at

    asked = runnable_study(study, store=place, trust=trust)
    return {shape_at(asked, item.scale) for item in Proposals(asked, store, keep=False).planned}


def _look_at_cluster(address: str, found: _Findings, paths: Any, *, ask_devices: bool) -> None:
    from sweeper.engine import visit_cluster

    try:
        found.cluster = cluster = visit_cluster(address, paths, ask_devices=ask_devices)
    except ClusterError as fault:
        found.wrong.append(str(fault))
        return
    found.visits = cluster.visits
    found.notes += cluster.notes
    host = (cluster.dashboard or "127.0.0.1").rpartition(":")[0]
    if host not in ("127.0.0.1", "localhost", "::1", ""):
        found.notes.append(
            f"the dashboard of the cluster listens at {cluster.dashboard}: whoever reaches it "
            "can run code as the user of the cluster"
            + (", with Ray's token" if cluster.token.startswith("on") else ", without any token")
            + "; --dashboard-host=127.0.0.1 of `ray start` keeps it to the head"
        )


def _document(found: _Findings) -> dict[str, Any]:
    cluster = found.cluster
    return {
        "well": not found.wrong,
        "wrong": found.wrong,
        "notes": found.notes,
        "store": found.store,
        "files": found.files,
        "database_ahead": found.ahead,
        "cluster": cluster
        and {"address": cluster.address, "token": cluster.token, "dashboard": cluster.dashboard},
        "machines": [
            {
                "name": visit.machine.name,
                "node": visit.machine.node or None,
                "cpus": visit.machine.cpus,
                "gpus": visit.machine.gpus,
                "fault": visit.fault,
                "writes": visit.told is not None and visit.told.files_fault is None,
                "missing": list(visit.reading.missing) if visit.reading else None,
                "ahead": visit.ahead if visit.told else None,
                "versions": dict(visit.told.versions) if visit.told else {},
                "devices": list(visit.told.devices or ()) if visit.told else [],
            }
            for visit in found.visits
        ],
    }


def _print(found: _Findings) -> None:
    out = console()
    out.print(_sentence(found))
    for number, wrong in enumerate(found.wrong, start=1):
        out.print(f"{number}. {wrong}")
    if found.visits:
        out.print()
        rows = _rows(found.visits)
        words = {name for name, _ in rows[0]} - {"CPUs", "GPUs"}
        out.print(grid(rows, words=words))
        same = {name: min(of) for name, of in _versions(found.visits).items() if len(of) == 1}
        out.print()
        out.print("versions: " + ", ".join(f"{name} {of}" for name, of in same.items() if of))
    out.print(
        f"database: {found.store}" + ("" if found.ahead is None else f", {_clock(found.ahead)}")
    )
    out.print(f"files: {found.files}")
    if found.cluster is not None:
        dashboard = found.cluster.dashboard or "none"
        out.print(f"cluster: head at {found.cluster.address}, dashboard: {dashboard}")
        out.print(f"Ray's token: {found.cluster.token}")
    for note in found.notes:
        out.print(f"note: {note}")


def _sentence(found: _Findings) -> str:
    if found.wrong:
        count = len(found.wrong)
        return "1 thing is wrong:" if count == 1 else f"{count} things are wrong:"
    machines = [visit.machine for visit in found.visits if visit.machine.trains]
    cpus, gpus = sum(each.cpus for each in machines), sum(each.gpus for each in machines)
    same = len(found.visits) > 1
    return (
        f"all is well: {plural(len(machines), 'machine')} with {cpus:g} CPUs and {gpus:g} GPUs "
        f"{'see' if len(machines) > 1 else 'sees'} the store"
        f"{', with the same versions' if same else ''}"
    )


def _rows(visits: Sequence[Visit]) -> list[list[tuple[str, str]]]:
    """Returns a row for each machine, with the versions that differ."""
    differ = [name for name in _versions(visits) if len(_versions(visits)[name]) > 1]
    return [
        [
            ("machine", visit.machine.name),
            ("CPUs", f"{visit.machine.cpus:g}" if visit.machine.trains else ""),
            ("GPUs", f"{visit.machine.gpus:g}" if visit.machine.trains else ""),
            ("files", _files(visit)),
            ("clock", _clock(visit.ahead) if visit.told else ""),
            *((name, visit.told.versions.get(name, "") if visit.told else "") for name in differ),
        ]
        for visit in visits
    ]


def _versions(visits: Sequence[Visit]) -> dict[str, set[str]]:
    """Returns which versions the machines have of each package."""
    from sweeper.engine import VERSIONS

    told = [visit.told.versions for visit in visits if visit.told]
    return {name: {each.get(name, "") for each in told} for name in VERSIONS}


def _files(visit: Visit) -> str:
    told, reading = visit.told, visit.reading
    if visit.fault is not None or told is None or reading is None:
        return "no answer"
    if told.files_fault is not None:
        return "cannot write"
    if reading.fault is not None:
        return "cannot read"
    return f"{len(reading.missing)} unseen" if reading.missing else "shared"


def _clock(ahead: float) -> str:
    return "as here" if abs(ahead) < 0.05 else f"{ahead:+.1f} s"

"""`sweeper submit` and `jobs`: studies as jobs of a cluster."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeper.cli.options import (
    JsonOption,
    OneStudy,
    StudyFile,
    TrustOption,
    runnable_study,
)
from sweeper.cli.text import console, grid, print_json
from sweeper.errors import Interrupted, RequestError
from sweeper.secrets import MASK, has_password
from sweeper.words import duration, plural, quantity

if TYPE_CHECKING:
    from sweeper.engine import Job, Jobs

AddressOption = Annotated[
    str,
    typer.Option(
        help="Dashboard of the cluster, as http://HOST:8265; auto is that of this machine.",
    ),
]

OWN = ("--address", "--executor", "--store", "--json")
"""Options of `run` that are not handed on."""


def submit(
    study: StudyFile,
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="OPTION", help="After --: options for `sweeper run` there."),
    ] = None,
    address: AddressOption = "auto",
    store: Annotated[
        str | None,
        typer.Option(
            envvar="SWEEPER_STORE",
            help="Database URL without password, or absolute folder that the head sees (default: "
            "the cluster's own SWEEPER_STORE).",
            show_default=False,
        ),
    ] = None,
    working_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder that travels (default: this one, or that of a study elsewhere).",
            show_default=False,
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return as soon as the job is accepted.")
    ] = False,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run a study as a job of a Ray cluster, and follow it; the folder it needs travels along."""
    from sweeper.engine import Jobs, pack
    from sweeper.study import require_command_trusted
    from workloads.programs import Programmed

    options = options or []
    if own := [each for each in options if each.partition("=")[0] in OWN]:
        raise RequestError(
            f"{own[0]} is not handed on to `sweeper run`; give it before the --, to submit itself"
        )
    asked = runnable_study(study, store=store, trust=trust)
    shown, environ = _store(store)
    require_command_trusted(asked.file, asked.command)
    program = asked.card.program_files if isinstance(asked.card, Programmed) else None
    parcel = pack(study, asked.workload, working_dir, program)
    jobs = Jobs(address)
    sent = jobs.submit(parcel, study=asked.name, store=shown, environ=environ, options=options)
    told = console() if detach and not as_json else None
    words = (
        f"job {sent.id} at {jobs.url}: {plural(len(parcel.files), 'file')} of {parcel.folder} "
        f"({quantity(parcel.size, 'B')}), results in {shown}"
    )
    if told is None:
        print(words, file=sys.stderr)
    else:
        told.print(words)
        told.print(f"next: sweeper jobs {asked.name}{_at(address)} --follow, or --stop")
    _end(jobs, sent, address, detach=detach, as_json=as_json)


def _end(jobs: Jobs, job: Job, address: str, *, detach: bool, as_json: bool) -> None:
    """Follows a job unless told not to, and exits with its code."""
    from sweeper.engine import exit_code

    if not detach:
        job = _followed(jobs, job, address, to_stderr=as_json)
    if as_json:
        print_json(_document(job))
    if detach:
        return
    if job.exit_code is None and job.status == "FAILED":
        print(f"sweeper: job {job.id} did not run: {job.message}", file=sys.stderr)
    raise typer.Exit(exit_code(job))


def _followed(jobs: Jobs, job: Job, address: str, *, to_stderr: bool) -> Job:
    stream = sys.stderr if to_stderr else sys.stdout

    def write(text: str) -> None:
        stream.write(text)
        stream.flush()

    try:
        return jobs.follow(job.id, write)
    except KeyboardInterrupt:
        raise Interrupted(
            f"job {job.id} goes on: sweeper jobs {job.study} --follow{_at(address)} shows it "
            "again, --stop ends it"
        ) from None


def jobs(
    study: OneStudy = None,
    address: AddressOption = "auto",
    follow: Annotated[
        bool, typer.Option("--follow", help="Show what the study's job says until it ends.")
    ] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Show what it has said so far.")] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="End it, with checkpoints; submit again goes on.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the studies that a Ray cluster has as jobs; follow or stop one."""
    from sweeper.engine import Jobs

    if (follow or logs or stop) and study is None:
        raise RequestError("--follow, --logs and --stop are of one study: name it")
    if follow + logs + stop > 1:
        raise RequestError("--follow, --logs and --stop exclude each other; give one of them")
    cluster = Jobs(address)
    name = _name(study) if study else None
    found = cluster.all(name)
    if name is not None and not found:
        known = sorted({job.study for job in cluster.all()})
        there = f"it has jobs of {', '.join(known)}" if known else "it has no jobs of ours"
        raise RequestError(f"no job of study {name} at {cluster.url}; {there}")
    if follow:
        _end(cluster, _newest(found), address, detach=False, as_json=as_json)
    elif logs:
        sys.stdout.write(cluster.logs(_newest(found).id))
    elif stop:
        _stop(cluster, _newest(found), as_json=as_json)
    elif as_json:
        print_json([_document(job) for job in found])
    else:
        _print(cluster.url, found)


def _name(study: str) -> str:
    from sweeper.cli.options import name_of

    return name_of(study, None)


def _newest(found: list[Job]) -> Job:
    """Returns the job that runs, else the last one."""
    running = [job for job in found if not job.over]
    if len(running) > 1:
        told = ", ".join(f"{job.id} (in {job.store})" for job in running)
        raise RequestError(
            f"study {running[0].study} has several jobs that run: {told}; stop one "
            "with `ray job stop JOB`"
        )
    return (running or found)[-1]


def _stop(cluster: Jobs, job: Job, *, as_json: bool) -> None:
    if job.over:
        raise RequestError(f"job {job.id} has ended already ({job.status.lower()})")
    job = cluster.stop(job.id)
    if as_json:
        print_json(_document(job))
    else:
        console().print(f"job {job.id} has ended; submitting the study again goes on from there")


def _store(store: str | None) -> tuple[str, dict[str, str]]:
    """Returns where results go, in words, and the environment that says so; nothing of it is
    secret, since everybody who reaches the dashboard can read it.

    Raises:
        RequestError: the place holds a password, or is a folder of this machine.
    """
    from sweeper.store import locate

    trust = {"SWEEPER_TRUST": "1"}  # its workload was loaded here, by the user's leave
    if store is None:
        return "the cluster's own store", trust
    files = os.environ.get("SWEEPER_FILES", "")
    shown = "" if "@" in files or has_password(files) else locate(store).shown
    if MASK in shown or not shown:
        what = f"--store {shown}" if shown else "SWEEPER_FILES"
        raise RequestError(
            f"{what} holds a password, which everybody who reaches the dashboard could read in "
            "the job: leave it out here, and give it to the cluster: SWEEPER_STORE, PGPASSWORD or "
            "PGPASSFILE (of a bucket, its usual credentials) in the environment of its head "
            "before `ray start` (docs/cluster.md)"
        )
    server = "://" in store
    if not server and not os.path.isabs(store):
        raise RequestError(
            f"--store {store} is a folder beside the job, which goes with it: name a database, or "
            "an absolute folder that the head sees, or leave it out where the cluster has "
            "SWEEPER_STORE"
        )
    if server and files and "://" not in files and not os.path.isabs(files):
        raise RequestError(
            f"SWEEPER_FILES {files} has to be absolute: a folder that all nodes see"
        )
    named = {"SWEEPER_FILES": files} if server and files else {}
    return shown, {"SWEEPER_STORE": store, **named, **trust}


def _document(job: Job) -> dict[str, Any]:
    told = asdict(job)
    return {"job": told.pop("id"), **told}


def _print(url: str, found: list[Job]) -> None:
    if not found:
        console().print(f"no jobs of sweeper at {url}; sweeper submit STUDY.yaml sends one")
        return
    rows = [
        [
            ("job", job.id),
            ("study", job.study),
            ("status", job.status.lower()),
            ("exit", "" if job.exit_code is None else str(job.exit_code)),
            ("for", _lasted(job)),
            ("store", job.store),
        ]
        for job in found
    ]
    console().print(grid(rows, words=("job", "study", "status", "store")))


def _lasted(job: Job) -> str:
    return duration((job.ended or time.time()) - job.started) if job.started else ""


def _at(address: str) -> str:
    return "" if address == "auto" else f" --address {address}"

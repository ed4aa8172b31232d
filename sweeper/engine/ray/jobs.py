"""Runs as jobs of a cluster: sent to its dashboard, followed, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.exceptions import AuthenticationError

from sweeper.engine.parcel import Parcel
from sweeper.engine.ray.address import job_server, refused_token
from sweeper.errors import ClusterError, EnvironmentFault, RequestError

ANSWER_SECONDS = 60.0
"""How long the dashboard may take to answer; it waits for the head while that is busy."""

AWAY_SECONDS = 300.0
"""How long a dashboard may be away while a job is followed."""

LOOK_SECONDS = 1.0
"""How often a job is looked at that is about to end."""

STOP_SECONDS = 60
"""How long a run may take to end with checkpoints before Ray kills it; by itself Ray waits 3 s."""

PREFIX = "sweeper"
"""How the names of jobs begin."""

NEEDS_STORE = (
    "the cluster names no store: give --store to sweeper submit, or set SWEEPER_STORE in the "
    "environment of its head before ray start"
)
ENDED = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run of a study as a job of a cluster.

    Attributes:
        id: its name, unique in the cluster.
        study: name of the study.
        store: where its results go, without a password.
        status: Ray's word: PENDING, RUNNING, or one of :data:`ENDED`.
        started, ended: seconds since 1970; None if not yet.
        exit_code: of the program; None if it has none.
        message: what Ray says of it.
    """

    id: str
    study: str
    store: str
    status: str
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    message: str = ""

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status in ENDED


class Jobs:
    """The runs that a cluster has as jobs.

    Every method raises ClusterError if the dashboard does not answer, or not to us.

    Args:
        address: ``http://host:port`` of the dashboard, or ``auto``.

    Attributes:
        url: of the dashboard.

    Raises:
        RequestError: it is the address of something else.
        EnvironmentFault: ray[default] is not installed here.
    """

    def __init__(self, address: str) -> None:
        self.url = job_server(address)
        with self._answers(), _unnamed():
            self._client = _client(self.url)

    def all(self, study: str | None = None) -> list[Job]:
        """Returns the jobs of a study, or of all, the newest last."""
        with self._answers():
            found = [_job(details) for details in self._client.list_jobs()]
        ours = [job for job in found if job is not None and study in (None, job.study)]
        return sorted(ours, key=lambda job: job.started or time.time())

    def submit(
        self,
        parcel: Parcel,
        *,
        study: str,
        store: str,
        environ: Mapping[str, str],
        options: Sequence[str] = (),
    ) -> Job:
        """Sends a study to the cluster, where `sweeper run` runs it on the head.

        Args:
            parcel: what travels.
            study: name of the study.
            store: where results go, in words without a password.
            environ: environment of the run; everybody who reaches the dashboard can read it.
            options: of `sweeper run`.

        Raises:
            RequestError: a job runs this study with this store already.
        """
        before = self.all()
        same = [job for job in before if (job.study, job.store) == (study, store)]
        if running := [job for job in same if not job.over]:
            raise _taken(running[-1])
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", study)
        numbers = [int(job.id.rpartition("-")[2]) for job in before if _is_of(job.id, name)]
        job_id = f"{PREFIX}-{name}-{max(numbers, default=0) + 1}"
        with tempfile.TemporaryDirectory(prefix="sweeper-parcel-") as folder, self._answers():
            packed = Path(folder) / "parcel.zip"
            parcel.write(packed)
            self._send(
                job_id,
                entrypoint=_command(parcel, "SWEEPER_STORE" in environ, options),
                runtime_env={
                    "working_dir": str(packed),
                    "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS), **environ},
                },
                metadata={"study": study, "store": store},
            )
        return self.look(job_id)

    def _send(self, job_id: str, **what: Any) -> None:
        """Sends a job, to a head that was started just now once it takes jobs."""
        end = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                self._client.submit_job(submission_id=job_id, **what)
                return
            except RuntimeError as fault:
                if "already exists" in str(fault):  # somebody else was faster
                    raise _taken(self.look(job_id)) from fault
                if "No available agent" not in str(fault):
                    raise
                if time.monotonic() > end:
                    raise ClusterError(
                        f"the cluster at {self.url} starts no jobs: the agent of its head does "
                        "not run; the log dashboard_agent.log of its session says why. Where the "
                        "port of another Ray's agent is in its way, `ray start "
                        "--dashboard-agent-listen-port` takes another"
                    ) from fault
            time.sleep(LOOK_SECONDS)

    def look(self, job_id: str) -> Job:
        """Returns how a job stands."""
        with self._answers():
            job = _job(self._client.get_job_info(job_id))
        assert job is not None, f"{job_id} is none of ours"
        return job

    def logs(self, job_id: str) -> str:
        """Returns what a job has said so far."""
        with self._answers():
            return str(self._client.get_job_logs(job_id))

    def follow(self, job_id: str, write: Callable[[str], object]) -> Job:
        """Hands on what a job says until it has ended; returns how it ended.

        Args:
            job_id: the job.
            write: is given everything that it has said and says.
        """
        said, away = 0, None
        while True:
            try:
                for chunk in _spoken(self._client, job_id, said):
                    said += len(chunk)
                    away = None
                    write(chunk)
                job = self.look(job_id)
            except BrokenPipeError:
                raise  # whoever was written to has gone
            except _broken() as fault:
                away = away or time.monotonic()
                if time.monotonic() - away > AWAY_SECONDS:
                    raise ClusterError(f"{self.url} answers no more: {fault}") from fault
            else:
                if job.over:
                    return job
            time.sleep(LOOK_SECONDS)

    def stop(self, job_id: str) -> Job:
        """Has a job end with checkpoints, and returns it once it has ended."""
        with self._answers():
            self._client.stop_job(job_id)
        while not (job := self.look(job_id)).over:
            time.sleep(LOOK_SECONDS)
        return job

    @contextlib.contextmanager
    def _answers(self) -> Iterator[None]:
        """Has what is wrong with the dashboard be said in one sentence."""
        import requests

        try:
            yield
        except AuthenticationError as fault:
            raise ClusterError(refused_token(self.url)) from fault
        except (requests.exceptions.RequestException, ConnectionError, RuntimeError) as fault:
            lines = str(fault).strip().splitlines() or [type(fault).__name__]
            raise ClusterError(
                f"the dashboard at {self.url} does not answer as that of Ray does: "
                f"{lines[-1][:300]}"
            ) from fault


def exit_code(job: Job) -> int:
    """Returns the exit code that says how a job ended: its own, 3 where it was stopped, 4 where it
    was killed or never began."""
    if job.status == "STOPPED":
        return 3
    code = 0 if job.status == "SUCCEEDED" else job.exit_code
    return code if code is not None and 0 <= code < 128 else 4


def _command(parcel: Parcel, has_store: bool, options: Sequence[str]) -> str:
    """Returns the command of a job, for a shell. The name of the store is in its environment
    alone: the one that the head has may hold a password."""
    require = "" if has_store else f': "${{SWEEPER_STORE:?{NEEDS_STORE}}}" && '
    run = ["python", "-m", "sweeper", "run", f"./{parcel.study}", "--address", "auto"]
    return f"{require}exec {shlex.join([*run, *options])}"


def _taken(job: Job) -> RequestError:
    return RequestError(
        f"study {job.study} is run with this store already, by job {job.id} "
        f"({job.status.lower()}): sweeper jobs {job.study} --follow shows it, --stop ends it"
    )


def _is_of(job_id: str, study: str) -> bool:
    return re.fullmatch(rf"{PREFIX}-{re.escape(study)}-\d+", job_id) is not None


def _job(details: Any) -> Job | None:
    """Returns a job of ours; None for one of another program."""
    told, name = details.metadata or {}, details.submission_id or ""
    if not name.startswith(f"{PREFIX}-") or not {"study", "store"} <= told.keys():
        return None
    return Job(
        id=name,
        study=told["study"],
        store=told["store"],
        status=str(details.status),
        started=details.start_time and details.start_time / 1000,
        ended=details.end_time and details.end_time / 1000,
        exit_code=details.driver_exit_code,
        message=details.message or "",
    )


@contextlib.contextmanager
def _unnamed() -> Iterator[None]:
    """In this context Ray does not put an address of the environment in place of the one given."""
    hidden = {
        name: os.environ.pop(name)
        for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
        if name in os.environ
    }
    try:
        yield
    finally:
        os.environ.update(hidden)


def _client(url: str) -> Any:
    """Returns Ray's client of jobs, whose questions do not hang for ever."""
    try:
        import aiohttp  # noqa: F401
    except ImportError as fault:
        raise EnvironmentFault(
            "jobs of a cluster need ray[default], which is not installed: pip install "
            "'sweeper[cluster]', here and on every node"
        ) from fault
    from ray.dashboard.modules import dashboard_sdk
    from ray.dashboard.modules.job import sdk
    from ray.job_submission import JobSubmissionClient

    for module in (dashboard_sdk, sdk):
        module.logger.setLevel("WARNING")

    class Patient(JobSubmissionClient):
        def _do_request(self, method: str, endpoint: str, **how: Any) -> Any:
            return super()._do_request(method, endpoint, **{"timeout": ANSWER_SECONDS, **how})

    return Patient(url)


def _broken() -> tuple[type[Exception], ...]:
    """Returns what is raised where following a job breaks off."""
    import aiohttp

    return (ClusterError, aiohttp.ClientError, OSError, RuntimeError)


def _spoken(client: Any, job_id: str, after: int) -> Iterator[str]:
    """Yields what a job has said after so many characters, and says until it ends."""
    with asyncio.Runner() as runner:
        lines = client.tail_job_logs(job_id)
        passed = 0
        while (chunk := runner.run(_next(lines))) is not None:
            fresh = chunk[max(0, after - passed) :]
            passed += len(chunk)
            if fresh:
                yield fresh


async def _next(lines: Any) -> str | None:
    return await anext(lines, None)

"""Studies as jobs of a real head, which was started as a person starts it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray._raylet import AuthenticationTokenLoader, Config
from ray_head import TOKEN, Head, ray_head

from sweeper.engine.parcel import Parcel, pack
from sweeper.engine.ray.jobs import Job, Jobs, exit_code
from sweeper.errors import ClusterError, RequestError
from sweeper.store.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:ssl=None")  # how Ray asks aiohttp

SECRET = "a-word-that-nobody-may-see"

CARDS = """
from workloads.planted import PLANTED
CARD = PLANTED
"""
STUDY = """
name: {name}
question: Does it travel?
workload: travelling.cards:CARD
scale: width
fixed: {{steps: {steps}, step_seconds: {seconds}}}
sweep: {{width: [32], learning_rate: [0.01, 0.02]}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a user's project, with a workload of its own."""
    root = tmp_path_factory.mktemp("project")
    (root / "travelling").mkdir()
    (root / "travelling" / "cards.py").write_text(CARDS)
    (root / "short.yaml").write_text(STUDY.format(name="short", steps=3, seconds=0))
    (root / "long.yaml").write_text(STUDY.format(name="long", steps=100_000, seconds=0.05))
    return root


@pytest.fixture(scope="module")
def head(folder: Path) -> Iterator[Head]:
    store = str(folder.parent / "team-store")
    with ray_head(SWEEPER_STORE=store, PGPASSWORD=SECRET) as started:
        yield started


@pytest.fixture
def token(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Has this process send a token, or none, which Ray looks up once."""
    monkeypatch.setenv("RAY_AUTH_MODE", getattr(request, "param", "token"))
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    _forget_token()
    yield
    monkeypatch.undo()
    _forget_token()


def _forget_token() -> None:
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@pytest.fixture
def jobs(head: Head, token: None, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # which is not asked
    return Jobs(head.url)


def parcel(folder: Path, name: str) -> Parcel:
    return pack(folder / f"{name}.yaml", "travelling.cards:CARD", folder)


def sent(jobs: Jobs, folder: Path, name: str) -> Job:
    return jobs.submit(
        parcel(folder, name),
        study=name,
        store="the team's",
        environ={"SWEEPER_TRUST": "1"},
        options=["--checkpoint-seconds", "0.5"],
    )


def await_checkpoint(jobs: Jobs, job: Job, store: Path) -> None:
    end = time.monotonic() + 90
    while not list(store.rglob("checkpoints/**/*.pt")):
        assert not jobs.look(job.id).over, jobs.logs(job.id)
        assert time.monotonic() < end, jobs.logs(job.id)
        time.sleep(0.2)


@pytest.mark.ray
def test_a_study_travels_with_its_workload_and_its_job_is_followed_to_the_end(
    jobs: Jobs, head: Head, folder: Path
) -> None:
    job = sent(jobs, folder, "short")
    assert job.id == "sweeper-short-1"
    said: list[str] = []
    ended = jobs.follow(job.id, said.append)
    log = "".join(said)
    assert (ended.status, exit_code(ended)) == ("SUCCEEDED", 0), log + ended.message
    assert "2 trials finished and 0 failed" in log
    assert log == jobs.logs(job.id)
    with Store.open(head.environ["SWEEPER_STORE"]) as store:
        assert store.account("short").done == 2
    told = json.dumps(jobs._client.get_job_info(job.id).model_dump(), default=str)
    assert SECRET not in told + log
    assert head.environ["SWEEPER_STORE"] not in told, "what the cluster knows stays there"


@pytest.mark.ray
def test_a_study_that_runs_is_not_run_twice_and_ends_with_a_checkpoint(
    jobs: Jobs, head: Head, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = sent(jobs, folder, "long")
    with pytest.raises(RequestError, match=f"by job {job.id} .*--follow shows it"):
        sent(jobs, folder, "long")
    await_checkpoint(jobs, job, Path(head.environ["SWEEPER_STORE"]))
    stopped = jobs.stop(job.id)
    assert (stopped.status, exit_code(stopped)) == ("STOPPED", 3)
    assert "nothing is lost" in jobs.logs(job.id)
    assert [each.study for each in jobs.all("long")] == ["long"]
    monkeypatch.setattr(Jobs, "all", lambda self, study=None: [])  # as if both had just looked
    with pytest.raises(RequestError, match="run with this store already"):
        sent(jobs, folder, "long")


@pytest.mark.ray
@pytest.mark.parametrize("token", ["disabled"], indirect=True)
def test_a_token_that_is_lacking_is_told(head: Head, token: None) -> None:
    with pytest.raises(ClusterError, match="asks for Ray's token, and none is sent"):
        Jobs(head.url)


@pytest.mark.parametrize(
    ("status", "code", "exits"),
    [
        ("SUCCEEDED", 0, 0),
        ("SUCCEEDED", None, 0),
        ("FAILED", 1, 1),
        ("FAILED", 3, 3),
        ("FAILED", -9, 4),
        ("FAILED", 137, 4),
        ("FAILED", None, 4),
        ("STOPPED", None, 3),
    ],
)
def test_the_exit_code_is_that_of_the_job(status: str, code: int | None, exits: int) -> None:
    job = Job(id="sweeper-a-1", study="a", store="s", status=status, exit_code=code)
    assert exit_code(job) == exits


def test_a_job_whose_dashboard_breaks_off_is_followed_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text, heard = "one\ntwo\nthree\n", threading.Event()

    class Client:
        async def tail_job_logs(self, job_id: str):  # type: ignore[no-untyped-def]
            for start in range(0, len(text), 3):
                if start > 6 and not heard.is_set():
                    heard.set()
                    raise RuntimeError("WebSocket closed")
                yield text[start : start + 3]

    monkeypatch.setattr("sweeper.engine.ray.jobs.job_server", lambda address: "http://head:1")
    monkeypatch.setattr("sweeper.engine.ray.jobs._client", lambda url: Client())
    monkeypatch.setattr("sweeper.engine.ray.jobs.LOOK_SECONDS", 0.0)
    ended = Job(id="sweeper-a-1", study="a", store="s", status="SUCCEEDED")
    monkeypatch.setattr(Jobs, "look", lambda self, job_id: ended)
    said: list[str] = []
    assert Jobs("http://head:1").follow("sweeper-a-1", said.append) == ended
    assert "".join(said) == text
    assert heard.is_set()

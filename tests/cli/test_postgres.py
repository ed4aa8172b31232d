"""The commands on a PostgreSQL store, files in a folder of their own."""

from __future__ import annotations

import re
import shlex
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_harness import Sweeper
from sqlalchemy import make_url

from sweeper.store.store import Store

DOCS = Path(__file__).resolve().parents[2] / "docs" / "store.md"

pytestmark = pytest.mark.postgres


def test_a_study_runs_and_answers_on_postgresql(
    sweeper: Sweeper, study: Path, postgres: str, tmp_path: Path
) -> None:
    run = sweeper("run", study, "--executor", "inline", "--store", postgres, "--json")
    assert run.document["run"]["finished"] == 72
    again = sweeper("run", study, "--executor", "inline", "--store", postgres, "--json")
    assert again.document["run"]["finished"] == 0
    status = sweeper("status", "planted", "--store", postgres, "--json").document
    assert status["done"] + status["diverged"] == status["declared"] == 72
    rows = sweeper("sql", "select count(*) n from marks", "--store", postgres, "--json")
    assert rows.document[0]["n"] == status["done"]
    out = tmp_path / "page"
    assert sweeper("report", "planted", "--store", postgres, "--out", out).code == 0
    assert list((tmp_path / "files" / "curves").rglob("*.parquet"))


def test_both_databases_give_the_same_answer(
    sweeper: Sweeper, finished: Path, postgres: str
) -> None:
    sweeper("run", finished, "--executor", "inline", "--store", postgres)
    here = sweeper("drift", "planted", "--json").document
    assert sweeper("drift", "planted", "--store", postgres, "--json").document == here


def test_a_role_that_may_only_read_is_answered(
    sweeper: Sweeper, finished: Path, postgres: str
) -> None:
    import psycopg

    sweeper("run", finished, "--executor", "inline", "--store", postgres)
    with psycopg.connect(postgres, autocommit=True) as link:
        schema = link.execute("select current_schema()").fetchone()
        assert schema is not None
        role = f"reader_{schema[0]}"
        link.execute(f"create role {role} login")
        link.execute(f"grant usage on schema {schema[0]} to {role}")
        link.execute(f"grant select on all tables in schema {schema[0]} to {role}")
        try:
            url = make_url(postgres).set(username=role).render_as_string(hide_password=False)
            for command in ("status", "drift", "fit", "verify"):
                answer = sweeper(command, "planted", "--store", url)
                assert answer.code == 0, answer.err
            assert sweeper("plan", finished, "--store", url).code == 0
            refused = sweeper("run", finished, "--executor", "inline", "--store", url)
            assert refused.code == 4
            assert "this role lacks a right" in refused.err
        finally:
            link.execute(f"drop owned by {role}")
            link.execute(f"drop role {role}")


def test_a_database_of_another_encoding_is_refused(sweeper: Sweeper, postgres_server: str) -> None:
    import psycopg

    create = "create database {} encoding '{}' lc_collate 'C' lc_ctype 'C' template template0"
    for encoding in ("SQL_ASCII", "LATIN1"):
        name = f"in_{encoding.lower()}"
        with psycopg.connect(postgres_server, autocommit=True) as link:
            link.execute(create.format(name, encoding))
        url = make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
        answer = sweeper("status", "--store", url)
        assert answer.code == 4
        assert f"its encoding is {encoding}" in answer.err
        assert "encoding 'UTF8' template template0" in answer.err


@pytest.fixture
def granted(
    postgres_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Yields the URL of a database that its owner has opened, for a role that has the grants of
    docs/store.md and nothing else."""
    import psycopg

    monkeypatch.setenv("SWEEPER_FILES", str(tmp_path / "files"))
    name = f"granted_{uuid.uuid4().hex[:12]}"
    (grants,) = re.findall(r"```sql\n(create role worker.*?)```", DOCS.read_text(), re.DOTALL)
    grants = grants.replace("worker", f"worker_{name}").replace(" sweeps ", f" {name} ")
    url = make_url(postgres_server).set(database=name)
    owner = url.render_as_string(hide_password=False)
    with psycopg.connect(postgres_server, autocommit=True) as link:
        link.execute(f"create database {name}")
    Store.open(owner, create=True).close()
    with psycopg.connect(owner, autocommit=True) as link:
        link.execute(grants)
    yield url.set(username=f"worker_{name}").render_as_string(hide_password=False)
    with psycopg.connect(owner, autocommit=True) as link:
        link.execute(f"drop owned by worker_{name}")
    with psycopg.connect(postgres_server, autocommit=True) as link:
        link.execute(f"drop database {name} with (force)")
        link.execute(f"drop role worker_{name}")


def test_a_role_with_the_grants_of_the_docs_runs_studies_and_can_do_nothing_else(
    sweeper: Sweeper, finished: Path, granted: str
) -> None:
    import psycopg

    run = sweeper("run", finished, "--executor", "inline", "--store", granted)
    assert run.code == 0, run.err
    key = sweeper("sql", "select key from trials", "--store", granted, "--json").document[0]["key"]
    for command in (
        ("status",),
        ("drift", "planted"),
        ("retry", "planted", "--key", key),
        ("run", finished, "--executor", "inline"),
        ("prune", "--withdrawn"),
        ("verify", "--repair"),
    ):
        answer = sweeper(*command, "--store", granted)
        assert answer.code == 0, answer.err
    with psycopg.connect(granted, autocommit=True) as link:
        for statement in (
            "drop table results",
            "alter table results add column x int",
            "create table mine (x int)",
            "truncate results",
            "update sweeper_schema set version_num = '9999'",
            "create role another",
            "create database another",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                link.execute(statement)


def test_a_store_moves_by_a_command(
    sweeper: Sweeper, finished: Path, postgres: str, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = sweeper("drift", "planted", "--json").document
    tried = sweeper("move-store", "--to", postgres, "--to-files", s3, "--dry-run", "--json")
    assert tried.document["rows"]["results"] == 72 and tried.document["copied_rows"] == 0

    moved = sweeper("move-store", "--to", postgres, "--to-files", s3)
    assert moved.code == 0, moved.err
    assert "nothing was removed from the old place" in moved.out
    assert f"SWEEPER_FILES={shlex.quote(s3)}" in moved.out
    again = sweeper("move-store", "--to", postgres, "--to-files", s3, "--json").document
    assert again["copied_rows"] == again["copied_files"] == 0
    assert again["files"] == 72 and again["files_at"] == s3

    monkeypatch.setenv("SWEEPER_STORE", postgres)
    monkeypatch.setenv("SWEEPER_FILES", s3)
    assert sweeper("drift", "planted", "--json").document == here
    assert sweeper("verify").code == 0
    run = sweeper("run", finished, "--executor", "inline", "--json")
    assert run.document["run"]["finished"] == 0
    back = sweeper("move-store", "--to", finished.parent / "the new")
    assert back.code == 0 and f"next: --store '{finished.parent / 'the new'}'" in back.out
    monkeypatch.setenv("SWEEPER_FILES", str(finished.parent / "empty"))
    lacking = sweeper("move-store", "--to-files", finished.parent / "other")
    assert "72 curves of results could not be moved" in lacking.err
    refused = sweeper("move-store")
    assert refused.code == 2 and "nothing would move" in refused.err

"""The commands on a PostgreSQL store, files in a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_harness import Sweeper
from sqlalchemy import make_url

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
            assert "you may not write there" in refused.err
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

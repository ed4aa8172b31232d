"""`sweeper doctor` on this machine alone, and stores and clusters out of reach."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cli_harness import Sweeper

from sweeper.store.store import Store


def test_a_machine_without_faults_is_said_to_be_well(sweeper: Sweeper, study: Path) -> None:
    answer = sweeper("doctor", study)
    assert answer.code == 0
    assert answer.out.startswith("all is well: 1 machine with ")
    assert "versions: sweeper " in answer.out
    document = sweeper("doctor", "--json").document
    assert (document["well"], document["cluster"]) == (True, None)
    (machine,) = document["machines"]
    assert (machine["writes"], machine["missing"], machine["fault"]) == (True, [], None)


def test_what_a_study_asks_for_and_no_machine_has_is_wrong(sweeper: Sweeper, study: Path) -> None:
    study.write_text(study.read_text() + "resources: {cpus: 1000}\n")
    answer = sweeper("doctor", study)
    assert answer.code == 4
    assert answer.out.startswith("1 thing is wrong:\n1. trials need 1000 CPUs")


def test_a_store_and_a_cluster_out_of_reach_are_both_told(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    url = "postgresql+psycopg://someone:hidden@127.0.0.1:1/nowhere"
    answer = sweeper("doctor", "--store", url, "--address", "127.0.0.1:1")
    assert answer.code == 4
    assert answer.out.startswith("2 things are wrong:")
    assert "no Ray cluster answers at '127.0.0.1:1'" in answer.out
    assert "hidden" not in answer.out + answer.err


@pytest.mark.postgres
def test_rights_that_a_role_lacks_are_named(sweeper: Sweeper, study: Path, postgres: str) -> None:
    import psycopg
    from sqlalchemy import make_url

    assert sweeper("doctor", "--store", postgres).code == 0
    url = make_url(postgres)
    options = str(url.query["options"])
    schema = options.rpartition("=")[2]
    link = url.set(query={k: v for k, v in url.query.items() if k != "options"})
    plain = link.render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"create role {schema} login")
        connection.execute(f"grant usage on schema {schema} to {schema}")
        connection.execute(
            f"grant select, insert, update on all tables in schema {schema} to {schema}"
        )
        try:
            role = url.set(username=schema).render_as_string(hide_password=False)
            answer = sweeper("doctor", "--store", role)
        finally:
            connection.execute(f"drop owned by {schema}")
            connection.execute(f"drop role {schema}")
    assert answer.code == 4
    assert "this role may not delete on studies, delete on trials" in answer.out


@pytest.mark.postgres
def test_a_database_whose_clock_is_off_is_told(
    sweeper: Sweeper, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = timedelta(seconds=3)
    monkeypatch.setattr(Store, "time", lambda store: datetime.now(UTC) - late)
    answer = sweeper("doctor", "--store", postgres)
    assert answer.code == 4
    assert "s behind that of this machine" in answer.out

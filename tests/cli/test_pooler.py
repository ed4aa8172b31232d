"""A PostgreSQL store behind a pooler that hands each transaction to another session."""

from __future__ import annotations

import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from cli_harness import Sweeper
from engine_studies import adds_up, attempts_of, planted
from transaction_pooler import SOCKET, TransactionPooler

from sweeper.engine.run import Run
from sweeper.store.store import Store

pytestmark = pytest.mark.postgres


@pytest.fixture
def pooled(
    postgres_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[TransactionPooler, str]]:
    """Yields a pooler, and the URL of an empty database behind it."""
    import psycopg

    monkeypatch.setenv("SWEEPER_FILES", str(tmp_path / "files"))
    name = f"pooled_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as link:
        link.execute(f"create database {name}")
    folder = Path(tempfile.mkdtemp(prefix="sweeper-pooler-"))
    host = parse_qs(urlsplit(postgres_server).query)["host"][0]
    pooler = TransactionPooler(Path(host) / SOCKET, folder)
    yield pooler, f"postgresql://postgres@/{name}?host={quote(str(folder), safe='/')}"
    pooler.close()
    shutil.rmtree(folder)
    with psycopg.connect(postgres_server, autocommit=True) as link:
        link.execute(f"drop database {name} with (force)")


def test_two_controllers_share_a_study_through_a_pooler(
    pooled: tuple[TransactionPooler, str],
) -> None:
    pooler, url = pooled
    asked = planted(sweep={"width": [32, 64, 128], "seed": [0, 1]})
    with Store.open(url, create=True) as one, Store.open(url) as two:
        runs = [Run(asked, store, executor="inline") for store in (one, two)]
        other = threading.Thread(target=runs[1].execute)
        other.start()
        runs[0].execute()
        other.join()

        assert attempts_of(one) == [("completed",)] * 18, "each was trained once"
        assert adds_up(one, asked.name)
        assert one.query("select count(*) from results").rows == [(18,)]
    assert pooler.transactions > 100


def test_commands_answer_through_a_pooler(
    sweeper: Sweeper, finished: Path, pooled: tuple[TransactionPooler, str]
) -> None:
    _, url = pooled
    assert sweeper("run", finished, "--executor", "inline", "--store", url).code == 0
    for command in (("status",), ("drift", "planted"), ("verify",), ("prune",)):
        answer = sweeper(*command, "--store", url)
        assert answer.code == 0, answer.err
    rows = sweeper("sql", "select count(*) n from results", "--store", url, "--json").document
    assert rows[0]["n"] == 72
    zone = sweeper("sql", "show timezone", "--store", url, "--json").document
    assert zone[0]["TimeZone"] == "UTC"
    twice = sweeper("sql", "select 1; select 2", "--store", url)
    assert twice.code == 2 and "multiple commands" in twice.err


def test_a_session_setting_is_refused_with_what_a_pooler_says(
    sweeper: Sweeper, pooled: tuple[TransactionPooler, str]
) -> None:
    answer = sweeper("status", "--store", f"{pooled[1]}&options=-csearch_path%3Dx")

    assert answer.code == 4
    assert "unsupported startup parameter: options" in answer.err
    assert "pooler" in answer.err

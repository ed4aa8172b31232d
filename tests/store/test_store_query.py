"""A person's SQL reads everything and changes nothing, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from on_disk import on_disk
from sample_store import dump, outcome, save

from sweeper.errors import RequestError
from sweeper.store.query import json_rows, plain, require_reading
from sweeper.store.records import Table
from sweeper.store.store import Store

WRITES = (
    "delete from marks",
    "insert into studies select * from studies",
    "update results set objective = 0",
    "drop table marks",
    "create table mine (a int)",
    "begin; delete from marks; commit",
    "rollback; delete from marks",
    "commit; delete from marks",
    "vacuum",
    "pragma query_only = 0",
    "pragma writable_schema = 1",
    "set transaction read write; delete from marks",
    "with gone as (delete from marks returning *) select * from gone",
    "select * into mine from marks",
    "do $$ begin delete from marks; end $$",
    "copy studies to program 'true'",
    "/* a /* note */ -- */ copy studies to program 'true'",
    "-- a note\ncopy (select 1) to '/tmp/anywhere'",
    "call nothing()",
    "set role postgres",
    "explain analyze delete from marks",
)


def test_a_query_answers_with_columns_and_plain_rows(store: Store) -> None:
    keys = save(store, 2)
    store.record(outcome(keys[0], attempt=0), objective=2.5)

    answer = store.query(
        "select count(*) as n, sum(step) as steps, max(metrics ->> 'val_loss') as loss "
        "from results"
    )

    assert answer.columns == ("n", "steps", "loss")
    assert [str(value) for value in answer.rows[0]] == ["1", "10", "2.5"]
    assert all(type(value) in (int, float, str) for value in answer.rows[0])
    assert isinstance(store.query("select accepted_at from results").rows[0][0], str)
    assert isinstance(store.query("select config from trials").rows[0][0], str)


def test_a_query_takes_parameters_as_the_database_writes_them(store: Store) -> None:
    keys = save(store, 2)
    mark = "?" if on_disk(store.paths).database.exists() else "%s"

    answer = store.query(f"select key from trials where key = {mark}", [keys[1]])

    assert answer == Table(("key",), [(keys[1],)])


def test_a_percent_sign_needs_no_care(store: Store) -> None:
    save(store, 1)

    assert store.query("select name from studies where name like 'w%'").rows == [("widths",)]


def test_nothing_can_be_written_with_a_query(store: Store) -> None:
    keys = save(store, 1)
    store.record(outcome(keys[0], attempt=0), objective=2.5)
    before = dump(store)

    for sql in WRITES:
        with pytest.raises(RequestError, match=r"^sql: .*one statement that reads is allowed"):
            store.query(sql)

        assert dump(store) == before, sql


@pytest.mark.parametrize("sql", ["selekt 1", "select * from trails", "", "select ?, %s"])
def test_a_wrong_statement_is_answered_in_the_words_of_the_database(
    store: Store, sql: str
) -> None:
    with pytest.raises(RequestError, match=r"^sql: ") as caught:
        store.query(sql)

    assert "the tables are studies, trials" in str(caught.value)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Where tests run side by side, their processes ignore an interrupt."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_endless_query_is_ended_by_an_interrupt(store: Store) -> None:
    endless = "with recursive c(x) as (select 1 union all select 1 from c) select count(*) from c"
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        store.query(endless)
    assert store.query("select 1").rows == [(1,)]


def test_a_text_that_is_not_utf8_is_shown_as_bytes_and_hides_no_other(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store", create=True) as store:
        answer = store.query("select cast(x'41ff' as text), 'ü' union select 'b', 'c' order by 2")
    assert answer.rows == [("b", "c"), ("\\x41ff", "ü")]


def test_no_other_file_can_be_made_or_opened_from_a_query(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store", create=True) as store:
        for sql in (
            f"attach '{tmp_path}/other.db' as other",
            f"vacuum into '{tmp_path}/other.db'",
            "select load_extension('x')",
        ):
            with pytest.raises(RequestError):
                store.query(sql)
        assert store.query("pragma table_info(marks)").rows

    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


@pytest.mark.parametrize(
    "sql",
    ["(select 1)", "/* note */ select 1", "-- note\n values (1)", "WITH x AS (select 1) TABLE x"],
)
def test_what_reads_may_begin_in_any_way(sql: str) -> None:
    require_reading(sql)


def test_every_value_has_a_form_in_json() -> None:
    values = (math.nan, math.inf, -math.inf, b"\x01", uuid.UUID(int=1), date(2026, 1, 2))
    more = (Decimal("Infinity"), Decimal("NaN"), Decimal("2"), [Decimal("1.5")], timedelta(1))
    row = tuple(plain(value) for value in (*values, *more, None, True))
    (said,) = json_rows(Table(("a",) * len(row), [row]))
    assert len(said) == len(row) and json.dumps(said, allow_nan=False)
    assert (said["a"], said["a_2"], said["a_4"], said["a_9"]) == ("NaN", "Infinity", "\\x01", 2)


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("'infinity'::timestamptz", "infinity"),
        ("'0044-03-15 BC'::date", "0044-03-15 BC"),
        ("'24:00'::time", "24:00:00"),
        ("interval '1 month 1 day'", "1 mon 1 day"),
        ("array['-infinity'::date, null]", '["-infinity", null]'),
        ("repeat('9', 5000)::numeric", "9" * 5000),
        ("repeat('9', 5000)::json", "9" * 5000),
        ("'2026-01-02'::timestamp", "2026-01-02 00:00:00.000000"),
    ],
)
def test_a_value_that_python_has_no_form_of_is_told_as_the_server_does(
    postgres: str, sql: str, said: str
) -> None:
    with Store.open(postgres, create=True) as store:
        assert store.query(f"select {sql}").rows == [(said,)]


def test_columns_of_one_name_are_all_told(store: Store) -> None:
    answer = store.query("select 1 as a, 2 as a, 3 as a_2")
    assert list(json_rows(answer)[0].values()) == [1, 2, 3]

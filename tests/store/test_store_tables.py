"""What the columns make of text and numbers, and what complaints of databases mean."""

from __future__ import annotations

import json
import math
import sqlite3

import pytest

from sweeper.store.faults import store_fault
from sweeper.store.tables import finite, json_text, plain_text


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_no_number(value: float | None) -> None:
    assert finite(value) is None


def test_json_keeps_finite_numbers_exactly_and_drops_the_others() -> None:
    document = {"a": [0.1, math.nan, {"b": math.inf}], "c": 1e-300, "d": (1, True, None)}

    assert json.loads(json_text(document)) == {
        "a": [0.1, None, {"b": None}],
        "c": 1e-300,
        "d": [1, True, None],
    }


def test_json_of_broken_text_is_json_that_reads_back_the_same() -> None:
    document = {"error": "x\udc80\0é"}

    text = json_text(document)

    text.encode("utf-8")
    assert json.loads(text) == document


def test_plain_text_keeps_every_language_and_escapes_the_rest() -> None:
    assert plain_text("größe 宽度 🙂\n") == "größe 宽度 🙂\n"
    assert plain_text("a\udc80b\0") == "a\\udc80b\\x00"


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("database disk image is malformed", "backup"),
        ("database or disk is full", "free some space"),
        ("database is locked", "another program has been writing"),
        ("canceling statement due to lock timeout", "another program has been writing"),
        ("unable to open database file", "its folder exists"),
        ("attempt to write a readonly database", "you may not write there"),
        ("permission denied for table trials", "this role lacks a right"),
        ("FOREIGN KEY constraint failed", "saved with its study"),
        ('FATAL: password authentication failed for user "me"', "check the user"),
        ('connection failed: FATAL: database "x" does not exist', "name of the database"),
        ("connection refused", "check that the server runs"),
    ],
)
def test_a_complaint_is_passed_on_with_the_place_and_what_to_do(words: str, advice: str) -> None:
    message = str(store_fault("/the/place", sqlite3.OperationalError(f"{words}\n  more")))

    assert message.startswith(f"store /the/place: {words} more; ")
    assert advice in message


def test_an_unknown_complaint_is_passed_on_as_it_is() -> None:
    assert str(store_fault("here", RuntimeError("?"))) == "store here: ?"
    assert str(store_fault("here", RuntimeError())) == "store here: RuntimeError"

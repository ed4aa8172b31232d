"""Outcomes in words."""

from __future__ import annotations

import pytest

from sweeper.outcome import cause, last_line


@pytest.mark.parametrize(
    ("error", "said", "whole"),
    [
        ("Traceback\n  File ...\nValueError: no\n", "ValueError: no", "bug: ValueError: no"),
        ("  \n", "", "bug"),
        ("", "", "bug"),
        (None, "", "bug"),
    ],
)
def test_a_cause_is_the_last_line_of_an_error(error: str | None, said: str, whole: str) -> None:
    assert last_line(error) == said
    assert cause("bug", error) == whole

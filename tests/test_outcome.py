"""Outcomes in words."""

from __future__ import annotations

import pytest

from sweeper.outcome import cause, first_line


@pytest.mark.parametrize(
    ("error", "said", "whole"),
    [
        ("Traceback\n  File ...\nValueError: no\n", "ValueError: no", "bug: ValueError: no"),
        ("ValueError: no\n\nTraceback\n  F\nValueError: no\nhint", "ValueError: no", None),
        ("Traceback (most\n  File\nE: no\n\nTraceback (m\n  F\nF: so\nhint\n", "F: so", None),
        ("given up\nafter all", "given up", "bug: given up"),
        ("  \n", "", "bug"),
        ("", "", "bug"),
        (None, "", "bug"),
    ],
)
def test_a_cause_is_one_line_of_an_error(error: str | None, said: str, whole: str | None) -> None:
    assert first_line(error) == said
    assert cause("bug", error) == (whole or f"bug: {said}")

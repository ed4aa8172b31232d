"""The page on published sweeps is what its script prints, and its commands are those that run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.published import (
    COMPARE,
    DRIFT,
    FIT,
    IMPORTS,
    PREDICT,
    THREE_POINTS,
    TRANSFER,
    inside_words,
    page,
)

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "tests/fixtures/published"
PAGE = (ROOT / "docs/results/published.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def numbers(text: str) -> list[float]:
    return [float(found) for found in NUMBER.findall(text)]


def test_the_commands_of_the_page_are_those_of_the_script() -> None:
    shown = [line[2:] for line in PAGE.splitlines() if line.startswith("$ ")]
    assert shown == [*IMPORTS, *PREDICT.values(), FIT, DRIFT, THREE_POINTS, TRANSFER, COMPARE]


def test_an_interval_that_is_open_on_both_sides_says_nothing() -> None:
    assert inside_words(None, None, 0.0) == "open"
    assert [inside_words(None, 1.0, x) for x in (0.0, 2.0)] == ["yes", "no"]
    assert [inside_words(-1.0, None, x) for x in (-2.0, 0.0)] == ["no", "yes"]
    assert inside_words(-1.0, 1.0, 1.0) == "yes"


def test_the_page_is_what_the_script_prints() -> None:
    printed = "\n".join(page(PUBLISHED)).rstrip()
    # Words and verdicts have to agree, numbers up to what rounding does elsewhere.
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", PAGE.rstrip())
    assert numbers(printed) == pytest.approx(numbers(PAGE), rel=0.02, abs=0.011)

"""Outcomes as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from sweeper.outcome import Mark, Outcome
from sweeper.store.files.sealed import outcome_of, outcome_text, seal

OUTCOME = Outcome(
    key="ab" * 32,
    attempt=3,
    kind="completed",
    metrics={"val_loss": 0.1 + 0.2, "train_loss": 5e-324},
    step=12,
    tokens=768,
    flops=1.25e15,
    device_seconds=2.000000000000001,
    wall_seconds=3.5,
    device="some processor",
    host="somewhere",
    environment={"python": "3.12.1", "threads": 2, "commit": None},
    marks=(Mark(step=4, tokens=256, metric="val_loss", value=1 / 3),),
    curve="curves/ab/file.parquet",
)


def test_an_outcome_comes_back_bit_for_bit() -> None:
    assert outcome_of(outcome_text(OUTCOME)) == OUTCOME
    diverged = Outcome(key="cd" * 32, attempt=1, kind="diverged", error="a \ud800 \0 text")
    assert outcome_of(outcome_text(diverged)) == diverged


def test_numbers_that_are_not_finite_survive() -> None:
    marks = (Mark(step=1, tokens=1, metric="m", value=-math.inf),)
    given = replace(OUTCOME, metrics={"a": math.nan, "b": math.inf}, flops=math.inf, marks=marks)
    found = outcome_of(outcome_text(given))
    assert math.isnan(found.metrics["a"])
    assert (found.metrics["b"], found.flops, found.marks) == (math.inf, math.inf, marks)


def altered(**changes: Any) -> str:
    document = json.loads(outcome_text(OUTCOME)) | changes
    del document["sha256"]
    return seal({name: value for name, value in document.items() if value != "gone"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (altered(version=2), "version 2, and this sweeper knows version 1"),
        (altered(version="gone"), "version None"),
        (altered(kind="finished"), "lacks fields or has unknown ones"),
        (altered(kind="gone"), "lacks fields or has unknown ones"),
        (altered(metrics=[1]), "values of another kind"),
        (altered(marks=[{"step": 1}]), "values of another kind"),
        (altered(step="7"), "a step of another kind"),
        (altered(environment=None), "an? environment of another kind"),
        ("[" * 100_000, "not JSON"),
        (altered(colour="red"), "lacks fields or has unknown ones"),
        (outcome_text(OUTCOME).replace("768", "769"), "sha256"),
        (outcome_text(OUTCOME)[:-1], "not JSON"),
    ],
)
def test_an_outcome_that_cannot_be_trusted_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        outcome_of(text)

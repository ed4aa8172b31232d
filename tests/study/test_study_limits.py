"""Limits: what is too large is refused before it is gone through, and long answers are cut."""

from __future__ import annotations

from typing import Any

import pytest

from sweeper.errors import MAX_FAULTS, MAX_LISTED, Fault, StudyError, suggestion
from sweeper.study.study import Study

EVERY_OPTIMIZER = ["sgd", "adamw", "adopt", "lamb", "sophia", "muon", "adamuon", "shampoo", "soap"]


def _study(workload: str = "planted", **sweep: Any) -> Study:
    axes = {"width": [32, 64], "learning_rate": [0.1]} | sweep
    return Study.from_document(
        {"name": "large", "workload": workload, "scale": "width", "sweep": axes}
    )


@pytest.mark.parametrize(
    ("workload", "sweep", "words"),
    [
        (
            "planted",
            {"learning_rate": {"log2": [-9, 0], "step": 0.001}, "noise": list(range(9_000))},
            r"162,018,000 points are more than 200,000",
        ),
        (
            "planted",
            {"learning_rate": {"log2": [-9, 0], "step": 0.1}, "seed": list(range(9_000))},
            r"1,638,000 trials are more than 1,000,000; .* fewer seeds",
        ),
        (
            "llama",
            {
                "optimizer": EVERY_OPTIMIZER,
                "others": EVERY_OPTIMIZER,
                "graft": ["none", "sgd", "adam"],
                "parametrization": ["sp", "mup", "spectral", "moonlight", "completep", "ntk"],
                "weight_decay_rule": ["none", "inverse_width", "timescale"],
                "positions": ["rope", "learned"],
            },
            r"8,748 combinations of variants and of settings that decide",
        ),
    ],
    ids=["points", "cells", "branches"],
)
@pytest.mark.timeout(60)
def test_a_study_of_billions_is_refused_before_it_is_laid_out(
    workload: str, sweep: dict[str, Any], words: str
) -> None:
    with pytest.raises(StudyError, match=words) as caught:
        _study(workload, **sweep)
    assert "sweep" in [fault.key for fault in caught.value.faults]


def test_variants_that_are_the_same_are_found_among_many() -> None:
    variants = {f"v{index}": {"noise": index / 1000} for index in range(300)}
    document = _study().document | {"variants": variants | {"again": {"noise": 0.007}}}
    with pytest.raises(StudyError, match="variant again is the same as variant v7; remove one"):
        Study.from_document(document)


def test_faults_of_one_list_are_counted_not_listed() -> None:
    with pytest.raises(StudyError) as caught:
        _study(width=[32, *["x"] * 100])
    assert len(caught.value.faults) == 6
    assert "sweep.width: ... and 95 more faults of this kind" in str(caught.value)


def test_a_message_lists_so_many_faults_and_says_how_many_more_there_are() -> None:
    count = MAX_FAULTS + 7
    faults = [Fault(file="f", line=line + 1, key="k", message="m") for line in range(count)]
    error = StudyError(faults)
    assert len(error.faults) == count
    assert str(error).splitlines()[-1] == "... and 7 more faults"
    assert len(str(error).splitlines()) == MAX_FAULTS + 1


def test_of_many_known_names_the_nearest_are_listed() -> None:
    known = [f"setting_{number}" for number in range(100)]
    said = suggestion("setting_77x", known)
    assert said.startswith("did you mean 'setting_77'?")
    assert f"and {100 - MAX_LISTED} more" in said
    assert "setting_77," in said


def test_a_key_that_cannot_be_printed_is_escaped_and_a_long_one_cut() -> None:
    with pytest.raises(StudyError) as caught:
        Study.from_document(
            _study().document | {"fixed": {"\x1b[31m": 1, "x" * 5_000: 1}, "\u202e": 1}
        )
    said = str(caught.value)
    assert all(line.isprintable() and len(line) < 800 for line in said.splitlines())
    assert r"fixed.\x1b[31m: workload planted has no setting" in said

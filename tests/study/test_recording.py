"""What a study has recorded on the way: how it is written, and that no trial depends on it."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sweeper.study.plan import expand
from sweeper.study.schema import study_schema
from sweeper.study.study import Study

VALIDATOR = Draft202012Validator(study_schema())


def _document(**sections: Any) -> dict[str, Any]:
    return {
        "name": "recorded",
        "workload": "mlp",
        "scale": "width",
        "fixed": {"steps": 40, "base_width": 16},
        "sweep": {"width": [16, 32], "learning_rate": [0.01]},
        **sections,
    }


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("updates", {"quantities": ["updates"]}),
        (["updates", "activations"], {"quantities": ["updates", "activations"]}),
        ({"quantities": ["updates"], "every": 5}, {"quantities": ["updates"], "every": 5}),
        ({"quantities": "updates"}, None),
        (
            {"quantities": ["updates"], "steps": [1, 9]},
            {"quantities": ["updates"], "steps": [1, 9]},
        ),
    ],
)
def test_recording_is_written_in_short_or_in_full(written: Any, kept: Any) -> None:
    document = _document(record=written)
    if kept is None:
        assert list(VALIDATOR.iter_errors(document))
        return
    VALIDATOR.validate(document)
    study = Study.from_document(document)
    assert study.document["record"] == kept
    assert Study.from_document(study.document).recording == study.recording
    assert study.recording is not None


def test_recording_is_no_part_of_a_trial_nor_of_a_document_that_asks_for_none() -> None:
    plain, recorded = (
        Study.from_document(_document(**each)) for each in ({}, {"record": ["updates"]})
    )
    assert [each.trial.key for each in expand(plain)] == [
        each.trial.key for each in expand(recorded)
    ]
    assert "record" not in plain.document
    assert plain.recording is None

"""What a search asks of its study is asked when the study is read."""

from __future__ import annotations

from typing import Any

import pytest
from engine_studies import planted

from sweeper.errors import StudyError
from sweeper.study.sections import Search
from sweeper.study.values import search_methods

RATES = {"log2": [-6, -2]}
CLAIM = {"hyperparameter": "learning_rate", "exponent": 0, "tolerance": 0.1}


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"search": {"method": "ladder"}, "sweep": {"width": [32]}}, "width has one value"),
        ({"search": {"method": "telescope"}, "sweep": {"width": [32]}}, "width has one value"),
        ({"search": {"method": "telescope"}, "sweep": {"learning_rate": [0.1]}}, "nothing to"),
        ({"search": {"method": "telescope", "shrink": 2}}, "shrink: 2 is above 1"),
        ({"search": {"method": "ladder", "until": "verdict"}}, "until: verdict needs a claim"),
        ({"search": {"method": "ladder"}, "sweep": {"learning_rate": [0.1]}}, "nothing to tune"),
        (
            {
                "search": {"method": "ladder"},
                "sweep": {"curvature": [0.1, 0.2], "drift": [0.1, 0.2]},
            },
            "claim which",
        ),
        ({"search": {"seeds": "auto"}, "sweep": {"seed": [0, 1]}}, "claims nothing"),
        ({"search": {"seeds": "auto"}, "claims": [CLAIM]}, "no seeds to add"),
        ({"search": {"refine": 0.1}, "sweep": {"learning_rate": [0.1]}}, "nothing to tune"),
        ({"search": {"refine": 0.1, "most": 3}}, "most has no effect on method grid"),
    ],
)
def test_what_a_search_cannot_do_is_refused(sections: dict[str, Any], says: str) -> None:
    sweep = {"width": [32, 64], "learning_rate": RATES, **sections.pop("sweep", {})}
    with pytest.raises(StudyError, match=says):
        planted(sweep=sweep, **sections)


def test_options_are_those_of_methods_that_there_are() -> None:
    assert set(Search.OPTIONS) >= set(search_methods())
    named = {name for names in Search.OPTIONS.values() for name in names}
    assert named == set(Search.model_fields) - {"method"}


def test_a_document_keeps_the_options_that_are_set() -> None:
    study = planted(sweep={"width": [32, 64], "learning_rate": RATES}, search={"method": "ladder"})
    kept = study.document["search"]
    assert kept["method"] == "ladder" and kept["until"] == "optimum"
    assert planted().document["search"] == {"method": "grid"}
    again = type(study).from_document(study.document)
    assert again.document == study.document

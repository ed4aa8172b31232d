"""Mutated study files: whatever is in the file, the answer is a study or a StudyError."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from long_form import LONG, draws

from sweeper.errors import StudyError
from sweeper.study.source import parse_source
from sweeper.study.study import Study

STUDIES = Path(__file__).parents[2] / "studies"
LINES = (STUDIES / "muon_width.yaml").read_text().splitlines()
TEXTS = [
    "",
    "  ",
    "\t",
    "- 1",
    "a: b",
    "{",
    "]",
    "sweep:",
    "fixed: 3",
    "variants: [sp]",
    "  seed: -1",
    "  width: {log2: [5, 8], step: 0.5}",
    "<<: *a",
    "? x",
    "&a *a",
    "%TAG",
    "---",
    "!!int x",
    "name: 'x",
]
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    10**400,
    0.5,
    1e100,
    float("nan"),
    float("inf"),
    "",
    "x",
    "2**-4",
    "9" * 350,
    [],
    [None],
    [[1]],
    [{}],
    {},
    {"log2": [0, 1]},
    {"log2": [-1e308, 1e308]},
    {"geometric": [1e-300, 1e300], "count": 3},
    {"x": 1},
    {1: 2},
    {None: 3},
    (1, 2),
    "muon",
    "adamw",
    "width",
    "quadratic_card:CARD",
    "os:getcwd",
]
quick = settings(
    max_examples=draws(50, 200), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def _study_or_faults(make: Any) -> None:
    try:
        study = make()
    except StudyError as error:
        assert error.faults
        assert all(fault.message.strip() for fault in error.faults)
    else:
        assert next(study.cells())
        assert Study.from_document(study.document).document == study.document


def _of_text(text: str) -> Study:
    source = parse_source(text, "mutated.yaml")
    return Study.model_validate(source.data, context=source)


edits = st.lists(
    st.tuples(
        st.integers(0, len(LINES) - 1),
        st.sampled_from(["delete", "repeat", "replace", "indent", "swap"]),
        st.sampled_from(TEXTS),
        st.integers(0, len(LINES) - 1),
    ),
    min_size=1,
    max_size=4,
)


@quick
@given(edits)
def test_a_file_with_mutated_lines_is_a_study_or_has_faults(
    edits: list[tuple[int, str, str, int]],
) -> None:
    lines = list(LINES)
    for index, kind, text, other in edits:
        match kind:
            case "delete":
                lines[index] = ""
            case "repeat":
                lines[index] += "\n" + lines[index]
            case "replace":
                lines[index] = text
            case "indent":
                lines[index] = "  " + lines[index]
            case _:
                lines[index], lines[other] = lines[other], lines[index]
    _study_or_faults(lambda: _of_text("\n".join(lines)))


def _places(node: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    return [place, *(p for key, value in inside for p in _places(value, (*place, key)))]


TREE = yaml.safe_load("\n".join(LINES))
TREE |= {
    "sweep": {"width": [32, 64], "learning_rate": {"log2": [-4, -2]}, "seed": [0, 1]},
    "search": {"method": "grid"},
    "budget": {"flops": 1e15, "trials": 3, "hours": 1},
    "resources": {"cpus": 1, "gpus": {"32": 0.5}, "pack": "auto"},
}
PLACES = _places(TREE)[1:]


@quick
@given(
    st.lists(
        st.tuples(
            st.sampled_from(PLACES), st.sampled_from(["delete", "replace"]), st.sampled_from(ODD)
        ),
        min_size=1,
        max_size=3,
    )
)
def test_a_document_with_mutated_nodes_is_a_study_or_has_faults(
    edits: list[tuple[tuple[Any, ...], str, Any]],
) -> None:
    tree = copy.deepcopy(TREE)
    for place, kind, value in edits:
        parent = tree
        for step in place[:-1]:
            parent = parent[step] if _has(parent, step) else None
        if not _has(parent, place[-1]):
            continue
        if kind == "delete":
            del parent[place[-1]]
        else:
            parent[place[-1]] = copy.deepcopy(value)
    _study_or_faults(lambda: Study.from_document(tree))


def _has(parent: Any, step: Any) -> bool:
    if isinstance(parent, dict):
        return step in parent
    return isinstance(parent, list) and isinstance(step, int) and step < len(parent)


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_node_may_hold_any_odd_value(place: tuple[Any, ...]) -> None:
    tree = copy.deepcopy(TREE)
    parent = tree
    for step in place[:-1]:
        parent = parent[step]
    # In short every fifth one, others at each place.
    for value in ODD if LONG else ODD[PLACES.index(place) % 5 :: 5]:
        parent[place[-1]] = copy.deepcopy(value)
        _study_or_faults(lambda: Study.from_document(tree))


@quick
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_any_text_at_all_is_a_study_or_has_faults(text: str) -> None:
    _study_or_faults(lambda: _of_text(text))

"""Errors carry their exit code and say all that they know."""

from __future__ import annotations

import pytest

from sweeper import errors
from sweeper.errors import Fault, StudyError, SweeperError, UnknownNameError


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("RequestError", 2),
        ("StudyError", 2),
        ("UnknownNameError", 2),
        ("AnalysisRefusal", 2),
        ("Interrupted", 3),
        ("EnvironmentFault", 4),
        ("StoreError", 4),
        ("ClusterError", 4),
        ("DataError", 4),
    ],
)
def test_every_error_has_the_exit_code_of_its_branch(name: str, code: int) -> None:
    assert getattr(errors, name).exit_code == code


def test_the_tree_in_the_docstring_names_every_error() -> None:
    assert errors.__doc__ is not None
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    for kind in kinds:
        if issubclass(kind, SweeperError):
            assert kind.__name__ in errors.__doc__


def test_a_study_error_lists_its_faults_by_line() -> None:
    late = Fault(file="s.yaml", line=9, key="sweep.width", message="is empty")
    early = Fault(file="s.yaml", line=2, key="scale", message="is unknown")
    assert str(StudyError([late, early])) == (
        "s.yaml:2: scale: is unknown\ns.yaml:9: sweep.width: is empty"
    )


def test_a_fault_without_a_line_names_file_and_key() -> None:
    fault = Fault(file="s.yaml", line=None, key="scale", message="is missing")
    assert str(fault) == "s.yaml: scale: is missing"


def test_an_unknown_name_suggests_the_nearest_and_lists_all() -> None:
    message = str(UnknownNameError("study", "muon_widht", ["muon_width", "adamw_width"]))
    assert message == (
        "no study named 'muon_widht'; did you mean 'muon_width'? known: adamw_width, muon_width"
    )


def test_an_unknown_name_says_when_there_are_none() -> None:
    assert "there are none yet" in str(UnknownNameError("study", "x", []))

"""Broken study files: each kind of fault has one clear message with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_study_cases import ALSO, BAD, CASCADES, GOOD

from sweeper.errors import StudyError
from sweeper.study.study import Study, load_study


def _faults(tmp_path: Path, text: str) -> StudyError:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(StudyError) as caught:
        load_study(path)
    return caught.value


def test_the_unbroken_study_loads(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(GOOD)
    assert load_study(path).num_cells == 64


@pytest.mark.parametrize("name", BAD)
def test_a_broken_study_says_where_and_what(name: str, tmp_path: Path) -> None:
    bad = BAD[name]
    text = GOOD
    for old, new in filter(None, ((bad.old, bad.new), ALSO.get(name))):
        assert text.count(old) == 1
        text = text.replace(old, new)
    error = _faults(tmp_path, text)
    place = f"{tmp_path / 'study.yaml'}" + (f":{bad.line}" if bad.line else "")
    fault = next(fault for fault in error.faults if fault.key == bad.key)
    assert str(fault).startswith(f"{place}: {bad.key}" if bad.key else f"{place}: ")
    for words in bad.says:
        assert words in fault.message
    assert name in CASCADES or len(error.faults) == 1, str(error)


def test_all_faults_of_a_file_come_in_one_answer_in_the_order_of_the_file(
    tmp_path: Path,
) -> None:
    text = (
        GOOD.replace("name: probe", "name: pro be")
        .replace("steps: 100", "steps: 100, wieght_decay: 1")
        .replace("[32, 64]", "[32, 40]")
        .replace("method: grid", "method: smac")
        .replace("val_loss", "loss")
        .replace("cpus: 1", "cpus: -1")
        .replace("tolerance: 0.15", "tolerance: 0")
        + "extra: 1\n"
    )
    error = _faults(tmp_path, text)
    assert [(fault.line, fault.key) for fault in error.faults] == [
        (1, "name"),
        (4, "fixed.wieght_decay"),
        (9, "sweep.width"),
        (12, "search.method"),
        (13, "objective.metric"),
        (15, "resources.cpus"),
        (17, "claims[0].tolerance"),
        (18, "extra"),
    ]


def test_many_refused_combinations_at_one_place_are_counted_not_listed(tmp_path: Path) -> None:
    widths = ", ".join(str(width) for width in range(33, 47))
    error = _faults(tmp_path, GOOD.replace("[32, 64]", f"[32, {widths}]"))
    assert len(error.faults) == 6
    assert "... and 9 more" in str(error)


def test_a_fault_of_a_document_names_the_study_instead_of_a_file() -> None:
    with pytest.raises(StudyError, match=r"^study probe: workload: is missing"):
        Study.from_document({"name": "probe", "scale": "width", "sweep": {"width": [1]}})

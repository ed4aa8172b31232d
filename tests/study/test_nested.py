"""Settings with a dot in their name may be written as nested mappings."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.errors import StudyError
from sweeper.study.schema import nested_schema
from sweeper.study.settings import given_settings, place_of, siblings
from sweeper.study.study import Study, load_study

KNOWN = ("width", "custom.hidden.init", "custom.hidden.epsilon", "custom.readout.init")

GOOD = """\
name: probe
workload: llama
scale: width
fixed:
  steps: 10
  base_width: 32
  parametrization: custom
  custom:
    hidden: {learning_rate: -1}
    readout.learning_rate: -1
variants:
  plain: {}
  other:
    custom: {hidden: {learning_rate: -0.5}}
  swept:
    sweep: {custom.readout.init: [-1, -0.75]}
sweep: {width: [32, 64], learning_rate: [0.01]}
"""


def study(tmp_path: Path, text: str) -> Study:
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return load_study(path)


def test_nested_settings_have_their_full_names_and_variants_override_them(tmp_path: Path) -> None:
    loaded = study(tmp_path, GOOD)
    found = {
        (variant, cell["custom.hidden.learning_rate"], cell.get("custom.readout.init"))
        for variant, cell, _ in loaded.cells()
    }
    assert found == {
        ("plain", -1.0, None),
        ("other", -0.5, None),
        ("swept", -1.0, -1.0),
        ("swept", -1.0, -0.75),
    }


def test_a_study_with_nested_settings_survives_its_document(tmp_path: Path) -> None:
    loaded = study(tmp_path, GOOD)
    again = Study.from_document(loaded.document)
    assert list(again.cells()) == list(loaded.cells())
    assert again.document == loaded.document
    assert loaded.document["fixed"]["custom.hidden.learning_rate"] == -1.0


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "words"),
    [
        (
            "    hidden: {learning_rate: -1}",
            "    hiden: {learning_rate: -1}",
            9,
            "fixed.custom.hiden",
            "did you mean 'custom.hidden'? known: custom.embedding, custom.hidden",
        ),
        (
            "    hidden: {learning_rate: -1}",
            "    hidden: {learning_rat: -1}",
            9,
            "fixed.custom.hidden.learning_rat",
            "did you mean 'custom.hidden.learning_rate'?",
        ),
        (
            "    hidden: {learning_rate: -1}",
            "    hidden: {learning_rate: -9}",
            9,
            "fixed.custom.hidden.learning_rate",
            "-9 is out of bounds; allowed: a number, at least -8 and at most 8",
        ),
        (
            "    custom: {hidden: {learning_rate: -0.5}}",
            "    custom: 3",
            14,
            "variants.other.custom",
            "no setting 'custom'",
        ),
        (
            "    readout.learning_rate: -1",
            "    hidden.learning_rate: -1",
            10,
            "fixed.custom.hidden.learning_rate",
            "custom.hidden.learning_rate is given twice here; remove one",
        ),
        (
            "  parametrization: custom",
            "  parametrization: mup",
            9,
            "fixed.custom.hidden.learning_rate",
            "it applies only where parametrization is custom",
        ),
    ],
)
def test_a_fault_of_a_nested_setting_is_told_where_it_stands(
    tmp_path: Path, old: str, new: str, line: int, key: str, words: str
) -> None:
    assert old in GOOD
    with pytest.raises(StudyError) as caught:
        study(tmp_path, GOOD.replace(old, new))
    fault = next(fault for fault in caught.value.faults if fault.key == key)
    assert fault.line == line
    assert words in fault.message


def test_mappings_are_opened_only_above_known_settings() -> None:
    raw = {"width": {"log2": [1, 2]}, "custom": {"hidden": {"init": 1}, "readout.init": 2}}
    assert [(each.name, each.place) for each in given_settings(raw, KNOWN)] == [
        ("width", ("width",)),
        ("custom.hidden.init", ("custom", "hidden", "init")),
        ("custom.readout.init", ("custom", "readout.init")),
    ]
    assert place_of(raw, "custom.readout.init") == ("custom", "readout.init")
    assert place_of(raw, "custom.hidden.epsilon") == ()


def test_what_could_be_meant_is_what_stands_beside() -> None:
    assert siblings("custom.hidden.int", KNOWN) == ["custom.hidden.init", "custom.hidden.epsilon"]
    assert siblings("custom.hiden.init", KNOWN) == ["custom.hidden", "custom.readout"]
    assert siblings("widht", KNOWN) == list(KNOWN)


def test_the_schema_has_both_spellings() -> None:
    schema = nested_schema({"width": 1, "custom.hidden.init": 2})
    assert schema["custom.hidden.init"] == 2
    hidden = schema["custom"]["properties"]["hidden"]
    assert hidden["properties"]["init"] == 2
    assert hidden["additionalProperties"] is False

"""The JSON schema: accepts what loads, refuses what is plainly wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from sweeper.study.schema import setting_schema, study_schema
from sweeper.study.study import load_study
from sweeper.study.template import study_template
from workloads.workload import Setting

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))
SCHEMA = study_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def _study() -> dict[str, Any]:
    study: dict[str, Any] = yaml.safe_load(STUDIES[0].read_text())
    return study


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"].endswith("2020-12/schema")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_every_study_of_the_project_passes_as_file_and_as_document(path: Path) -> None:
    VALIDATOR.validate(yaml.safe_load(path.read_text()))
    VALIDATOR.validate(load_study(path).document)


def test_the_template_passes() -> None:
    VALIDATOR.validate({k: v for k, v in yaml.safe_load(study_template(full=True)).items() if v})


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("nam", "x"),
        ("name", "a b"),
        ("scale", 3),
        ("fixed", {"stepz": 3}),
        ("fixed", {"steps": "many"}),
        ("fixed", {"steps": 0}),
        ("fixed", {"mlp": "relu"}),
        ("fixed", {"qk_norm": "yes"}),
        ("fixed", {"seed": 1}),
        ("sweep", {"width": 32}),
        ("sweep", {"width": []}),
        ("sweep", {"width": {"log2": [1]}}),
        ("sweep", {"width": {"log2": [1, 2], "count": 3}}),
        ("sweep", {"width": {"geometric": [1, 2]}}),
        ("sweep", {"schedule": {"log2": [1, 2]}}),
        ("variants", {}),
        ("variants", {"sp": {"parametrization": "mu"}}),
        ("variants", {"sp": {"sweep": {"widht": [1]}}}),
        ("search", {"method": "staircase"}),
        ("search", {"method": "grid", "seeds": "some"}),
        ("objective", {"goal": "minimum"}),
        ("budget", {"flops": 0}),
        ("resources", {"cpus": 0}),
        ("resources", {"gpus": {}}),
        ("resources", {"pack": "none"}),
        ("claims", [{"hyperparameter": "learning_rate", "exponent": 0}]),
    ],
)
def test_a_broken_section_fails(section: str, value: Any) -> None:
    assert list(VALIDATOR.iter_errors(_study() | {section: value}))


@pytest.mark.parametrize("section", ["name", "workload", "scale", "sweep"])
def test_required_sections_are_required(section: str) -> None:
    study = _study()
    del study[section]
    assert list(VALIDATOR.iter_errors(study))


def test_numbers_may_be_text_and_another_workload_may_have_other_settings() -> None:
    study = _study() | {"workload": "mine.cards:CARD", "fixed": {"anything": [1]}}
    VALIDATOR.validate(study | {"sweep": {"size": ["1e3", "2**4"]}})


def test_a_setting_documents_itself() -> None:
    llama = SCHEMA["$defs"]["llama-fixed"]["properties"]
    assert "Only where optimizer is muon" in llama["momentum"]["description"]
    assert llama["depth"]["default"] == 2
    optional = Setting(name="x", kind="int", doc="X.", optional=True, low=1, high=9)
    assert setting_schema(optional)["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 9}


@pytest.mark.parametrize("section", ["fixed", "variants"])
def test_settings_with_dots_may_be_nested(section: str) -> None:
    def study(settings: dict[str, Any]) -> dict[str, Any]:
        value = {"one": settings} if section == "variants" else settings
        return _study() | {section: value}

    VALIDATOR.validate(study({"custom": {"hidden": {"learning_rate": -1, "init": "-0.5"}}}))
    VALIDATOR.validate(study({"custom.hidden.learning_rate": -1}))
    assert list(VALIDATOR.iter_errors(study({"custom": {"hidden": {"learning_rat": -1}}})))
    assert list(VALIDATOR.iter_errors(study({"custom": {"hidden": {"init": 9}}})))

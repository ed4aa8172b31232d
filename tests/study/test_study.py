"""Studies: what a file means, and that it survives the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import StudyError, UnknownNameError
from sweeper.study.study import Study, load_study

STUDIES = Path(__file__).parents[2] / "studies"

TEXT = """\
name: probe
question: Does it transfer?
workload: quadratic_card:CARD
scale: width
fixed: {steps: 100, base_width: 32, momentum: 0.9}
variants:
  sp:
  mup: {parametrization: mup, weight_decay: 1}
  muon:
    optimizer: muon
    sweep:
      learning_rate: {log2: [-4, -2]}
      nesterov: [true, false]
sweep:
  width: [32, "64"]
  learning_rate: [1e-3, "2**-4"]
  seed: [0, 1]
resources: {cpus: 0.5, gpus: {32: 0.1, 64: 1}, pack: 4}
claims:
  - {hyperparameter: learning_rate, exponent: -1, tolerance: 0.15}
"""


PARALLEL = """\
name: parallel
scale: width
fixed: {steps: 4}
sweep: {width: [32, 64], learning_rate: [0.1]}
"""
RESOURCES = "resources: {cpus: 0.5, gpus: {32: 0.1, 64: 1}, pack: 4}"


def _load(tmp_path: Path, text: str = TEXT) -> Study:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return load_study(path)


def test_cells_are_the_product_of_each_variants_axes_with_seeds_fastest(tmp_path: Path) -> None:
    cells = list(_load(tmp_path).cells())
    assert [sum(1 for cell in cells if cell[0] == name) for name in ("sp", "mup", "muon")] == [
        8,
        8,
        24,
    ]
    first = {"steps": 100, "base_width": 32, "width": 32, "learning_rate": 0.001}
    assert cells[:2] == [("sp", first, 0), ("sp", first, 1)]
    assert cells[-1][1] == first | {
        "momentum": 0.9,
        "optimizer": "muon",
        "width": 64,
        "learning_rate": 0.25,
        "nesterov": False,
    }
    assert _load(tmp_path).num_cells == len(cells) == 40


def test_values_have_the_declared_types(tmp_path: Path) -> None:
    study = _load(tmp_path)
    axes = study.axes("sp")
    assert axes == {"width": (32, 64), "learning_rate": (0.001, 0.0625), "seed": (0, 1)}
    assert [type(value) for value in axes["width"]] == [int, int]
    decays = [settings["weight_decay"] for name, settings, _ in study.cells() if name == "mup"]
    assert {type(decay) for decay in decays} == {float}


def test_hyperparameters_are_what_is_swept_beside_scale_and_seed(tmp_path: Path) -> None:
    assert _load(tmp_path).hyperparameters == ("learning_rate", "nesterov")


def test_without_variants_there_is_one_named_default(tmp_path: Path) -> None:
    start, rest = TEXT.split("variants:")
    text = start + rest[rest.index("sweep:\n  width") :]
    study = _load(tmp_path, text.replace(", momentum: 0.9", ""))
    assert {name for name, _, _ in study.cells()} == {"default"}


def test_without_a_seed_axis_there_is_the_seed_zero(tmp_path: Path) -> None:
    study = _load(tmp_path, TEXT.replace("  seed: [0, 1]\n", ""))
    assert study.axes("sp")["seed"] == (0,)


def test_sections_that_are_not_there_or_empty_have_their_defaults(tmp_path: Path) -> None:
    text = TEXT[: TEXT.index("resources")] + "budget:\nclaims:\n"
    study = _load(tmp_path, text)
    assert (study.objective.metric, study.objective.goal) == ("val_loss", "min")
    assert (study.search.method, study.resources.pack, study.claims) == ("grid", "auto", ())
    assert (study.budget.flops, study.budget.trials, study.budget.hours) == (None, None, None)


def test_a_resource_table_holds_from_each_key_upwards(tmp_path: Path) -> None:
    resources = _load(tmp_path).resources
    assert [resources.gpus_at(scale) for scale in (32, 63, 64, 500)] == [0.1, 0.1, 1.0, 1.0]
    assert resources.cpus_at(64) == 0.5


def test_a_trial_has_one_process_for_each_of_its_gpus(tmp_path: Path) -> None:
    text = TEXT.replace(RESOURCES, "resources: {gpus: {32: 0.5, 64: 1}}")
    resources = _load(tmp_path, text).resources
    assert [resources.processes_at(scale) for scale in (32, 64)] == [1, 1]
    several = "workload: parallel_card:CARD\n" + PARALLEL
    resources = _load(tmp_path, several + "resources: {gpus: {32: 0, 64: 8}}").resources
    assert [resources.processes_at(scale) for scale in (32, 64, 128)] == [1, 8, 8]
    text = several + "resources: {cpus: 4, processes: {32: 1, 64: '2**2'}}"
    resources = _load(tmp_path, text).resources
    assert [resources.processes_at(scale) for scale in (32, 64)] == [1, 4]


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ("processes: 3, cpus: 3", "fixed.steps: 3 devices are no pairs"),
        ("gpus: 5", "5 devices are no pairs"),
        ("processes: 2", "processes is 2 at width 32, and they share cpus 1; give 2 cpus"),
    ],
)
def test_devices_that_a_workload_refuses_are_refused(
    resources: str, said: str, tmp_path: Path
) -> None:
    text = f"workload: parallel_card:CARD\n{PARALLEL}resources: {{{resources}}}"
    with pytest.raises(StudyError, match=said):
        _load(tmp_path, text)


def test_an_unknown_variant_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no variant named 'mupp'; did you mean 'mup'"):
        _load(tmp_path).axes("mupp")


def test_a_study_survives_its_document_as_json(tmp_path: Path) -> None:
    study = _load(tmp_path)
    document = json.loads(json.dumps(study.document, allow_nan=False))
    again = Study.from_document(document)
    assert again.document == study.document == document
    assert list(again.cells()) == list(study.cells())


def test_spellings_of_a_number_give_one_document(tmp_path: Path) -> None:
    other = TEXT.replace("[1e-3, ", '["0.001", ').replace('"2**-4"', "0.0625")
    assert other != TEXT
    assert _load(tmp_path, other).document == _load(tmp_path).document


def test_a_study_is_built_from_python_values_too(tmp_path: Path) -> None:
    document: dict[str, Any] = {
        "name": "built",
        "workload": "quadratic_card:CARD",
        "scale": "width",
        "fixed": {"steps": 10},
        "sweep": {"width": (16, 32), "learning_rate": [1, 2]},
    }
    for study in (Study(**document), Study.model_validate(document)):
        assert study.num_cells == 4
    with pytest.raises(StudyError, match="study: scale: 'depth' is not a numeric setting"):
        Study(**{**document, "scale": "depth"})


def test_a_study_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        _load(tmp_path).name = "other"


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_study_of_the_project_loads_and_resolves(path: Path) -> None:
    study = load_study(path)
    assert study.name == path.stem.replace("-", "_")
    for _, settings, _ in study.cells():
        assert study.card.resolve(settings).derived["flops"] > 0


def test_a_hundred_thousand_points_are_checked(tmp_path: Path) -> None:
    text = (
        TEXT[: TEXT.index("variants")]
        + """\
sweep:
  width: {geometric: [16, 1024], count: 7}
  learning_rate: {log2: [-12, 0], step: 0.1}
  weight_decay: {geometric: [1e-6, 1], count: 119}
"""
    )
    study = _load(tmp_path, text.replace(", momentum: 0.9", ""))
    assert study.num_cells == 7 * 121 * 119


def test_a_metric_that_some_settings_do_not_measure_is_refused_with_the_way_out(
    tmp_path: Path,
) -> None:
    text = """\
name: probe
workload: llama
scale: width
fixed: {steps: 10, data: "bin:ids.bin"}
variants: {plain: {}, known: {tokenizer: gpt2}}
sweep: {width: [32, 64], learning_rate: [0.01]}
objective: {metric: val_bits_per_byte}
"""
    with pytest.raises(StudyError) as caught:
        _load(tmp_path, text)
    (fault,) = caught.value.faults
    assert (fault.line, fault.key) == (7, "objective.metric")
    assert "variant plain does not measure val_bits_per_byte" in fault.message
    assert "set tokenizer, or compare val_loss" in fault.message
    _load(tmp_path, text.replace("plain: {}, ", ""))

"""Checks of studies: models that train, what is kept of them, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from check_models import study

from sweeper.check import CheckRequest, checked, require_check
from sweeper.errors import RequestError, StudyError
from sweeper.store import Paths
from sweeper.store.files.local import LocalFiles
from sweeper.study import Study


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(LocalFiles(tmp_path))


def test_a_variant_without_a_rule_is_named_and_what_was_measured_is_kept(paths: Paths) -> None:
    told: list[str] = []
    request = CheckRequest(study=study(), variants=("sp",), seeds=3)
    found = checked(request, paths, tell=told.append)
    assert (found.verdict, found.stored) == ("fail", False)
    assert ("hidden", "update") in found.variants[0].causes
    assert any("its learning rate multiplier is missing" in n for n in found.variants[0].named)
    assert told == [f"variant sp: width {width}, 3 seeds of 10 steps" for width in (16, 64)]
    assert found.variants[0].measured.settings["learning_rate"] == 2.0**-9, "the smallest one"

    again = checked(request, paths, tell=told.append)
    assert again.stored
    assert len(told) == 2, "nothing trains again"
    assert again.to_json() == {**found.to_json(), "stored": True}
    for file in again.files:
        assert Path(file).is_file()
    lines = Path(again.files[1]).read_text().splitlines()
    assert lines[0] == "variant,width,step,seed,quantity,layer,value"
    damaged = Path(again.files[0])
    damaged.write_text("{")
    assert not checked(request, paths).stored, "a damaged file is measured anew"


def test_other_settings_are_another_check_and_unknown_ones_are_refused(paths: Paths) -> None:
    plain = CheckRequest(study=study())
    names = {
        plain.name(),
        CheckRequest(study=study(), seeds=3).name(),
        CheckRequest(study=study(), steps=5).name(),
        CheckRequest(study=study(), settings={"batch_size": "8"}).name(),
        CheckRequest(study=study(), variants=("mup",)).name(),
    }
    assert len(names) == 5
    assert plain.name() == CheckRequest(study=study(question="again?")).name()
    for settings, says in (
        ({"batchsize": "8"}, "did you mean 'batch_size'"),
        ({"batch_size": "0"}, "--set batch_size=0"),
        ({"width": "8"}, "width is the scale"),
    ):
        with pytest.raises(RequestError, match=says):
            CheckRequest(study=study(), settings=settings).name()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"variants": ("mupp",)}, "did you mean 'mup'"),
        ({"seeds": 1}, "an interval needs at least 2 seeds"),
        ({"steps": 0}, "1 to 1000 steps"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused(options: Any, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        CheckRequest(study=study(), **options)


def test_a_study_with_one_size_or_nothing_to_measure_is_refused() -> None:
    one = study(sweep={"width": [64], "learning_rate": [0.01]})
    with pytest.raises(RequestError, match="has one width, 64; a slope needs at least two"):
        CheckRequest(study=one).name()
    planted = {
        "name": "p",
        "workload": "planted",
        "scale": "width",
        "fixed": {"steps": 4},
        "sweep": {"width": [16, 32], "learning_rate": [0.01]},
    }
    with pytest.raises(RequestError, match="workload planted has no layers to measure"):
        CheckRequest(study=Study.from_document(planted))
    with pytest.raises(StudyError, match="workload planted has no layers to measure"):
        Study.from_document({**planted, "check": "required"})
    steps = study(
        scale="batch_size",
        fixed={"steps": 40, "width": 64, "base_width": 16},
        sweep={"batch_size": [16, 32], "learning_rate": [0.01]},
    )
    with pytest.raises(RequestError, match="goes over models that grow"):
        CheckRequest(study=steps)


def test_a_bed_that_trains_is_checked(paths: Paths) -> None:
    bed = study(
        workload="two_layer",
        fixed={"batch_size": 128, "base_width": 16, "eval_examples": 64},
        sweep={"width": [16, 64], "learning_rate": [2**-9]},
    )
    sp, mup = checked(CheckRequest(study=bed), paths).variants
    assert sp.verdict == "fail"
    assert ("readout", "initial_rms") in sp.causes
    assert mup.verdict != "fail"


def test_over_depth_divided_branches_pass_and_others_are_named(paths: Paths) -> None:
    deep = study(
        scale="depth",
        fixed={"steps": 40, "width": 32, "base_width": 32, "batch_size": 64, "residual": True},
        variants={
            "mup": {"parametrization": "mup"},
            "completep": {"parametrization": "completep", "base_depth": 1},
        },
        sweep={"depth": [1, 2, 4, 8], "learning_rate": [2**-9]},
    )
    mup, completep = checked(CheckRequest(study=deep), paths).variants
    assert mup.causes == (("hidden", "update"),)
    assert "branches are not divided by the depth" in mup.named[0]
    assert completep.verdict == "pass", completep.named


def test_a_required_check_that_fails_stops_and_says_how_to_go_on(paths: Paths) -> None:
    asked = {"required": True, "seeds": 3, "variants": ["sp"]}
    with pytest.raises(RequestError, match=r"coordinate check .*variant sp: .*update"):
        require_check(study(check=asked), paths)
    require_check(study(check={**asked, "variants": ["mup"]}), paths)


def test_a_required_check_is_written_in_short_and_survives_the_store() -> None:
    short = study(check="required")
    assert short.check.required
    assert short.document["check"] == {"required": True}
    assert Study.from_document(short.document).check == short.check
    assert "check" not in study().document
    with pytest.raises(StudyError, match="there is no variant 'mp'"):
        study(check={"required": True, "variants": ["mp"]})

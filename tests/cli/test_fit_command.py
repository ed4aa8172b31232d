"""`sweeper fit` and `sweeper predict`, as a user would type them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from cli_harness import Once, Sweeper

LONG = """\
name: planted
question: Where is the planted optimum?
workload: planted
scale: width
fixed: {steps: 3, noise: 0.003, drift: -0.5, cliff: 3}
sweep:
  width: [32, 64, 128, 256]
  learning_rate: {log2: [-10, -2]}
  seed: [0, 1]
"""


@pytest.fixture
def planted(sweeper: Sweeper, tmp_path: Path, once: Once) -> str:
    """Returns the name of a study that has been run, with a drift of -0.5."""

    def make() -> None:
        path = tmp_path / "planted.yaml"
        path.write_text(LONG, encoding="utf-8")
        assert sweeper("run", path, "--executor", "inline").code == 0

    once("fit-planted", make)
    return "planted"


@pytest.fixture
def imported(sweeper: Sweeper, tmp_path: Path, once: Once) -> str:
    """Returns the name of an imported study of two hyperparameters over two scales."""
    lines = ["N,D,lr,bs,loss"]
    rng = np.random.default_rng(0)
    for size in (6e7, 2.4e8, 9.6e8):
        for data in (2e9, 8e9, 3.2e10):
            best = np.log2([1.79 * size**-0.713 * data**0.307, 0.58 * data**0.571])
            for rate in np.arange(-12.0, -5.9, 1.0):
                for batch in range(15, 22):
                    a, b = rate - best[0], batch - best[1]
                    loss = 3 + 0.04 * a * a + 0.02 * a * b + 0.02 * b * b
                    loss += 0.001 * rng.standard_normal()
                    lines.append(f"{size:.0f},{data:.0f},{2.0**rate},{2.0**batch:.0f},{loss}")
    (tmp_path / "long.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = ["--scale", "N,D", "--hp", "lr,bs", "--objective", "loss"]

    def make() -> None:
        assert sweeper("import", tmp_path / "long.csv", "--study", "long", *options).code == 0

    once("fit-imported", make)
    return "long"


def test_fit_finds_the_planted_exponent(sweeper: Sweeper, planted: str) -> None:
    document = sweeper("fit", planted, "--json").document
    (group,) = document["groups"]
    term = group["terms"]["width"]
    assert term["low"] <= -0.5 <= term["high"]
    assert term["exponent"] == pytest.approx(-0.5, abs=0.05)
    assert group["model"] == "power"
    assert len(group["places"]) == 4
    assert sum(place["leverage"] for place in group["places"]) == pytest.approx(2)
    (held,) = group["held_out"]["places"]
    assert held["scales"] == {"width": 256}
    assert held["predicted_log2"] == pytest.approx(held["found_log2"], abs=0.2)


def test_the_table_of_fit_says_the_rule_and_its_check(sweeper: Sweeper, planted: str) -> None:
    said = sweeper("fit", planted).out
    assert "power law: learning_rate = 2^" in said
    assert "octaves per doubling of width" in said
    assert "held out the largest width: 1 of 1 inside the interval" in said
    assert max(map(len, said.splitlines())) <= 100


def test_an_imported_study_gives_a_rule_a_hyperparameter_and_a_term_a_scale(
    sweeper: Sweeper, imported: str
) -> None:
    document = sweeper("fit", imported, "--json").document
    found = {group["hyperparameter"]: group for group in document["groups"]}
    assert list(found) == ["lr", "bs"]
    assert found["lr"]["joint_with"] == "bs"
    exponents = {
        name: {scale: term["exponent"] for scale, term in group["terms"].items()}
        for name, group in found.items()
    }
    assert exponents["lr"] == pytest.approx({"N": -0.713, "D": 0.307}, abs=0.03)
    assert exponents["bs"] == pytest.approx({"N": 0.0, "D": 0.571}, abs=0.03)
    place = found["lr"]["places"][0]
    assert set(place["axes"][0]["direction"]) == {"lr", "bs"}
    assert found["lr"]["held_out"]["of"] == 6
    assert all(held["regret"] is not None for held in found["lr"]["held_out"]["places"])


def test_one_hyperparameter_of_two_is_read_with_the_other_tuned(
    sweeper: Sweeper, imported: str
) -> None:
    table = sweeper("drift", imported).out
    words = " ".join(table.split())
    assert "bs is tuned at every lr; --each bs answers for each of its values" in words
    assert "default, D 2e+09" in table
    assert "default, bs 32768, D 2e+09" in sweeper("drift", imported, "--each", "bs").out
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 100


def test_a_product_of_two_columns_of_a_table_is_read_along(
    sweeper: Sweeper, imported: str
) -> None:
    document = sweeper("fit", imported, "--hp", "lr/bs", "--scale", "D", "--json").document
    # The best ratio goes as D^(0.307 - 0.571), whatever N.
    for group in document["groups"]:
        term = group["terms"]["D"]
        assert term["low"] <= 0.307 - 0.571 <= term["high"]


def test_what_many_groups_lack_is_told_once(sweeper: Sweeper, tmp_path: Path) -> None:
    places = itertools.product((64, 128, 256), range(-8, -3), range(7))
    rows = [f"{n},{2.0**x},{2.0**b},{3 + 0.05 * (x + 6) ** 2 + 10 / n}" for n, x, b in places]
    (tmp_path / "small.csv").write_text("\n".join(["N,lr,bs,loss", *rows]), encoding="utf-8")
    options = ["--study", "small", "--scale", "N", "--hp", "lr,bs", "--objective", "loss"]
    assert sweeper("import", tmp_path / "small.csv", *options).code == 0
    answer = sweeper("advise", "small", "--target", 1e10, "--flops", 1e21, "--each", "bs")
    assert answer.code == 2
    assert answer.err.count("the trials do not know their FLOPs") == 1
    assert "more groups: " in answer.err


def test_a_table_without_steps_has_no_horizons(sweeper: Sweeper, imported: str) -> None:
    answer = sweeper("transfer", imported, "--horizon", "0.5")
    assert answer.code == 2
    assert "its trials have no marks inside their runs; leave --horizon out" in answer.err


def test_one_scale_of_two_makes_the_other_a_setting(sweeper: Sweeper, imported: str) -> None:
    document = sweeper("fit", imported, "--scale", "N", "--json").document
    assert {group["settings"]["D"] for group in document["groups"]} == {2e9, 8e9, 3.2e10}
    assert document["scales"] == ["N"]


def test_predict_says_the_setting_the_cost_and_the_assumptions(
    sweeper: Sweeper, planted: str
) -> None:
    (group,) = sweeper("predict", planted, "--width", 1024, "--json").document["groups"]
    (fitted,) = sweeper("fit", planted, "--json").document["groups"]
    expected = fitted["intercept_log2"] + fitted["terms"]["width"]["exponent"] * 10
    # An average of all forms, by their weight: near the fitted one, and not on it.
    assert group["log2"] == pytest.approx(expected, abs=0.05)
    assert group["low"] < expected < group["high"]
    assert group["extrapolation"] == {"factor": 4, "doublings": {"width": 2}}
    assert 0 < group["regret"] < 0.01
    said = sweeper("predict", planted, "--width", 1024).out
    assert "width is 4 times the largest that was measured" in said
    assert max(map(len, said.splitlines())) <= 100


def test_fit_and_predict_read_optima_by_the_estimator_asked_for(
    sweeper: Sweeper, planted: str
) -> None:
    drift = sweeper("drift", planted, "--estimator", "spline", "--json").document
    optima = [optimum["log2"] for optimum in drift["groups"][0]["optima"]]
    (group,) = sweeper("fit", planted, "--estimator", "spline", "--json").document["groups"]
    assert {place["estimator"] for place in group["places"]} == {"spline"}
    assert [place["log2"] for place in group["places"]] == pytest.approx(optima)
    command = ("predict", planted, "--width", 512, "--model", "power", "--json")
    (spline,) = sweeper(*command, "--estimator", "spline").document["groups"]
    expected = group["intercept_log2"] + group["terms"]["width"]["exponent"] * 9
    assert spline["log2"] == pytest.approx(expected, abs=0.05)
    (default,) = sweeper(*command).document["groups"]
    assert spline["log2"] != pytest.approx(default["log2"], abs=1e-4)


def test_two_together_have_no_estimator_to_choose(sweeper: Sweeper, imported: str) -> None:
    for command in (("fit", imported), ("predict", imported, "--at", "N=1e9", "--at", "D=1e10")):
        answer = sweeper(*command, "--estimator", "spline")
        assert answer.code == 2
        assert "read off a paraboloid together; leave --estimator out" in answer.err


def test_predict_takes_any_scale(sweeper: Sweeper, imported: str) -> None:
    answer = sweeper("predict", imported, "--at", "N=7.68e9", "--at", "D=2.56e11", "--json")
    found = {group["hyperparameter"]: group for group in answer.document["groups"]}
    truth = np.log2([1.79 * 7.68e9**-0.713 * 2.56e11**0.307, 0.58 * 2.56e11**0.571])
    for name, log2 in zip(("lr", "bs"), truth, strict=True):
        assert found[name]["low"] <= log2 <= found[name]["high"]
    assert found["lr"]["joint_regret"] == pytest.approx(found["bs"]["joint_regret"])


def test_a_scale_that_the_study_holds_fixed_is_noted(sweeper: Sweeper, planted: str) -> None:
    answer = sweeper("predict", planted, "--width", 512, "--at", "steps=100", "--json")
    assert answer.document["target"] == {"width": 512}
    assert any("steps is 3 in the whole study" in note for note in answer.document["notes"])


WRONG = {
    "predict planted": "a prediction needs a target: --at width=VALUE",
    "predict planted --width -3": "width = -3",
    "predict planted --at width": "it takes NAME=VALUE",
    "predict planted --width 512 --at width=3": "given twice",
    "predict planted --at wdith=512": "did you mean 'width'",
    "fit planted --scales width,params": "moves together with",
    "fit planted --scales width,": "separated by commas",
    "fit planted --hp width": "asked for twice",
    "fit planted --hp learning_rate,learning_rate": "asked for twice",
    "fit planted --hp learning_rat": "did you mean 'learning_rate'",
    "fit absent": "no study named 'absent'",
}


def test_a_wrong_request_is_one_message(sweeper: Sweeper, planted: str) -> None:
    for request, said in WRONG.items():
        answer = sweeper(*request.split())
        assert answer.code == 2, request
        assert said in answer.err, request
        assert answer.out == "", request


def test_a_target_without_one_of_two_scales_is_refused(sweeper: Sweeper, imported: str) -> None:
    answer = sweeper("predict", imported, "--at", "N=1e10")
    assert answer.code == 2
    assert "add --at D=VALUE" in answer.err

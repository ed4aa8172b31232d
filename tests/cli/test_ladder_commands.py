"""A ladder as a user meets it: planned, run, read, and beside a grid of the same study."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_harness import Sweeper

STUDY = """\
name: climb
question: Does the best learning rate stay put?
workload: planted
scale: width
fixed: {steps: 1, noise: 0.002, optimum: -4.2, curvature: 0.05}
variants:
  still: {drift: 0.0}
  moving: {drift: -0.6}
sweep:
  width: [32, 64, 128, 256, 512]
  learning_rate: {log2: [-8, 0]}
  seed: [0, 1]
claims:
  - {hyperparameter: learning_rate, exponent: 0, tolerance: 0.2}
"""


@pytest.fixture
def climb(tmp_path: Path) -> Path:
    path = tmp_path / "climb.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def test_a_plan_says_how_a_ladder_begins_and_what_it_will_cost(
    sweeper: Sweeper, climb: Path
) -> None:
    answer = sweeper("plan", climb, "--search", "ladder", "--no-probe")
    assert "that is how the ladder begins; in all it costs about" in answer.out
    document = sweeper("plan", climb, "--search", "ladder", "--no-probe", "--json").document
    costs = [document["outlook"][name] for name in ("best", "expected", "worst", "grid")]
    best, expected, worst, grid = (cost["flops"] for cost in costs)
    assert best <= expected <= worst < grid
    assert costs[3]["trials"] == 180
    assert document["search"]["until"] == "optimum"


def test_a_ladder_ends_with_verdicts_for_a_part_of_the_grid(sweeper: Sweeper, climb: Path) -> None:
    answer = sweeper("run", climb, "--search", "ladder", "--executor", "inline")
    assert answer.code == 0
    assert "ladder: narrow enough at 10 scales" in answer.out
    assert "claim 0 ± 0.2: holds" in answer.out and "claim 0 ± 0.2: broken" in answer.out
    status = sweeper("status", "climb", "--json").document
    assert status["declared"] == status["done"] < 90
    assert {each["stop"] for each in status["search"]} == {"narrow enough"}
    assert "narrow enough" in sweeper("status", "climb").out
    drift = sweeper("drift", "climb", "--json").document
    moving, still = drift["groups"]
    assert moving["optima"][0]["estimator"] == "shared"
    assert moving["drift"]["slope"] == pytest.approx(-0.6, abs=0.1)
    assert still["drift"]["slope"] == pytest.approx(0.0, abs=0.1)
    for command in (
        ("fit", "climb"),
        ("predict", "climb", "--width", 4096),
        ("compare", "climb:still", "climb:moving"),
        ("transfer", "climb"),
        ("advise", "climb", "--target", 4096, "--flops", 1e9),
    ):
        assert sweeper(*command).code == 0, command
    assert sweeper("drift", "climb", "--estimator", "argmin").code in (0, 3)
    # The grid of the same file repeats nothing and is read scale by scale.
    whole = sweeper("run", climb, "--executor", "inline", "--json").document
    assert whole["run"]["reused"] == status["done"]
    assert whole["drift"][0]["groups"][0]["optima"][0]["estimator"] == "skewed"


def test_a_method_that_there_is_not_is_refused(sweeper: Sweeper, climb: Path) -> None:
    answer = sweeper("run", climb, "--search", "stairs", "--executor", "inline")
    assert answer.code == 2
    assert (
        "--search stairs: there is no such method; known: grid, ladder, optuna, telescope"
        in answer.err
    )

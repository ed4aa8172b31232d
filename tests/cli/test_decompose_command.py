"""`sweeper decompose`, as a user would type it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_harness import Sweeper


def study_of(tmp_path: Path, name: str, **sections: Any) -> Path:
    fixed = {"data": "digits", "depth": 1, "batch_size": 16, "steps": 16, "evals": 1}
    document = {
        "name": name,
        "workload": "mlp",
        "scale": "width",
        "fixed": {**fixed, "base_width": 16, "parametrization": "mup", "optimizer": "adamw"},
        "sweep": {"width": [16, 32], "learning_rate": {"log2": [-10, -5]}, "seed": [0]},
        **sections,
    }
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture
def recorded(sweeper: Sweeper, tmp_path: Path) -> str:
    """Returns the name of a study of perceptrons that records their decomposition."""
    record = {"quantities": ["examples"], "every": 1}
    file = study_of(tmp_path, "split", record=record, decompose={"argmin": 5, "convexity": 0.9})
    assert sweeper("run", file, "--executor", "inline").code == 0
    return "split"


def test_a_decomposition_is_told_written_and_answered_in_json(
    sweeper: Sweeper, recorded: str, tmp_path: Path
) -> None:
    answer = sweeper("decompose", recorded, "--out", tmp_path / "figures")
    assert answer.code == 0
    assert "losses by direction, learning_rate over width" in answer.out
    assert "alike to k" in answer.out
    assert "rank correlation of the index with loss" in answer.out
    assert max(map(len, answer.out.splitlines())) <= 100
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {"split-directions-default.png", "split-directions-default.csv"}
    document = sweeper("decompose", recorded, "--json").document
    assert document["asked"]["argmin"] == 5
    (group,) = document["groups"]
    small, large = group["scales"]
    assert (small["scale"], small["directions"], large["directions"]) == (16, 16, 32)
    assert len(small["phi"]) == len(small["change"]) == 6
    assert small["alike_to"] is not None
    assert large["alike_to"] is None
    assert small["kappa"] is not None
    tensors = small["tensors"].values()
    best = min(range(6), key=lambda place: small["change"][place])
    assert abs(small["phi"][best][-1] - small["change"][best]) <= small["error"] < 0.05
    assert sum(whole for whole, _ in tensors) == pytest.approx(small["phi"][best][-1])
    sizes = {curves["name"]: curves["examples"] for curves in group["examples"]["curves"]}
    assert sizes == {"all": 360, "easy": 90, "hard": 18}
    assert sweeper("verify").code == 0


def test_a_study_that_records_nothing_is_refused(sweeper: Sweeper, finished: Path) -> None:
    answer = sweeper("decompose", finished)
    assert answer.code == 2
    assert "records no decomposition" in answer.err
    assert "record: [topk]" in answer.err
    assert "Traceback" not in answer.err


def test_results_from_before_the_recording_are_told_apart(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    axes = {"width": [16, 32], "learning_rate": [0.01, 0.02]}
    assert sweeper("run", study_of(tmp_path, "late", sweep=axes), "--executor", "inline").code == 0
    later = study_of(tmp_path, "late", sweep=axes, record=["topk"])
    assert sweeper("run", later, "--executor", "inline").code == 0
    answer = sweeper("decompose", "late")
    assert answer.code == 2
    assert "trained before the study recorded any" in answer.err


def test_a_workload_that_records_nothing_cannot_be_asked_to(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    file = study_of(tmp_path, "none", workload="planted", fixed={}, record=["topk"])
    answer = sweeper("plan", file)
    assert answer.code == 2
    assert "workload planted records nothing" in answer.err


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"tolerances": [0.1, 0]}, "decompose.tolerances[1]: 0 is not above 0"),
        ({"convexity": 2}, "decompose.convexity: 2 is no share"),
        ({"kappa": 3}, "unknown key 'kappa'"),
    ],
)
def test_faults_of_what_is_asked_are_told(
    sweeper: Sweeper, tmp_path: Path, asked: dict[str, Any], said: str
) -> None:
    answer = sweeper("plan", study_of(tmp_path, "asked", decompose=asked))
    assert answer.code == 2
    assert said in answer.err


def test_what_an_answer_lacks_is_noted(sweeper: Sweeper, tmp_path: Path) -> None:
    axes = {"width": [16], "learning_rate": [0.01, 0.02]}
    for record in (["topk"], ["examples"]):
        file = study_of(tmp_path, "one", sweep=axes, record=record)
        assert sweeper("run", file, "--executor", "inline").code == 0
    notes = sweeper("decompose", "one", "--json").document["notes"]
    assert any("no result holds examples" in note for note in notes)
    assert any("one width is decomposed" in note for note in notes)

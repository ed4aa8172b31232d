"""`sweeper explain`, as a user would type it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml
from cli_harness import Answer, Sweeper

ROOT = Path(__file__).resolve().parents[2]

HEADINGS = ["does it transfer", "how fast", "why", "what next"]


def flat(answer: Answer) -> str:
    """Returns what was printed without its line breaks."""
    return " ".join(answer.out.split())


def test_the_page_of_a_study_begins_with_one_sentence_and_has_four_parts(
    sweeper: Sweeper, finished: Path
) -> None:
    answer = sweeper("explain", finished)
    assert answer.code == 0
    assert max(map(len, answer.out.splitlines())) <= 100
    lines = [line.strip() for line in answer.out.splitlines()]
    assert [line for line in lines if line in HEADINGS] == HEADINGS
    said = flat(answer)
    assert said.startswith(
        "planted: does it transfer along width, and why The best learning_rate moves as claimed"
    )
    assert "fast and slow are not distinguishable" in said
    assert "workload planted has no directions that could be recorded" in said
    assert "no coordinate check: workload planted has no layers to measure" in said


def test_the_page_answers_in_json_with_stable_keys(sweeper: Sweeper, finished: Path) -> None:
    document = sweeper("explain", "planted", "--json").document
    assert list(document) == ["study", "scale", "target", "flops", "groups", "notes"]
    assert (document["scale"], document["target"]) == ("width", 256)
    (group,) = document["groups"]
    assert list(group) == [
        *("variant", "settings", "hyperparameter", "bottom_line"),
        *("transfers", "speed", "why", "next"),
    ]
    assert group["transfers"]["answer"] == "yes"
    assert group["transfers"]["drift"]["low"] < group["transfers"]["drift"]["value"] < 0
    assert group["speed"]["answer"] == "not distinguishable"
    assert group["why"]["check"] is None
    assert group["why"]["kappa"] is None
    assert all(group[part]["said"] for part in ("transfers", "speed", "why", "next"))


def test_a_target_and_a_budget_are_taken_as_given(sweeper: Sweeper, finished: Path) -> None:
    own = sweeper("explain", "planted")
    assert "twice the largest" in flat(own)
    assert "which the study itself took" in flat(own)
    said = flat(sweeper("explain", "planted", "--target", 2048, "--flops", 1e12))
    assert "(for width 2048, and 1e+12 FLOPs)" in said
    assert "twice the largest" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["planted", "--target", "100"], "--target 100 is not above 128, the largest width"),
        (["planted", "--target", "nan"], "--target nan is not above 128"),
        (["planted", "--flops", "-1"], "--flops -1: a positive number is due"),
        (["planted", "--hp", "nothing"], "nothing"),
        (["planter"], "no study named 'planter'"),
    ],
)
def test_what_is_out_of_range_is_refused(
    sweeper: Sweeper, finished: Path, arguments: list[str], said: str
) -> None:
    answer = sweeper("explain", *arguments)
    assert answer.code == 2
    assert said in answer.err
    assert answer.out == ""
    assert "Traceback" not in answer.err


def test_of_a_bed_theory_says_why(sweeper: Sweeper, tmp_path: Path) -> None:
    document = yaml.safe_load((ROOT / "studies/random_features.yaml").read_text())
    file = tmp_path / "bed.yaml"
    file.write_text(yaml.safe_dump(document | {"name": "bed"}))
    assert sweeper("run", file, "--executor", "inline").code == 0
    said = flat(sweeper("explain", "bed"))
    assert "The best ridge stays put" in said
    assert "transfer is fast (beta 0.97 against alpha / 2 = 0.50)" in said
    assert "next: run 32768 once with the optimum found at 16384" in said
    assert "in theory loss and best ridge settle as width^-1" in said


def test_of_a_study_with_one_scale_it_says_what_to_add(sweeper: Sweeper, study: Path) -> None:
    study.write_text(study.read_text().replace("[32, 64, 128]", "[64]"))
    assert sweeper("run", study, "--executor", "inline").code == 0
    said = flat(sweeper("explain", "planted"))
    assert "Whether the best learning_rate transfers is not known (one width only)" in said
    assert "next: add values of the scale" in said
    assert "not known, without a drift" in said


def imported(sweeper: Sweeper, tmp_path: Path, *options: str) -> str:
    """Imports a sweep of two hyperparameters over four widths, and returns its name."""
    with (tmp_path / "runs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["width", "lr", "wd", "seed", "loss"])
        for width in (64, 128, 256, 512):
            for place in range(-4, 4):
                for decay in (-1, 0, 1):
                    for seed in (0, 1):
                        noise = 1e-3 * ((7 * place + 5 * decay + 3 * seed + width) % 11 - 5) / 5
                        loss = 2 + 30 / width + 0.02 * place**2 + 0.01 * decay**2 + noise
                        writer.writerow([width, 2.0 ** (place - 8), 3.0**decay / 10, seed, loss])
    scale = ("--scale", "width", "--objective", "loss", "--seed", "seed")
    answer = sweeper("import", "runs.csv", "--study", "made", *scale, *options)
    assert answer.code == 0, answer.err
    return "made"


def test_of_results_made_elsewhere_it_says_what_cannot_be_known(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    said = flat(sweeper("explain", imported(sweeper, tmp_path, "--hp", "lr,wd")))
    assert "The best lr does not move with the width" in said
    assert "wd tuned at every lr" in said
    assert "not known of results made elsewhere" in said
    assert "there are no models to check" in said
    assert "sweeper advise made --target N --flops F --run-flops F --cost-exponent 2" in said


def test_every_claimed_hyperparameter_has_its_page(sweeper: Sweeper, tmp_path: Path) -> None:
    claims = ("--claim", "lr=0+-0.2", "--claim", "wd=0+-0.2")
    name = imported(sweeper, tmp_path, "--hp", "lr,wd", *claims)
    groups = sweeper("explain", name, "--json").document["groups"]
    assert [group["hyperparameter"] for group in groups] == ["lr", "wd"]
    answer = sweeper("explain", name)
    assert "default: wd" in answer.out
    assert flat(answer).count("The best lr stays put") == 1


SPLIT = {
    "name": "split",
    "workload": "mlp",
    "scale": "width",
    "fixed": {
        "data": "digits",
        "depth": 1,
        "batch_size": 16,
        "steps": 16,
        "evals": 1,
        "base_width": 16,
        "optimizer": "adamw",
    },
    "variants": {"mup": {"parametrization": "mup"}, "sp": {"parametrization": "sp"}},
    "sweep": {"width": [16, 32], "learning_rate": {"log2": [-10, -5]}, "seed": [0]},
    "record": {"quantities": ["examples"], "every": 1},
    "decompose": {"argmin": 5, "convexity": 0.9},
    "check": {"steps": 3, "seeds": 2},
}


def test_directions_and_check_are_told_once_they_are_measured(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    file = tmp_path / "split.yaml"
    file.write_text(yaml.safe_dump(SPLIT))
    assert sweeper("run", file, "--executor", "inline").code == 0
    before = flat(sweeper("explain", "split"))
    assert before.count("its rule is not checked") == 2
    assert "sweeper check split" in before
    checked = sweeper("check", "split", "--json").document
    verdicts = {each["variant"]: each["verdict"] for each in checked["variants"]}
    decomposed = sweeper("decompose", "split", "--json").document["groups"]
    kappas = {group["variant"]: group["scales"][0]["kappa"] for group in decomposed}
    assert kappas["mup"] is not None
    groups = sweeper("explain", "split", "--json").document["groups"]
    for group in groups:
        why = group["why"]
        assert why["check"] == verdicts[group["variant"]]
        kappa = kappas[group["variant"]]
        assert why["kappa"] == (kappa and [min(kappa["k"]), max(kappa["k"])])
        assert ("leading directions decide the optimum at" in " ".join(why["said"])) == bool(kappa)
        assert "its rule is not checked" not in group["bottom_line"]


def test_a_check_of_one_variant_counts_for_it_alone(sweeper: Sweeper, tmp_path: Path) -> None:
    file = tmp_path / "split.yaml"
    axes = {"width": [16, 32], "learning_rate": {"log2": [-5, -2]}, "seed": [0]}
    file.write_text(
        yaml.safe_dump({k: v for k, v in SPLIT.items() if k != "record"} | {"sweep": axes})
    )
    assert sweeper("run", file, "--executor", "inline").code == 0
    sweeper("check", "split", "--variant", "mup")
    groups = sweeper("explain", "split", "--json").document["groups"]
    found = {group["variant"]: group["why"]["check"] for group in groups}
    assert found["mup"] is not None
    assert found["sp"] is None
    assert "records no decomposition" in " ".join(groups[0]["why"]["said"])

"""Tables made to mislead, as a user meets them: what the commands say of each is true."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_harness import Sweeper

CASES = Path(__file__).parents[1] / "fixtures" / "cases"


def take(sweeper: Sweeper, case: str, *more: str, objective: str = "loss") -> None:
    """Imports a case under its own name."""
    columns = ("--scale", "width", "--hp", "lr", "--seed", "seed", "--objective", objective)
    answer = sweeper("import", CASES / f"{case}.csv", "--study", case, *columns, *more)
    assert answer.code == 0, answer.err


def said(text: str) -> str:
    """Returns an answer without its line breaks."""
    return " ".join(text.split())


@pytest.mark.parametrize("command", ["drift", "fit", "predict"])
def test_runs_that_blew_up_are_named_with_what_becomes_of_them(
    sweeper: Sweeper, command: str
) -> None:
    take(sweeper, "finite_blow_up_huge")
    target = ("--width", "4096") if command == "predict" else ()
    sentence = "width 128: runs at 0.0156 = 2^-6 and above (loss 1e+09, where a basin"
    answer = sweeper(command, "finite_blow_up_huge", *target)
    assert sentence in said(answer.out)
    document = sweeper(command, "finite_blow_up_huge", *target, "--json").document
    assert any(sentence in note for note in document["notes"])


def test_a_group_names_the_runs_that_blew_up_in_its_json(sweeper: Sweeper) -> None:
    take(sweeper, "finite_blow_up_huge")
    (group,) = sweeper("drift", "finite_blow_up_huge", "--json").document["groups"]
    assert len(group["blow_ups"]) == 4
    assert all("nothing is fitted through them" in each for each in group["blow_ups"])


def test_a_comparison_and_a_report_name_the_runs_that_blew_up(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    rows = (CASES / "finite_blow_up_huge.csv").read_text("utf-8").splitlines()
    made = ["variant,flops," + rows[0]]
    made += [f"{v},{row.split(',')[0]}e9,{row}" for v in ("one", "two") for row in rows[1:]]
    (tmp_path / "pair.csv").write_text("\n".join(made), encoding="utf-8")
    asked = "--study pair --scale width --hp lr --seed seed --objective loss --variant variant"
    assert sweeper("import", "pair.csv", *asked.split(), "--flops", "flops").code == 0
    answer = sweeper("compare", "pair:one", "pair:two")
    assert "pair:two: runs blew up, count as beyond the cliff" in said(answer.out)
    assert sweeper("report", "pair", "--out", "page").code == 0
    page = (tmp_path / "page" / "index.html").read_text("utf-8")
    assert "two: runs blew up, count as beyond the cliff and are not fitted" in page


def test_few_points_are_said_in_the_table_the_page_and_the_json(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    take(sweeper, "three_points")
    assert sweeper("drift", "three_points").out.count("few points") >= 4
    assert sweeper("report", "three_points", "--out", "page").code == 0
    page = (tmp_path / "page" / "index.html").read_text("utf-8")
    assert "few points: the interval holds shapes that they do not show" in page


def test_an_accuracy_is_printed_as_an_accuracy(sweeper: Sweeper) -> None:
    take(sweeper, "accuracy_wrong_goal", "--goal", "max", objective="acc")
    answer = sweeper("drift", "accuracy_wrong_goal")
    assert " acc " in answer.out
    assert "69.4" in answer.out
    assert "-69.4" not in answer.out


def test_the_loss_of_an_optimum_has_an_interval(sweeper: Sweeper) -> None:
    take(sweeper, "digits_cnn", "--variant", "variant")
    for group in sweeper("drift", "digits_cnn", "--json").document["groups"]:
        for optimum in group["optima"]:
            assert optimum["loss_low"] <= optimum["loss"] <= optimum["loss_high"]

"""Tables made to mislead, as a user meets them: what the commands say of each is true."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
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


def test_a_transfer_that_may_diverge_costs_at_least_what_the_last_sound_run_lost(
    sweeper: Sweeper,
) -> None:
    take(sweeper, "finite_blow_up_huge")
    document = sweeper("drift", "finite_blow_up_huge", "--json").document
    costs = document["groups"][0]["regret"]
    assert [cost["resolved"] for cost in costs] == [False, True, True, True]
    lost = [0.5 * 0.08 * octaves**2 for octaves in (0, 0.5, 1, 1.5)]
    for cost, true in zip(costs, lost, strict=True):
        assert cost["low"] <= true
        assert cost["low"] >= 0.5 * true
    assert "costs at least 0.0" in document["bottom_line"]
    assert "at width 1024" in document["bottom_line"]


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


def test_a_comparison_is_of_what_was_observed_where_the_fit_is_poor(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    rows = (CASES / "digits_optimizers.csv").read_text("utf-8").splitlines()
    made = [f"{rows[0]},flops", *(f"{row},{float(row.split(',')[1]) ** 2}" for row in rows[1:])]
    (tmp_path / "digits.csv").write_text("\n".join(made), encoding="utf-8")
    asked = "--study digits --scale width --hp lr --seed seed --objective loss --variant variant"
    assert sweeper("import", "digits.csv", *asked.split(), "--flops", "flops").code == 0
    document = sweeper("compare", "digits:adamw", "digits:soap", "--json").document
    assert not any(point["poor_fit"] for point in document["baseline_points"])
    points = document["others"][0]["points"]
    assert all(point["poor_fit"] for point in points)
    observed = pd.read_csv(CASES / "digits_optimizers.csv").query("variant == 'soap'")
    means = observed.groupby(["width", "lr"])["loss"].mean().groupby("width").min()
    assert [point["loss"] for point in points] == pytest.approx(means.to_list())
    assert any("digits:soap: the lowest losses that were" in note for note in document["notes"])


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
    assert sweeper("report", "accuracy_wrong_goal", "--out", "page").code == 0
    made = Path("page")
    assert "minus acc" not in (made / "index.html").read_text("utf-8")
    for table in ("optima", "points", "regret"):
        assert ",-69.4" not in (made / f"accuracy_wrong_goal-{table}-lr.csv").read_text("utf-8")
    optima = (made / "accuracy_wrong_goal-optima-lr.csv").read_text("utf-8").splitlines()
    first = dict(zip(optima[0].split(","), optima[1].split(","), strict=True))
    assert 69.3 < float(first["loss_low"]) < float(first["loss"]) < float(first["loss_high"])


def test_the_loss_of_an_optimum_has_an_interval(sweeper: Sweeper) -> None:
    take(sweeper, "digits_cnn", "--variant", "variant")
    for group in sweeper("drift", "digits_cnn", "--json").document["groups"]:
        for optimum in group["optima"]:
            assert optimum["loss_low"] <= optimum["loss"] <= optimum["loss_high"]


def test_one_scale_has_its_optimum_and_the_reason_why_there_is_no_drift(sweeper: Sweeper) -> None:
    take(sweeper, "one_scale")
    answer = sweeper("drift", "one_scale")
    assert answer.code == 0
    assert "256  0.0028 = 2^-8.48" in answer.out
    assert "no drift, because 1 scale with an optimum" in said(answer.out)
    line = sweeper("drift", "one_scale", "--json").document["bottom_line"]
    assert line.startswith("The best lr is 0.0028 = 2^-8.48 (95% 2^-8.5")
    assert line.endswith("at width 256, the only width there is, so no drift can be told.")


def test_optima_at_the_edges_are_bounds_and_no_drift(sweeper: Sweeper) -> None:
    take(sweeper, "all_optima_at_edges", "--claim", "lr=0+-0.1")
    answer = sweeper("drift", "all_optima_at_edges")
    assert answer.code == 0
    assert answer.out.count("censored low") == 4
    assert "of 4 lowest losses 4 lie at the lower edge of their grids" in said(answer.out)
    (group,) = sweeper("drift", "all_optima_at_edges", "--json").document["groups"]
    assert group["drift"] is None
    assert [optimum["low"] for optimum in group["optima"]] == [None] * 4


def test_a_bottom_line_says_direction_claim_and_cost(sweeper: Sweeper) -> None:
    take(sweeper, "digits_cnn", "--variant", "variant", "--claim", "lr=0+-0.15")
    document = sweeper("drift", "digits_cnn", "--json").document
    line = document["bottom_line"]
    assert "Under mup it is not resolved whether the best lr moves with the width (-" in line
    assert "a poor fit at" in line
    assert "Under sp the best lr falls with the width (-" in line
    assert "the claim 0 ± 0.15 is broken; transferring from width 8 costs up to 0.47" in line
    assert line in said(sweeper("drift", "digits_cnn").out)


def test_a_large_regret_that_is_not_resolved_is_not_called_harmless(sweeper: Sweeper) -> None:
    take(sweeper, "digits_cnn", "--variant", "variant", "--claim", "lr=0+-0.15")
    answer = sweeper("drift", "digits_cnn")
    assert "harmless" not in answer.out
    assert "not resolved, ≤" in answer.out
    for group in sweeper("drift", "digits_cnn", "--json").document["groups"]:
        for cost in group["regret"]:
            assert cost["low"] <= cost["regret"] <= cost["high"]


def test_the_bottom_line_of_a_prediction_a_comparison_and_a_page(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    take(sweeper, "finite_blow_up_huge")
    line = sweeper("predict", "finite_blow_up_huge", "--width", "4096", "--json").document[
        "bottom_line"
    ]
    assert line.startswith("At width 4096 the best lr is predicted to be 0.0006")
    assert "the average of 3 rules, power with" in line
    assert sweeper("report", "finite_blow_up_huge", "--out", "page").code == 0
    page = (tmp_path / "page" / "index.html").read_text("utf-8")
    assert page.index("The best lr falls with the width") < page.index("runs blew up")


def test_many_groups_are_cut_with_a_count_and_the_option_that_shows_all(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    rows = ["width,lr,batch,loss"]
    for batch in range(30):
        for width in (64, 128):
            for k in range(-9, -2 if batch > 9 else -7):
                rows.append(f"{width},{2.0**k},{batch},{2 + 0.04 * (k + 6) ** 2}")
    (tmp_path / "many.csv").write_text("\n".join(rows), encoding="utf-8")
    columns = "--scale width --hp lr --objective loss --fixed batch --study many"
    assert sweeper("import", "many.csv", *columns.split()).code == 0
    answer = sweeper("drift", "many")
    assert "Of 20 groups with a drift" in said(answer.out)
    assert "10 groups have no drift: no optimum in 10." in said(answer.out)
    assert answer.out.count("default, batch ") == 12
    assert "18 more groups (10 no optimum, 8 with an answer): --all" in said(answer.out)
    assert said(sweeper("drift", "many", "--all").out).count("default, batch ") == 30

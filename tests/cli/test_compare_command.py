"""`sweeper compare` as a user types it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_harness import Sweeper


@pytest.fixture
def race(sweeper: Sweeper, tmp_path: Path) -> Sweeper:
    """Returns the command line of a store with results of two optimizers."""
    rng = np.random.default_rng(4)
    lines = ["optimizer,width,learning_rate,seed,flops,loss"]
    for optimizer, multiplier in (("adam", 1.0), ("muon", 1.5)):
        for width in (128, 256, 512):
            flops = 1e9 * width**3
            for octave in range(-8, -2):
                for seed in range(3):
                    loss = 40 * (multiplier * flops) ** -0.06 + 0.05 * (octave + 5) ** 2
                    loss += 1e-3 * rng.standard_normal()
                    lines.append(f"{optimizer},{width},{2.0**octave},{seed},{flops},{loss}")
    path = tmp_path / "race.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    columns = ["--scale", "width", "--hp", "learning_rate", "--variant", "optimizer"]
    columns += ["--seed", "seed", "--flops", "flops", "--objective", "loss"]
    assert sweeper("import", path, "--study", "race", *columns).code == 0
    return sweeper


def test_the_table_says_how_much_compute_is_saved(race: Sweeper) -> None:
    answer = race("compare", "race:adam", "race:muon")
    assert answer.code == 0
    assert max(map(len, answer.out.splitlines())) <= 100
    assert "compute multipliers over race:adam" in answer.out
    row = next(line for line in answer.out.splitlines() if "width 128" in line).split()
    assert float(row[4]) == pytest.approx(1.5, abs=0.03)
    assert "ahead at 3 of 3 points" in answer.out
    assert "extrapolated" in answer.out
    assert answer.out.count("rests on 54 of 54 trials") == 2
    assert "Both ran the same seeds at 3 points" in answer.out


def test_the_json_has_stable_keys(race: Sweeper) -> None:
    document = race("compare", "race:adam", "race", "--json").document
    assert list(document) == [
        "baseline",
        "metric",
        "bottom_line",
        "baseline_points",
        "baseline_law",
        "baseline_evidence",
        "others",
        "left_out",
        "notes",
    ]
    (other,) = document["others"]
    assert list(other) == [
        "study",
        "variant",
        "points",
        "shared_seeds",
        "trend",
        "law",
        "evidence",
        "left_out",
    ]
    point = other["points"][0]
    assert {"label", "flops", "loss", "multiplier", "low", "high", "extrapolated"} <= set(point)
    assert point["low"] < 1.5 < point["high"]
    assert point["standing"] == "ahead"
    assert point["seconds"] is None
    # Seeds were drawn apart, so hardly anything of what they do is shared.
    assert other["shared_seeds"]["points"] == 3
    assert other["shared_seeds"]["correlation"] < 0.6


def test_the_tuned_losses_are_read_by_the_estimator_that_is_asked_for(
    race: Sweeper, tmp_path: Path
) -> None:
    words = ("compare", "race:adam", "race:muon", "--json")
    default, same, observed = (
        race(*words, *more).document
        for more in ((), ("--estimator", "skewed"), ("--estimator", "argmin"))
    )
    assert same == default
    table = pd.read_csv(tmp_path / "race.csv")
    seeds = table.groupby(["optimizer", "width", "learning_rate"])["loss"].mean()
    lowest = seeds.groupby(["optimizer", "width"]).min()
    sides = {"adam": observed["baseline_points"], "muon": observed["others"][0]["points"]}
    for optimizer, points in sides.items():
        assert [point["loss"] for point in points] == pytest.approx(lowest[optimizer].tolist())
    fitted = [point["loss"] for point in default["baseline_points"]]
    assert fitted != pytest.approx(lowest["adam"].tolist(), rel=1e-6)
    wrong = race(*words, "--estimator", "median")
    assert (wrong.code, wrong.out) == (2, "")


def test_a_gap_beyond_what_was_measured_is_said_in_words_instead_of_numbers(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    lines = ["variant,flops,loss,error"]
    for k in range(5):
        loss = 2.2 + 2.0 ** (-0.3 * k)
        lines += [f"adam,{4**k}e11,{loss},0.003", f"muon,{4**k}e11,{loss - 1.5},0.003"]
    (tmp_path / "gap.csv").write_text("\n".join(lines), encoding="utf-8")
    columns = ["--scale", "flops", "--flops", "flops", "--objective", "loss"]
    columns += ["--variant", "variant", "--error", "error"]
    assert sweeper("import", "gap.csv", "--study", "gap", *columns).code == 0
    answer = sweeper("compare", "gap:adam", "gap:muon")
    assert "saves over gap:adam is beyond what was measured" in " ".join(answer.out.split())
    assert "muon is ahead at 5 of 5 points" in " ".join(answer.out.split())
    assert "more than 256" in answer.out
    assert "e+1" not in answer.out.partition("rests on")[0]
    document = sweeper("compare", "gap:adam", "gap:muon", "--json").document
    for point in document["others"][0]["points"]:
        assert point["multiplier"] is None
        assert point["refused"].endswith("times: beyond what was measured")
        assert point["standing"] == "ahead"
        assert point["fitted"]["multiplier"] is None


def test_the_bottom_line_is_made_of_the_points_within_what_was_measured(race: Sweeper) -> None:
    document = race("compare", "race:adam", "race:muon", "--json").document
    points = document["others"][0]["points"]
    inside = [point["multiplier"] for point in points if not point["extrapolated"]]
    assert len(inside) == 2
    ends = dict.fromkeys(f"{end:.3g}" for end in (min(inside), max(inside)))
    assert f"needs {' to '.join(ends)} times" in document["bottom_line"]
    assert "1 extrapolated and left out" in document["bottom_line"]
    assert all(point["refused"] is None for point in points)


def test_a_wrong_request_ends_in_one_line(race: Sweeper) -> None:
    for words, message in (
        (("race", "race:muon"), "name one: race:adam, race:muon"),
        (("race:adam", "race:mion"), "did you mean 'muon'"),
        (("race:adam", "race", "--metric", "seconds"), "device seconds are not known"),
    ):
        answer = race("compare", *words)
        assert (answer.code, answer.out) == (2, "")
        assert message in answer.err
        assert "Traceback" not in answer.err

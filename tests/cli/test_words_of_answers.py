"""What answers about small, odd tables say, in words that hold for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_harness import Sweeper

from sweeper.words import loss_digits

Loss = Callable[[float, float], float]
Told = Callable[..., str]
WIDTHS = (128, 256, 512)
RATES = tuple(2.0**log2 for log2 in range(-11, -4))


def basin(width: float, log2: float) -> float:
    return 2 + (128 / width) ** 0.3 + 0.03 * (log2 + 8) ** 2


@pytest.fixture
def told(sweeper: Sweeper, tmp_path: Path) -> Told:
    """What a command says of a made table, its lines joined."""

    def tell(
        *command: str,
        loss: Loss = basin,
        widths: tuple[int, ...] = WIDTHS,
        rates: tuple[float, ...] = RATES,
        scale: str = "width",
        options: tuple[str, ...] = (),
        rows: str | None = None,
        objective: str = "loss",
    ) -> str:
        from math import log2

        cells = [f"{w},{r},{loss(w, log2(r))}" for w in widths for r in rates]
        file = tmp_path / "theirs.csv"
        file.write_text(rows or f"{scale},lr,{objective}\n" + "\n".join(cells) + "\n")
        columns = ("--scale", scale, "--hp", "lr", *options)
        columns += () if "--low" in options else ("--objective", objective)
        imported = sweeper("import", str(file), "--study", "theirs", *columns)
        assert imported.code == 0, imported.err
        answer = sweeper(command[0], "theirs", *command[1:])
        return " ".join((answer.out + answer.err).split())

    return tell


def test_losses_have_the_decimals_that_tell_them_apart(told: Told) -> None:
    assert loss_digits([3.2, 2.6]) == loss_digits([]) == loss_digits([float("inf"), 3.0]) == 4
    assert loss_digits([1.6e-6, 1.2e-6]) == 10
    assert loss_digits([1.6e-6]) == 9
    said = told("drift", loss=lambda width, log2: 1e-6 * basin(width, log2))
    assert "0.0000 " not in said
    assert "0.0000030000" in said


def test_one_scale_has_no_column_of_regret(told: Told) -> None:
    assert "regret at exponent 0" in told("drift")


def test_a_table_of_one_scale_has_no_regret(told: Told) -> None:
    said = told("drift", widths=(128,))
    assert "optimum 95% interval loss flags 128" in said


def test_a_prediction_costs_in_the_metric_that_is_compared(told: Told) -> None:
    said = told(
        "predict",
        "--width",
        "1024",
        loss=lambda width, log2: 1 - basin(width, log2) / 10,
        objective="acc",
        options=("--goal", "max"),
    )
    assert "in acc against tuning there" in said
    assert "in acc against tuning there (95% at most" in said
    assert "in loss" not in said


def test_the_assumptions_name_every_form_that_has_a_weight(told: Told) -> None:
    said = told("predict", "--width", "1024")
    weights = said.split("forms by weight: ")[1].split(" the ")[0].split(" assumes")[0]
    shares = [each.split()[1] for each in weights.split(", ")]
    assumed = said.split("assumes:")[1]
    assert len(shares) > 1
    assert all(f"({share})" in assumed for share in shares)


def test_an_answer_from_optima_rests_on_optima_and_assumes_no_curvature(told: Told) -> None:
    rows = "width,lr,lo,hi\n128,0.01,0.008,0.012\n256,0.008,0.007,0.009\n512,0.006,0.005,0.007\n"
    said = told("predict", "--width", "1024", rows=rows, options=("--low", "lo", "--high", "hi"))
    assert "rests on 3 optima" in said
    assert "trials" not in said and "parabola" not in said


def test_what_all_bounds_need_is_said_once_with_the_bounds(told: Told) -> None:
    for command in (("predict", "--width", "1024"), ("fit",), ("drift",)):
        said = told(*command, rates=RATES[4:], options=("--replace",))
        assert said.count("the lower edge: extend the grid there") == 1
        assert (
            "at width 128, 256 and 512 the lowest loss is at 0.00781 = 2^-7 (bounds open" in said
        )
        assert "add values of the scale" not in said
        assert "extend or refine the grid, or add seeds" in said or command == ("drift",)


def test_scales_called_by_a_letter_have_no_article_and_no_plural(told: Told) -> None:
    said = told("drift", scale="w")
    assert "three values of w 128 to 512" in said
    assert "the w " not in said and "ws " not in said


def test_one_group_with_a_drift_has_its_own_sentence_and_like_reasons_are_told_once(
    told: Told,
) -> None:
    rows = ["width,lr,wd,loss"]
    for width in WIDTHS:
        rows += [f"{width},{2.0**k},0.1,{basin(width, k)}" for k in range(-11, -4)]
        rows += [f"{width},{2.0**-8},{wd},{basin(width, -8) + wd}" for wd in (0.2, 0.3, 0.4, 0.5)]
    said = told("drift", rows="\n".join(rows) + "\n", options=("--fixed", "wd"))
    assert "Under default, wd 0.1 " in said
    assert "Of 1 group" not in said
    assert said.count("no drift, because") == 1
    assert "default, wd 0.5 (4 groups)" in said

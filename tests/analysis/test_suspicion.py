"""Results that look wrong are suspected in words, and honest ones are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import steep_to_the_right, trials

from sweeper.analysis.suspicion import (
    BestLosses,
    best_losses,
    mixed_units,
    rising_loss,
    units_between,
    wrong_goal,
)

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


def best_of(table: pd.DataFrame, scale: str = "width", name: str = "lr") -> BestLosses:
    points = table.groupby([scale, name])["loss"].agg(["mean", "std"]).reset_index()
    return best_losses(points, scale, (name,))


def case(name: str) -> pd.DataFrame:
    return pd.read_csv(FIXTURES / "cases" / f"{name}.csv")


def curves_of(table: pd.DataFrame, metric: str, scale: str, name: str) -> list[np.ndarray]:
    points = table.groupby([scale, name])[metric].mean()
    return [part.to_numpy() for _, part in points.groupby(scale)]


def made(losses: list[float], noise: float = 0.01) -> BestLosses:
    count = len(losses)
    return BestLosses(
        scale="width",
        scales=64 * 2.0 ** np.arange(count),
        losses=np.array(losses),
        inside=np.ones(count, dtype=np.bool_),
        noise=noise,
    )


@pytest.mark.parametrize("metric", ["acc", "val/accuracy", "eval.top1", "test_acc@1"])
def test_a_metric_of_which_more_is_better_is_suspected_by_its_name(metric: str) -> None:
    said = wrong_goal(metric, "min", [], "lr")
    assert said is not None and "sweeper import --goal max" in said
    assert wrong_goal(metric, "max", [], "lr") is None
    assert wrong_goal("val/loss", "min", [], "lr") is None
    assert "--goal min" in str(wrong_goal("val/loss", "max", [], "lr"))
    assert wrong_goal("accuracy_loss", "min", [], "lr") is None


def test_curves_that_are_upside_down_are_suspected_whatever_the_name() -> None:
    curves = curves_of(case("accuracy_wrong_goal"), "acc", "width", "lr")
    for metric in ("quality", "loss", "val_error"):
        said = wrong_goal(metric, "min", curves, "lr")
        assert said is not None and said.startswith(metric)
        assert "4 of 4 curves are worst inside the lr grid and best at its end" in said
    assert wrong_goal("quality", "max", [-curve for curve in curves], "lr") is None


def test_curves_of_a_loss_are_not_taken_for_upside_down() -> None:
    honest = [
        trials(noise=0.05),
        trials(shape=steep_to_the_right(0.7), start=-2.0),
        trials(start=-20.0, noise=0.02),
        trials(start=5.0, noise=0.02),
    ]
    for table in honest:
        curves = curves_of(table, "loss", "width", "learning_rate")
        assert wrong_goal("y", "min", curves, "") is wrong_goal("loss", "min", curves, "") is None
    levelled = np.array([3.2, 3.5, 4.0, 7.52, 7.4, 7.5])  # an edge and a blow-up that levels off
    assert wrong_goal("y", "min", [levelled] * 4, "lr") is None
    assert wrong_goal("y", "min", [np.array([3.0, 3.1, 3.05, 3.0])] * 4, "lr") is None


def test_bits_among_nats_are_suspected_where_they_stand() -> None:
    said = mixed_units(best_of(case("nats_and_bits_mixed")))
    assert said is not None
    assert "width 1024 are 1.4427 times what the other scales suggest, like bits among" in said
    assert "multiply them by 0.6931" in said
    nats = [3.6, 3.3, 3.05, 2.85, 2.7]
    for places in ([0], [2], [0, 1], [3, 4]):
        mixed = [x * 1.4427 if k in places else x for k, x in enumerate(nats)]
        names = ", ".join(str(64 * 2**k) for k in places)
        assert f"width {names} are 1.4427 times" in str(mixed_units(made(mixed)))
    bits = [x * 1.4427 if k != 1 else x for k, x in enumerate(nats)]
    assert "width 128 are 0.6931 times" in str(mixed_units(made(bits)))


def test_a_trend_that_one_unit_explains_is_not_suspected() -> None:
    for losses in ([3.6, 3.3, 3.05, 2.85], [3.6, 2.5, 1.7, 1.2], [3.0, 2.9, 3.4], [2.0, 1.0]):
        assert mixed_units(made(losses)) is None
    rng = np.random.default_rng(0)
    for _ in range(200):
        losses = (3 - 0.3 * np.arange(4) + rng.normal(0, 0.05, 4)).tolist()
        assert mixed_units(made(losses)) is None


def test_a_loss_that_rises_with_the_scale_is_said_to() -> None:
    said = rising_loss(best_of(case("loss_rises_with_width")), "loss", "min")
    assert said is not None
    assert said.startswith("the best loss rises with width, from 3.058 at 128 to 3.886 at 1024")
    fell = rising_loss(made([-0.9, -0.8, -0.7]), "acc", "max")
    assert fell is not None and "the best acc falls with width, from 0.9 at 64 to 0.7" in fell


def test_a_loss_that_leaps_at_one_scale_is_said_to() -> None:
    said = rising_loss(made([3.5, 3.06, 2.75, 12.6]), "loss", "min")
    assert said is not None and "from 2.75 at 256 to 12.6 at 512" in said
    assert rising_loss(made([3.5, 3.06, 2.75, 3.1]), "loss", "min") is None


def test_a_rise_within_the_noise_and_one_along_batches_are_not_said() -> None:
    assert rising_loss(best_of(case("one_rate_zero").query("lr > 0")), "loss", "min") is None
    assert rising_loss(made([3.0, 3.05, 3.1], noise=0.05), "loss", "min") is None
    assert rising_loss(made([3.0, 3.02, 3.04]), "loss", "min") is None
    assert rising_loss(made([3.0, 3.3], noise=np.nan), "loss", "min") is None
    batches = case("loss_rises_with_width").rename(columns={"width": "batch_size"})
    assert rising_loss(best_of(batches, "batch_size"), "loss", "min") is None


def test_a_best_loss_at_an_end_of_its_grid_tells_no_rise() -> None:
    table = case("loss_rises_with_width").query("lr > 0.003")
    assert not best_of(table).inside.any()
    assert rising_loss(best_of(table), "loss", "min") is None


@pytest.mark.parametrize("name", ["openwebtext_width", "llama_wikitext103_width"])
def test_published_sweeps_are_not_suspected(name: str) -> None:
    table = pd.read_csv(FIXTURES / "published" / f"{name}.csv")
    keys = (
        ["setting", "curve"] if "setting" in table else ["figure", "optimizer", "parametrization"]
    )
    for _, part in table.groupby(keys):
        best = best_of(part, name="learning_rate")
        assert mixed_units(best) is None
        assert rising_loss(best, "loss", "min") is None
        assert (
            wrong_goal("y", "min", curves_of(part, "loss", "width", "learning_rate"), "") is None
        )


def test_variants_whose_losses_differ_by_the_factor_of_a_unit_are_suspected() -> None:
    nats = [3.2, 3.01, 2.86, 2.74]
    bits = [loss / np.log(2) * (1 + 0.001 * k) for k, loss in enumerate(nats)]
    for names in (("a", "b"), ("b", "a")):
        said = units_between(dict(zip(names, (made(nats), made(bits)), strict=True)))
        assert said == [
            f"the best losses of {names[1]} are 1.4427 times those of {names[0]} at every width, "
            "like bits beside nats; if so, multiply them by 0.6931"
        ]
    assert units_between({"a": made(nats), "b": made([4.616, 4.5, 4.126, 3.953])}) == []
    assert units_between({"a": made(nats[:1]), "b": made(bits[:1])}) == []
    assert units_between({"a": made(nats), "b": made([-1.0, 2.0])}) == []

"""The coordinate check tells the parametrizations apart."""

from __future__ import annotations

from typing import Any

import pytest

from workloads.llama.coordinates import Coordinate, coordinate_check, slopes

CONFIG = {
    "base_width": 32,
    "batch_size": 8,
    "depth": 2,
    "eval_tokens": 64,
    "learning_rate": 2.0**-9,  # small enough for the linear part of training
}
STREAM = ("embedding", "block 0", "block 1", "logits")
"""The residual stream and what is read off it; single branches are noisier."""


def measured(**changes: Any) -> dict[str, float]:
    """Returns the slopes over three widths, of three seeds together."""
    config = {**CONFIG, **changes}
    return slopes(coordinate_check(config, (32, 64, 128), steps=10, seeds=range(3)))


def test_under_mup_activations_move_alike_at_every_width() -> None:
    found = measured(parametrization="mup")
    layers = {f"{kind} {layer}" for kind in ("attention", "mlp", "block") for layer in (0, 1)}
    assert set(found) == {"embedding", "logits"} | layers
    assert all(abs(found[name]) < 0.15 for name in STREAM), found


def test_under_standard_parametrization_adamw_moves_wider_models_further() -> None:
    found = measured(parametrization="sp")
    assert found["block 0"] > 0.5, found
    assert found["block 1"] > 0.5, found


def test_muon_under_mup_moves_activations_alike_at_every_width() -> None:
    found = measured(parametrization="mup", optimizer="muon", learning_rate=2.0**-6)
    assert all(abs(found[name]) < 0.15 for name in STREAM), found


def test_over_depths_the_last_block_moves_alike_if_its_branches_are_divided() -> None:
    settings = {**CONFIG, "width": 32, "base_depth": 2, "parametrization": "completep"}
    found = slopes(coordinate_check(settings, (2, 4, 8), scale="depth", seeds=range(3)))
    assert set(found) == {"embedding", "attention last", "mlp last", "block last", "logits"}
    assert abs(found["block last"]) < 0.15, found
    assert abs(found["logits"]) < 0.15, found


def test_a_model_that_diverges_is_refused() -> None:
    with pytest.raises(ValueError, match="a model of width 32 and depth 2 diverged"):
        coordinate_check({**CONFIG, "learning_rate": 1e4}, (32,), steps=10)


def test_a_slope_is_that_of_a_power_law() -> None:
    rows = [Coordinate(width, "x", 1.0, 3 * width**0.75) for width in (8, 16, 64)]
    assert slopes(rows) == {"x": pytest.approx(0.75)}


def test_a_slope_of_one_width_or_of_no_change_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two different sizes"):
        slopes([Coordinate(8, "x", 1.0, 1.0)])
    with pytest.raises(ValueError, match=r"x changed by 0\.0 at size 8"):
        slopes([Coordinate(8, "x", 1.0, 0.0)])

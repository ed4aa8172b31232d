"""The coordinate check tells the parametrizations apart."""

from __future__ import annotations

from typing import Any

import pytest

from workloads.diagnostics.coordinates import Coordinate, coordinate_check, slopes

CONFIG = {
    "base_width": 32,
    "batch_size": 8,
    "depth": 2,
    "eval_tokens": 64,
    "learning_rate": 2.0**-9,  # small enough for the linear part of training
}


def measured(**changes: Any) -> dict[str, float]:
    """Returns the slopes over three widths, over three seeds together."""
    config = {**CONFIG, **changes}
    rows = [coordinate_check(config, (32, 64, 128), steps=10, seed=seed) for seed in range(3)]
    return slopes([row for each in rows for row in each])


def test_under_mup_activations_move_alike_at_every_width() -> None:
    found = measured(parametrization="mup")
    assert set(found) == {"embedding", "block 0", "block 1", "logits"}
    assert all(abs(slope) < 0.15 for slope in found.values()), found


def test_under_standard_parametrization_adamw_moves_wider_models_further() -> None:
    found = measured(parametrization="sp")
    assert found["block 0"] > 0.5, found
    assert found["block 1"] > 0.5, found


def test_muon_under_mup_moves_activations_alike_at_every_width() -> None:
    found = measured(parametrization="mup", optimizer="muon", learning_rate=2.0**-6)
    assert all(abs(slope) < 0.15 for slope in found.values()), found


def test_a_slope_is_that_of_a_power_law() -> None:
    rows = [Coordinate(width, "x", 1.0, 3 * width**0.75) for width in (8, 16, 64)]
    assert slopes(rows) == {"x": pytest.approx(0.75)}


def test_a_slope_of_one_width_or_of_no_change_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two different widths"):
        slopes([Coordinate(8, "x", 1.0, 1.0)])
    with pytest.raises(ValueError, match=r"x changed by 0\.0 at width 8"):
        slopes([Coordinate(8, "x", 1.0, 0.0)])

"""Spaces: the product of axes, restricted to what has a meaning."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from quadratic_card import SETTINGS

from sweeper.study.settings import applying, by_name
from sweeper.study.space import Space
from sweeper.trial import canonical_json


def _space(constants: dict[str, Any], axes: dict[str, tuple[Any, ...]]) -> Space:
    return Space(settings=by_name(SETTINGS), constants=constants, axes={"seed": (0,), **axes})


def test_points_are_the_product_with_the_last_axis_fastest() -> None:
    space = _space({"steps": 9}, {"width": (16, 32), "learning_rate": (0.1, 0.2)})
    found = [(point["width"], point["learning_rate"]) for point in space.points()]
    assert found == [(16, 0.1), (16, 0.2), (32, 0.1), (32, 0.2)]
    assert all(point["steps"] == 9 and "seed" not in point for point in space.points())


def test_an_axis_without_meaning_beside_a_value_does_not_multiply_the_points() -> None:
    space = _space({}, {"optimizer": ("adamw", "muon"), "momentum": (0.8, 0.9, 0.95)})
    assert space.num_points == 4
    assert next(space.points()) == {"optimizer": "adamw"}


def test_a_constant_without_meaning_is_left_out() -> None:
    space = _space({"momentum": 0.9}, {"width": (16,)})
    assert list(space.points()) == [{"width": 16}]
    assert "momentum" not in space.applied


values = st.fixed_dictionaries(
    {},
    optional={
        "width": st.just((16, 32)),
        "optimizer": st.sampled_from([("adamw",), ("muon",), ("muon", "adamw")]),
        "momentum": st.just((0.5, 0.9)),
        "nesterov": st.just((True, False)),
    },
)


@given(axes=values, constants=st.sampled_from([{}, {"weight_decay": 0.1}, {"momentum": 0.7}]))
def test_points_are_distinct_counted_and_complete(
    axes: dict[str, tuple[Any, ...]], constants: dict[str, Any]
) -> None:
    space = _space({k: v for k, v in constants.items() if k not in axes}, axes)
    found = [canonical_json(point) for point in space.points()]
    assert len(set(found)) == len(found) == space.num_points
    assert set(found) == _naive(space)


def _naive(space: Space) -> set[str]:
    """Every combination, filtered one by one: a slow second opinion."""
    configs: list[dict[str, Any]] = [dict(space.constants)]
    for name, choices in space.axes.items():
        if name != "seed":
            configs = [{**config, name: value} for config in configs for value in choices]
    return {
        canonical_json({k: v for k, v in c.items() if k in applying(space.settings, c)})
        for c in configs
    }

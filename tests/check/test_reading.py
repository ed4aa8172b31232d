"""Slopes, verdicts and causes of measurements whose powers are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from check_models import measured

from sweeper.check import CheckStatement, Measured, VariantCheck, statement_of
from sweeper.check.measured import aligned
from workloads.workload import Layer


def _check(found: Measured) -> VariantCheck:
    return statement_of("s", [found], steps=10, seeds=4).variants[0]


def test_a_sound_rule_passes_and_slopes_are_those_of_the_powers() -> None:
    check = _check(measured())
    assert (check.verdict, check.named, check.causes) == ("pass", (), ())
    rows = {(row.layer, row.quantity): row for row in check.rows}
    readout = rows["readout", "update_norm"]
    assert readout.slope == pytest.approx(-0.5)
    assert readout.expected == -0.5
    assert readout.verdict == "told"
    assert rows["readout", "update"].slope == pytest.approx(0.0)
    assert rows["hidden", "initial_rms"].expected == -0.5
    assert rows["readout", "initial_rms"].expected == -1.0
    hidden = rows["hidden", "initial_rms"]
    assert hidden.low is not None and hidden.high is not None
    # Student's t of three degrees of freedom over four equally spaced slopes.
    half = 3.182446 * 0.01 * (5 / 3) ** 0.5 / 2
    assert hidden.high - hidden.low == pytest.approx(2 * half, rel=1e-4)


@pytest.mark.parametrize(
    ("wrong", "cause", "says"),
    [
        (
            {"update_norm.readout": 0.5},
            ("readout", "update"),
            "readout update: grows like width^1: its learning rate multiplier is missing",
        ),
        (
            {"update_norm.hidden": -0.5},
            ("hidden", "update"),
            "hidden update: shrinks like width^-0.5: its learning rate multiplier is missing",
        ),
        (
            {"initial_rms.hidden": 0.0},
            ("hidden", "initial_rms"),
            "hidden initial values: go like width^0 where the rule has width^-0.5",
        ),
    ],
)
def test_what_is_off_is_named_and_nothing_else(
    wrong: dict[str, float], cause: tuple[str, str], says: str
) -> None:
    check = _check(measured(wrong))
    assert check.verdict == "fail"
    assert check.causes == (cause,)
    assert check.named[0].startswith(says)


def test_a_learning_rate_is_named_with_the_power_that_it_has_and_should_have() -> None:
    rates = {"hidden": 0.0, "readout": -1.0}
    missing = _check(measured({"update_norm.hidden": 1.0}, rates=rates))
    assert "multiplier is missing; it would have to go like width^-1" in missing.named[0]
    wrong = _check(measured({"update_norm.readout": -1.5}, rates=rates))
    assert "goes like width^-1; it would have to go like width^0" in wrong.named[0]


def test_an_epsilon_is_named_and_the_update_that_it_shrinks_is_not() -> None:
    kept = {"hidden": (0.8, 0.4, 0.2, 0.1)}
    check = _check(measured({"update_norm.hidden": -1.0}, kept=kept))
    assert check.causes == (("hidden", "epsilon_kept"),)
    assert "takes 20% of the update at the smallest size and 90%" in check.named[0]
    assert any("follows from its epsilon" in said for said in check.named)


def test_what_is_off_only_later_follows_from_what_is_off_at_once() -> None:
    off = {"update_norm.readout": 0.5}
    check = _check(
        measured(off, later={"update_norm.hidden": -0.5, "activation_moved.logits": 1.0})
    )
    assert check.causes == (("readout", "update"),)
    rows = {(row.layer, row.quantity): row for row in check.rows}
    assert rows["hidden", "update"].why == "shrinks like width^-0.5: follows from readout"
    assert "follows from readout" in rows["logits", "activation_moved"].why


def test_a_readout_may_start_smaller_and_activations_may_shrink() -> None:
    assert _check(measured({"initial_rms.readout": -2.0})).verdict == "pass"
    assert _check(measured({"activation_rms.logits": -0.6})).verdict == "pass"
    grows = _check(measured({"activation_rms.logits": 0.6}))
    assert grows.verdict == "fail"
    assert "no single tensor explains it" in grows.named[0]


def test_scattered_seeds_are_inconclusive_and_one_seed_too() -> None:
    unclear = _check(measured({"update_norm.hidden": 0.4}, spread=0.3))
    assert unclear.verdict == "inconclusive"
    (said,) = unclear.unclear
    assert said.startswith("not judged, ")
    assert "hidden update" in said
    assert said.endswith("more seeds make it narrower")
    assert not _check(measured()).unclear
    single = _check(measured(seeds=1))
    assert single.verdict == "inconclusive"
    assert all(row.low is None for row in single.rows)
    assert any("one seed has no interval" in row.why for row in single.rows)


def test_models_that_diverge_fail_with_where() -> None:
    found = measured()
    broken = replace(found.models[-1], diverged=(0, 2))
    check = _check(replace(found, models=(*found.models[:-1], broken)))
    assert check.verdict == "fail"
    assert "2 seeds at 256 of width diverged" in check.named[0]


def test_blocks_of_models_of_unequal_depth_are_called_first_and_last() -> None:
    base = measured().models[0]
    layer = Layer(kind="hidden", inputs=8, outputs=8)

    def model(depth: int) -> Any:
        names = [f"{place}.query" for place in range(depth)]
        columns = {f"update_rms.{n}": (float(place),) for place, n in enumerate(names)}
        columns |= {f"activation_rms.block.{place}": (place + 0.5,) for place in range(depth)}
        return replace(
            base,
            size=depth,
            layers=dict.fromkeys([*names, "readout"], layer),
            values={10: columns},
        )

    small, large = aligned([model(2), model(4)])
    assert small.layers.keys() == large.layers.keys() == {"first.query", "last.query", "readout"}
    assert large.values[10]["update_rms.last.query"] == (3.0,)
    assert large.values[10]["activation_rms.block.first"] == (0.5,)
    assert len(large.values[10]) == 4


def test_what_was_measured_survives_as_json_and_reads_the_same() -> None:
    found = measured({"update_norm.readout": 0.5}, rates={"hidden": -1.0})
    again = Measured.from_json(found.to_json())
    assert again == found
    one, two = (statement_of("s", [each], steps=10, seeds=4) for each in (found, again))
    assert one.to_json() == two.to_json()


def test_the_keys_of_a_row_are_those_that_are_documented() -> None:
    statement: CheckStatement = statement_of("s", [measured()], steps=10, seeds=4)
    document = statement.to_json()
    assert document["verdict"] == "pass"
    keys = ["variant", "layer", "role", "quantity", "slope", "low", "high"]
    keys += ["expected", "verdict", "why"]
    assert all(list(row) == keys for row in document["layers"])

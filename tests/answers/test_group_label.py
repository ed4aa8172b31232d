"""Names of groups, and refusals of many."""

from __future__ import annotations

from sweeper.answers.groups import all_refused, few, group_label


def test_a_group_is_named_by_its_variant_and_the_settings_that_apply() -> None:
    settings = {"weight_decay": 0.1, "beta": None, "tied": True, "depth": 4}
    assert group_label("mup", settings) == "mup, weight_decay 0.1, tied true, depth 4"
    assert group_label("mup", {}) == "mup"


def test_long_numbers_are_powers_of_ten_where_no_digit_is_lost() -> None:
    assert group_label("a", {"D": 20_000_000_000}) == "a, D 2e+10"
    assert group_label("a", {"D": 1_048_576}) == "a, D 1048576"
    assert group_label("a", {"steps": 50_000}) == "a, steps 50000"


def test_a_reason_that_groups_share_is_told_once() -> None:
    few = all_refused([("a", "too short"), ("b", "too noisy"), ("a", "too short")])
    assert str(few) == "a: too short\nb: too noisy"
    many = all_refused([(f"group {index}", "too short") for index in range(40)])
    assert str(many) == "group 0; group 1; group 2 and 37 more groups: too short"
    four = all_refused([(name, "too short") for name in "abcd"])
    assert str(four) == "a; b; c; d: too short"


def test_of_many_reasons_the_first_are_told() -> None:
    reasons = [f"width {index}: no result" for index in range(9)]
    assert few(reasons[:6]) == "; ".join(reasons[:6])
    assert few(reasons) == "; ".join(reasons[:5]) + "; and 4 more like these"

"""What is asked of a study's results, and what is kept of the answer."""

from __future__ import annotations

import subprocess
import sys

import pytest
from planted_studies import CLAIM, Planted

from sweeper.answers.drift import keep_estimates
from sweeper.answers.view import statements_of, view_study
from sweeper.errors import AnalysisRefusal, UnknownNameError
from sweeper.store.store import Store


def test_the_planted_drifts_are_found_and_the_claims_judged(finished: Store) -> None:
    (statement,) = statements_of(finished, "planted")
    assert (statement.scale, statement.hyperparameter) == ("width", "learning_rate")
    drifts = {group.variant: group.drift for group in statement.groups}
    assert drifts["sp"] is not None and drifts["sp"].slope == pytest.approx(-1, abs=0.1)
    assert drifts["mup"] is not None and drifts["mup"].slope == pytest.approx(0, abs=0.1)
    rulings = {group.variant: group.verdicts[0].ruling for group in statement.groups}
    assert rulings == {"sp": "broken", "mup": "holds"}


def test_other_swept_settings_make_the_groups(store: Store) -> None:
    Planted(more={"weight_decay": [0.0, 0.1], "beta": [0.9]}).save(store)
    (statement,) = statements_of(store, "planted")
    found = {(group.variant, group.settings["weight_decay"]) for group in statement.groups}
    assert found == {("sp", 0.0), ("sp", 0.1), ("mup", 0.0), ("mup", 0.1)}
    assert all(set(group.settings) == {"weight_decay"} for group in statement.groups)


def test_without_claims_the_first_positive_axis_is_asked_about(store: Store) -> None:
    Planted(claims=()).save(store)
    (statement,) = statements_of(store, "planted")
    assert statement.hyperparameter == "learning_rate"
    assert all(group.verdicts == () for group in statement.groups)


def test_an_axis_with_a_zero_is_no_hyperparameter_by_itself(store: Store) -> None:
    Planted(octaves=(-5,), more={"weight_decay": [0.0, 0.1]}, claims=()).save(store)
    with pytest.raises(AnalysisRefusal, match="swept: learning_rate, weight_decay"):
        statements_of(store, "planted")


def test_an_unknown_hyperparameter_is_refused_with_the_swept_ones(finished: Store) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'learning_rate'"):
        statements_of(finished, "planted", "learning_rat")


def test_a_study_without_results_is_refused(store: Store) -> None:
    Planted(answered=lambda config: False).save(store)
    with pytest.raises(AnalysisRefusal, match=r"none of its 96 cells has a result yet"):
        statements_of(store, "planted")


def test_a_metric_to_be_maximised_is_turned_round(store: Store) -> None:
    Planted(name="up", goal="max").save(store)
    Planted(name="down").save(store)
    assert view_study(store, "up").trials["loss"].min() > 2.0
    (up,), (down,) = statements_of(store, "up"), statements_of(store, "down")
    for one, other in zip(up.groups, down.groups, strict=True):
        assert [o.log2 for o in one.optima] == [o.log2 for o in other.optima]


def test_variants_without_the_hyperparameter_are_left_out(store: Store) -> None:
    study = Planted(claims=())
    study.save(store)
    view = view_study(store, "planted")
    view.trials.loc[view.trials["variant"] == "sp", "learning_rate"] = float("nan")
    assert set(view.select("learning_rate").rows["variant"]) == {"mup"}


def test_swept_tokens_per_parameter_become_the_declared_ratios(store: Store) -> None:
    # A thousand tokens on width^2 parameters: 0.98, 0.24 and 0.061 tokens per parameter.
    Planted(unseen={"tokens_per_param": [0.06, 0.25, 1]}).save(store)
    view = view_study(store, "planted")
    found = view.trials.groupby("width")["tokens_per_param"].unique().map(list).to_dict()
    assert found == {32: [1.0], 64: [0.25], 128: [0.06]}
    assert view.swept == ("learning_rate", "tokens_per_param")


def test_estimates_are_kept_with_open_sides_unknown(store: Store) -> None:
    Planted(octaves=tuple(range(-9, -2)), drifts={"up": 1.0}).save(store)
    statements = statements_of(store, "planted")
    keep_estimates(store, statements)
    kept = store.estimates("planted", "learning_rate")
    optima = [row for row in kept if row.kind == "optimum"]
    assert len(optima) == sum(len(group.optima) for group in statements[0].groups)
    edge = next(row for row in optima if "censored_high" in row.text)
    assert edge.high is None and edge.low is not None and edge.low > 0
    assert {row.kind for row in kept} == {"optimum", "drift", "claim", "regret"}


def test_several_claims_on_one_hyperparameter_are_all_judged(store: Store) -> None:
    Planted(claims=(CLAIM, CLAIM | {"exponent": -1})).save(store)
    (statement,) = statements_of(store, "planted")
    assert [len(group.verdicts) for group in statement.groups] == [2, 2]


def test_statements_need_no_matplotlib() -> None:
    code = "import sys, sweeper.answers.drift; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

"""`sweeper drift`, asked about other axes, horizons and two hyperparameters at once."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from cli_harness import Sweeper

from sweeper.outcome import Mark, Outcome
from sweeper.store.owner import Owner
from sweeper.store.records import Membership, StudyRecord
from sweeper.store.store import Store
from sweeper.trial import Trial

RATES = [2.0**k for k in range(-7, -1)]
DECAYS = [2.0**k for k in range(-7, -1)]
WIDTHS = [32, 64, 128]


def loss(config: dict[str, Any], seed: int) -> float:
    """A valley along the product, which wants 2^-9 at width 32 and half as much per doubling."""
    rate, decay = math.log2(config["learning_rate"]), math.log2(config["weight_decay"])
    doublings = math.log2(config["width"] / 32)
    along, across = rate + decay + 9 + doublings, rate - decay
    ripple = 1e-3 * math.sin(13 * rate + 5 * decay + config["width"] + 3 * seed)
    return 2 + config["width"] ** -0.5 + 0.05 * along**2 + 0.02 * across**2 + ripple


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    """Returns the name of a study over learning rate and weight decay, with marks."""
    members, entries = [], []
    for width in WIDTHS:
        for rate in RATES:
            for decay in DECAYS:
                config = {"width": width, "learning_rate": rate, "weight_decay": decay}
                flops = {"params": width**2, "tokens": 1000, "flops": 6e3 * width**2}
                trial = Trial.of(
                    workload="made", version="1", data="", config=config, seed=0, derived=flops
                )
                members.append(Membership(trial=trial, variant="only"))
    record = StudyRecord(
        name="pairs",
        question="Which pair is best?",
        workload="made",
        scale="width",
        metric="val_loss",
        goal="min",
        document={
            "scale": "width",
            "sweep": {"width": WIDTHS, "learning_rate": RATES, "weight_decay": DECAYS},
            "claims": [{"hyperparameter": "learning_rate", "exponent": -0.5, "tolerance": 0.2}],
        },
    )
    with Store.open(tmp_path / "store", create=True) as store:
        store.save_study(record, members)
        keys = [member.trial.key for member in members]
        claimed = store.claim(keys, owner=Owner.here(), lease_s=60)
        for member, claim in zip(members, claimed, strict=True):
            value = loss(dict(member.trial.config), 0)
            early = Mark(step=50, tokens=500, metric="val_loss", value=value + 1)
            odd = member.trial.config["width"] == 128
            outcome = Outcome(
                key=claim.key,
                attempt=claim.attempt,
                kind="completed",
                metrics={"val_loss": value},
                step=100,
                tokens=1000,
                device="another card" if odd else "a card",
                host="here",
                environment={"commit": "c0ffee", "sweeper": "0.1.0"},
                marks=(early,),
            )
            entries.append((outcome, value))
        store.record_many(entries)
    return "pairs"


def widest(text: str) -> int:
    return max(len(line.rstrip()) for line in text.splitlines())


def test_a_product_is_an_axis_and_its_table_says_how(sweeper: Sweeper, pairs: str) -> None:
    answer = sweeper("drift", pairs, "--hp", "learning_rate*weight_decay")
    assert answer.code == 0
    assert "best learning_rate*weight_decay against width" in answer.out
    assert "--joint reads two settings at once" in answer.out
    assert "drift -1.0" in answer.out
    assert widest(answer.out) <= 100


def test_another_scale_is_answered_without_the_claims(sweeper: Sweeper, pairs: str) -> None:
    answer = sweeper("drift", pairs, "--scale", "params", "--json")
    assert answer.document["scale"] == "params"
    assert answer.document["groups"][0]["optima"][1]["scale"] == 64**2
    assert all(group["claims"] == [] for group in answer.document["groups"])
    assert any("none is judged along params" in note for note in answer.document["notes"])


def test_only_the_studys_own_question_is_kept_as_estimates(sweeper: Sweeper, pairs: str) -> None:
    count = "select count(*) as n from estimates"
    for options in (["--scale", "params"], ["--estimator", "argmin"]):
        assert sweeper("drift", pairs, *options).code == 0
        assert sweeper("sql", count, "--json").document == [{"n": 0}]
    assert sweeper("drift", pairs).code == 0
    assert sweeper("sql", count, "--json").document[0]["n"] > 0


def test_horizons_are_groups_with_a_warning_about_the_decay(sweeper: Sweeper, pairs: str) -> None:
    answer = sweeper("drift", pairs, "--hp", "learning_rate*weight_decay", "--horizon", "all")
    assert "only, horizon_tokens 500" in answer.out
    assert "only, horizon_tokens 1000" in answer.out
    assert "a mark inside a run is not the end of a run of that length" in " ".join(
        answer.out.split()
    )
    assert widest(answer.out) <= 100


def test_the_evidence_names_trials_seeds_code_and_devices(sweeper: Sweeper, pairs: str) -> None:
    answer = sweeper("drift", pairs, "--hp", "learning_rate")
    assert "rests on 108 of 108 trials, 1 seed a point" in answer.out
    each = ["--each", "weight_decay"]
    answer = sweeper("drift", pairs, "--hp", "learning_rate", *each)
    assert "rests on 18 of 18 trials, 1 seed a point" in answer.out
    assert "warning: results of different devices are compared" in answer.out
    group = sweeper("drift", pairs, *each, "--json", "--keys").document["groups"][0]
    evidence = group["evidence"]
    assert (evidence["trials"], evidence["declared"], evidence["seeds"]) == (18, 18, [1, 1])
    assert evidence["devices"] == ["a card", "another card"]
    assert evidence["versions"] == ["commit c0ffee", "sweeper 0.1.0", "workload version 1"]
    assert len(evidence["warnings"]) == 1
    known = {row["key"] for row in sweeper("sql", "select key from trials", "--json").document}
    assert len(evidence["keys"]) == 18 and set(evidence["keys"]) < known
    bare = sweeper("drift", pairs, "--json").document["groups"][0]["evidence"]
    assert "keys" not in bare


def test_regret_is_priced_in_compute(sweeper: Sweeper, pairs: str) -> None:
    product = ["--hp", "learning_rate*weight_decay"]
    rows = sweeper("drift", pairs, *product, "--json").document["groups"][0]["regret"]
    assert rows[0]["compute"] == pytest.approx(1, abs=0.01)
    last = rows[-1]
    # Two octaves off cost 0.2, more than widths 32 and 128 lie apart: nothing tells its compute.
    assert last["regret"] == pytest.approx(0.2, abs=0.02)
    assert (last["compute"], last["compute_note"]) == (None, "beyond what was measured")
    assert rows[1]["regret"] == pytest.approx(0.05, abs=0.005)
    assert rows[1]["compute"] == pytest.approx(3.6, abs=0.3) and not rows[1]["compute_note"]
    table = sweeper("drift", pairs, *product).out
    assert f"×{rows[1]['compute']:.2f}" in table
    assert "* extrapolated" not in table


def test_two_hyperparameters_have_a_joint_optimum(sweeper: Sweeper, pairs: str) -> None:
    names = "learning_rate,weight_decay"
    document = sweeper("drift", pairs, "--joint", names, "--json").document
    assert document["hyperparameters"] == ["learning_rate", "weight_decay"]
    for doublings, optimum in enumerate(document["groups"][0]["optima"]):
        for found in optimum["optimum"].values():
            assert found["log2"] == pytest.approx(-4.5 - doublings / 2, abs=0.05)
        steep, shallow = optimum["axes"]
        assert steep["curvature"] == pytest.approx(0.2, abs=0.02)
        assert shallow["curvature"] == pytest.approx(0.08, abs=0.02)
        assert steep["direction"]["learning_rate"] * steep["direction"]["weight_decay"] > 0
    assert document["groups"][0]["evidence"]["trials"] == 108
    table = sweeper("drift", pairs, "--joint", names).out
    assert "best learning_rate and weight_decay together against width" in table
    assert re.search(r"(learning_rate × weight_decay|weight_decay × learning_rate)", table)
    assert widest(table) <= 100


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--hp", "learning_rat*width"], "did you mean 'learning_rate'"),
        (["--hp", "learning_rate+1"], "'+' has no place in it"),
        (["--scale", "withd"], "did you mean 'width'"),
        (["--horizon", "soon"], "give all, a number of tokens"),
        (["--horizon", "0.75"], "at these shares of the run: 0.5, 1"),
        (["--joint", "learning_rate"], "is of two hyperparameters, not of 1"),
        (["--joint", "learning_rate,learning_rate"], "asked for twice"),
        (["--joint", "learning_rate,weight_decay", "--each", "seed"], "leave --hyperparameter"),
        (["--scale", "learning_rate", "--hp", "learning_rate"], "asked for twice"),
        (["--keys"], "add --json"),
    ],
)
def test_wrong_questions_get_one_message(
    sweeper: Sweeper, pairs: str, options: list[str], why: str
) -> None:
    answer = sweeper("drift", pairs, *options)
    assert answer.code == 2
    assert answer.out == ""
    assert why in answer.err and "Traceback" not in answer.err

"""`sweeper rules`: the numbers of a rule, over their values at the base width."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cli_harness import Sweeper

WIDTHS = ("--base-width", "128", "--width", "1024")

ROLES = ["embedding", "hidden", "readout", "vector"]


def test_the_rule_of_mup_for_shampoo(sweeper: Sweeper) -> None:
    answer = sweeper(
        "rules", "--optimizer", "shampoo", "--parametrization", "mup", *WIDTHS, "--json"
    )
    document = answer.document
    assert answer.code == 0
    assert (document["optimizer"], document["others"]) == ("shampoo", "adamw")
    assert (document["base_width"], document["width"]) == (128, 1024)
    assert list(document["roles"]) == ROLES
    for row in document["roles"].values():
        assert row.keys() >= {"learning_rate", "epsilon", "weight_decay", "init_std"}
    rates = [row["learning_rate"] for row in document["roles"].values()]
    assert rates == [1, 1, 1 / 8, 1]
    assert document["formulas"]["hidden"]["optimizer"] == "shampoo"
    assert document["leaves"] == {}


def test_settings_depth_and_leaves_are_taken_in(sweeper: Sweeper) -> None:
    document = sweeper(
        *("rules", "--optimizer", "shampoo", "--parametrization", "mup", *WIDTHS),
        *("--depth", 12, "--base-depth", 3, "--set", "block_size=128"),
        *("--set", "others=muon", "--set", "shampoo_ridge=absolute", "--json"),
    ).document
    hidden = document["roles"]["hidden"]
    assert hidden["learning_rate"] == pytest.approx(1 / 8)
    assert hidden["epsilon"] == pytest.approx(1 / 16 / 64)  # 1 / N^2 / (8 * 8)
    assert document["others"] == "muon"
    assert document["roles"]["embedding"]["learning_rate"] == pytest.approx(8**0.5)
    assert document["roles"]["vector"]["epsilon"] == pytest.approx(1 / 32)
    assert document["branch_multiplier"] == 0.25
    assert document["leaves"] == {}  # the MLP's blocks grow like the width's
    coarse = sweeper(
        *("rules", "--optimizer", "shampoo", "--parametrization", "mup", *WIDTHS),
        *("--set", "block_size=512", "--json"),
    ).document
    assert list(coarse["leaves"]) == ["hidden.mlp_in", "hidden.mlp_out"]


@pytest.mark.parametrize(
    "parametrization",
    ["sp", "mup", "spectral", "normalized", "moonlight", "completep", "ntk", "mean_field"],
)
def test_every_parametrization_is_shown_at_odd_widths(
    sweeper: Sweeper, parametrization: str
) -> None:
    chosen = ("rules", "--optimizer", "muon", "--parametrization", parametrization)
    answer = sweeper(*chosen, "--base-width", 37, "--width", 111, "--json")
    assert answer.code == 0, answer.err
    assert answer.document["parametrization"] == parametrization
    text = sweeper(*chosen, "--base-width", 37, "--width", 111)
    assert "learning rate" in text.out
    assert "as formulas:" in text.out
    assert all(role in text.out for role in ROLES)


def test_custom_exponents_and_gains_can_be_set(sweeper: Sweeper) -> None:
    document = sweeper(
        *("rules", "--parametrization", "custom", *WIDTHS, "--json"),
        *("--set", "custom.hidden.learning_rate=-1", "--set", "custom.vector.learning_rate=0.5"),
    ).document
    assert document["roles"]["hidden"]["learning_rate"] == 1 / 8
    assert document["roles"]["vector"]["learning_rate"] == pytest.approx(8**0.5)
    assert document["settings"]["custom.hidden.learning_rate"] == -1


@pytest.mark.parametrize(
    ("rule", "convention", "expected"),
    [
        ("none", "independent", (1, 1, 1)),
        ("inverse_width", "independent", (1 / 8, 1 / 8, 1 / 8)),
        ("inverse_width", "constant", (1 / 8, 1 / 8, 1 / 8)),
        ("inverse_learning_rate", "coupled", (1, 1, 1)),
        ("inverse_learning_rate", "independent", (1, 8, 8)),
        ("none", "coupled", (1, 1 / 8, 1 / 8)),
    ],
)
def test_weight_decay_is_that_of_the_share_and_never_of_vectors(
    sweeper: Sweeper, rule: str, convention: str, expected: tuple[float, ...]
) -> None:
    roles = sweeper(
        *("rules", "--parametrization", "mup", *WIDTHS, "--json"),
        *("--set", f"weight_decay_rule={rule}"),
        *("--set", f"weight_decay_convention={convention}"),
    ).document["roles"]
    assert tuple(roles[role]["weight_decay"] for role in ROLES) == (*expected, 0)


def test_the_mlp_has_rules_too_and_a_bias_that_does_not_grow(sweeper: Sweeper) -> None:
    document = sweeper(
        *("rules", "--workload", "mlp", "--optimizer", "sgd", "--parametrization", "mup"),
        *(*WIDTHS, "--json"),
    ).document
    rates = [row["learning_rate"] for row in document["roles"].values()]
    assert rates == [8, 1, 1 / 8, 8]
    assert document["leaves"]["vector.readout"]["learning_rate"] == 1


def test_an_option_without_effect_is_told(sweeper: Sweeper) -> None:
    asked = ("rules", "--parametrization", "ntk", *WIDTHS, "--base-depth", 2)
    assert sweeper(*asked, "--json").document["ignored"] == ["base_depth"]
    assert "base_depth has no effect under parametrization ntk" in sweeper(*asked).out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--optimizer", "shampo"], ["optimizer", "did you mean 'shampoo'"]),
        (["--parametrization", "completp"], ["did you mean 'completep'"]),
        (["--set", "blok_size=3"], ["no setting named 'blok_size'", "did you mean 'block_size'"]),
        (
            ["--parametrization", "custom", "--set", "custom.hiddn.init=1"],
            ["did you mean 'custom.hidden'"],
        ),
        (["--set", "block_size"], ["not of the form NAME=VALUE"]),
        (["--set", "block_size=3"], ["block_size has no effect", "optimizer is shampoo or soap"]),
        (["--optimizer", "soap", "--set", "block_size=0"], ["block_size", "at least 1"]),
        (["--width", "0"], ["width", "at least 1"]),
        (["--set", "width=3"], ["width is given twice"]),
        (["--set", "head_dim=48"], ["no multiple of head_dim 48"]),
        (["--parametrization", "moonlight"], ["not defined for optimizer adamw"]),
        (["--workload", "planted"], ["'planted' has no scaling rules"]),
        (["--workload", "lama"], ["did you mean 'llama'"]),
    ],
)
def test_what_cannot_be_shown_is_refused(
    sweeper: Sweeper, arguments: list[str], words: list[str]
) -> None:
    answer = sweeper("rules", *WIDTHS, *arguments)
    assert answer.code == 2
    assert answer.out == ""
    for word in words:
        assert word in answer.err


def test_a_rule_needs_its_base(sweeper: Sweeper) -> None:
    answer = sweeper("rules", "--parametrization", "mup", "--width", 64)
    assert answer.code == 2
    assert "base_width is missing" in answer.err
    assert "width is required" in sweeper("rules", "--base-width", 64).err


def test_rules_are_shown_without_torch() -> None:
    code = (
        "import sys; from sweeper.cli.rules import rules; "
        "rules(width=64, as_json=True); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")

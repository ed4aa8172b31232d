"""A study edited between runs: what is new runs, what is gone hides, what returns is there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_harness import Sweeper

from sweeper.engine.run import Run
from sweeper.store.store import Store
from sweeper.study.study import Study, load_study

BASE = """\
name: edited
question: Where is it?
workload: planted
scale: width
fixed: {steps: 2, floor: 1.0}
variants:
  plain: {curvature: 0.05}
  steep: {curvature: 0.1}
sweep:
  width: [32, 64, 128]
  learning_rate: [0.015625, 0.03125]
  seed: [0, 1]
claims:
  - {hyperparameter: learning_rate, exponent: -0.5, tolerance: 0.5}
"""
TRIALS = 24
WIDTHS = "[32, 64, 128]"
RATES = "[0.015625, 0.03125]"
BASIN = "[0.0078125, 0.015625, 0.03125, 0.0625]"
STEEP = "steep: {curvature: 0.1}"

Account = dict[str, Any]


@pytest.fixture(scope="module")
def store_of_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the store in which the study has been run, to be copied."""
    folder = tmp_path_factory.mktemp("base") / "store"
    with Store.open(folder, create=True) as store:
        document = yaml.safe_load(BASE)
        summary = Run(Study.from_document(document), store, executor="inline").execute()
    assert summary.finished == TRIALS
    return folder


@pytest.fixture
def base(tmp_path: Path, store_of_base: Path, sweeper: Sweeper) -> Path:
    """Returns the file of a study that has been run."""
    shutil.copytree(store_of_base, tmp_path / "store")
    path = tmp_path / "edited.yaml"
    path.write_text(BASE, encoding="utf-8")
    return path


def _run(path: Path) -> int:
    """Runs a study to its end; returns how many trials were trained."""
    with Store.open(path.parent / "store") as store:
        before = _attempts(store)
        summary = Run(load_study(path), store, executor="inline").execute()
        assert summary.reused + summary.finished == summary.declared
        trained = _attempts(store) - before
    assert trained == summary.finished
    return trained


def _attempts(store: Store) -> int:
    ((count,),) = store.query("select count(*) from attempts").rows
    return int(count)


def _edit(path: Path, *pairs: tuple[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def _account(sweeper: Sweeper, study: str = "edited") -> Account:
    account: Account = sweeper("status", study, "--json").document
    parts = ("done", "diverged", "running", "pending", "failed")
    assert sum(account[part] for part in parts) == account["declared"]
    return account


@pytest.mark.parametrize(
    "edits",
    [
        [(WIDTHS, "[128, 32, 64]"), ("[0, 1]", "[1, 0]")],
        [(RATES, "['1.5625e-2', 2**-5]")],
        [(RATES, "{log2: [-6, -5]}"), ("steps: 2", "steps: '2'")],
        [(WIDTHS, "{geometric: [32, 128], count: 3}")],
        [("  plain: {curvature: 0.05}\n", ""), (STEEP, f"{STEEP}\n  plain: {{curvature: 5e-2}}")],
        [("fixed: {steps: 2, floor: 1.0}", "fixed: {floor: 1, drift: -0.5, steps: 2}")],
        [("floor: 1.0}", "}"), (RATES, f"{RATES}\n  floor: [1]")],
        [("question: Where is it?", "# nobody asks"), ("exponent: -0.5", "exponent: 0")],
        [("claims:", "resources: {cpus: 0.5, pack: 2}\nbudget: {trials: 99}\nclaims:")],
        [("name: edited", "name: edited\nobjective: {goal: min, metric: val_loss}")],
    ],
    ids=[
        "reordered",
        "spelled otherwise",
        "a list as a range",
        "a list as another range",
        "variants reordered",
        "defaults spelled out",
        "a constant as an axis",
        "question and claims",
        "resources and budget",
        "the objective spelled out",
    ],
)
def test_an_edit_that_changes_no_trial_trains_nothing(
    sweeper: Sweeper, base: Path, edits: list[tuple[str, str]]
) -> None:
    _edit(base, *edits)
    assert sweeper("plan", base, "--no-probe", "--json").document["remaining"] == 0
    assert _run(base) == 0
    account = _account(sweeper)
    assert (account["declared"], account["done"], account["hidden"]) == (TRIALS, TRIALS, 0)


@pytest.mark.parametrize(
    ("edits", "new", "hidden"),
    [
        ([(WIDTHS, "[32, 64, 96, 128, 256]")], 16, 0),
        ([(RATES, RATES.replace("]", ", 0.125]"))], 12, 0),
        ([("[0, 1]", "[0, 1, 2]")], 12, 0),
        ([(STEEP, f"{STEEP}\n  flat: {{curvature: 0.01}}")], 12, 0),
        ([(STEEP, f"{STEEP}\n  more: {{curvature: 0.1, sweep: {{seed: [1, 7]}}}}")], 6, 0),
        ([(WIDTHS, "[64, 256]"), ("[0, 1]", "[1]")], 4, 20),
        ([(STEEP, "steep: {curvature: 0.2}")], 12, 12),
        ([("steps: 2", "steps: 3")], 24, 24),
        ([("floor: 1.0}", "}"), (RATES, f"{RATES}\n  floor: [1, 2]")], 24, 0),
    ],
    ids=[
        "wider",
        "another rate",
        "another seed",
        "another variant",
        "a variant that shares trials",
        "some removed, some added",
        "a variant that means something else",
        "another constant",
        "a constant becomes an axis",
    ],
)
def test_an_edit_trains_what_is_new_and_nothing_else(
    sweeper: Sweeper, base: Path, edits: list[tuple[str, str]], new: int, hidden: int
) -> None:
    _edit(base, *edits)
    assert sweeper("plan", base, "--no-probe", "--json").document["remaining"] == new
    assert _run(base) == new
    account = _account(sweeper)
    assert account["hidden"] == hidden
    assert account["done"] == account["declared"] == TRIALS + new - hidden
    base.write_text(BASE, encoding="utf-8")
    assert _run(base) == 0, "what was there first is still there"
    account = _account(sweeper)
    assert (account["done"], account["hidden"]) == (TRIALS, new)


def test_a_removed_value_is_in_no_answer_until_it_returns(
    sweeper: Sweeper, base: Path, tmp_path: Path
) -> None:
    _edit(base, (RATES, BASIN))
    assert _run(base) == TRIALS
    whole = _answers(sweeper, tmp_path / "whole")
    _edit(base, (WIDTHS, "[32, 128]"))
    assert _run(base) == 0
    without = _answers(sweeper, tmp_path / "without")
    assert without["scales"] == [[32, 128]] * 2
    assert without["coverage"] == [[16, 16]] * 2
    assert whole["scales"] == [[32, 64, 128]] * 2
    assert set(without["tables"]) == set(whole["tables"])
    assert any(",64," in table for table in whole["tables"].values())
    assert not any(",64," in table for table in without["tables"].values())
    _edit(base, ("[32, 128]", WIDTHS))
    assert _run(base) == 0
    assert sweeper("drift", "edited", "--json").document["groups"] == whole["groups"]


def _answers(sweeper: Sweeper, folder: Path) -> dict[str, Any]:
    """What drift and the report say, without the times at which they said it."""
    groups = sweeper("drift", "edited", "--json").document["groups"]
    assert sweeper("report", "edited", "--out", folder).code == 0
    return {
        "groups": groups,
        "scales": [[optimum["scale"] for optimum in group["optima"]] for group in groups],
        "coverage": [
            [group["evidence"]["trials"], group["evidence"]["declared"]] for group in groups
        ],
        "tables": {
            path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
            for path in sorted(folder.rglob("*.csv"))
        },
    }


def test_a_renamed_variant_keeps_its_results_and_leaves_no_shadow(
    sweeper: Sweeper, base: Path
) -> None:
    _edit(base, (RATES, BASIN))
    assert _run(base) == TRIALS
    before = _optima(sweeper)
    _edit(base, ("steep:", "curved:"))
    assert _run(base) == 0
    account = _account(sweeper)
    assert (account["declared"], account["hidden"]) == (2 * TRIALS, 0), "every trial is shown"
    after = _optima(sweeper)
    assert after == {"plain": before["plain"], "curved": before["steep"]}
    _edit(base, ("curved:", "steep:"))
    assert _run(base) == 0
    assert _optima(sweeper) == before


def _optima(sweeper: Sweeper) -> dict[str, Any]:
    """The optima of each variant."""
    groups = sweeper("drift", "edited", "--json").document["groups"]
    return {group["variant"]: group["optima"] for group in groups}


def test_variants_that_exchange_their_names_exchange_their_results(
    sweeper: Sweeper, base: Path
) -> None:
    _edit(base, (RATES, BASIN))
    assert _run(base) == TRIALS
    before = _optima(sweeper)
    _edit(base, ("plain:", "x:"), ("steep:", "plain:"))
    _edit(base, ("x:", "steep:"))
    assert _run(base) == 0
    after = _optima(sweeper)
    assert after == {"steep": before["plain"], "plain": before["steep"]}


def test_a_renamed_study_takes_its_trials_along(sweeper: Sweeper, base: Path) -> None:
    _edit(base, ("name: edited", "name: other"))
    assert _run(base) == 0
    assert _account(sweeper, "other")["done"] == _account(sweeper)["done"] == TRIALS


def test_a_failed_trial_that_is_removed_is_no_failure_until_it_returns(
    sweeper: Sweeper, base: Path
) -> None:
    text = BASE.replace(
        STEEP, f"{STEEP}\n  broken: {{misbehave: bug, sweep: {{width: [32, 64], seed: [0]}}}}"
    )
    base.write_text(text, encoding="utf-8")
    assert sweeper("run", base, "--executor", "inline").code == 1
    account = _account(sweeper)
    assert (account["failed"], account["causes"][0]["count"]) == (4, 4)
    _edit(base, ("width: [32, 64], seed", "width: [32], seed"))
    assert sweeper("run", base, "--executor", "inline").code == 1
    account = _account(sweeper)
    assert (account["failed"], account["hidden"]) == (2, 2)
    base.write_text(BASE, encoding="utf-8")
    assert _run(base) == 0
    account = _account(sweeper)
    assert (account["failed"], account["causes"], account["hidden"]) == (0, [], 4)
    base.write_text(text, encoding="utf-8")
    assert sweeper("run", base, "--executor", "inline").code == 1
    assert _account(sweeper)["failed"] == 4


def test_a_study_narrowed_to_one_value_and_widened_again_is_whole(
    sweeper: Sweeper, base: Path
) -> None:
    _edit(base, (WIDTHS, "[64]"), (RATES, "[0.03125]"), ("[0, 1]", "[1]"))
    assert _run(base) == 0
    assert _account(sweeper)["declared"] == 2
    _edit(base, ("[64]", "[16, 64]"), ("[0.03125]", RATES), ("[1]", "[0, 1]"))
    assert _run(base) == 8
    account = _account(sweeper)
    assert (account["done"], account["hidden"]) == (16, 16)
    base.write_text(BASE, encoding="utf-8")
    assert _run(base) == 0

"""`sweeper export`: a study as a storage of Optuna, and back again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from cli_harness import Sweeper
from optuna.trial import TrialState

AGAIN = ("--scale", "width", "--hp", "learning_rate", "--objective", "val_loss")
PARTS = ("--variant", "variant", "--seed", "seed")


def statement(sweeper: Sweeper, study: str) -> list[Any]:
    """Returns what a study's drift is said to be, without what its code and devices were."""
    document = sweeper("drift", study, "--json").document
    groups = document["groups"]
    for group in groups:
        group["evidence"] = {k: v for k, v in group["evidence"].items() if k == "trials"}
    return groups


def test_a_study_is_a_storage_of_optuna_and_comes_back_as_it_was(
    sweeper: Sweeper, finished: Path, tmp_path: Path
) -> None:
    said = sweeper("export", finished, "--to", "optuna")
    assert said.code == 0
    assert "wrote planted.optuna.db: 72 trials in 3 studies: " in said.out
    url = f"sqlite:///{tmp_path / 'planted.optuna.db'}"
    assert optuna.get_all_study_names(url) == [f"planted/default/width={n}" for n in (32, 64, 128)]
    study = optuna.load_study(study_name="planted/default/width=64", storage=url)
    assert study.direction.name == "MINIMIZE"
    assert study.metric_names == ["val_loss"]
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.PRUNED) == 3 and len(states) == 24
    assert (study.user_attrs["width"], study.user_attrs["variant"]) == (64, "default")
    best = study.best_trial
    assert set(best.user_attrs) == {"key", "seed"}
    assert best.distributions["learning_rate"] == optuna.distributions.FloatDistribution(
        2**-9, 2**-2, log=True
    )
    assert best.intermediate_values[3] == best.value

    made = sweeper("import", "planted.optuna.db", "--study", "again", *AGAIN, *PARTS)
    assert "learning_rate is the column params.learning_rate" in made.out
    assert "column state says how each run ended" in made.out
    claim = sweeper("drift", "planted", "--json").document["groups"][0]["claims"]
    assert claim and sweeper("import", url, "--study", "again", *AGAIN, *PARTS).code == 0
    theirs = statement(sweeper, "again")
    for group, other in zip(statement(sweeper, "planted"), theirs, strict=True):
        for key in ("optima", "drift", "blow_ups", "evidence"):
            assert group[key] == other[key], key


def test_a_file_is_overwritten_when_asked_alone(
    sweeper: Sweeper, study: Path, tmp_path: Path
) -> None:
    small = study.read_text(encoding="utf-8").replace("[0, 1, 2]", "[0]")
    study.write_text(small.replace("[32, 64, 128]", "[32]"), encoding="utf-8")
    sweeper("run", study, "--executor", "inline")
    out = tmp_path / "folder" / "theirs.db"
    out.parent.mkdir()
    out.write_text("mine", encoding="utf-8")
    refused = sweeper("export", "planted", "--to", "optuna", "--out", out)
    assert refused.code == 2 and "--force overwrites it" in refused.err
    assert out.read_text(encoding="utf-8") == "mine"
    document = sweeper("export", "planted", "--to", "optuna", "--out", out, "--force", "--json")
    assert document.document["trials"] == {"completed": 8}
    assert document.document["file"] == str(out)
    assert [path.name for path in out.parent.iterdir()] == ["theirs.db"]
    with closing(sqlite3.connect(out)) as connection:
        (number,) = connection.execute("select count(*) from trials").fetchone()
    assert number == 8


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("plantd", "--to", "optuna"), "no study named 'plantd'; did you mean 'planted'?"),
        (("planted", "--to", "csw"), "no format named 'csw'"),
        (("planted", "--to", "optuna", "--out", "."), "is a folder"),
    ],
)
def test_what_cannot_be_exported_is_said(
    sweeper: Sweeper, finished: Path, arguments: tuple[str, ...], says: str
) -> None:
    answer = sweeper("export", *arguments)
    assert answer.code == 2
    assert says in answer.err


def test_a_study_without_a_result_is_not_exported(sweeper: Sweeper, study: Path) -> None:
    study.write_text(study.read_text() + "budget: {flops: 1}\n", encoding="utf-8")
    sweeper("run", study, "--executor", "inline")
    answer = sweeper("export", study, "--to", "optuna")
    assert answer.code == 2
    assert "has no result yet" in answer.err

"""Every command, as a user would type it."""

from __future__ import annotations

import csv
import re
import threading
import time
import zipfile
from pathlib import Path

import pytest
from cli_harness import Sweeper
from typer.main import get_command

from sweeper.cli.app import app
from sweeper.engine.proposals import Proposals
from sweeper.store.owner import Owner
from sweeper.store.store import Store
from sweeper.study.study import load_study


def test_a_run_ends_with_the_drift_table_and_the_verdict(sweeper: Sweeper, study: Path) -> None:
    answer = sweeper("run", study, "--executor", "inline")
    assert answer.code == 0
    assert "study planted: 72 trials" in answer.err
    assert "72 trials finished and 0 failed" in answer.out
    assert "octaves per doubling of the width" in answer.out
    assert "claim -0.5 ± 0.25: holds" in answer.out


def test_running_again_trains_nothing_and_says_so_and_the_drift(
    sweeper: Sweeper, finished: Path
) -> None:
    answer = sweeper("run", finished, "--executor", "inline", "--json")
    assert answer.document["run"]["reused"] == 72
    assert answer.document["run"]["finished"] == 0
    assert "72 of them have a result already" in answer.err
    assert answer.document["refused"] is None
    (drift,) = answer.document["drift"]
    assert drift["hyperparameter"] == "learning_rate"
    assert [optimum["scale"] for optimum in drift["groups"][0]["optima"]] == [32, 64, 128]


def test_a_grown_study_runs_only_what_was_added(sweeper: Sweeper, finished: Path) -> None:
    grown = finished.read_text().replace("[32, 64, 128]", "[32, 64, 128, 256]")
    finished.write_text(grown, encoding="utf-8")
    answer = sweeper("run", finished, "--executor", "inline", "--json")
    assert answer.document["run"]["reused"] == 72
    assert answer.document["run"]["finished"] == 24


def test_a_removed_value_is_hidden_and_comes_back(sweeper: Sweeper, finished: Path) -> None:
    whole = finished.read_text()
    finished.write_text(whole.replace("[32, 64, 128]", "[32, 64]"), encoding="utf-8")
    sweeper("run", finished, "--executor", "inline")
    account = sweeper("status", "planted", "--json").document
    assert (account["declared"], account["hidden"]) == (48, 24)
    finished.write_text(whole, encoding="utf-8")
    again = sweeper("run", finished, "--executor", "inline", "--json").document["run"]
    assert (again["declared"], again["finished"]) == (72, 0)


def test_a_broken_claim_is_an_exit_code_only_under_strict(
    sweeper: Sweeper, finished: Path
) -> None:
    text = finished.read_text().replace("exponent: -0.5", "exponent: 0.5")
    finished.write_text(text)
    assert sweeper("run", finished, "--executor", "inline").code == 0
    assert sweeper("drift", "planted").code == 0
    strict = sweeper("drift", "planted", "--strict")
    assert strict.code == 1
    assert "claim 0.5 ± 0.25: broken" in strict.out


def test_failed_trials_give_exit_code_1_and_a_cause(sweeper: Sweeper, study: Path) -> None:
    text = study.read_text().replace("steps: 3", "steps: 3, misbehave: bug")
    study.write_text(text.replace("{log2: [-9, -2]}", "[0.01]").replace("0, 1, 2", "0"))
    study.write_text(study.read_text().replace("[32, 64, 128]", "[32]"))
    run = sweeper("run", study, "--executor", "inline")
    assert run.code == 1
    status = sweeper("status", study)
    assert "1 failed: bug: RuntimeError: planted bug" in status.out


def test_a_budget_ends_a_run_and_the_rest_waits(sweeper: Sweeper, study: Path) -> None:
    study.write_text(study.read_text() + "budget: {trials: 30}\n")
    run = sweeper("run", study, "--executor", "inline")
    assert run.code == 0
    assert "the budget of 30 trials is spent; 42 trials wait" in run.out
    assert sweeper("status", "planted", "--json").document["pending"] == 42
    again = sweeper("run", study, "--executor", "inline", "--json").document["run"]
    assert again["finished"] == 0


def test_a_budget_ends_a_ladder_before_it_knows_anything(sweeper: Sweeper, study: Path) -> None:
    study.write_text(study.read_text() + "budget: {trials: 2}\nsearch: {method: ladder}\n")
    run = sweeper("run", study, "--executor", "inline")
    assert run.code == 0
    assert "the budget of 2 trials is spent" in run.out
    assert "the budget of 2 trials is spent" in sweeper("status", study).out
    document = sweeper("status", "planted", "--json").document
    assert document["ceiling"] == "2 trials"
    assert {each["stop"] for each in document["search"]} == {None}


def test_trials_that_another_process_runs_are_waited_for(
    sweeper: Sweeper, study: Path, tmp_path: Path
) -> None:
    loaded = load_study(study)
    with Store.open(tmp_path / "store", create=True) as store:
        planned = Proposals(loaded, store).planned
        keys = [item.trial.key for item in planned[:5]]
        other = Owner(id="elsewhere", host="elsewhere", pid=7)
        store.claim(keys, owner=other, lease_s=600)

        def released_once_all_else_is_done() -> None:
            while store.account("planted").pending:
                time.sleep(0.2)
            time.sleep(2)  # the run finds nothing to do, and says for whom it waits
            store.release(other)

        timer = threading.Thread(target=released_once_all_else_is_done)
        timer.start()
        run = sweeper("run", study, "--executor", "inline")
        timer.join()
        assert run.code == 0
        assert "5 trials are run by process 7 on elsewhere; waiting" in run.err
        assert store.account("planted").pending == 0


def test_plan_says_what_would_run_and_from_what_it_knows(sweeper: Sweeper, study: Path) -> None:
    before = sweeper("plan", study, "--json").document
    assert before["remaining"] == before["trials"] == 72
    assert {row["hours_from"] for row in before["rows"]} == {"probe"}
    assert all(row["hours"] >= 0 for row in before["rows"])
    unknown = sweeper("plan", study, "--no-probe", "--json", "--store", "elsewhere").document
    assert {row["hours"] for row in unknown["rows"]} == {None}


def test_the_hours_of_a_plan_are_those_of_trials_that_train_on_several_devices(
    sweeper: Sweeper, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.engine.local_processors", lambda: 4)
    text = study.read_text().replace("workload: planted", "workload: parallel_card:CARD")
    study.write_text(f"{text}resources: {{cpus: 2, processes: 2}}\n")
    document = sweeper("plan", study, "--json").document
    assert document["slots"] == 2
    query = "select sum(step_seconds) from probes"
    with Store.open("store") as store:
        ((seconds,),) = store.query(query).rows
    hours = sum(row["hours"] for row in document["rows"])
    steps, trials = 3, 72 / 3
    assert hours * 3600 == pytest.approx(trials * steps * seconds / 2), "2 at a time"


def test_a_study_of_the_store_is_replayed(sweeper: Sweeper, finished: Path) -> None:
    study = finished.with_name("again.yaml")
    text = finished.read_text().replace("name: planted", "name: again")
    text = text.replace("workload: planted", "workload: replay").replace("[-9, -2]", "[-8, -4]")
    study.write_text(re.sub("fixed: .*", 'fixed: {table: "study:planted"}', text))
    assert sweeper("plan", study, "--json").document["remaining"] == 3 * 5 * 3
    assert sweeper("run", study, "--executor", "inline").code == 0
    slopes = [sweeper("drift", each, "--json").document for each in ("planted", study)]
    old, new = (document["groups"][0]["drift"]["slope"] for document in slopes)
    assert new == pytest.approx(old, abs=0.1)
    study.write_text(study.read_text().replace("study:planted", "study:plantde"))
    refused = sweeper("plan", study)
    assert refused.code == 2
    assert "fixed.table: no study named 'plantde'; did you mean 'planted'?" in refused.err


def test_plan_of_a_grown_study_knows_the_hours_of_finished_shapes(
    sweeper: Sweeper, finished: Path
) -> None:
    finished.write_text(finished.read_text().replace("0, 1, 2", "0, 1, 2, 3"))
    rows = sweeper("plan", finished, "--json").document["rows"]
    assert [row["remaining"] for row in rows] == [8, 8, 8]
    assert {row["hours_from"] for row in rows} == {"finished trials"}


def test_plan_prints_a_total_in_words(sweeper: Sweeper, study: Path) -> None:
    answer = sweeper("plan", study)
    assert "72 trials to run in 72 packs" in answer.out
    assert answer.code == 0


def test_status_of_all_studies_adds_up(sweeper: Sweeper, finished: Path) -> None:
    (account,) = sweeper("status", "--json").document
    parts = ("done", "diverged", "running", "pending", "failed")
    assert account["declared"] == sum(account[part] for part in parts) == 72
    assert account["diverged"] > 0
    assert "planted" in sweeper("status").out


def test_drift_reads_a_name_or_a_file(sweeper: Sweeper, finished: Path) -> None:
    by_name = sweeper("drift", "planted", "--json")
    assert by_name.document == sweeper("drift", finished, "--json").document
    assert by_name.document["groups"][0]["drift"]["slope"] == pytest.approx(-0.5, abs=0.2)


@pytest.mark.parametrize("estimator", ["quadratic3", "skewed", "spline", "argmin"])
def test_drift_takes_other_estimators(sweeper: Sweeper, finished: Path, estimator: str) -> None:
    document = sweeper("drift", "planted", "--estimator", estimator, "--json").document
    assert {optimum["estimator"] for optimum in document["groups"][0]["optima"]} == {estimator}


def test_the_answer_is_kept_in_the_table_of_estimates(sweeper: Sweeper, finished: Path) -> None:
    rows = sweeper("sql", "select kind, count(*) n from estimates group by kind", "--json")
    counts = {row["kind"]: row["n"] for row in rows.document}
    assert counts["optimum"] == 3
    assert counts["drift"] == counts["claim"] == 1


def test_report_writes_a_page(sweeper: Sweeper, finished: Path, tmp_path: Path) -> None:
    answer = sweeper("report", "planted", "--out", tmp_path / "page")
    assert answer.code == 0
    assert "wrote" in answer.out
    assert "Where is the planted optimum?" in (tmp_path / "page" / "index.html").read_text()


def test_a_zipped_report_is_one_file_with_its_page_figures_and_tables(
    sweeper: Sweeper, finished: Path, tmp_path: Path
) -> None:
    before = {*tmp_path.iterdir()}
    answer = sweeper("report", "planted", "--out", tmp_path / "mail", "--zip", "--json")
    assert answer.document == {"studies": ["planted"], "file": str(tmp_path / "mail.zip")}
    assert {*tmp_path.iterdir()} == {*before, tmp_path / "mail.zip"}
    with zipfile.ZipFile(tmp_path / "mail.zip") as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        page = archive.read("mail/index.html").decode()
    assert {Path(name).parent.name for name in names} == {"mail"}
    linked = set(re.findall(r'href="([^"#:]+\.csv)"', page))
    assert linked and {f"mail/{name}" for name in linked} <= {*names}


def test_sql_writes_csv_that_other_programs_read(sweeper: Sweeper, finished: Path) -> None:
    query = "select key, config, seed, null as none from trials order by key limit 2"
    first, *rows = csv.reader(sweeper("sql", query, "--csv").out.splitlines())
    told = sweeper("sql", query, "--json").document
    assert first == ["key", "config", "seed", "none"]
    assert rows == [[row["key"], row["config"], str(row["seed"]), ""] for row in told]
    refused = sweeper("sql", query, "--csv", "--json")
    assert refused.code == 2 and "one of them" in refused.err


def test_sql_prints_rows_and_cannot_write(sweeper: Sweeper, finished: Path) -> None:
    rows = sweeper("sql", "select count(*) as n from results", "--json").document
    assert rows == [{"n": 72}]
    assert "72" in sweeper("sql", "select count(*) as n from results").out
    refused = sweeper("sql", "delete from results")
    assert refused.code == 2
    assert sweeper("sql", "select count(*) as n from results", "--json").document == rows


def test_init_writes_a_study_that_loads(sweeper: Sweeper, tmp_path: Path) -> None:
    answer = sweeper("init", "mine.yaml")
    assert answer.code == 0
    assert load_study(tmp_path / "mine.yaml").workload == "llama"
    again = sweeper("init", "mine.yaml")
    assert again.code == 2
    assert "--force" in again.err
    assert sweeper("init", "mine.yaml", "--force").code == 0


def test_schema_prints_a_json_schema(sweeper: Sweeper) -> None:
    assert sweeper("schema").document["$schema"].startswith("https://json-schema.org/")


def test_every_command_answers_in_json() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    without = [
        name
        for name, command in commands.items()
        if not any("--json" in option.opts for option in command.params)
    ]
    assert not without


def test_version_is_printed(sweeper: Sweeper) -> None:
    assert sweeper("--version").out.startswith("sweeper 0.")

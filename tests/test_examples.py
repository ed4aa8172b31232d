"""What the documents show works: the studies on real data, the snippets, the SQL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeper.answers.view import statements_of
from sweeper.engine.run import Run
from sweeper.report.page import write_report
from sweeper.store.store import Store
from sweeper.study.study import Study, load_study

ROOT = Path(__file__).resolve().parents[1]

BEDS = ("linear_network", "random_features")

NEEDS_PACKAGE = {"topk_fashion": "/usr/share/datasets/fashion-mnist"}
"""Studies of images that a package of the system brings, and where it puts them."""


def shortened(name: str) -> Study:
    """Returns a study of the repository at a size that trains in seconds, on the same data."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "studies" / name).read_text("utf-8"))
    if document["workload"] == "replay":  # takes no time, and asks a table
        document["fixed"]["table"] = str(ROOT / document["fixed"]["table"])
        return Study.from_document(document)
    if document["workload"] in BEDS:  # neither does a formula
        return Study.from_document(document)
    document["fixed"] |= {"steps": 6, "batch_size": 8, "evals": 1}
    if document["workload"] == "llama":
        document["fixed"]["eval_tokens"] = 2048
    if document["workload"] == "two_layer":
        document["fixed"]["eval_examples"] = 512
    for variant in document.get("variants", {}).values():
        variant.pop("sweep", None)
    document["sweep"] |= {"width": [16, 32], "learning_rate": {"log2": [-7, -3]}, "seed": [0]}
    return Study.from_document(document)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a store in which all studies of the repository have been run, shortened."""
    folder = tmp_path_factory.mktemp("examples") / "store"
    with Store.open(folder, create=True) as store:
        for path in sorted((ROOT / "studies").glob("*.yaml")):
            if path.stem in NEEDS_PACKAGE and not Path(NEEDS_PACKAGE[path.stem]).exists():
                continue
            study = shortened(path.name)
            summary = Run(study, store, executor="inline").execute()
            assert summary.failed == 0
    return folder


def test_every_study_of_the_repository_loads_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    studies = [load_study(path) for path in sorted((ROOT / "studies").glob("*.yaml"))]
    assert {study.name for study in studies} == {
        "adamw_width",
        "ball_indicator",
        "k_index",
        "linear_network",
        "mlp_width",
        "muon_width",
        "published_width",
        "quickstart",
        "random_features",
        "topk_digits",
        "topk_fashion",
        "topk_tokens",
        "topk_width",
    }


def test_every_study_trains_on_real_data_and_is_accounted_for(finished: Path) -> None:
    with Store.open(finished) as store:
        for record in store.studies():
            account = store.account(record.name)
            assert account.done + account.diverged == account.declared > 0
            frame = store.frame(record.name)
            losses = frame.loss[frame.outcome == "completed"]
            low = 0.0 if record.workload in (*BEDS, "two_layer") else 1.0
            assert losses.between(low, 6.0).all()


def test_sp_and_mup_are_one_trial_at_the_base_width_and_two_above_it(finished: Path) -> None:
    with Store.open(finished) as store:
        frame = store.frame("adamw_width")
        keys = frame.groupby(["variant", "width"]).key.agg(set).unstack("variant")
        assert keys.loc[32, "sp"] == keys.loc[32, "mup"]


def test_the_first_study_ends_in_a_report(finished: Path, tmp_path: Path) -> None:
    with Store.open(finished) as store:
        page = write_report(store, ["quickstart"], tmp_path, allow_holes=True)
    assert "data:image/png;base64" in page.read_text(encoding="utf-8")


def test_the_python_of_the_documents_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: Path
) -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    study = tmp_path / "studies" / "quickstart.yaml"
    study.parent.mkdir()
    study.write_text(yaml.safe_dump(PLANTED), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block, names)
    assert len(names["frame"]) == 30
    assert names["drift"].to_json()["groups"][0]["drift"]["slope"] < 0


def test_the_model_of_the_documents_trains_and_prints_what_they_show(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (ROOT / "docs" / "your_model.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (table,) = re.findall(r"```text\n(parameter.*?)```", text, re.DOTALL)
    exec(block, {})
    assert capsys.readouterr().out == table


PLANTED = {
    "name": "snippet",
    "workload": "planted",
    "scale": "width",
    "sweep": {"width": [32, 64, 128], "learning_rate": {"log2": [-9, 0]}},
}


def test_the_sql_of_the_documents_runs(finished: Path) -> None:
    text = (ROOT / "docs" / "store.md").read_text(encoding="utf-8")
    (query,) = re.findall(r'sweeper sql "(.*?)"', text, re.DOTALL)
    with Store.open(finished, read_only=True) as store:
        table = store.query(query)
    assert table.columns == ("width", "learning_rate", "loss", "seeds")
    assert len(table.rows) > 0


def test_the_drift_of_a_shortened_study_is_stated_or_refused_in_words(finished: Path) -> None:
    with Store.open(finished) as store:
        (statement,) = statements_of(store, "adamw_width", allow_holes=True)
    for group in statement.groups:
        assert group.drift is not None or group.refused

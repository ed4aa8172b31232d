"""The workload that answers from a recorded table."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from replay_tables import RATES, bowl, replayed, write_table

from sweeper.engine.run import Run
from sweeper.errors import StudyError
from sweeper.store.store import Store
from sweeper.study.plan import expand
from sweeper.study.study import Study, load_study
from sweeper.trial import Trial
from workloads.replay.card import REPLAY, replayed_loss
from workloads.workload import DataUnavailableError, Member

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path)


def trials(study: Study) -> list[Trial]:
    return [item.trial for item in expand(study)]


def losses(study: Study) -> dict[tuple[Any, ...], float]:
    return {
        (t.config["width"], t.config["learning_rate"], t.seed): replayed_loss(t.config, t.seed)
        for t in trials(study)
    }


def test_cells_are_answered_exactly_and_places_between_them_in_log2(table: Path) -> None:
    between = 2.0**0.25
    study = replayed(table, sweep={"width": [64, 128, 256], "learning_rate": [0.5, between]})
    found = losses(study)
    assert found[64, 0.5, 0] == bowl(64, -1)
    assert found[64, between, 0] == pytest.approx(bowl(64, 0.25), abs=6e-3)
    middle = (found[64, 0.5, 0] + found[256, 0.5, 0]) / 2
    assert found[128, 0.5, 0] == pytest.approx(middle)


def test_beyond_the_last_cell_that_did_not_diverge_everything_does(table: Path) -> None:
    found = losses(replayed(table, sweep={"learning_rate": [4.0, 4.1, 8.0, 64.0]}))
    assert [math.isinf(found[64, rate, 0]) for rate in (4.0, 4.1, 8.0, 64.0)] == [
        False,
        True,
        True,
        True,
    ]


def test_noise_is_drawn_from_seed_and_place_alone(table: Path) -> None:
    sweep = {"learning_rate": list(RATES[:5]), "seed": list(range(40))}
    found = losses(replayed(table, fixed={"noise": 0.01}, sweep=sweep))
    again = losses(replayed(table, fixed={"noise": 0.01}, sweep={"learning_rate": [1.0]}))
    assert again[64, 1.0, 0] == found[64, 1.0, 0]
    draws = [loss - bowl(w, math.log2(rate)) for (w, rate, _), loss in found.items()]
    assert statistics.stdev(draws) == pytest.approx(0.01, rel=0.15)
    assert abs(statistics.mean(draws)) < 0.002
    assert len(set(draws)) == len(draws)


def test_equal_cells_are_seeds_and_count_with_their_mean(tmp_path: Path) -> None:
    table = write_table(tmp_path, more="adam,64,0.5,4.1,1\nmuon,64,0.5,9.0,1\n")
    found = losses(replayed(table, fixed={"where": {"optimizer": "adam"}}))
    assert found[64, 0.5, 0] == pytest.approx((bowl(64, -1) + 4.1) / 2)


def test_flops_are_those_of_a_column_or_the_square_of_the_width(table: Path) -> None:
    squares = {t.config["width"]: t.derived["flops"] for t in trials(replayed(table))}
    assert squares == {64: 64.0**2, 256: 256.0**2}
    priced = {
        t.config["width"]: t.derived["flops"]
        for t in trials(replayed(table, fixed={"flops": "cost"}))
    }
    assert priced == {64: 192.0, 256: 768.0}


def test_a_changed_table_is_another_trial_and_never_an_answer_to_the_old_one(
    table: Path,
) -> None:
    before = trials(replayed(table))
    table.write_text(table.read_text("utf-8").replace("2.0,", "2.5,"), encoding="utf-8")
    after = trials(replayed(table))
    assert not {t.key for t in before} & {t.key for t in after}
    with pytest.raises(DataUnavailableError, match="was changed; plan anew"):
        REPLAY.trainer()([Member(config=before[0].config, seed=0)], threads=1, device="cpu")
    with pytest.raises(DataUnavailableError, match="was changed"):
        REPLAY.data_fingerprint(before[0].config)


def test_a_resolved_config_resolves_to_itself(table: Path) -> None:
    for trial in trials(replayed(table, fixed={"where": {"optimizer": "adam"}})):
        assert REPLAY.resolve(trial.config).config == trial.config


def test_a_study_of_the_document_is_the_study(table: Path) -> None:
    study = replayed(table, variants={"adam": {"where": {"optimizer": "adam"}}})
    assert trials(Study.from_document(study.document)) == trials(study)


@pytest.mark.parametrize(
    ("fixed", "sweep", "why"),
    [
        ({"table": "nowhere.csv"}, {}, "nowhere.csv cannot be read: No such file"),
        ({"table": "study:old"}, {}, "study:old lies in a store, and none was given"),
        ({"table": 3}, {}, "table is required under `fixed`"),
        ({"loss": "accuracy"}, {}, "no column 'accuracy'; it has optimizer, width"),
        ({"loss": "optimizer"}, {}, "row 1 of column optimizer holds 'adam', which is no number"),
        ({"flops": "price"}, {}, "no column 'price'"),
        ({"flops": "optimizer"}, {}, "holds 'adam'"),
        ({"where": {"optimizer": "muon"}}, {}, "no row where optimizer muon"),
        ({"where": {"depth": 2}}, {}, "has no setting 'where.depth'"),
        ({"sha256": "0" * 64}, {}, "it was changed"),
        ({"noise": -1}, {}, "out of bounds"),
        ({}, {"learning_rate": [0.1]}, "learning_rate 0.1 is beyond the table, which has"),
        ({}, {"width": [32, 64]}, "width 32"),
        ({}, {"weight_decay": [0.1]}, "has no setting 'weight_decay'"),
    ],
)
def test_what_the_table_does_not_have_is_refused_when_a_study_is_read(
    table: Path, fixed: dict[str, Any], sweep: dict[str, Any], why: str
) -> None:
    with pytest.raises(StudyError) as caught:
        replayed(table, fixed=fixed, sweep=sweep)
    assert why in str(caught.value)


def test_a_variant_may_have_a_table_of_its_own(table: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text(table.read_text("utf-8").replace("2.0,", "2.5,"), encoding="utf-8")
    study = replayed(table, variants={"one": {}, "other": {"table": str(other)}})
    assert len({trial.key for trial in trials(study)}) == 8
    other.write_text("width,rate,loss\n64,1.0,2\n", encoding="utf-8")
    with pytest.raises(StudyError, match="unknown settings: learning_rate"):
        replayed(table, variants={"one": {}, "other": {"table": str(other)}})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is no CSV file with a heading"),
        (b"\xff\xfe\x00", "is no CSV file"),
        (b"a,b\n", "distinct names and rows"),
        (b"a,a\n1,2\n", "distinct names"),
        (b"a,b\n1\n", "row 1 of"),
        (b'a,b\n"1,2\n', "is no CSV file"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(StudyError) as caught:
        replayed(path)
    assert why in str(caught.value)


def test_a_replayed_study_runs(table: Path, tmp_path: Path) -> None:
    study = replayed(table, sweep={"learning_rate": list(RATES), "seed": [0, 1]})
    with Store.open(tmp_path / "store", create=True) as store:
        summary = Run(study, store, executor="inline").execute()
        frame = store.frame("replayed")
    assert (summary.finished, summary.failed) == (24, 0)
    assert set(frame.outcome[frame.learning_rate == 8.0]) == {"diverged"}
    found = frame[(frame.width == 64) & (frame.learning_rate == 0.5)].loss
    assert list(found) == [bowl(64, -1)] * 2


def test_the_example_study_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    study = load_study("studies/published_width.yaml")
    assert study.num_cells == 408

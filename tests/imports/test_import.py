"""Results made elsewhere become a study, on SQLite and on PostgreSQL."""

from __future__ import annotations

import gzip
import json
import math
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from import_files import (
    Row,
    grid_rows,
    sweep_rows,
    take,
    write_csv,
    write_json_lines,
    write_parquet,
)
from sample_store import dump, study

from sweeper.answers.view import statements_of, view_study
from sweeper.errors import RequestError
from sweeper.imports.request import ClaimedRule, NamePattern
from sweeper.store.files.curves import read_curves
from sweeper.store.records import Changes
from sweeper.store.store import Store


def keys(store: Store, name: str = "theirs") -> list[str]:
    found: list[str] = store.frame(name)["key"].tolist()
    return found


def test_a_table_becomes_a_study_with_its_results(store: Store, tmp_path: Path) -> None:
    done = take(store, write_csv(tmp_path / "runs.csv", sweep_rows()), question="Does it?")

    assert done.trials == {"completed": 40, "diverged": 0, "failed": 0, "missing": 0}
    assert done.changes == Changes(added=40, kept=0, hidden=0, restored=0)
    assert (done.rows, done.used, done.variants) == (40, 40, ("adam", "muon"))
    record = store.study("theirs")
    assert (record.workload, record.scale, record.metric) == ("imported", "width", "loss")
    assert record.question == "Does it?"
    assert record.document["scales"] == ["width"]
    assert record.document["hyperparameters"] == ["lr"]
    assert record.document["sweep"]["width"] == [64, 128]
    assert record.document["sweep"]["seed"] == [0, 1]
    assert record.document["variants"] == {
        "adam": {"optimizer": "adam"},
        "muon": {"optimizer": "muon"},
    }
    account = store.account("theirs")
    assert (account.declared, account.done, account.pending) == (40, 40, 0)
    frame = store.frame("theirs")
    wanted = pd.DataFrame(sweep_rows()).rename(columns={"optimizer": "variant"})
    pd.testing.assert_frame_equal(
        frame[["variant", "width", "lr", "seed", "loss"]], wanted, check_dtype=False
    )


def test_every_result_says_where_it_is_from(store: Store, tmp_path: Path) -> None:
    done = take(store, write_csv(tmp_path / "runs.csv", sweep_rows()))

    rows = store.query("select environment, device_seconds, flops from results").rows
    sources = [json.loads(text) if isinstance(text, str) else text for text, _, _ in rows]
    assert {source["source"] for source in sources} == {"runs.csv"}
    assert {source["sha256"] for source in sources} == {done.sha256}
    assert sorted(source["row"] for source in sources) == list(range(1, 41))
    assert {row[1:] for row in rows} == {(None, None)}
    assert store.frame("theirs")[["device", "commit", "flops"]].isna().all(axis=None)


@pytest.mark.parametrize("form", ["parquet", "json lines", "semicolons", "utf-16", "gzip"])
def test_every_format_gives_the_same_trials(store: Store, tmp_path: Path, form: str) -> None:
    plain = write_csv(tmp_path / "runs.csv", sweep_rows())
    take(store, plain)
    other = tmp_path / "other"
    if form == "parquet":
        write_parquet(other, sweep_rows())
    elif form == "json lines":
        write_json_lines(other, sweep_rows())
    elif form == "semicolons":
        write_csv(other, sweep_rows(), delimiter=";")
    elif form == "utf-16":
        other.write_text(plain.read_text(encoding="utf-8"), encoding="utf-16")
    else:
        other = tmp_path / "runs.csv.gz"
        other.write_bytes(gzip.compress(plain.read_bytes()))

    take(store, other, study="again")

    assert keys(store, "again") == keys(store)
    assert store.query("select count(*) from trials").rows == [(40,)]


def run_of(row: Row) -> dict[str, Any]:
    settings = {name: row[name] for name in ("optimizer", "width", "lr", "seed")}
    return {"config": settings, "summary": {"loss": row["loss"]}}


def test_runs_printed_over_several_lines_are_read(store: Store, tmp_path: Path) -> None:
    rows = sweep_rows()
    take(store, write_csv(tmp_path / "runs.csv", rows))
    one, many = tmp_path / "one.json", tmp_path / "many.json"
    one.write_text(json.dumps(run_of(rows[0]), indent=2) + "\n", encoding="utf-8")
    many.write_text("\n".join(json.dumps(run_of(row), indent=2) for row in rows), encoding="utf-8")

    assert take(store, one, study="one").used == 1
    take(store, many, study="many")

    assert keys(store, "one")[0] in keys(store) and keys(store, "many") == keys(store)


@pytest.mark.parametrize("own_folders", [False, True])
def test_a_folder_of_runs_is_read(store: Store, tmp_path: Path, own_folders: bool) -> None:
    rows = sweep_rows()
    take(store, write_csv(tmp_path / "runs.csv", rows))
    folder = tmp_path / "runs"
    folder.mkdir()
    for number, row in enumerate(rows):
        run = run_of(row)
        if own_folders:
            place = folder / f"run{number}"
            place.mkdir()
            for name in ("config", "summary"):
                (place / f"{name}.json").write_text(json.dumps(run[name]), encoding="utf-8")
            (place / "history.json").write_text("[{}, {}]", encoding="utf-8")
        else:
            (folder / f"run{number}.json").write_text(json.dumps(run, indent=1), encoding="utf-8")
    (folder / "notes.txt").write_text("by hand", encoding="utf-8")

    done = take(store, folder, study="again")

    assert (done.file, done.rows, done.columns["lr"]) == ("runs", 40, "config.lr")
    assert keys(store, "again") == keys(store)
    sha256 = done.sha256
    assert take(store, folder, study="again").sha256 == sha256
    take(store, folder, study="named", in_names=NamePattern("run{number}"), fixed=("number",))
    assert sorted(store.frame("named")["number"]) == list(range(40))


def test_the_same_rows_in_any_order_change_nothing(store: Store, tmp_path: Path) -> None:
    rows = sweep_rows()
    take(store, write_csv(tmp_path / "runs.csv", rows))
    before = dump(store)
    turned = [dict(reversed(row.items())) for row in rows]
    random.Random(0).shuffle(turned)

    again = take(store, write_csv(tmp_path / "runs.csv", rows))
    other = take(store, write_csv(tmp_path / "turned.csv", turned))

    assert again.changes == other.changes == Changes(added=0, kept=40, hidden=0, restored=0)
    after = dump(store)
    for table in ("trials", "study_trials", "attempts", "results", "marks"):
        assert after[table] == before[table]


def test_a_corrected_file_hides_what_it_corrects_when_told_to(
    store: Store, tmp_path: Path
) -> None:
    rows = sweep_rows()
    take(store, write_csv(tmp_path / "runs.csv", rows))
    rows[3] = rows[3] | {"loss": 2.0}
    more = [*rows[:-1], rows[-1] | {"lr": 0.5}]
    corrected = write_csv(tmp_path / "corrected.csv", more)
    before = dump(store)

    with pytest.raises(RequestError, match=r"2 of the trials .* --replace hides them"):
        take(store, corrected)
    assert dump(store) == before
    done = take(store, corrected, replace=True)

    assert done.changes == Changes(added=2, kept=38, hidden=2, restored=0)
    frame = store.frame("theirs")
    assert len(frame) == 40 and (frame["loss"] == 2.0).sum() == 1
    back = take(store, tmp_path / "runs.csv", replace=True)
    assert back.changes == Changes(added=0, kept=38, hidden=2, restored=2)


def test_repeats_are_numbered_in_the_order_of_their_rows(store: Store, tmp_path: Path) -> None:
    losses = [3.2, 3.1, math.nan, 3.3, 3.1, math.nan]
    rows: list[Row] = [{"width": 64, "lr": 1, "loss": loss} for loss in losses]
    rows.insert(0, {"width": 64, "lr": 1, "loss": ""})
    rows += [{"width": 64, "lr": 2, "loss": ""}] * 2
    file = write_csv(tmp_path / "runs.csv", rows)

    done = take(store, file, variant=(), seed=None, repeats=True)

    assert (done.used, done.repeated, done.set_aside) == (6, 2, 1)
    assert done.trials == {"completed": 3, "diverged": 2, "failed": 0, "missing": 1}
    frame = store.frame("theirs")
    assert frame[["lr", "seed"]].apply(tuple, axis=1).tolist() == [
        *((1, seed) for seed in range(5)),
        (2, 0),
    ]
    assert frame["loss"].tolist()[:4] == [3.2, 3.1, math.inf, 3.3]
    assert store.study("theirs").document["sweep"]["seed"] == [0, 1, 2, 3, 4]


def test_a_standard_error_is_kept_with_its_result(store: Store, tmp_path: Path) -> None:
    rows: list[Row] = [
        {"width": 64, "lr": 1, "loss": 3.2, "bar": 0.01},
        {"width": 64, "lr": 2, "loss": 3.1, "bar": ""},
        {"width": 64, "lr": 4, "loss": math.nan, "bar": math.nan},
        {"width": 64, "lr": 8, "loss": 3.3, "bar": 0},
    ]
    file = write_csv(tmp_path / "runs.csv", rows)
    parts: dict[str, Any] = {"variant": (), "seed": None, "error": "bar"}

    done = take(store, file, **parts)
    take(store, file, study="stated", noise=0.02, **parts)

    assert done.notes[0].startswith("1 row with bar 0, which counts as not known")
    assert store.frame("theirs")["loss_error"].fillna(0).tolist() == [0.01, 0, 0, 0]
    assert keys(store, "stated") == keys(store)
    stated = view_study(store, "stated").trials["loss_error"]
    assert stated.tolist() == [0.01, 0.02, 0.02, 0.02]


def test_rows_that_are_added_join_the_study(store: Store, tmp_path: Path) -> None:
    rows = sweep_rows()
    take(store, write_csv(tmp_path / "runs.csv", rows[:20]))

    done = take(store, write_csv(tmp_path / "runs.csv", rows))

    assert done.changes == Changes(added=20, kept=20, hidden=0, restored=0)


def test_a_study_that_is_run_here_is_left_alone(store: Store, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "runs.csv", sweep_rows())
    store.save_study(study("ours"), [])
    take(store, file)

    with pytest.raises(RequestError, match=r"ours: .* planned and run here; choose another name"):
        take(store, file, study="ours", replace=True)
    with pytest.raises(RequestError, match=r"theirs: .* imported results; choose another name"):
        store.save_study(study("theirs"), [])
    assert store.account("theirs").declared == 40


def test_a_number_is_one_value_however_it_is_written(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    file.write_text("width,lr,loss\n64,1e-3,2.5\n64.0, 0.001 ,2.5\n64,0.0010,2.50\n128,.001,2\n")

    done = take(store, file, variant=(), seed=None)

    assert (done.used, done.repeated) == (2, 2)
    frame = store.frame("theirs")
    assert frame["lr"].tolist() == [0.001, 0.001]
    assert frame["width"].tolist() == [64, 128]
    assert frame["variant"].tolist() == ["default"] * 2


def test_how_runs_ended_is_read_off_the_objective(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    file.write_text("width,lr,loss\n64,1,2.5\n64,2,nan\n64,4,-Infinity\n64,8,\n64,16,None\n")

    done = take(store, file, variant=(), seed=None)

    assert done.trials == {"completed": 1, "diverged": 2, "failed": 0, "missing": 2}
    assert store.frame("theirs")["loss"].tolist()[:3] == [2.5, math.inf, math.inf]
    account = store.account("theirs")
    assert (account.done, account.diverged, account.pending) == (1, 2, 2)


def test_how_runs_ended_is_read_off_a_column(store: Store, tmp_path: Path) -> None:
    states = ["finished", "finished", "crashed", "Killed", "diverged", "running", "failed", ""]
    losses = ["2.5", "NaN", "2.4", "", "7.0", "2.2", "nan", "2.1"]
    rows: list[Row] = [
        {"width": 64, "lr": 2**i, "State": states[i], "loss": losses[i]} for i in range(8)
    ]
    file = write_csv(tmp_path / "runs.csv", rows)

    done = take(store, file, variant=(), seed=None, outcome="State")

    assert done.trials == {"completed": 1, "diverged": 2, "failed": 3, "missing": 2}
    outcomes = ["completed", "diverged", "failed", "failed", "diverged", "missing"]
    assert store.frame("theirs")["outcome"].tolist() == [*outcomes, "failed", "missing"]
    assert store.account("theirs").causes[0].count == 3
    again = take(store, file, variant=(), seed=None, outcome="State")
    assert again.changes.kept == 8
    assert store.query("select count(*) from attempts").rows == [(6,)]


def test_a_run_that_was_started_again_counts_by_its_result(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    file.write_text("width,lr,State,loss\n64,1,crashed,9\n64,1,finished,2\n64,1,running,3\n")

    done = take(store, file, variant=(), seed=None, outcome="State")

    assert (done.used, done.set_aside) == (1, 2)
    assert store.frame("theirs")["loss"].tolist() == [2.0]


def test_a_larger_objective_can_be_better(store: Store, tmp_path: Path) -> None:
    rows = [row | {"acc": -row["loss"]} for row in sweep_rows()]
    file = write_csv(tmp_path / "runs.csv", rows)
    take(store, file)

    take(store, file, study="up", objective="acc", goal="max")

    down, up = (statements_of(store, name)[0].groups for name in ("theirs", "up"))
    assert [o.log2 for g in up for o in g.optima] == [o.log2 for g in down for o in g.optima]


def test_amounts_are_kept_beside_the_settings(store: Store, tmp_path: Path) -> None:
    rows = [row | {"C": 1e18 * row["width"], "D": 2e9, "size": 5e6} for row in sweep_rows([0])]
    file = write_csv(tmp_path / "runs.csv", rows)

    take(store, file, flops="C", tokens="D", params="size")

    frame = store.frame("theirs")
    assert frame["flops"].tolist() == [1e18 * width for width in frame["width"]]
    assert set(frame["tokens"]) == {2e9} and set(frame["params"]) == {5e6}
    assert store.query("select sum(tokens), min(flops) from results").rows == [
        (4 * 10**10, 6.4e19)
    ]


def test_a_table_of_tuned_losses_needs_no_hyperparameter(store: Store, tmp_path: Path) -> None:
    rows = [{"optimizer": o, "flops": 10.0**c, "loss": 3 - c / 10} for o in "ab" for c in (18, 19)]

    take(
        store,
        write_csv(tmp_path / "runs.csv", rows),
        scales=("flops",),
        hyperparameters=(),
        seed=None,
    )

    view = view_study(store, "theirs")
    assert view.trials["flops"].tolist() == [1e18, 1e19, 1e18, 1e19]
    assert view.has_results


def test_other_settings_that_vary_make_groups(store: Store, tmp_path: Path) -> None:
    rows = [
        row | {"depth": depth, "data": "web", "loss": row["loss"] + depth}
        for row in sweep_rows([0])
        for depth in (2, 4)
    ]

    take(store, write_csv(tmp_path / "runs.csv", rows), fixed=("depth", "data"), seed=None)

    document = store.study("theirs").document
    assert document["fixed"] == {"data": "web"} and document["sweep"]["depth"] == [2, 4]
    groups = statements_of(store, "theirs")[0].groups
    assert [(group.variant, dict(group.settings)) for group in groups] == [
        (variant, {"depth": depth}) for variant in ("adam", "muon") for depth in (2, 4)
    ]


def test_the_optima_of_an_imported_sweep_are_found_and_its_claims_tested(
    store: Store, tmp_path: Path
) -> None:
    rows = [
        row | {"width": width, "loss": row["loss"] + 1 / width}
        for row in sweep_rows([0, 1, 2])
        if row["width"] == 64
        for width in (64, 128, 256, 512)
    ]
    claim = ClaimedRule(hyperparameter="lr", exponent=0, tolerance=0.25)

    take(store, write_csv(tmp_path / "runs.csv", rows), claims=(claim,))

    (statement,) = statements_of(store, "theirs")
    for group in statement.groups:
        assert [o.log2 for o in group.optima] == pytest.approx([-4] * 4, abs=1e-6)
        assert [verdict.ruling for verdict in group.verdicts] == ["holds"]


def test_a_long_table_of_two_scales_and_two_hyperparameters_is_a_study(
    store: Store, tmp_path: Path
) -> None:
    rows = list(grid_rows())
    assert len(rows) == 1936

    done = take(
        store,
        write_csv(tmp_path / "long.csv", rows),
        scales=("N", "D"),
        hyperparameters=("lr", "bs"),
        variant=(),
        seed=None,
        params="N",
        tokens="D",
    )

    assert done.trials["completed"] == 1936
    document = store.study("theirs").document
    assert document["scales"] == ["N", "D"] and document["hyperparameters"] == ["lr", "bs"]
    frame = view_study(store, "theirs").trials
    assert (frame["params"] == frame["N"]).all() and (frame["tokens"] == frame["D"]).all()
    low = frame.loc[frame.groupby(["N", "D"])["loss"].idxmin()]
    assert len(low) == 16


def curve_rows(widths: tuple[int, ...] = (64, 128)) -> list[dict[str, Any]]:
    return [
        {"width": width, "lr": lr, "step": step, "tok": 1000 * step, "loss": 3 + lr + 1 / step}
        for step in (10, 20, 30, 40)
        for width in widths
        for lr in (0.1, 0.2)
    ]


def test_rows_of_one_run_at_several_steps_are_its_curve(store: Store, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "curves.csv", curve_rows())

    done = take(store, file, variant=(), seed=None, step="step", tokens="tok")

    assert (done.used, sum(done.trials.values()), done.curves) == (16, 4, 4)
    frame = store.frame("theirs")
    assert frame["loss"].tolist() == pytest.approx([3.125, 3.225] * 2)
    assert set(frame["tokens"]) == {40_000}
    marks = store.marks("theirs")
    assert marks["step"].tolist() == [10, 20, 30, 40] * 4
    assert marks["tokens"].tolist() == [10_000, 20_000, 30_000, 40_000] * 4
    curves, warnings = read_curves(store.paths.files, store.curve_files("theirs"))
    assert not warnings and len(curves) == 16
    first = curves[curves["key"] == frame["key"].iloc[0]]
    assert first["step"].tolist() == [10, 20, 30, 40]
    assert first["loss"].tolist() == pytest.approx([3 + 0.1 + 1 / s for s in (10, 20, 30, 40)])
    again = take(store, file, variant=(), seed=None, step="step", tokens="tok")
    assert again.changes.kept == 4 and again.curves == 0


def test_a_curve_that_ends_beyond_the_cliff_diverged(store: Store, tmp_path: Path) -> None:
    rows = [row for row in curve_rows() if row["width"] == 64]
    for row in rows:
        if row["lr"] == 0.2 and row["step"] >= 30:
            row["loss"] = "nan"
        if row["lr"] == 0.1 and row["step"] == 20:
            row["loss"] = "inf"
        if row["lr"] == 0.1 and row["step"] == 40:
            row["loss"] = ""  # logged less often than other columns

    take(
        store,
        write_csv(tmp_path / "curves.csv", rows),
        variant=(),
        seed=None,
        step="step",
    )

    frame = store.frame("theirs")
    assert frame["outcome"].tolist() == ["completed", "diverged"]
    assert frame["loss"].iloc[0] == pytest.approx(3.1 + 1 / 30)
    marks = store.marks("theirs")
    assert marks["step"].tolist() == [10, 30, 10, 20]
    # Nobody counted tokens, so steps stand for them.
    assert marks["tokens"].tolist() == [10, 30, 10, 20]


def test_long_curves_are_marked_at_shared_steps_only(store: Store, tmp_path: Path) -> None:
    rows: list[Row] = [
        {"width": 64, "lr": lr, "step": step + odd, "loss": 3 + lr + 1 / (step + 1)}
        for lr, odd in ((0.1, 0), (0.2, 0), (0.4, 1))
        for step in range(0, 200, 2)
    ]

    take(store, write_csv(tmp_path / "c.csv", rows), variant=(), seed=None, step="step")

    marks = store.marks("theirs").merge(store.frame("theirs")[["key", "lr"]])
    counts = marks.groupby("lr")["step"].agg(["size", "min", "max"])
    assert counts.loc[0.1].tolist() == counts.loc[0.2].tolist() == [16, 0, 198]
    assert 0.4 not in counts.index

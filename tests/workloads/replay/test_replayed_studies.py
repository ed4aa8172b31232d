"""Studies that replay the results of another study in the store."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from sweeper.answers.recorded import recorded_results, recorded_tables
from sweeper.engine.run import Run
from sweeper.errors import StudyError
from sweeper.store.store import Store
from sweeper.study.plan import expand
from sweeper.study.study import Study, load_study
from workloads.planted import PLANTED, surface

ROOT = Path(__file__).resolve().parents[3]
RATES = {"log2": [-8, -2], "step": 1}


def recorded(store: Store, **sections: Any) -> None:
    """Runs a planted study whose rates beyond 2^-3 diverge."""
    Run(
        Study.from_document(
            {
                "name": "old",
                "workload": "workloads.planted:PLANTED",
                "scale": "width",
                "fixed": {"cliff": 2.5},
                "variants": {"sp": {}, "mup": {"drift": 0}},
                "sweep": {"width": [32, 64], "learning_rate": RATES, "seed": [0, 1]},
                **sections,
            }
        ),
        store,
        executor="inline",
    ).execute()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("replayed"), create=True) as opened:
        recorded(opened)
        yield opened


def replay(store: Store, **sections: Any) -> Study:
    fixed = {"table": "study:old", "where": {"variant": "sp"}} | sections.pop("fixed", {})
    return Study.from_document(
        {
            "name": "new",
            "workload": "replay",
            "scale": "width",
            "fixed": {name: value for name, value in fixed.items() if value is not None},
            "sweep": {"width": [32, 64], "learning_rate": RATES},
            **sections,
        },
        tables=recorded_tables(lambda: nullcontext(store)),
    )


def test_the_results_of_a_study_are_the_answers_of_another(store: Store) -> None:
    study = replay(store)
    summary = Run(study, store, executor="inline").execute()
    assert (summary.finished, summary.failed) == (14, 0)
    old, new = store.frame("old"), store.frame("new")
    for _, row in new.iterrows():
        same = (old.width == row.width) & (old.learning_rate == row.learning_rate)
        seeds = old[same & (old.variant == "sp")]
        assert row.outcome == seeds.outcome.iloc[0]
        assert row.loss == (seeds.loss.mean() if row.outcome == "completed" else math.inf)
        assert row.flops == seeds.flops.iloc[0]
    assert set(new.outcome) == {"completed", "diverged"}
    assert store.study("new").document["fixed"]["table"] == "study:old"


def test_trials_rest_on_the_results_and_not_on_names_or_places(
    store: Store, tmp_path: Path
) -> None:
    keys = [item.trial.key for item in expand(replay(store))]
    with Store.open(tmp_path / "elsewhere", create=True) as other:
        recorded(other, name="again")
        same = replay(other, fixed={"table": "study:again"})
        assert [item.trial.key for item in expand(same)] == keys
        recorded(other, name="more", sweep={"width": [32, 64, 128], "learning_rate": RATES})
        grown = replay(other, fixed={"table": "study:more"})
        assert not {item.trial.key for item in expand(grown)} & {*keys}
    trial = expand(replay(store))[0].trial
    assert trial.config["table"] == f"sha256:{trial.data}"
    pinned = replay(store, fixed={"table": f"sha256:{trial.data}"})
    assert [item.trial.key for item in expand(pinned)] == keys


def test_the_table_has_what_was_swept_seeds_losses_flops_and_metrics(store: Store) -> None:
    heading, *rows = recorded_results(store, "old").splitlines()
    assert heading == "variant,drift,learning_rate,width,seed,loss,flops,val_loss"
    assert len(rows) == 2 * 2 * 7 * 2
    losses = dict(row.rsplit(",", 3)[:2] for row in rows)
    planted = PLANTED.resolve({"width": 32, "learning_rate": 2.0**-5, "drift": 0}).config
    assert float(losses["mup,0.0,0.03125,32,1"]) == pytest.approx(surface(planted, 1))
    assert "sp,-0.5,0.25,64,0,diverged,4096.0,diverged" in rows


@pytest.mark.parametrize(
    ("fixed", "sections", "why"),
    [
        ({"table": "study:odl"}, {}, "no study named 'odl'; did you mean 'old'? known: "),
        ({"table": "study:empty"}, {}, "study empty has no results yet"),
        ({}, {"name": "old"}, "study old cannot replay its own results"),
        ({"table": "sha256:00"}, {}, "00.csv cannot be read: No such file"),
        (
            {"where": None},
            {},
            "results of several variant (mup, sp), which would be taken for seeds of one trial; "
            "choose with `where: {variant: ...}`",
        ),
        (
            {"table": "study:decayed", "where": None},
            {},
            "several optimum (-5.0, -6.0), which would be taken for seeds of one trial; sweep or "
            "fix optimum, or choose with `where: {optimum: ...}`",
        ),
        ({}, {"sweep": {"width": [32, 128], "learning_rate": RATES}}, "beyond the table"),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_words(
    store: Store, fixed: dict[str, Any], sections: dict[str, Any], why: str
) -> None:
    if "decayed" in fixed.get("table", ""):
        sweep = {"width": [32, 64], "learning_rate": RATES, "optimum": [-5, -6]}
        recorded(store, name="decayed", variants={"sp": {}}, sweep=sweep)
    if "empty" in fixed.get("table", ""):
        recorded(store, name="empty", fixed={"floor": 2}, budget={"flops": 1})
    with pytest.raises(StudyError) as caught:
        replay(store, fixed=fixed, **sections)
    assert why in str(caught.value)


def test_a_setting_that_one_variant_has_is_an_axis_where_that_is_chosen(
    store: Store, tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    table.write_text(
        "variant,width,learning_rate,momentum,loss\n"
        + "".join(
            f"{name},{width},1.0,{momentum},{loss}\n"
            for width in (32, 64)
            for name, momentum, loss in (("a", "", 3), ("b", 0.5, 2), ("b", 0.9, 1))
        ),
        encoding="utf-8",
    )
    sweep = {"width": [32, 64], "momentum": [0.5, 0.9]}
    fixed = {"table": str(table), "where": {"variant": "b"}, "learning_rate": 1.0}
    found = replay(store, fixed=fixed, sweep=sweep)
    assert [item.trial.config["momentum"] for item in expand(found)] == [0.5, 0.9] * 2


def test_the_study_of_the_documentation_replays_another(store: Store, tmp_path: Path) -> None:
    text = (ROOT / "docs/workloads.md").read_text("utf-8")
    shown = [each for each in text.split("```yaml\n") if "study:old" in each.split("```")[0]]
    path = tmp_path / "study.yaml"
    path.write_text(shown[0].split("```")[0], encoding="utf-8")
    study = load_study(path, tables=recorded_tables(lambda: nullcontext(store)))
    assert Run(study, store, executor="inline").execute().finished == 2 * 9 * 2
    with pytest.raises(StudyError, match="lies in a store, and none was given"):
        load_study(path)

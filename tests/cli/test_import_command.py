"""`sweeper import` and the answers about what it brought in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cli_harness import Sweeper

from sweeper.store.store import Store

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "tests/fixtures/published"
CASES = ROOT / "tests/fixtures/cases"

WANDB = """\
"Name","State","Notes","config.optimizer.name","config.optimizer.lr","config.width","Seed",\
"summary/val/loss","_step"
"brisk-sun-1","finished","first try,
again","adamw","0.001","64","0","2.71","1000"
"old-sea-2","finished","","adamw","0.002","64","0","2.60","1000"
"red-hill-3","finished","","adamw","0.004","64","0","2.65","1000"
"lost-leaf-4","crashed","","adamw","0.008","64","0","","312"
"wild-fire-5","finished","","adamw","0.016","64","0","NaN","1000"
"""

HISTORY = """\
{"config": {"lr": {"value": 0.001}, "width": 64, "nesterov": true}, \
"summary": {"loss": 2.7, "_runtime": 12.5}, "state": "finished", "name": "a", "tags": ["x"]}
{"config": {"lr": {"value": 0.002, "desc": null}, "width": 64, "nesterov": false}, \
"summary": {"loss": NaN}, "state": "finished", "name": "b"}
{"config": {"lr": {"value": 0.004}, "width": 64, "nesterov": false}, "summary": {}, \
"state": "failed", "name": "c"}
"""


@pytest.fixture
def swept(tmp_path: Path) -> Path:
    """Returns a CSV of a clean sweep over three widths whose best rate is 2^-5 at all."""
    lines = ["optimizer,width,lr,seed,loss,error"]
    for width in (64, 128, 256):
        for exponent in range(-8, -2):
            for seed in (0, 1, 2):
                loss = 3 + 0.05 * (exponent + 5) ** 2 - 0.001 * width + 0.001 * seed
                lines.append(f"adam,{width},{2.0**exponent},{seed},{loss},0.01")
    path = tmp_path / "sweep.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


USUAL = ("--scale", "width", "--hp", "lr", "--objective", "loss", "--seed", "seed")


def test_an_imported_study_is_answered_for_like_any_other(
    sweeper: Sweeper, swept: Path, tmp_path: Path
) -> None:
    said = sweeper("import", swept, "--study", "theirs", *USUAL, "--claim", "lr=0+-0.25")

    assert (said.code, said.err) == (0, "")
    assert "study theirs: 54 trials from sweep.csv: 54 completed" in said.out
    assert "trials: 54 added" in said.out
    assert max(map(len, said.out.splitlines())) <= 100
    status = sweeper("status", "theirs", "--json").document
    assert (status["declared"], status["done"], status["pending"]) == (54, 54, 0)
    (group,) = sweeper("drift", "theirs", "--json").document["groups"]
    assert [optimum["log2"] for optimum in group["optima"]] == pytest.approx([-5] * 3, abs=1e-6)
    assert group["claims"][0]["verdict"] == "holds"
    rows = sweeper("sql", "select count(*) n from results where objective > 0", "--json")
    assert rows.document == [{"n": 54}]
    out = tmp_path / "page"
    page = sweeper("report", "theirs", "--out", out)
    assert page.code == 0, page.err
    html = next(out.glob("*.html")).read_text(encoding="utf-8")
    assert "sweep.csv (SHA-256" in html and "are mixed" not in html


def test_the_answer_as_json_has_the_documented_keys(sweeper: Sweeper, swept: Path) -> None:
    first = sweeper("import", swept, "--study", "theirs", *USUAL, "--json").document
    again = sweeper("import", swept, "--study", "theirs", *USUAL, "--json").document

    keys = ["study", "file", "sha256", "rows", "used", "repeated", "set_aside", "trials"]
    more = ["variants", "columns", "changes", "curves", "left_out", "notes"]
    assert list(first) == [*keys, *more]
    assert first["changes"] == {"added": 54, "kept": 0, "hidden": 0, "restored": 0}
    assert again["changes"] == {"added": 0, "kept": 54, "hidden": 0, "restored": 0}
    assert "nothing changed" in sweeper("import", swept, "--study", "theirs", *USUAL).out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--scale", "widht"), "no column named 'widht'; did you mean 'width'"),
        (("--hp", "lr,,width"), "--hp 'lr,,width': write column names with one comma"),
        (("--where", "width"), "--where 'width': write COLUMN=VALUE"),
        (("--claim", "lr=0"), "--claim 'lr=0': write HYPERPARAMETER=EXPONENT+-TOLERANCE"),
        (("--claim", "lr=0+-0"), "the tolerance above 0"),
        (("--claim", "wd=0+-1"), "no hyperparameter of this import named 'wd'"),
        (("--where", "width=1"), "none of its 54 rows has --where width=1; width is 128, 256, 64"),
    ],
)
def test_a_wrong_request_is_one_message(
    sweeper: Sweeper, swept: Path, options: tuple[str, ...], says: str
) -> None:
    said = sweeper("import", swept, "--study", "theirs", *USUAL, *options)

    assert said.code == 2 and said.out == ""
    assert said.err.startswith("sweeper: ") and says in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("spelling", ["lr=-0.5±0.25", "lr = -.5 +- 0.25", "lr=-5e-1+/-0.25"])
def test_a_claim_has_three_spellings(sweeper: Sweeper, swept: Path, spelling: str) -> None:
    assert sweeper("import", swept, "--study", "s", *USUAL, "--claim", spelling).code == 0

    (claim,) = sweeper("drift", "s", "--json").document["groups"][0]["claims"]
    assert (claim["exponent"], claim["tolerance"], claim["verdict"]) == (-0.5, 0.25, "broken")


def test_the_name_of_a_study_is_nothing_to_run(sweeper: Sweeper, tmp_path: Path) -> None:
    file = tmp_path / "sweep.csv"
    file.write_text("width,lr,loss\n64,1,2\n", encoding="utf-8")
    assert sweeper("import", file, "--study", "theirs", *USUAL[:6]).code == 0
    with Store.open(tmp_path / "store") as store:
        theirs = store.study("theirs")
        store.save_study(replace(theirs, name="planted", workload="planted"), [])

    for command in ("run", "plan"):
        said = sweeper(command, "theirs")
        assert said.code == 2
        assert "study theirs holds imported results and there is nothing to run" in said.err
        said = sweeper(command, "planted")
        assert said.code == 2 and "to plan or run it, give its file" in said.err
        said = sweeper(command, "nothing")
        assert said.code == 2 and "no such file" in said.err


def test_a_wandb_table_is_read_by_the_ends_of_its_names(sweeper: Sweeper, tmp_path: Path) -> None:
    file = tmp_path / "wandb_export.csv"
    file.write_text(WANDB, encoding="utf-8")
    parts = ("--scale", "width", "--hp", "lr", "--objective", "loss", "--variant", "name")

    said = sweeper("import", file, "--study", "w", *parts, "--seed", "Seed", "--outcome", "State")

    assert said.code == 0, said.err
    assert "5 trials from wandb_export.csv: 3 completed, 1 diverged, 1 failed" in said.out
    assert "loss is the column summary/val/loss" in said.out
    status = sweeper("status", "w", "--json").document
    assert (status["done"], status["diverged"], status["failed"]) == (3, 1, 1)


def test_a_rate_of_zero_is_set_aside_with_a_word(sweeper: Sweeper) -> None:
    said = sweeper("import", CASES / "one_rate_zero.csv", "--study", "zero", *USUAL)

    assert said.code == 0, said.err
    assert "120 rows read; 108 used; 12 left out, see below" in said.out
    assert "left out: 12 rows (row 109 the first), where lr is 0, which has no log2" in said.out
    (group,) = sweeper("drift", "zero", "--json").document["groups"]
    assert group["drift"]["low"] < -0.5 < group["drift"]["high"]


def test_rows_that_agree_are_repeats_when_told_so(sweeper: Sweeper) -> None:
    file, parts = CASES / "repeats_without_seed.csv", ("--study", "again", *USUAL[:6])
    refused = sweeper("import", file, *parts)
    assert refused.code == 2
    assert "--repeats takes them for runs that only their seeds tell apart" in refused.err

    said = sweeper("import", file, *parts, "--repeats")

    assert said.code == 0, said.err
    (group,) = sweeper("drift", "again", "--json").document["groups"]
    assert group["evidence"]["seeds"] == [3, 3]
    assert group["drift"]["low"] < -0.5 < group["drift"]["high"]
    for option in ("--seed", "--step"):
        both = sweeper("import", file, *parts, "--repeats", option, "seed")
        assert both.code == 2 and f"--repeats and {option} seed: " in both.err


def test_published_standard_errors_and_a_stated_noise_are_the_noise_of_the_answers(
    sweeper: Sweeper,
) -> None:
    parts = ("--scale", "width", "--hp", "learning_rate", "--objective", "loss")
    parts += ("--variant", "setting", "--where", "curve=ema")
    file = PUBLISHED / "llama_wikitext103_width.csv"
    told = {"bars": ("--error", "error_bar"), "number": ("--noise", "0.004")}
    for study, option in told.items():
        assert sweeper("import", file, "--study", study, *parts, *option).code == 0

    bars = sweeper("drift", "bars", "--json").document["groups"]
    number = sweeper("drift", "number", "--json").document["groups"]

    # The error bars of Muon are 0 in the figure, so its fits tell the noise.
    sources = [{one["noise_source"] for one in group["optima"]} for group in bars]
    assert sources == [{"stated"}, {"fit residuals"}]
    noise = [one["noise"] for group in number for one in group["optima"]]
    assert noise == pytest.approx([0.004] * 10)
    compared = sweeper("compare", "number:Adam-Llama", "number:Muon-Llama", "--json")
    assert compared.code == 2 and "FLOPs are not known" in compared.err


def test_tuned_losses_with_standard_errors_are_compared_within_them(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    file = tmp_path / "tuned.csv"
    rows = [
        f"{v},{10.0**k},{5 - 0.5 * k / 3 - (v == 'b') * 0.1},0.02" for v in "ab" for k in (3, 4)
    ]
    file.write_text("\n".join(["v,flops,loss,se", *rows]), encoding="utf-8")
    parts = ("--study", "s", "--scale", "flops", "--objective", "loss", "--variant", "v")
    assert sweeper("import", file, *parts, "--error", "se").code == 0

    answer = sweeper("compare", "s:a", "s:b", "--json").document

    assert [point["error"] for point in answer["baseline_points"]] == pytest.approx([0.02] * 2)
    point = answer["others"][0]["points"][0]
    assert point["low"] < point["multiplier"] < point["high"]


@pytest.mark.parametrize(
    ("case", "objective", "says"),
    [
        ("accuracy_wrong_goal", "acc", "acc with goal min looks like the wrong goal"),
        ("nats_and_bits_mixed", "loss", "width 1024 are 1.4427 times what the other scales"),
        ("loss_rises_with_width", "loss", "the best loss rises with width, from 3.058 at 128"),
    ],
)
def test_results_that_look_wrong_are_said_to(
    sweeper: Sweeper, case: str, objective: str, says: str
) -> None:
    parts = ("--scale", "width", "--hp", "lr", "--objective", objective, "--seed", "seed")
    assert sweeper("import", CASES / f"{case}.csv", "--study", "s", *parts).code == 0

    for command in ("drift", "fit"):
        said = sweeper(command, "s")
        assert says in " ".join((said.out + said.err).split())


def test_the_right_goal_is_not_doubted(sweeper: Sweeper) -> None:
    parts = ("--scale", "width", "--hp", "lr", "--objective", "acc", "--seed", "seed")
    file = CASES / "accuracy_wrong_goal.csv"
    assert sweeper("import", file, "--study", "s", *parts, "--goal", "max").code == 0

    answer = sweeper("drift", "s", "--json").document

    assert answer["notes"] == []
    assert answer["groups"][0]["drift"]["low"] < -0.5 < answer["groups"][0]["drift"]["high"]


NAMES = """\
Name,loss
adam_lr0.001_w128_s0,3.2
adam_lr0.002_w128_s0,3.1
adam_lr4e-3_w128_s0,3.3
test,9
"""


@pytest.mark.parametrize(
    "pattern", ["{optimizer}_lr{lr}_w{width}_*", r"lr(?P<lr>[^_]+)_w(?P<width>\d+)"]
)
def test_settings_are_read_from_the_names_of_runs(
    sweeper: Sweeper, tmp_path: Path, pattern: str
) -> None:
    file = tmp_path / "runs.csv"
    file.write_text(NAMES, encoding="utf-8")

    said = sweeper("import", file, "--study", "n", *USUAL[:6], "--name-pattern", pattern)

    assert said.code == 0, said.err
    assert "4 rows read; 3 used; 1 left out, see below" in said.out
    assert (
        "left out: 1 row with names that do not fit --name-pattern, for example row 4, 'test'"
        in (" ".join(said.out.split()))
    )
    rows = sweeper("sql", "select config from trials", "--json").document
    assert sorted(json.loads(row["config"])["lr"] for row in rows) == [0.001, 0.002, 0.004]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--name-pattern", "lr_w"), "names no setting; write for example '*_lr{lr}_w{width}'"),
        (("--name-pattern", "{l r}"), "a setting is written {lr}, by letters"),
        (("--name-pattern", "{lr}_{lr}"), "a setting is written {lr}, by letters"),
        (("--name-pattern", "(?P<lr>[0-9]"), "--name-pattern '(?P<lr>[0-9]': "),
        (
            ("--name-pattern", "run_{lr}_{width}"),
            "no row is left; left out: 4 rows with names that do",
        ),
        (("--name-pattern", "*lr{loss}_*"), "--name-pattern: loss is a column of the file too"),
        (("--name-pattern", "*lr{lr}_*"), "no column named 'width'"),
        (
            ("--name-pattern", "*lr{lr}_w{width}_*", "--name-column", "run"),
            "no column named 'run'",
        ),
        (("--name-column", "Name"), "say with --name-pattern what its names hold"),
        (
            ("--name-pattern", "{lr}_lr{width}_*"),
            "row 1, column Name: 'adam', where a number is needed",
        ),
    ],
)
def test_a_pattern_of_names_that_cannot_be_read_is_one_message(
    sweeper: Sweeper, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    file = tmp_path / "runs.csv"
    file.write_text(NAMES, encoding="utf-8")

    said = sweeper("import", file, "--study", "n", *USUAL[:6], *options)

    assert said.code == 2 and said.err.count("\n") == 1
    assert says in said.err


OPTIMA = """\
width,lr,lo,hi
128,0.00391,0.0037,0.0041
256,0.00276,0.0026,0.0029
512,0.00195,0.0018,0.0021
1024,0.00138,0.0013,
"""
OF_OPTIMA = ("--scale", "width", "--hp", "lr", "--low", "lo", "--high", "hi")


def test_a_table_of_optima_is_fitted_and_predicted_from(sweeper: Sweeper, tmp_path: Path) -> None:
    file = tmp_path / "optima.csv"
    file.write_text(OPTIMA, encoding="utf-8")

    said = sweeper("import", file, "--study", "o", *OF_OPTIMA)

    assert said.code == 0, said.err
    assert "sweeper fit o makes a rule of the optima" in said.out
    (group,) = sweeper("fit", "o", "--json").document["groups"]
    exponent = group["terms"]["width"]
    assert exponent["low"] < -0.5 < exponent["high"]
    assert exponent["exponent"] == pytest.approx(-0.5, abs=0.05)  # the last is a bound
    first, *_, last = group["places"]
    assert (2 ** first["low"], 2 ** first["high"]) == pytest.approx((0.0037, 0.0041))
    assert last["high"] is None and last["flags"] == ["censored_high"]
    (made,) = sweeper("predict", "o", "--width", "2048", "--json").document["groups"]
    assert made["low"] < -10 < made["high"]
    assert sweeper("import", file, "--study", "p", *OF_OPTIMA).code == 0
    for command in (("drift", "o"), ("transfer", "o"), ("compare", "o:default", "p:default")):
        refused = sweeper(*command)
        assert refused.code == 2 and "holds optima and no runs" in refused.err


def test_wider_intervals_of_optima_give_a_wider_rule(sweeper: Sweeper, tmp_path: Path) -> None:
    widths = []
    for study, part in (("narrow", 0.02), ("wide", 0.2)):
        rows = [
            f"{w},{(o := 0.044 * w**-0.5)},{o * (1 - part)},{o * (1 + part)}"
            for w in (128, 256, 512, 1024)
        ]
        file = tmp_path / f"{study}.csv"
        file.write_text("\n".join(["width,lr,lo,hi", *rows]), encoding="utf-8")
        assert sweeper("import", file, "--study", study, *OF_OPTIMA).code == 0
        term = sweeper("fit", study, "--json").document["groups"][0]["terms"]["width"]
        widths.append(term["high"] - term["low"])
    assert 5 * widths[0] < widths[1] < 20 * widths[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--objective", "lr"), "--objective: name the column that is compared"),
        (("--noise", "1"), "--low and --noise: a table of optima holds no runs"),
        (("--hp", "lr,width"), "has one --hp, the column of the optima"),
        (("--high", "lo"), "column lo is given two parts"),
        (("--low", "hi"), "column hi is given two parts"),
        (("--low", "hi", "--high", "lo"), "row 1, column lr: 0.00391 with the interval 0.0041 to"),
        (("--where", "width=9"), "none of its 4 rows has --where width=9"),
    ],
)
def test_a_table_of_optima_that_cannot_be_one_is_refused(
    sweeper: Sweeper, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    file = tmp_path / "optima.csv"
    file.write_text(OPTIMA, encoding="utf-8")

    said = sweeper("import", file, "--study", "o", *OF_OPTIMA, *options)

    assert said.code == 2 and said.err.count("\n") == 1
    assert says in said.err


def test_two_optima_at_one_scale_are_refused(sweeper: Sweeper, tmp_path: Path) -> None:
    file = tmp_path / "optima.csv"
    file.write_text(f"{OPTIMA}256,0.003,0.002,0.004\n", encoding="utf-8")
    assert sweeper("import", file, "--study", "o", *OF_OPTIMA).code == 0

    said = sweeper("fit", "o")

    assert said.code == 2 and "width 256 has 2 optima; import them with --variant" in said.err
    no_objective = sweeper("import", file, "--study", "p", *OF_OPTIMA[:4])
    assert no_objective.code == 2 and "--objective: name the column" in no_objective.err


def test_the_state_column_of_an_export_is_used_without_being_asked(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    file = tmp_path / "wandb_export.csv"
    file.write_text(
        "Name,State,width,lr,loss\na,finished,64,0.001,2.7\nb,running,64,0.002,2.9\n"
        "c,crashed,64,0.004,3.5\nd,finished,64,0.008,NaN\n",
        encoding="utf-8",
    )

    said = sweeper("import", file, "--study", "w", *USUAL[:6])

    assert said.code == 0, said.err
    assert (
        "4 trials from wandb_export.csv: 1 completed, 1 diverged, 1 failed, 1 missing" in said.out
    )
    assert "column State says how each run ended; --outcome names another" in said.out
    assert "rows without a result by the column State: 1 crashed, 1 running" in said.out


def test_a_state_that_is_no_word_on_how_a_run_ended_is_left_alone(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    file = tmp_path / "runs.csv"
    file.write_text("state,width,lr,loss\nohio,64,1,2\nfinished,64,2,3\n", encoding="utf-8")

    said = sweeper("import", file, "--study", "s", *USUAL[:6])

    assert said.code == 0, said.err
    assert "2 completed" in said.out and "State" not in said.out
    told = sweeper("import", file, "--study", "t", *USUAL[:6], "--fixed", "state", "--json")
    assert told.document["notes"] == []


def test_wandb_runs_as_json_lines_are_read(sweeper: Sweeper, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text(HISTORY, encoding="utf-8")
    parts = ("--scale", "width", "--hp", "lr", "--objective", "loss", "--variant", "nesterov")

    said = sweeper("import", file, "--study", "w", *parts, "--outcome", "state", "--json")

    assert said.code == 0, said.err
    assert said.document["variants"] == ["false", "true"]
    assert said.document["columns"]["lr"] == "config.lr"
    assert said.document["trials"] == {"completed": 1, "diverged": 1, "failed": 1, "missing": 0}


@pytest.mark.parametrize(
    ("name", "options", "trials", "variants"),
    [
        (
            "openwebtext_width.csv",
            "--scale width --hp learning_rate --variant optimizer,parametrization "
            "--where figure=fig2",
            453,
            6,
        ),
        (
            "llama_wikitext103_width.csv",
            "--scale width --hp learning_rate --variant setting --where curve=ema",
            80,
            2,
        ),
        ("llama_fineweb_frontier.csv", "--scale flops --variant optimizer,scaling", 12, 3),
    ],
)
def test_published_tables_are_imported_as_they_are(
    sweeper: Sweeper, name: str, options: str, trials: int, variants: int
) -> None:
    file = PUBLISHED / name
    said = sweeper(
        "import", file, "--study", "s", "--objective", "loss", *options.split(), "--json"
    )

    assert said.code == 0, said.err
    assert said.document["trials"]["completed"] == trials
    assert len(said.document["variants"]) == variants


@pytest.mark.postgres
def test_a_table_is_imported_into_postgresql(sweeper: Sweeper, swept: Path, postgres: str) -> None:
    there = ("--store", postgres)
    assert sweeper("import", swept, "--study", "theirs", *USUAL, *there).code == 0
    assert "nothing changed" in sweeper("import", swept, "--study", "theirs", *USUAL, *there).out
    sweeper("import", swept, "--study", "theirs", *USUAL)

    here = sweeper("drift", "theirs", "--json").document
    assert sweeper("drift", "theirs", "--json", *there).document == here

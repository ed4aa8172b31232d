"""Studies whose trials are commands: what they may state, what is refused and where, and what of
it is part of a trial's key."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from jsonschema import Draft202012Validator
from long_form import draws
from study_mutations import check, mutated

from sweeper.engine.packing import task_of
from sweeper.errors import StudyError
from sweeper.study.plan import expand, plan_warnings
from sweeper.study.schema import study_schema
from sweeper.study.study import Study, load_study
from workloads.command.card import COMMAND as COMMAND_CARD
from workloads.command.program import Program
from workloads.command.trainer import CommandTrainer
from workloads.programs import Programmed
from workloads.workload import Member

GOOD = """\
name: mine
workload: command
command:
  - python
  - train.py
  - --width={width}
  - --lr={learning_rate:.6e}
  - "{amp:--amp}"
  - --decay={weight_decay}
  - --seed={seed}
  - --config={config}
settings:
  width: int
  learning_rate: {type: float, low: 0, doc: The peak.}
  amp: {type: bool, default: false}
  weight_decay: {type: float, default: null}
  schedule: [wsd, cosine]
config: {template: base.yaml.j2}
environment: {SCHEDULE: "{schedule}", WANDB_MODE: offline}
results: {lines: 'step:(?P<step>\\d+).* val:(?P<loss>[\\d.]+)', names: {val_loss: loss}}
files: [train.py, model/]
cost: {params: 12 * width**2, tokens: 100 * width, steps: 100}
scale: width
fixed: {schedule: wsd}
sweep:
  width: [32, 64]
  learning_rate: {log2: [-9, -2]}
  seed: [0, 1]
"""

SCHEMA = Draft202012Validator(study_schema())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the working folder, in which the study's files are."""
    root = tmp_path / "project"
    (root / "model").mkdir(parents=True)
    (root / "train.py").write_text("print()")
    (root / "model" / "net.py").write_text("x = 1")
    (root / "base.yaml.j2").write_text("lr: {{ learning_rate }}\namp: {{ amp }}\n")
    (root / "wrong.j2").write_text("a\n{{ width | nosuch }}")
    (root / "bringing.j2").write_text("{% include 'base.yaml.j2' %}")
    (root / "unknown.j2").write_text("{{ widht }}")
    (root / "study.yaml").write_text(GOOD)
    monkeypatch.chdir(root)
    return root


def edited(*edits: tuple[str, str]) -> str:
    text = GOOD
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def loaded(text: str) -> Study:
    Path("study.yaml").write_text(text)
    return load_study("study.yaml")


def keys(text: str) -> set[str]:
    return {item.trial.key for item in expand(loaded(text))}


def test_the_study_loads_and_passes_the_schema_as_file_and_as_document(project: Path) -> None:
    study = loaded(GOOD)
    assert study.num_cells == 32 and study.hyperparameters == ("learning_rate",)
    SCHEMA.validate(yaml.safe_load(GOOD))
    SCHEMA.validate(study.document)
    again = Study.from_document(study.document)
    assert again.document == study.document
    assert {i.trial.key for i in expand(again)} == {i.trial.key for i in expand(study)}


def test_a_trial_is_told_its_values(project: Path) -> None:
    trial = next(i.trial for i in expand(loaded(GOOD)) if i.trial.config["learning_rate"] < 0.002)
    assert trial.derived["params"] == 12 * 32**2 and trial.derived["tokens"] == 3200
    assert trial.derived["flops"] == 6.0 * trial.derived["params"] * 3200
    config = dict(task_of(trial, 1).config)
    program = Program.of(config.pop("program"))
    values = {**config, "seed": 1, "config": "made/base.yaml"}
    assert program.arguments(values) == [
        *("python", "train.py", "--width=32", "--lr=1.953125e-03", "--seed=1"),
        "--config=made/base.yaml",
    ]
    assert program.environment(values) == {"SCHEDULE": "wsd", "WANDB_MODE": "offline"}
    assert program.config_file(values) == ("base.yaml", "lr: 0.001953125\namp: false\n")
    assert program.tokens_at(50) == 1600
    assert (program.metric, program.resumable) == ("val_loss", False)
    assert program.results(values).names == {"val_loss": "loss"}


def test_a_worker_elsewhere_runs_it_in_the_folder_that_it_was_planned_in(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "import sys; open(sys.argv[1], 'w').write('step,val_loss\\n1,0.5\\n')"
    Path("train.py").write_text(script)
    study = SHORT.replace("python train.py", "env {python} -S train.py log-{key}.csv")
    trial = next(iter(expand(loaded(f"{study}results: {{file: 'log-{{key}}.csv'}}\n")))).trial
    task = task_of(trial, 1)
    monkeypatch.chdir(tmp_path)
    assert COMMAND_CARD.data_fingerprint(task.config) == trial.data
    trainer = CommandTrainer([Member(config=task.config, seed=0)], threads=1, device="cpu")
    said = [each for some in trainer.run() for each in some]
    trainer.close()
    assert said[-1].status == "completed" and said[-1].metrics == {"val_loss": 0.5}
    shutil.copytree(project, tmp_path / "travelled")
    shutil.rmtree(project)
    monkeypatch.chdir(tmp_path / "travelled")
    assert COMMAND_CARD.data_fingerprint(task.config) == trial.data


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("base.json.j2", "true, 3, null"),
        ("base.py.j2", "True, 3, None"),
        ("base.toml", "true, 3, null"),
    ],
)
def test_a_template_writes_true_and_null_as_its_kind_of_file_does(
    project: Path, name: str, made: str
) -> None:
    Path(name).write_text("{{ amp }}, {{ width }}, {{ weight_decay }}")
    program = Program(command=("x",), template=name)
    values = {"amp": True, "width": 3.0, "weight_decay": None}
    assert program.config_file(values) == (name.removesuffix(".j2"), made)


def test_a_template_reads_settings_with_dots_as_they_are_written(project: Path) -> None:
    Path("base.yaml.j2").write_text("{{ optimizer.lr }} {{ optimizer.muon.lr }} {{ width }}")
    program = Program(command=("x",), template="base.yaml.j2")
    values = {"optimizer.lr": 0.5, "optimizer.muon.lr": 0.25, "width": 3, "width.x": 1}
    assert program.config_file(values) == ("base.yaml", "0.5 0.25 3")
    study = SHORT.replace("{learning_rate}", "{optimizer.lr}").replace(
        "learning_rate:", "optimizer.lr:"
    )
    Path("base.yaml.j2").write_text("{{ optimizer.lr }} {{ optimiser.lr }}")
    with pytest.raises(StudyError, match=r"did you mean \{optimizer\}"):
        loaded(f"{study}config: base.yaml.j2\n")


def test_a_template_reaches_nothing_but_its_values(project: Path) -> None:
    from jinja2.exceptions import SecurityError, UndefinedError

    program = Program(command=("x",), template="base.yaml.j2")
    for text, fault in [
        ("{{ ().__class__.__base__ }}", SecurityError),
        ("{{ no }}", UndefinedError),
    ]:
        Path("base.yaml.j2").write_text(text)
        with pytest.raises(fault):
            program.config_file({})


class Bad(NamedTuple):
    """An edit, the line and the key of the fault, and words of it."""

    edit: tuple[str, str]
    line: int | None
    key: str
    says: str


COMMAND = GOOD[GOOD.index("command:\n") : GOOD.index("settings:")]
BAD = [
    Bad((COMMAND, ""), None, "command", "is missing"),
    Bad((COMMAND, "command: []\n"), 3, "command", "is no command"),
    Bad((COMMAND, "command: 'python \"x'\n"), 3, "command", "No closing quotation"),
    Bad(("  - train.py", "  - true"), 3, "command", "True is no text; quote it"),
    Bad(("{width}", "{widht}"), 6, "command[2]", "did you mean {width}?"),
    Bad(("{width}", "{width"), 6, "command[2]", "write it twice"),
    Bad(("{width}", "{width:.3q}"), 6, "command[2]", "is no format"),
    Bad((":.6e}", ":.0f}"), 7, "command[3]", "alike, as 0"),
    Bad(("--decay={weight_decay}", "--decay\n  - '{weight_decay}'"), 10, "command[6]", "null"),
    Bad(("config: {template: base.yaml.j2}\n", ""), 3, "command", "{config} is the file made"),
    Bad(("base.yaml.j2", "wrong.j2"), 18, "config", "wrong.j2:2: No filter named 'nosuch'"),
    Bad(("base.yaml.j2", "bringing.j2"), 18, "config", "brings in other files"),
    Bad(("base.yaml.j2", "unknown.j2"), 18, "config", "did you mean {width}?"),
    Bad(("base.yaml.j2", "none.j2"), 18, "config", "no file none.j2"),
    Bad(("{template: base.yaml.j2}", "{tmplate: x}"), 18, "config", "is no template"),
    Bad(("width: int", "width: integer"), 13, "settings.width", "did you mean 'int'"),
    Bad(("width: int", "gpus: int\n  width: int"), 13, "settings.gpus", "means something else"),
    Bad(("low: 0", "lwo: 0"), 14, "settings.learning_rate.lwo", "unknown key 'lwo'"),
    Bad(("low: 0", "low: x"), 14, "settings.learning_rate.low", "bounds nothing"),
    Bad(("low: 0", "high: 0.2"), 27, "sweep.learning_rate[7]", "out of bounds"),
    Bad(("default: false", "default: 3"), 15, "settings.amp.default", "of type bool"),
    Bad(("[wsd, cosine]", "[]"), 17, "settings.schedule.choices", "list of distinct texts"),
    Bad(("[wsd, cosine]", "[1, 2]"), 17, "settings.schedule.choices", "quote numbers"),
    Bad(("{schedule: wsd}", "{schedule: wds}"), 24, "fixed.schedule", "did you mean 'wsd'"),
    Bad(("{schedule: wsd}", "{shedule: wsd}"), 24, "fixed.shedule", "did you mean 'schedule'"),
    Bad(("SCHEDULE: ", "1SCHEDULE: "), 19, "environment.1SCHEDULE", "no name of a variable"),
    Bad(("SCHEDULE: ", "SWEEPER_KEY: "), 19, "environment.SWEEPER_KEY", "set for every trial"),
    Bad(("{schedule}", "{scedule}"), 19, "environment.SCHEDULE", "did you mean {schedule}?"),
    Bad(('SCHEDULE: "{schedule}"', "X: [1]"), 19, "environment", "is no text"),
    Bad(("results: {lines", "results: {line"), 20, "results.line", "did you mean 'lines'"),
    Bad(("(?P<loss>", "(?P<loss"), 20, "results.lines", "no regular expression"),
    Bad(("names: {val_loss: loss}", "names: {}"), 20, "results.lines", "names: {val_loss: loss}"),
    Bad(("results: {lines", "results: {file: x.csv, lines"), 20, "results", "two sources"),
    Bad(
        ("{lines: 'step:(?P<step>\\d+).* val:(?P<loss>[\\d.]+)'", "{file: x.csv"),
        20,
        "results.file",
        "one place for trials that differ in width, learning_rate, seed",
    ),
    Bad(
        ("{lines: 'step:(?P<step>\\d+).* val:(?P<loss>[\\d.]+)'", "{file: '{width}/{seed}.csv'"),
        20,
        "results.file",
        "one place for trials that differ in learning_rate:",
    ),
    Bad(("model/]", "mdoel/]"), 21, "files[1]", "no such file or folder"),
    Bad(("model/]", "3]"), 21, "files", "no name of a file"),
    Bad(("files: [train.py, model/]", "version: true"), 21, "version", "is no version"),
    Bad(("12 * width**2", "12 * widht**2"), 22, "cost.params", "did you mean 'width'"),
    Bad(("12 * width**2, tokens: 100 * width", "tokens, tokens: params"), 22, "cost", "circle"),
    Bad(("12 * width**2", "width - 32"), 22, "cost", "has to be above 0"),
    Bad(("12 * width**2", "open('x')"), 22, "cost.params", "is no formula"),
    Bad(("12 * width**2", "width**width**width"), 22, "cost", "out of range"),
    Bad(("cost: {params", "cost: {parms"), 22, "cost.parms", "did you mean 'params'"),
    Bad(("scale: width", "grace: 30\nscale: width"), 23, "grace", "checkpoint: true"),
    Bad(("scale: width", "grace: 0\nscale: width"), 23, "grace", "not above 0"),
    Bad(("scale: width", "checkpoint: yes\nscale: width"), 23, "checkpoint", "neither true nor"),
    Bad(("scale: width", "changed: maybe\nscale: width"), 23, "changed", "keep, rerun"),
    Bad(
        ("scale: width", "resources: {pack: 4}\nscale: width"), 23, "resources.pack", "share none"
    ),
    Bad((", steps: 100}", "}\nstop: {dominated: true}"), 23, "stop.dominated", "cost: {steps:"),
    Bad(("scale: width", "record: [updates]\nscale: width"), 23, "record", "records nothing"),
]


@pytest.mark.parametrize("bad", BAD, ids=[f"{bad.key}: {bad.edit[1][:30]}" for bad in BAD])
def test_what_is_wrong_is_said_at_its_line(project: Path, bad: Bad) -> None:
    with pytest.raises(StudyError) as caught:
        loaded(edited(bad.edit))
    told = [(fault.line, fault.key) for fault in caught.value.faults]
    assert told == [(bad.line, bad.key)], str(caught.value)
    assert bad.says in str(caught.value)


@pytest.mark.parametrize("place", ["{folder}", "runs/{key}", "{width}-{learning_rate}-{seed}"])
def test_results_in_a_place_of_its_own_of_every_trial_are_taken(project: Path, place: str) -> None:
    lines = "{lines: 'step:(?P<step>\\d+).* val:(?P<loss>[\\d.]+)'"
    assert loaded(edited((lines, f"{{tensorboard: '{place}'"))).name == "mine"


@pytest.mark.parametrize(
    ("old", "new", "line", "key"),
    [
        ("[0.5, 1]", "[0.5, big]", 5, "sweep.learning_rate"),
        ("name: short", "name: short\nfixed: {gpus: 3}", 2, "fixed.gpus"),
        ("name: short", "name: short\nvariants: {a: {a b: 3}}", 2, "variants.a.a b"),
        ("name: short", "name: short\nfixed: {opt: {lr: [1, a]}}", 2, "fixed.opt.lr"),
    ],
)
def test_values_that_tell_no_type_are_said_where_they_stand(
    project: Path, old: str, new: str, line: int, key: str
) -> None:
    with pytest.raises(StudyError) as caught:
        loaded(SHORT.replace(old, new))
    (fault,) = caught.value.faults
    assert (fault.line, fault.key) == (line, key), str(fault)


def test_several_faults_come_in_one_answer(project: Path) -> None:
    with pytest.raises(StudyError) as caught:
        loaded(edited(("{width}", "{widht}"), ("{seed}", "{sed}"), ("model/]", "no/]")))
    places = [fault.key for fault in caught.value.faults]
    assert places == ["command[2]", "command[6]", "files[1]"]


@pytest.mark.parametrize("key", sorted(loaded_key for loaded_key in (
    "command", "settings", "results", "files", "version", "config", "environment", "cost",
    "checkpoint", "grace", "changed",
)))  # fmt: skip
def test_other_workloads_have_no_such_keys(tmp_path: Path, key: str) -> None:
    values: dict[str, Any] = {
        "command": "[x]", "settings": "{a: int}", "results": "{file: x.csv}", "files": "[x]",
        "version": "'1'", "config": "x.j2", "environment": "{A: b}", "cost": "{steps: '1'}",
        "checkpoint": "true", "grace": "3", "changed": "keep",
    }  # fmt: skip
    path = tmp_path / "study.yaml"
    path.write_text(
        "name: planted\nworkload: planted\nscale: width\n"
        f"sweep: {{width: [32, 64], learning_rate: [1, 2]}}\n{key}: {values[key]}\n"
    )
    with pytest.raises(StudyError) as caught:
        load_study(path)
    assert f"study.yaml:5: {key}: `{key}` is of workload command" in str(caught.value)


@pytest.mark.parametrize("first", range(0, draws(50, 1_000), 50))
def test_a_mutated_study_is_refused_with_its_place_or_is_valid(project: Path, first: int) -> None:
    answers = []
    for number in range(first, first + 50):
        Path("study.yaml").write_bytes(mutated(GOOD if number % 2 else SHORT, number))
        answers.append(check(Path("study.yaml").absolute()))
    assert {"refused", "valid"} <= set(answers), "some are harmless"


SHORT = """\
name: short
workload: command
command: python train.py --width {width} --lr {learning_rate} --seed {seed}
scale: width
sweep: {width: [32, 64], learning_rate: [0.5, 1], seed: [0, 1]}
"""


def test_what_a_study_leaves_out_is_told_by_its_values_and_arguments(project: Path) -> None:
    study = loaded(SHORT)
    card = study.card
    assert isinstance(card, Programmed)
    assert card.program_files == ("train.py",)
    config = next(iter(expand(study))).trial.config
    assert {k: type(v) for k, v in config.items()} == {
        "width": int,
        "learning_rate": float,
        "program": str,
    }
    (warning,) = plan_warnings(expand(study))
    assert "taken to be width^2" in warning


@pytest.mark.parametrize(
    ("edit", "same"),
    [
        (("[0.5, 1]", "[0.5, 1, 0.25]"), True),
        (("[32, 64]", "[32, 64, 90.5]"), True),
        (("seed: [0, 1]", "seed: [0, 1, 2]"), True),
        (("name: short", "name: short\nobjective: {metric: accuracy, goal: max}"), True),
        (("name: short", "name: short\ncost: {params: 12 * width}"), True),
        (("name: short", "name: short\ncheckpoint: true\ngrace: 5"), True),
        (("name: short", "name: short\nchanged: keep"), True),
        (("name: short", "name: short\nfiles: [train.py]"), True),
        (("name: short", "name: short\nsettings: {width: int, learning_rate: float}"), True),
        (("name: short", "name: short\nfiles: [train.py, model]"), False),
        (("name: short", "name: short\nversion: '1'"), False),
        (("name: short", "name: short\nresults: {file: '{folder}/log.csv'}"), False),
        (("name: short", "name: short\nenvironment: {A: b}"), False),
        (("name: short", "name: short\nconfig: base.yaml.j2\nfixed: {amp: true}"), False),
        (("--seed", "--sed"), False),
    ],
)
def test_the_key_has_what_decides_the_result_and_nothing_else(
    project: Path, edit: tuple[str, str], same: bool
) -> None:
    before, after = keys(SHORT), keys(SHORT.replace(*edit))
    assert (before <= after) is same


def test_a_moved_checkout_has_the_same_keys_and_a_changed_script_others(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys(GOOD)
    shutil.copytree(project, tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    assert keys(GOOD) == before
    for name in ("train.py", "model/net.py", "base.yaml.j2"):
        old = Path(name).read_text()
        Path(name).write_text(f"{old}\n# {{% if amp %}}{{% endif %}}")
        assert not keys(GOOD) & before, name
        Path(name).write_text(old)
    versioned = edited(("files:", "version: '3'\nfiles:"))
    fixed = keys(versioned)
    Path("train.py").write_text("changed")
    assert keys(versioned) == fixed
    assert not keys(versioned.replace("'3'", "'4'")) & fixed


def test_a_setting_that_the_command_is_not_told_is_warned_of(project: Path) -> None:
    quiet = SHORT.replace(" --lr {learning_rate} --seed {seed}", "")
    told = plan_warnings(expand(loaded(quiet)))
    assert any("learning_rate, seed reaches the command by no argument" in each for each in told)
    Path("train.py").write_text("from sweeper.script import config")
    assert not any("reaches" in each for each in plan_warnings(expand(loaded(quiet))))


@pytest.mark.parametrize(
    ("edit", "warning"),
    [
        (("python train.py", "nosuchprogram train.py"), "no program nosuchprogram"),
        (("python train.py", "python trian.py"), "there is no file trian.py in "),
        (("{seed}", "{seed} --data ~/it | tee log"), "its program is given ~/it and | as written"),
        (("python train.py", "python -m trian"), "no file of the command counts"),
        (("name: short", "name: short\nenvironment: {WANDB_API_KEY: abc}"), "for all to see"),
    ],
)
def test_what_may_not_be_meant_is_warned_of(
    project: Path, edit: tuple[str, str], warning: str
) -> None:
    assert any(warning in each for each in plan_warnings(expand(loaded(SHORT.replace(*edit)))))


def test_what_is_imported_is_part_of_the_key_or_warned_of(project: Path) -> None:
    Path("train.py").write_text("from model import net")
    listed = SHORT.replace("name: short", "name: short\nfiles: [train.py]")
    before = keys(SHORT), keys(listed)
    told = plan_warnings(expand(loaded(listed)))
    assert any("`files` leaves out what is imported, model/net.py, so" in each for each in told)
    whole = SHORT.replace("name: short", "name: short\nfiles: [train.py, model]")
    for silent in (SHORT, whole, f"{listed}version: 2\n"):
        assert not any("imported" in each for each in plan_warnings(expand(loaded(silent))))
    assert keys(whole) == before[0]
    Path("model/utils.py").write_text("")
    Path("utils.py").write_text("")
    Path("train.py").write_text("from model import net\nimport utils")
    turned = loaded(whole.replace("train.py, model", "model, train.py"))
    (told,) = (each for each in plan_warnings(expand(turned)) if "imported" in each)
    assert "imported, utils.py, so" in told, "not the one in the folder that is listed"
    Path("train.py").write_text("from model import net")
    Path("model/net.py").write_text("x = 2")
    assert not keys(SHORT) & before[0]
    assert keys(listed) == before[1]


def test_reading_such_a_study_runs_nothing_and_loads_no_torch(project: Path) -> None:
    import subprocess
    import sys

    Path("train.py").write_text("open('ran', 'w')")
    code = (
        "import sys; from sweeper.study import load_study, expand\n"
        "expand(load_study('study.yaml'))\n"
        "print(sorted({'torch', 'ray', 'pandas', 'pyarrow', 'jinja2'} & sys.modules.keys()))"
    )
    Path("study.yaml").write_text(SHORT)
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": root}
    )
    assert done.stdout == "[]\n", done.stderr
    assert not Path("ran").exists()

"""Studies that run a command: planned, allowed, changed, sent, and proposed from a script."""

from __future__ import annotations

import json
import re
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from cli_harness import Sweeper

from sweeper.engine.ray.jobs import Job, Jobs

SCRIPT = """\
import sys
open("ran", "w").close()
width, rate = int(sys.argv[1]), float(sys.argv[2])
print('{"step": 1, "val_loss": %r}' % (1 / width + rate))
"""

STUDY = """\
name: mine
workload: command
command: ["{python}", -S, train.py, "{width}", "{learning_rate}"]
scale: width
cost: {params: 12 * width**2, tokens: 100, steps: 1}
sweep: {width: [32, 64], learning_rate: [0.5, 0.25]}
"""


@pytest.fixture
def mine(sweeper: Sweeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the file of a study of a script, for which nobody has spoken."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SWEEPER_TRUST", raising=False)
    (tmp_path / "train.py").write_text(SCRIPT)
    study = tmp_path / "mine.yaml"
    study.write_text(STUDY)
    return study


def test_a_plan_runs_nothing_and_knows_hours_only_from_trials(
    sweeper: Sweeper, mine: Path
) -> None:
    plan = sweeper("plan", mine, "--json").document
    assert [row["hours"] for row in plan["rows"]] == [None, None]
    assert [row["params"] for row in plan["rows"]] == [[12288, 12288], [49152, 49152]]
    assert plan["warnings"] == [] and plan["remaining"] == 4
    assert not Path("ran").exists()
    assert sweeper("run", mine, "--executor", "inline", "--trust").code == 0
    mine.write_text(STUDY.replace("0.25]", "0.25, 0.125]"))
    rows = sweeper("plan", mine, "--json").document["rows"]
    assert all(row["remaining"] == 1 and row["hours"] > 0 for row in rows)
    assert {row["hours_from"] for row in rows} == {"finished trials"}


def test_a_command_runs_once_its_study_is_trusted_and_then_without_asking(
    sweeper: Sweeper, mine: Path, tmp_path: Path
) -> None:
    for command in (["run", mine, "--executor", "inline"], ["submit", mine]):
        refused = sweeper(*command)
        assert refused.code == 2 and refused.err.count("\n") == 1, refused.err
        assert f"the command of {mine}, '{{python}} -S train.py" in refused.err
        assert "--trust" in refused.err and "SWEEPER_TRUST=1" in refused.err
    assert not Path("ran").exists() and not (tmp_path / "store").exists(), "nothing was done"
    run = sweeper("run", mine, "--executor", "inline", "--trust")
    assert run.code == 0, run.err
    mine.write_text(STUDY.replace("32, 64", "32, 64, 128"))
    assert sweeper("run", mine, "--executor", "inline").code == 0
    elsewhere = tmp_path / "other.yaml"
    elsewhere.write_text(STUDY)
    assert sweeper("run", elsewhere, "--executor", "inline").code == 2, "another file"


def test_a_change_is_said_by_plan_and_run_with_the_choice(sweeper: Sweeper, mine: Path) -> None:
    assert sweeper("run", mine, "--executor", "inline", "--trust").code == 0
    Path("train.py").write_text(f"{SCRIPT}# faster\n")
    said = "train.py changed: 4 results are of the version before"
    plan = sweeper("plan", mine, "--json").document
    assert plan["warnings"][0].startswith(said) and plan["remaining"] == 4
    refused = sweeper("run", mine, "--executor", "inline")
    assert refused.code == 2 and said in refused.err and "--changed keep" in refused.err
    assert sweeper("plan", mine, "--changed", "keep", "--json").document["remaining"] == 0
    kept = sweeper("run", mine, "--executor", "inline", "--changed", "keep")
    assert kept.code == 0 and "they count as results of this one" in kept.err
    assert "different code" not in sweeper("drift", "mine").out
    mine.write_text(STUDY.replace("0.25]", "0.25, 0.125]"))
    assert sweeper("run", mine, "--executor", "inline", "--changed", "keep").code == 0
    (group,) = sweeper("drift", "mine", "--json").document["groups"]
    (mixed,) = (each for each in group["evidence"]["warnings"] if "different code" in each)
    assert re.search(r"compared: program files train.py \w{8} \([24]\), train.py \w{8} \(", mixed)
    assert mixed in " ".join(sweeper("drift", "mine").out.split())
    mine.write_text(STUDY)
    again = sweeper("run", mine, "--executor", "inline", "--changed", "rerun", "--json")
    assert again.document["run"]["finished"] == 4
    assert sweeper("plan", mine).out.count("changed") == 0


def test_the_files_of_a_command_travel_with_it(
    sweeper: Sweeper, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []

    def submit(self: Jobs, parcel: Any, **what: Any) -> Job:
        sent.append((parcel, what))
        return Job(id="1", study="mine", store="s", status="RUNNING")

    monkeypatch.setattr("sweeper.engine.ray.jobs.job_server", lambda address: "http://head:8265")
    monkeypatch.setattr("sweeper.engine.ray.jobs._client", lambda url: None)
    monkeypatch.setattr(Jobs, "submit", submit)
    subprocess.run(["git", "init", "-q"], check=True)
    Path(".gitignore").write_text("made/\n")
    Path("made").mkdir()
    Path("made/model.py").write_text("")
    Path("made/notes.txt").write_text("")
    mine.write_text(STUDY.replace("scale:", "files: [train.py, made/model.py]\nscale:"))
    monkeypatch.delenv("SWEEPER_STORE")
    answer = sweeper("submit", mine, "--detach", "--trust")
    assert answer.code == 0, answer.err
    ((parcel, what),) = sent
    assert {"mine.yaml", "train.py", "made/model.py"} <= parcel.files.keys()
    assert "made/notes.txt" not in parcel.files
    assert what["environ"]["SWEEPER_TRUST"] == "1"
    Path("below").mkdir()
    refused = sweeper("submit", mine, "--working-dir", mine.parent.parent)
    assert refused.code == 2 and "in the folder that travels" in refused.err
    Path("../outside.py").write_text("")
    mine.write_text(STUDY.replace("scale:", "files: [../outside.py]\nscale:"))
    refused = sweeper("submit", mine)
    assert refused.code == 2 and "../outside.py counts among" in refused.err


ARGUMENTS = """\
import argparse
parser = argparse.ArgumentParser(description="Trains.")
parser.add_argument("data", help="where the data is")
parser.add_argument("--n_embd", type=int, default=256, help="width; default %(default)s")
parser.add_argument("--lr", type=float, default=3e-4)
parser.add_argument("-s", "--seed", type=int, default=1337)
parser.add_argument("--schedule", choices=["wsd", "cosine"], default="wsd", help="it's: {curly}")
parser.add_argument("--amp", action="store_true")
parser.add_argument("--no-bias", dest="bias", action="store_false")
parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
parser.add_argument("--weight-decay", type=float)
parser.add_argument("--betas", type=float, nargs=2, default=[0.9, 0.95])
parser.add_argument("--out-dir", default="out")
parser.add_argument("--config", help="a name that every trial has")
parser.add_argument("--version", action="version", version="1")
given = parser.parse_args()
open("ran", "w").write(repr(vars(given)))
print('{"val_loss": %r}' % abs(given.lr - 1e-3 + given.n_embd * 1e-6))
"""


def test_a_study_is_proposed_from_a_script_s_arguments_and_runs(
    sweeper: Sweeper, mine: Path
) -> None:
    Path("train.py").write_text(ARGUMENTS)
    made = sweeper("init", "first.yaml", "--workload", "command", "--script", "train.py")
    assert made.code == 0, made.err
    assert not Path("ran").exists(), "it is asked for its arguments and no more"
    text = Path("first.yaml").read_text()
    assert "compile: {type: bool, default: true}" in text
    assert "--out-dir={folder}" in text and "--betas=" not in text and "--config=" not in text
    assert "yourself:\n#   --betas --config\n" in text and "--version" not in text
    assert "say there what data is, then sweeper plan first.yaml" in made.out
    plan = sweeper("plan", "first.yaml", "--json").document
    assert plan["scale"] == "n_embd" and plan["trials"] == 42
    Path("first.yaml").write_text(
        text.replace("{log2: [-15, -9]}", "[0.0003]").replace("[0, 1]", "[7]")
    )
    run = sweeper("run", "first.yaml", "--executor", "inline", "--json")
    assert run.code == 0, run.err
    told = eval(Path("ran").read_text())
    assert told.pop("out_dir") != "out"
    assert told | {"n_embd": 0} == {
        "data": "?",
        "n_embd": 0,
        "lr": 3e-4,
        "seed": 7,
        "schedule": "wsd",
        "amp": False,
        "bias": True,
        "compile": True,
        "weight_decay": None,
        "betas": [0.9, 0.95],
        "config": None,
    }


def test_defaults_are_the_numbers_that_the_script_makes_of_them(
    sweeper: Sweeper, mine: Path
) -> None:
    Path("train it.py").write_text(
        "import argparse\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--width', type=int, default=1e3)\n"
        "parser.add_argument('--lr', type=float, default='6e-4', help='50%% of %(default)s')\n"
        "parser.add_argument('--decay', type=float, default=argparse.SUPPRESS)\n"
        "parser.add_argument('--random-seed', type=int, default=3)\nparser.parse_args()\n"
    )
    made = sweeper("init", "first try.yaml", "--script", "train it.py")
    assert made.code == 0, made.err
    assert "sweeper plan 'first try.yaml', then" in made.out
    text = Path("first try.yaml").read_text()
    assert "width: {type: int, default: 1000}" in text
    assert "lr: {type: float, default: 0.0006, doc: 50% of}" in text
    assert "decay: {type: float, default: null}" in text
    assert "--random-seed={seed}" in text and "seed: [0, 1]" in text
    assert sweeper("plan", "first try.yaml", "--json").document["trials"] == 42


BOXED = """\
#!/bin/sh
cat <<END
\u256d\u2500 Options \u2500\u256e
\u2502 *  --data                  <str>                 [required]   \u2502
\u2502    --width                 <int>                 [default: 64]\u2502
\u2502    --lr                    <float range> [x>=0]  Peak rate    \u2502
\u2502                                                  of it.       \u2502
\u2502                                             [default: 0.001]  \u2502
\u2502    --flag     --no-flag    <bool>             [default: flag] \u2502
\u2502    --help                  <bool>                Show this.   \u2502
\u2570\u2500\u256f
END
"""
CLICKED = """\
#!/bin/sh
cat <<END
Options:
  --data TEXT            [required]
  --width INTEGER RANGE  hidden units  [default: 64; x>=1]
  --lr FLOAT RANGE       [default: 0.001; 0<=x<=1]
  --flag / --no-flag     a flag  [default: flag]
  --help                 Show this message and exit.
END
"""


@pytest.mark.parametrize("text", [BOXED, CLICKED], ids=["typer", "click"])
def test_the_help_of_click_and_typer_is_read(sweeper: Sweeper, mine: Path, text: str) -> None:
    Path("train").write_text(text)
    Path("train").chmod(0o755)
    made = sweeper("init", "first.yaml", "--script", "train")
    assert made.code == 0 and "say there what data is" in made.out, made.err
    study = yaml.safe_load(Path("first.yaml").read_text())
    assert study["command"][1:] == [
        *("--data={data}", "--width={width}", "--lr={lr}", "{flag:--flag|--no-flag}")
    ]
    given = {name: (each["type"], each.get("default")) for name, each in study["settings"].items()}
    assert given == {
        "data": ("text", None),
        "width": ("int", 64),
        "lr": ("float", 0.001),
        "flag": ("bool", True),
    }


HELP = """\
#!/bin/sh
[ "$1" = --help ] || exit 1
cat <<END
Usage: train [OPTIONS]

Options:
  --width INTEGER        Width of the model.  [default: 64]
  --lr FLOAT             Peak rate.  [default: 0.001]
  --schedule {wsd,cosine}
                         Of the rate (default: wsd)
  --amp / --no-amp       Mixed precision.
  --name TEXT
  --help                 Show this message and exit.
END
"""


def test_the_help_of_any_program_is_read(sweeper: Sweeper, mine: Path) -> None:
    Path("train").write_text(HELP)
    Path("train").chmod(0o755)
    assert sweeper("init", "first.yaml", "--script", "train").code == 0
    text = Path("first.yaml").read_text()
    assert "  - ./train\n" in text and "--lr={lr}" in text
    assert "schedule: {choices: [wsd, cosine], default: wsd" in text
    assert sweeper("plan", "first.yaml", "--json").document["trials"] == 21


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("import nosuchmodule\n", "No module named 'nosuchmodule'"),
        ("print('hello')\n", "names no arguments"),
        (
            "import argparse\nargparse.ArgumentParser().parse_args()\n",
            "no argument that is a whole",
        ),
        ("raise SystemExit('no GPU')\n", "no GPU"),
    ],
)
def test_a_script_that_tells_nothing_is_refused_in_a_sentence(
    sweeper: Sweeper, mine: Path, script: str, says: str
) -> None:
    Path("train.py").write_text(script)
    refused = sweeper("init", "first.yaml", "--script", "train.py")
    assert refused.code == 2 and refused.err.count("\n") == 1, refused.err
    assert says in refused.err and not Path("first.yaml").exists()


def test_a_script_that_goes_on_instead_is_ended_with_all_that_it_started(
    sweeper: Sweeper, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.study.arguments.HELP_SECONDS", 1.0)
    Path("train.py").write_text(
        "import subprocess, time\n"
        "child = subprocess.Popen(['sleep', '100'])\n"
        "open('child', 'w').write(str(child.pid))\n"
        "time.sleep(100)\n"
    )
    refused = sweeper("init", "first.yaml", "--script", "train.py")
    assert refused.code == 2 and "did not end within 1 s" in refused.err
    child = int(Path("child").read_text())
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--workload", "command"], "give --script train.py"),
        (["--workload", "planted", "--script", "train.py"], "workload planted runs no script"),
        (["--script", "none.py"], "no such file"),
        (["--script", "/bin/true"], "in the folder that `sweeper run` is called in"),
    ],
)
def test_init_says_what_it_needs(
    sweeper: Sweeper, mine: Path, arguments: list[str], says: str
) -> None:
    refused = sweeper("init", "first.yaml", *arguments)
    assert refused.code == 2 and says in refused.err, refused.err


def test_who_names_a_script_to_init_lets_its_study_run(sweeper: Sweeper, mine: Path) -> None:
    Path("train.py").write_text(ARGUMENTS.replace('parser.add_argument("data"', "#"))
    assert sweeper("init", "first.yaml", "--script", "train.py").code == 0
    (line,) = (Path("config") / "sweeper" / "trusted").read_text().splitlines()
    assert json.loads(line) == ["command", str(Path("first.yaml").resolve())]

"""Studies and stores of somebody else run nothing and reach nothing that they should not."""

from __future__ import annotations

import pickle
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cli_harness import Sweeper
from conftest import PLANTED

RUNS = "open('ran', 'w').close()\n"


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yields the file of a study with a workload of its own beside it, which leaves a file ``ran``
    when it is imported, in a folder where Python looks for modules."""
    (tmp_path / "brought_card.py").write_text(f"{RUNS}from workloads.planted import PLANTED as C")
    study = tmp_path / "foreign.yaml"
    study.write_text(PLANTED.replace("workload: planted", "workload: brought_card:C"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SWEEPER_TRUST", raising=False)
    yield study
    sys.modules.pop("brought_card", None)


def test_a_workload_runs_once_it_is_trusted_and_then_without_asking(
    sweeper: Sweeper, brought: Path, tmp_path: Path
) -> None:
    for command in (["plan", brought], ["run", brought, "--executor", "inline"]):
        refused = sweeper(*command)
        assert refused.code == 2
        assert refused.err.count("\n") == 1, "one sentence"
        assert f"{brought}:3: workload" in refused.err and "--trust" in refused.err
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "store").exists(), "nothing was done"
    run = sweeper("run", brought, "--executor", "inline", "--trust")
    assert run.code == 0, run.err
    assert (tmp_path / "ran").exists()
    sys.modules.pop("brought_card")
    assert sweeper("plan", brought).code == 0


def test_no_answer_of_a_foreign_store_imports_its_workload(
    sweeper: Sweeper, brought: Path, tmp_path: Path
) -> None:
    ladder = f"{brought.read_text()}search: {{method: ladder}}\n"
    brought.write_text(ladder)
    assert sweeper("run", brought, "--executor", "inline", "--trust").code == 0
    (tmp_path / "ran").unlink()
    (tmp_path / "config" / "sweeper" / "trusted").unlink()
    sys.modules.pop("brought_card")
    commands = [
        ["status"],
        ["status", "planted"],
        ["status", brought],
        ["drift", "planted"],
        ["fit", "planted"],
        ["predict", "planted", "--width", "512"],
        ["transfer", "planted", "--target", "512"],
        ["advise", "planted", "--target", "512", "--flops", "1e9"],
        ["compare", "planted", "planted"],
        ["report", "planted", "--out", tmp_path / "page"],
        ["export", "planted"],
        ["verify"],
        ["verify", "--repair"],
        ["prune", "--dry-run"],
        ["retry", "planted"],
        ["sql", "select count(*) from trials"],
    ]
    for command in commands:
        answer = sweeper(*command)
        assert answer.code in (0, 2), (command, answer.err)
        assert "no such command" not in answer.err.lower()
        assert not (tmp_path / "ran").exists(), command


def test_what_a_user_typed_runs_without_further_word(
    sweeper: Sweeper, brought: Path, tmp_path: Path
) -> None:
    assert sweeper("init", "new.yaml", "--workload", "brought_card:C").code == 0
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "line",
    [
        'question: !!python/object/apply:os.system ["touch ran"]',
        'question: !!python/object/new:os.system ["touch ran"]',
        "question: !!python/name:os.system",
        "question: !!python/module:antigravity",
    ],
)
def test_yaml_that_asks_for_code_is_refused_in_a_sentence(
    sweeper: Sweeper, study: Path, tmp_path: Path, line: str
) -> None:
    study.write_text(PLANTED.replace(PLANTED.splitlines()[1], line))
    refused = sweeper("plan", study)
    assert refused.code == 2
    assert f"{study}:2: question: the tag" in refused.err
    assert "is not supported; write a plain value" in refused.err.splitlines()[0]
    assert not (tmp_path / "ran").exists()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["[{}]", "{{{}}}"])
def test_aliases_of_aliases_are_counted_as_what_they_stand_for(
    sweeper: Sweeper, study: Path, kind: str
) -> None:
    lines, entry = ["a0: &a0 x"], "{}" if kind == "[{}]" else "k{}: {}"
    for level in range(1, 30):
        items = [entry.format(*(i, f"*a{level - 1}")[-entry.count("{}") :]) for i in range(9)]
        lines.append(f"a{level}: &a{level} {kind.format(', '.join(items))}")
    study.write_text("\n".join([*lines, PLANTED]))
    refused = sweeper("plan", study)
    assert refused.code == 2
    assert refused.err == f"sweeper: {study}: holds more than 50,000 values\n"


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", "a/b", ".hidden", "a\\b", ".."])
def test_a_study_whose_name_is_a_path_is_refused(sweeper: Sweeper, study: Path, name: str) -> None:
    study.write_text(PLANTED.replace("name: planted", f"name: '{name}'"))
    for command in ("plan", "retry"):
        refused = sweeper(command, study)
        assert refused.code == 2
        assert "is not a name; use letters, digits" in refused.err


def test_names_in_a_foreign_database_reach_no_file_outside_of_its_folder(
    sweeper: Sweeper, finished: Path, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs.parquet"
    theirs.write_bytes(b"theirs")
    with closing(sqlite3.connect(tmp_path / "store" / "sweeper.db")) as link, link:
        link.execute("pragma foreign_keys = off")
        link.execute("update results set curve = '../theirs.parquet'")
        for table in ("studies", "study_trials", "estimates"):
            column = "name" if table == "studies" else "study"
            link.execute(f"update {table} set {column} = '../../outside'")
    before = {path for path in tmp_path.rglob("*") if "store" not in path.parts}
    for command in (["verify"], ["verify", "--repair"], ["prune"], ["retry", "--diverged"]):
        answer = sweeper(*command[:1], *([] if command[0] != "retry" else ["x"]), *command[1:])
        assert "Traceback" not in answer.err
    page = tmp_path / "page"
    assert "Traceback" not in sweeper("report", "../../outside", "--out", page).err
    assert "Traceback" not in sweeper("export", "../../outside", "--out", page / "x.db").err
    assert theirs.read_bytes() == b"theirs"
    after = {path for path in tmp_path.rglob("*") if "store" not in path.parts}
    new = {path for path in after - before if page not in (path, *path.parents)}
    assert not new, "nothing is written beside the store and the folder that was asked for"
    assert not list(tmp_path.parent.glob("outside*"))


@pytest.mark.parametrize("kind", ["bin", "text"])
def test_the_data_of_a_study_are_read_as_data(
    sweeper: Sweeper, study: Path, tmp_path: Path, kind: str
) -> None:
    script = tmp_path / ("data.pkl" if kind == "bin" else "data.py")
    script.write_bytes(pickle.dumps(_Runs()) if kind == "bin" else RUNS.encode() * 1000)
    study.write_text(
        "name: trains\nworkload: llama\nscale: width\n"
        f"fixed: {{data: '{kind}:{script}', steps: 2, context: 16, batch_size: 2, depth: 1}}\n"
        "sweep: {width: [16, 32], learning_rate: {log2: [-9, -7]}}\n"
    )
    answer = sweeper("plan", study, "--no-probe")
    assert answer.code in (0, 2, 4) and "Traceback" not in answer.err
    assert not (tmp_path / "ran").exists()


class _Runs:
    def __reduce__(self) -> tuple[object, ...]:
        return exec, (RUNS,)

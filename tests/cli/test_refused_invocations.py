"""Spoilt files and contradictory options, as real invocations: exit code 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_harness import Answer, Sweeper
from long_form import draws
from study_mutations import bases, mutated

from sweeper.errors import StudyError
from sweeper.study.study import load_study

COUNT = draws(15, 50)


def _spoilt(path: Path, count: int) -> list[int]:
    """Returns the numbers of the first mutations that no study comes of."""
    texts = list(bases().values())
    found: list[int] = []
    number = 10_000  # others than those that are loaded a thousand at a time
    while len(found) < count:
        path.write_bytes(mutated(texts[number % len(texts)], number))
        try:
            load_study(path)
        except StudyError:
            found.append(number)
        number += 1
    return found


def assert_refused(answer: Answer, *words: str) -> None:
    said = answer.err + answer.out
    assert answer.code == 2, said
    assert "Traceback" not in said
    assert answer.err.strip()
    for word in words:
        assert word in said, said


def test_a_spoilt_study_is_refused_before_anything_is_written(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    path = tmp_path / "study.yaml"
    texts = list(bases().values())
    for number in _spoilt(path, COUNT):
        path.write_bytes(mutated(texts[number % len(texts)], number))
        answer = sweeper("run", path, "--executor", "inline")
        assert_refused(answer, f"sweeper: {path}")
        assert not answer.out
        assert sorted(tmp_path.iterdir()) == [path], f"mutation {number} left something behind"


def test_a_spoilt_edit_of_a_study_changes_nothing_in_the_store(
    sweeper: Sweeper, finished: Path
) -> None:
    whole = finished.read_text(encoding="utf-8")
    before = _contents(sweeper)
    for old, new in (("[32, 64, 128]", "[32, 64, x]"), ("log2", "log3"), ("scale:", "scales:")):
        finished.write_text(whole.replace(old, new), encoding="utf-8")
        assert_refused(sweeper("run", finished, "--executor", "inline"), str(finished))
        assert_refused(sweeper("plan", finished, "--no-probe"), str(finished))
    assert _contents(sweeper) == before


def _contents(sweeper: Sweeper) -> list[object]:
    tables = ("studies", "trials", "study_trials", "attempts", "results", "estimates")
    return [sweeper("sql", f"select * from {table}", "--json").document for table in tables]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], ["Missing argument", "STUDY.yaml"]),
        (["run", "{study}", "{study}"], ["unexpected extra argument"]),
        (["run", "{study}", "--executor", "slurm"], ["slurm", "inline"]),
        (["run", "{study}", "--executor"], ["requires an argument"]),
        (
            ["run", "{study}", "--executor", "inline", "--address", "auto"],
            ["--address auto", "Ray"],
        ),
        (
            ["run", "{study}", "--checkpoint-seconds", "-1"],
            ["--checkpoint-seconds", "greater than"],
        ),
        (["run", "{study}", "--checkpoint-seconds", "soon"], ["--checkpoint-seconds", "number"]),
        (
            ["run", "{study}", "--checkpoint-seconds", "nan"],
            ["--checkpoint-seconds", "greater than"],
        ),
        (["run", "{study}", "--store", ""], ["the name is empty"]),
        (["run", "{study}", "--store", "mysql://host/db"], ["mysql", "postgresql"]),
        (["run", "{study}", "--retries", "3"], ["No such option"]),
        (["run", "{folder}"], ["cannot be read"]),
        (["run", "no.yaml"], ["no.yaml", "no such file"]),
        (["run", ""], ["cannot be read"]),
        (["run", "\0"], ["null byte"]),
        (["plan", "{study}", "--probe", "yes"], ["unexpected extra argument"]),
        (["plan", "{folder}"], ["cannot be read"]),
        (["status", "{study}", "--watch"], ["No such option"]),
        (["status", "a", "b"], ["unexpected extra argument"]),
        (["status", "--store", "redis://x"], ["redis", "postgresql"]),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_a_wrong_combination_of_options_is_refused_with_the_way_out(
    sweeper: Sweeper, study: Path, arguments: list[str], words: list[str]
) -> None:
    places = {"study": str(study), "folder": str(study.parent)}
    assert_refused(sweeper(*(item.format(**places) for item in arguments)), *words)
    assert not (study.parent / "store").exists()


def test_a_wrong_name_is_refused_with_the_nearest(sweeper: Sweeper, finished: Path) -> None:
    said = {
        ("plan", "planted"): "is the name of a study in the store",
        ("run", "planted"): "is the name of a study in the store",
        ("status", "plantde"): "did you mean 'planted'",
        ("status", "nowhere.yaml"): "no study or file named 'nowhere.yaml'",
        ("status", ""): "no study named ''",
        ("status", "x" * 3_000): "no study named 'xxx",
    }
    for arguments, words in said.items():
        answer = sweeper(*arguments)
        assert_refused(answer, words)
        assert len(answer.err) < 500

"""The files of a command: which count, what names them, what of a change is said."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from workloads.command.files import changes, digests, fingerprint, named_files, summary
from workloads.workload import DataUnavailableError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the working folder: a script, a package, and what does not count."""
    root = tmp_path / "project"
    files = {
        "train.py": "print()",
        "model/net.py": "x = 1",
        "model/deep/part.py": "y = 2",
        "model/__pycache__/net.pyc": "",
        "model/.git/config": "",
        "model/wandb/run": "",
        "model/kept/sweeper.db": "",
        "model/env/pyvenv.cfg": "",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.chdir(root)
    return root


def test_folders_count_with_all_their_files_but_caches_results_and_environments(
    project: Path,
) -> None:
    names = ["model/deep/part.py", "model/net.py", "train.py"]
    assert list(digests(["train.py", "model/"])) == names
    assert list(digests(["."])) == names
    assert digests(["./train.py", "model"]) == digests(["model/", "train.py"])


def test_a_moved_folder_has_the_same_fingerprint_and_a_changed_file_another(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = ["train.py", "model"]
    before = fingerprint(digests(entries))
    shutil.copytree(project, tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    assert fingerprint(digests(entries)) == before
    Path("model/net.py").write_text("x = 2")
    assert fingerprint(digests(entries)) != before
    Path("model/net.py").write_text("x = 1")
    assert fingerprint(digests(entries)) == before
    Path("model/net.py").rename("model/other.py")
    assert fingerprint(digests(entries)) != before


def test_a_change_is_named_file_by_file(project: Path) -> None:
    entries = ["train.py", "model"]
    before = summary(digests(entries), entries)
    Path("train.py").write_text("print(2)")
    Path("model/new.py").write_text("")
    Path("model/net.py").unlink()
    assert changes(before, summary(digests(entries), entries)) == [
        "train.py changed",
        "model/new.py is new",
        "model/net.py is gone",
    ]


def test_of_many_files_the_entry_is_named(project: Path) -> None:
    for index in range(60):
        Path(f"model/{index}.py").write_text("")
    entries = ["train.py", "model/"]
    before = summary(digests(entries), entries)
    assert before.keys() == {"train.py", "model"}
    Path("model/7.py").write_text("changed")
    assert changes(before, summary(digests(entries), entries)) == ["model changed"]


def test_arguments_that_are_files_here_count_unless_they_are_large(project: Path) -> None:
    with open("data.bin", "wb") as file:
        file.truncate(20_000_000)
    outside = os.path.abspath("../outside.py")
    Path(outside).write_text("")
    given = ["python", "train.py", "--x", "model", "data.bin", "../outside.py", outside, "", "\0"]
    assert named_files(given) == (["train.py"], ["data.bin"])
    assert named_files(["python", "-m", "x", "--code=train.py"]) == (["train.py"], [])


@pytest.mark.parametrize("entry", ["trian.py", "model/none", "train.py/x", "\0"])
def test_a_missing_file_is_named_with_the_folder(project: Path, entry: str) -> None:
    with pytest.raises(DataUnavailableError) as fault:
        digests([entry])
    assert str(project) in str(fault.value)


def test_without_files_there_is_nothing_to_count(project: Path) -> None:
    assert fingerprint(digests([])) == "none"

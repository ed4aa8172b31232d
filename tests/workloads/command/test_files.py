"""The files of a command: which count, what names them, what of a change is said."""

from __future__ import annotations

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
    each = [*digests(entries)]
    assert summary(digests(each), each) == summary(digests(entries), entries)


def test_what_a_script_imports_counts_also_at_second_hand(project: Path) -> None:
    for name, text in {
        "code/run.py": "import beside, model.deep.part as p\nfrom model import net, nothing",
        "code/beside.py": 'exec(open("knobs.py").read())',
        "code/knobs.py": "import numpy, sweeper",
        "code/sweeper/__init__.py": "this is no Python",
        "model/__init__.py": "from . import near",
        "model/near.py": "def late():\n    from .deep import part, other",
        "model/deep/other.py": 'WORDS = "\\d"\nfrom ..net import x\nimport far',
        "far.py": "",
        "never.py": "import code.run",
        "numpy/notes.py": "",
    }.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    found, _ = named_files(["python", "code/run.py"])
    assert sorted(found) == [
        *("code/beside.py", "code/knobs.py", "code/run.py", "code/sweeper/__init__.py", "far.py"),
        *("model/__init__.py", "model/deep/other.py", "model/deep/part.py", "model/near.py"),
        "model/net.py",
    ]


def test_a_module_that_is_run_by_name_counts_with_its_package(project: Path) -> None:
    for name in ("model/__init__.py", "model/__main__.py"):
        Path(name).write_text("from model import net")
    mains = ["model/__init__.py", "model/__main__.py", "model/net.py"]
    assert named_files(["python", "-m", "model"]) == (mains, [])
    assert named_files(["python", "-m", "train"]) == (["train.py"], [])


def test_a_checkout_of_this_program_is_no_part_of_a_script(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    found, _ = named_files(["examples/digits_cnn.py"])
    assert found == ["examples/digits_cnn.py"]


@pytest.mark.parametrize("entry", ["trian.py", "model/none", "train.py/x", "\0"])
def test_a_missing_file_is_named_with_the_folder(project: Path, entry: str) -> None:
    with pytest.raises(DataUnavailableError) as fault:
        digests([entry])
    assert str(project) in str(fault.value)


def test_without_files_there_is_nothing_to_count(project: Path) -> None:
    assert fingerprint(digests([])) == "none"

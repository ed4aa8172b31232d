"""What travels to a cluster with a study, and what stays."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from sweeper.engine import parcel as parcels
from sweeper.engine.parcel import pack
from sweeper.errors import RequestError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the working directory: a project as users have them."""
    files = {
        "studies/width.yaml": "name: width",
        "script.py": "print()",
        "data/table.csv": "1",
        "lab/__init__.py": "",
        "lab/cards.py": "CARD = 1",
        "lab/__pycache__/cards.pyc": "",
        "old.pyc": "",
        ".env": "PASSWORD=secret",
        ".ssh/id_rsa": "secret",
        ".venv/bin/python": "",
        "env/pyvenv.cfg": "",
        "env/lib/torch.py": "",
        "sweeper-results/curves/a.parquet": "",
        "kept/sweeper.db": "",
        "kept/checkpoints/a.pt": "",
        "node_modules/left/pad.js": "",
    }
    root = tmp_path / "project"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (tmp_path / "outside.txt").write_text("secret")
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    (root / "linked").symlink_to(tmp_path)
    monkeypatch.chdir(root)
    return root


TRAVELS = {
    *("studies/width.yaml", "script.py", "data/table.csv", "lab/__init__.py", "lab/cards.py"),
}


def test_the_working_directory_travels_without_results_secrets_and_environments(
    project: Path,
) -> None:
    found = pack(Path("studies/width.yaml"), "planted")
    assert found.files.keys() == TRAVELS
    assert str(found.study) == "studies/width.yaml"
    assert found.size == sum((project / name).stat().st_size for name in TRAVELS)


def test_what_git_ignores_stays_but_for_the_study_itself(project: Path) -> None:
    (project / ".gitignore").write_text("data/\nwidth.yaml\n")
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    assert pack(Path("studies/width.yaml"), "planted").files.keys() == TRAVELS - {"data/table.csv"}


def test_a_study_elsewhere_travels_with_its_own_folder(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "there.yaml").write_text("name: there")
    assert pack(other / "there.yaml", "planted").files.keys() == {"there.yaml"}
    with pytest.raises(RequestError, match="does not lie in it"):
        pack(other / "there.yaml", "planted", project)


def test_a_workload_travels_from_where_it_is_imported(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "src/distant").mkdir(parents=True)
    (tmp_path / "src/distant/cards.py").write_text("CARD = 1")
    (tmp_path / "src/lone_cards.py").write_text("CARD = 1")
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    study = Path("studies/width.yaml")
    assert pack(study, "distant.cards:CARD").files.keys() == TRAVELS | {"distant/cards.py"}
    assert pack(study, "lone_cards:CARD").files.keys() == TRAVELS | {"lone_cards.py"}
    monkeypatch.syspath_prepend(str(project))
    assert pack(study, "lab.cards:CARD").files.keys() == TRAVELS
    assert pack(study, "torch.nn:Linear").files.keys() == TRAVELS, "what is installed stays"
    assert pack(study, "no.such:THING").files.keys() == TRAVELS


def test_too_much_is_refused_with_the_largest_files(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "data/large.bin").write_bytes(b"0" * 3000)
    monkeypatch.setattr(parcels, "MOST_BYTES", 2000)
    with pytest.raises(RequestError, match=r"the largest are data/large.bin .*--working-dir"):
        pack(Path("studies/width.yaml"), "planted")


@pytest.mark.parametrize("place", ["home", "disk"])
def test_a_home_and_a_whole_disk_are_refused(
    place: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(project))
    folder = project if place == "home" else Path(project.anchor)
    with pytest.raises(RequestError, match="is too much to send"):
        pack(Path("studies/width.yaml"), "planted", folder)


def test_the_same_files_make_the_same_bytes(project: Path, tmp_path: Path) -> None:
    (project / "script.py").chmod(0o755)
    pack(Path("studies/width.yaml"), "planted").write(tmp_path / "first.zip")
    os.utime(project / "script.py", (1e9, 1e9))
    pack(Path("studies/width.yaml"), "planted").write(tmp_path / "second.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "first.zip") as packed:
        assert set(packed.namelist()) == TRAVELS
        assert packed.getinfo("script.py").external_attr >> 16 == 0o755

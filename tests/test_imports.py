"""Structural promises: who may import whom, and what stays light."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from house_figures import SHORT, House, imported

import sweeper

ROOT = Path(__file__).resolve().parents[1]
HOUSE = House(ROOT)

ROOMS = {
    "errors": set(),
    "trial": set(),
    "outcome": set(),
    "script": set(),
    "study": {"errors", "trial"},
    "search": {"errors", "trial", "outcome", "words", "study", "analysis"},
    "store": {"errors", "trial", "outcome"},
    "words": set(),
    "secrets": set(),
    "rounding": {"words"},
    "analysis": {"errors", "words"},
    "exports": {"errors", "store", "words"},
    "imports": {"errors", "trial", "outcome", "rounding", "secrets", "store", "words"},
    "answers": {"errors", "outcome", "rounding", "words", "analysis", "store", "study", "check"},
    "report": {"errors", "outcome", "words", "study", "analysis", "answers", "store"},
    "check": {"errors", "trial", "words", "study", "store"},
    "engine": {"errors", "trial", "outcome", "secrets", "study", "search", "store", "check"},
}
"""What each room of sweeper may import from the others; ``cli`` may import all of them."""

HEAVY = {
    "ray": "sweeper/engine/ray",
    "matplotlib": "sweeper/report/figures",
    "sqlalchemy": "sweeper/store",
    "alembic": "sweeper/store",
    "typer": "sweeper/cli",
}


def modules(package: str) -> Iterator[Path]:
    yield from sorted((ROOT / package).rglob("*.py"))


def rooms(names: set[str]) -> set[str]:
    inside = {name.split(".")[1] for name in names if name.startswith("sweeper.")}
    return {room for room in inside if (ROOT / "sweeper" / room).exists() or is_module(room)}


def is_module(room: str) -> bool:
    return (ROOT / "sweeper" / f"{room}.py").exists()


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "sweeper").parts[0].removesuffix(".py")


def test_workloads_never_import_sweeper() -> None:
    for path in modules("workloads"):
        found = {name for name in imported(path) if name.split(".")[0] == "sweeper"}
        assert not found, f"{path} imports {found}"


CONTRACT = ("workloads.workload", "workloads.rule_table", "workloads.programs")
"""What sweeper knows of workloads."""


def test_sweeper_never_imports_torch_and_of_workloads_only_the_contract() -> None:
    for path in modules("sweeper"):
        names = imported(path)
        assert not {name for name in names if name.split(".")[0] == "torch"}, path
        own = {name for name in names if name.split(".")[0] == "workloads"}
        assert all(name.startswith(CONTRACT) for name in own), f"{path}: {own}"


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_what_it_may(room: str) -> None:
    for path in modules("sweeper"):
        if room_of(path) == room:
            found = rooms(imported(path)) - {room}
            assert found <= ROOMS[room], f"{path} imports {found - ROOMS[room]}"


@pytest.mark.parametrize("package", sorted(HEAVY))
def test_a_heavy_package_has_one_importer(package: str) -> None:
    for path in modules("sweeper"):
        if any(name.split(".")[0] == package for name in imported(path)):
            assert path.relative_to(ROOT).as_posix().startswith(HEAVY[package]), path


def test_every_room_is_known_to_these_tests() -> None:
    found = {room_of(path) for path in modules("sweeper")}
    assert found == set(ROOMS) | {"cli", "__init__", "__main__"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert not HOUSE.circles


def test_every_name_of_a_face_is_there_and_no_module_hides_one() -> None:
    for name, home in HOUSE.handed_on.items():
        face, _, attribute = name.rpartition(".")
        assert name not in HOUSE.files, f"{name} is a module too, which would hide the name"
        assert getattr(import_module(face), attribute) is getattr(import_module(home), attribute)


@pytest.mark.parametrize("package", ["sweeper", "workloads", "benchmarks"])
def test_nothing_reaches_behind_a_face(package: str) -> None:
    for path in modules(package):
        importer = HOUSE.name(path)
        for target in imported(path) & set(HOUSE.files):
            parts = target.split(".")
            packages = [".".join(parts[:end]) for end in range(2, len(parts))]
            behind = [each for each in packages if each in HOUSE.faces - around(importer)]
            assert not behind, f"{path} imports {target}; import from {behind[0]}"


def around(name: str) -> set[str]:
    """Returns the packages that a module lies in, and its own name."""
    parts = name.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts) + 1)}


def loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nimport json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


HELP = """
import contextlib, io, sweeper.cli
for arguments in (["--help"], ["run", "--help"], ["drift", "--help"]):
    sys.argv = ["sweeper", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        sweeper.cli.main()
    assert "--help" in out.getvalue()
"""


@pytest.mark.parametrize(
    "code",
    [
        "import sweeper",
        HELP,
        "import workloads.llama.card",
        "import sweeper.study.study",
        "import sweeper.search.grid",
    ],
)
def test_nothing_heavy_is_loaded_by(code: str) -> None:
    heavy = {"ray", "torch", "pandas", "matplotlib", "scipy", "sqlalchemy", "pyarrow"}
    assert not loaded_by(code) & heavy


def test_answers_load_no_package_that_they_do_not_compute_with() -> None:
    loaded = loaded_by("from sweeper.answers import joint_answer, rules_of, statements_of")
    assert not loaded & {"ray", "torch", "matplotlib", "alembic", "sklearn", "jinja2"}


def test_no_module_has_more_than_500_lines() -> None:
    for package in ("sweeper", "workloads", "tests", "benchmarks"):
        for path in modules(package):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            assert lines <= 500, f"{path} has {lines} lines: split it by noun"


def test_no_short_module_has_a_single_importer() -> None:
    told = [f"{name} belongs into {importer}" for name, importer in HOUSE.slips.items()]
    assert not told, f"under {SHORT} lines with one importer: {'; '.join(told)}"


def test_every_public_name_of_sweeper_is_there() -> None:
    import sweeper

    for name in sweeper.__all__:
        assert callable(getattr(sweeper, name))
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = sweeper.nothing_like_it


def test_a_script_beside_a_folder_called_sweeper_imports_the_program(tmp_path: Path) -> None:
    """Such as a checkout of it; a folder without a package is one to Python, too."""
    (tmp_path / "sweeper" / "sweeper").mkdir(parents=True)
    script = tmp_path / "mine.py"
    script.write_text("import sweeper\nprint(sweeper.__version__)\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == (f"{sweeper.__version__}\n", "")

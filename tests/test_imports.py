"""Structural promises: who may import whom, and what stays light."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ROOMS = {
    "errors": set(),
    "trial": set(),
    "outcome": set(),
    "store": {"errors", "trial", "outcome"},
    "analysis": {"errors"},
    "report": {"errors", "analysis", "store"},
}
"""Rooms of sweeper with a short list of what they may import from sweeper."""

NAMED = {"__init__", "errors", "trial", "outcome", "plan"}
STUDY_ROOM = {path.stem for path in (ROOT / "sweeper").glob("*.py")} - NAMED
"""The study file is spread over several modules, all of one layer."""

ORDER = [{"errors", "trial", "outcome"}, STUDY_ROOM, {"plan"}, {"store"}, {"engine"}, {"cli"}]
"""Layers, lowest first: a module imports from its own layer and the ones below it. The store
knows nothing of studies and plans, which ROOMS says."""

HEAVY = {
    "ray": "sweeper/engine",
    "matplotlib": "sweeper/report",
    "sqlalchemy": "sweeper/store",
    "alembic": "sweeper/store",
    "typer": "sweeper/cli",
}


def modules(package: str) -> Iterator[Path]:
    yield from sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


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


def test_sweeper_never_imports_torch_and_of_workloads_only_the_contract() -> None:
    for path in modules("sweeper"):
        names = imported(path)
        assert not {name for name in names if name.split(".")[0] == "torch"}, path
        own = {name for name in names if name.split(".")[0] == "workloads"}
        assert all(name.startswith("workloads.workload") for name in own), f"{path}: {own}"


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_what_it_may(room: str) -> None:
    for path in modules("sweeper"):
        if room_of(path) == room:
            found = rooms(imported(path)) - {room}
            assert found <= ROOMS[room], f"{path} imports {found - ROOMS[room]}"


def test_no_layer_imports_a_higher_one() -> None:
    layer = {room: level for level, rooms_ in enumerate(ORDER) for room in rooms_}
    for path in modules("sweeper"):
        level = layer.get(room_of(path))
        for room in rooms(imported(path)):
            if level is not None and room in layer:
                assert layer[room] <= level, f"{path} imports sweeper.{room}"


@pytest.mark.parametrize("package", sorted(HEAVY))
def test_a_heavy_package_has_one_importer(package: str) -> None:
    for path in modules("sweeper"):
        if any(name.split(".")[0] == package for name in imported(path)):
            assert path.relative_to(ROOT).as_posix().startswith(HEAVY[package]), path


def test_every_room_is_known_to_these_tests() -> None:
    known = {room for layer in ORDER for room in layer} | set(ROOMS) | NAMED
    assert {room_of(path) for path in modules("sweeper")} <= known


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
    "code", ["import sweeper", HELP, "import workloads.cards", "import sweeper.study"]
)
def test_nothing_heavy_is_loaded_by(code: str) -> None:
    heavy = {"ray", "torch", "pandas", "matplotlib", "scipy", "sqlalchemy", "pyarrow"}
    assert not loaded_by(code) & heavy


def test_no_module_has_more_than_400_lines() -> None:
    for package in ("sweeper", "workloads", "tests", "benchmarks"):
        for path in modules(package):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            assert lines <= 400, f"{path} has {lines} lines: split it by noun"


def test_every_public_name_of_sweeper_is_there() -> None:
    import sweeper

    for name in sweeper.__all__:
        assert callable(getattr(sweeper, name))
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = sweeper.nothing_like_it

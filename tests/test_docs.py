"""The documents say what is true: links, file map, commands, tables."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sweeper.cli.app import app
from sweeper.store.tables import metadata
from workloads.optimizers.coefficients import NEWTON_SCHULZ
from workloads.optimizers.spec import (
    OPTIMIZERS,
    algorithm_settings,
    block_settings,
    power_settings,
)

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
COMMANDS = {
    command.name or command.callback.__name__
    for command in app.registered_commands
    if command.callback
}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_is_named_exists(document: Path) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", document.read_text(encoding="utf-8"))
    for path, name in named:
        assert (ROOT / path).exists(), f"{document.name} names {path}"
        assert not name or f"def {name}(" in text_of(path), f"{document.name} names {name}"


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").splitlines()) <= 120


def file_map() -> dict[str, str]:
    """Returns the rows of the file map: path to description."""
    block = text_of("CONTRIBUTING.md").split("```text\n")[1].split("```")[0]
    return dict(line.split(maxsplit=1) for line in block.splitlines())


def test_every_top_level_module_and_every_package_has_a_row_in_the_file_map() -> None:
    rows = file_map()
    for top in ("sweeper", "workloads"):
        for path in (ROOT / top).rglob("*.py"):
            module = path.relative_to(ROOT)
            folder = module.parent
            if module.stem == "__init__" or not path.with_name("__init__.py").exists():
                continue
            row = module.as_posix() if folder.name == top else f"{folder.as_posix()}/"
            above = rows.get(f"{folder.parent.as_posix()}/", "")
            assert row in rows or f" {folder.name}/: " in above, f"the file map lacks {row}"


def test_every_path_of_the_file_map_exists() -> None:
    for path in file_map():
        assert (ROOT / path).exists(), f"the file map names {path}"


def test_every_command_is_documented_and_no_other() -> None:
    described = set(re.findall(r"sweeper ([a-z-]+)", "\n".join(heads("docs/commands.md"))))
    assert described == COMMANDS


def heads(name: str) -> list[str]:
    return [line for line in text_of(name).splitlines() if line.startswith("## ")]


def test_every_shell_line_of_the_readme_calls_a_command_that_exists() -> None:
    blocks = re.findall(r"```(?:console|sh)\n(.*?)```", text_of("README.md"), re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    calls = [shlex.split(line, comments=True) for line in lines if line.startswith("sweeper ")]
    assert calls
    for call in calls:
        assert call[1] in COMMANDS


def test_the_readme_shows_the_first_study_as_it_is() -> None:
    shown = re.search(r"```yaml\n(.*?)```", text_of("README.md"), re.DOTALL)
    assert shown is not None
    study = text_of("studies/quickstart.yaml").splitlines()
    for line in shown.group(1).splitlines():
        assert line in study, f"studies/quickstart.yaml has no line {line!r}"


def test_the_readme_shows_the_answer_about_the_first_study_as_it_is() -> None:
    shown = re.search(
        r"\$ sweeper drift quickstart\n(.*?)\$ sweeper", text_of("README.md"), re.DOTALL
    )
    assert shown is not None
    answers = text_of("tests/goldens/answers/quickstart.txt").splitlines()
    for line in shown.group(1).splitlines():
        assert line in (*answers, "..."), f"sweeper drift does not answer {line!r}"


def test_every_table_and_column_is_documented() -> None:
    document = text_of("docs/store.md")
    for table in metadata.sorted_tables:
        rows = [line for line in document.splitlines() if line.startswith(f"| `{table.name}` |")]
        assert len(rows) == 1, table.name
        for column in table.columns:
            assert f"`{column.name}`" in rows[0], f"{table.name}.{column.name}"


def test_every_setting_of_a_ray_session_is_explained() -> None:
    from sweeper.engine.ray.session import SETTINGS

    document = text_of("docs/engine.md")
    for name, value in SETTINGS.items():
        assert f"| `{name}` | {value} |" in document, name


def test_every_optimizer_and_every_setting_of_one_is_explained() -> None:
    page = text_of("docs/optimizers.md")
    settings = [*algorithm_settings({}, attention=True), *power_settings(), *block_settings()]
    for name in (*OPTIMIZERS, *NEWTON_SCHULZ, *(setting.name for setting in settings)):
        assert re.search(rf"\b{name}\b", page), name

"""Every command and option that a message or docstring of the source advises exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import typer

from sweeper.cli.app import app

ROOT = Path(__file__).parents[2]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
OPTIONS = {name: {o for p in command.params for o in p.opts} for name, command in COMMANDS.items()}
EVERY = {option for options in OPTIONS.values() for option in options}

OTHERS = {
    *("--head", "--force-reinstall", "--always", "--dirty", "--abbrev", "--help", "--version"),
    *("--cached", "--others", "--exclude-standard", "--include-dashboard", "--dashboard-host"),
    *("--port", "--generate", "--resources", "--dashboard-agent-listen-port"),
    *("--logdir", "--backend-store-uri", "--query-gpu", "--format", "--lr", "--amp"),
}
"""Options of other programs that are named: ray, pip, git, nvidia-smi, tensorboard, mlflow,
training scripts."""

WORDS = {"needs", "study", "knows", "makes", "here"}
"""What may follow the program's name in a sentence about it."""

ADVISED = re.compile(r"\bsweeper ([a-z]+(?:-[a-z]+)?)\b([^;`]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def texts() -> list[tuple[str, str]]:
    """Returns the texts of the source, each with its place; what is filled in is one word."""
    found = []
    for path in [*ROOT.glob("sweeper/**/*.py"), *ROOT.glob("workloads/**/*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        parts = {
            id(value)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for value in node.values
        }
        for node in ast.walk(tree):
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.JoinedStr):
                words = [v.value if isinstance(v, ast.Constant) else "X" for v in node.values]
                found.append((place, "".join(map(str, words))))
            elif isinstance(node, ast.Constant) and id(node) not in parts:
                found.append((place, str(node.value)))
    return found


TEXTS = texts()


def test_every_command_that_is_advised_exists() -> None:
    advised = re.compile(
        r"(?:`|^|[;:(,] |\bnext: |\brun |, then |by |that of )sweeper ([a-z]+(?:-[a-z]+)?)\b"
    )
    wrong = [
        f"{place}: sweeper {name}"
        for place, text in TEXTS
        for name in advised.findall(text)
        if name not in COMMANDS and name not in WORDS
    ]
    assert wrong == []


def test_every_option_that_is_named_exists() -> None:
    wrong = [
        f"{place}: {option}"
        for place, text in TEXTS
        for option in OPTION.findall(text)
        if option not in EVERY | OTHERS and not option.startswith("--no-")
    ]
    assert wrong == []


def test_an_option_that_is_advised_with_a_command_is_one_of_that_command() -> None:
    wrong = [
        f"{place}: sweeper {name} {option}"
        for place, text in TEXTS
        for name, rest in ADVISED.findall(text)
        if name in COMMANDS
        for option in OPTION.findall(rest.partition("sweeper ")[0])
        if option in EVERY - OPTIONS[name]
    ]
    assert wrong == []

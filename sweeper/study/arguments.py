"""A first study of a training script, from what the script says of its own arguments.

The script is run with ``--help``. Where it reads its arguments with argparse, that is asked for
types and defaults, which its help does not show; else the help is read as text.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, log2
from pathlib import Path
from textwrap import shorten
from typing import Any

import yaml

from sweeper.errors import RequestError
from sweeper.study.source import scalar
from sweeper.study.trust import COMMAND
from sweeper.study.workloads import find_card
from workloads.programs import Programmed

HELP_SECONDS = 120.0
"""How long a script may take to show its help; it imports what it needs before."""

_MARK = "sweeper-arguments:"
_ASK = f"""
import argparse, json, os, runpy, sys
def tell(parser, *given, **named):
    rows = [
        dict(
            flags=list(each.option_strings),
            name=each.dest,
            kind=getattr(each.type, "__name__", None),
            default=each.default if isinstance(each.default, (bool, int, float, str)) else None,
            choices=[str(choice) for choice in each.choices or ()],
            texts=all(isinstance(choice, str) for choice in each.choices or ()),
            doc=each.help or "",
            required=bool(each.required),
            takes=type(each).__name__,
            several=each.nargs not in (None, 0, "?"),
        )
        for each in parser._actions
        if each.dest != "help"
    ]
    sys.__stdout__.write("\\n{_MARK}" + json.dumps(rows) + "\\n")
    sys.__stdout__.flush()
    os._exit(0)
argparse.ArgumentParser.parse_args = argparse.ArgumentParser.parse_known_args = tell
script = sys.argv[1]
sys.argv = [script, "--help"]
sys.path[0] = os.path.dirname(os.path.abspath(script))
runpy.run_path(script, run_name="__main__")
"""
"""Run in place of the script, which it runs in turn, until that reads its arguments."""

_SIZES = (
    *("width", "n_embd", "d_model", "model_dim", "dim", "hidden_size", "hidden_dim", "hidden"),
    *("embed_dim", "n_layer", "num_layers", "n_layers", "depth", "layers"),
)
_RATES = ("learning_rate", "lr", "max_lr", "peak_lr", "base_lr", "matrix_lr", "muon_lr")
_SEEDS = ("seed", "random_seed", "manual_seed", "rng_seed")
_NO_SIZES = re.compile(
    r"seed|step|iter|epoch|batch|interval|every|worker|rank|port|freq|log|eval|warmup|vocab"
)
_OUTPUTS = re.compile(
    r"(out|output|log|save|ckpt|checkpoint|work|run|result)s?_?(dir|path|folder)"
)


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One argument of a script.

    Attributes:
        flag: how it is given; empty of one that is told by its place.
        name: what it is called.
        kind: int, float, bool, choice or text.
        default: what it is unless given; None is unknown, or nothing.
        choices: what it may be, of a choice.
        doc: what the script says of it.
        required: whether the script does nothing without it.
        switch: True if the flag alone says something, and takes no value.
        off: the flag of a switch that says false; empty where false needs none.
    """

    flag: str
    name: str
    kind: str
    default: Any = None
    choices: tuple[str, ...] = ()
    doc: str = ""
    required: bool = False
    switch: bool = False
    off: str = ""


def script_study(script: Path) -> str:
    """Returns a first study of a script, which is run with ``--help`` and no further.

    Raises:
        RequestError: there is no such script, it fails, names no arguments, or none of them is a
            size or a rate that could be swept.
    """
    if not script.is_file():
        raise RequestError(f"--script {script}: there is no such file")
    if os.path.isabs(script) or ".." in script.parts:
        raise RequestError(
            f"--script {script}: trials run in the folder that `sweeper run` is called in; go to "
            "that of the script, and name the script from there"
        )
    found, left_out = script_arguments(script)
    taken = _taken()
    arguments = [each for each in found if _stands_for(each) or each.name not in taken]
    left_out += [each.flag or each.name for each in found if each not in arguments]
    scale = _first(arguments, _SIZES, "int")
    rate = _first(arguments, _RATES, "float")
    if scale is None or rate is None:
        lacks = "whole number for a size" if scale is None else "number for a rate"
        known = ", ".join(each.name for each in arguments)
        raise RequestError(
            f"{script} has no argument that is a {lacks} (it has {known or 'none'}); write the "
            "study yourself: docs/script.md shows one"
        )
    return "".join(f"{line}\n" for line in _lines(script, arguments, left_out, scale, rate))


def _taken() -> frozenset[str]:
    """Returns the names that settings of a command may not have."""
    card = find_card(COMMAND)
    assert isinstance(card, Programmed)
    return card.taken


def script_arguments(script: Path) -> tuple[list[Argument], list[str]]:
    """Returns the arguments of a script, in its order, and those that no setting can stand for.

    Raises:
        RequestError: it fails, takes too long, or says nothing of arguments.
    """
    own = script.suffix == ".py"
    asked = [_python(), "-c", _ASK, str(script)] if own else [os.path.abspath(script), "--help"]
    shown = f"{_python() if own else ''} {script} --help".strip()
    try:
        done = _told(asked)
    except subprocess.TimeoutExpired:
        raise RequestError(
            f"`{shown}` did not end within {HELP_SECONDS:g} s, and was ended; write the study "
            "yourself: docs/script.md shows one"
        ) from None
    except OSError as fault:
        raise RequestError(f"`{shown}` cannot be run: {fault.strerror}") from None
    found = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if found:
        rows = json.loads(found[-1].removeprefix(_MARK))
        told = [(row, _of_row(row)) for row in rows]
        left_out = [
            (*row["flags"][-1:], row["name"])[0]
            for row, each in told
            if each is None and row["takes"] != "_VersionAction"
        ]
        return [each for _, each in told if each is not None], left_out
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise RequestError(f"`{shown}` failed: {last}")
    if arguments := list(_of_text(done.stdout)):
        return arguments, []
    raise RequestError(
        f"`{shown}` names no arguments; write the study yourself: docs/script.md shows one"
    )


def _told(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Returns what a command says; ends it with all that it started if it takes too long.

    Raises:
        subprocess.TimeoutExpired: it did.
        OSError: it cannot be run.
    """
    quiet, pipe = subprocess.DEVNULL, subprocess.PIPE
    with subprocess.Popen(
        command, stdin=quiet, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(timeout=HELP_SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _python() -> str:
    """Returns the Python that ``python`` means here, in which the script is at home."""
    return "python" if shutil.which("python") else sys.executable


_TAKES = ("_StoreAction", "_StoreTrueAction", "_StoreFalseAction", "BooleanOptionalAction")
"""What argparse does with the arguments that are settings; the others count, print or collect."""


def _of_row(row: dict[str, Any]) -> Argument | None:
    """Returns what argparse told of an argument; None of one that is no setting of a trial."""
    takes, default, flags = row["takes"], row["default"], row["flags"]
    if row["several"] or takes not in _TAKES:
        return None
    flag = next((each for each in flags if each.startswith("--")), (*flags, "")[0])
    off = next((each for each in flags if each.startswith("--no-")), "")
    choices = tuple(row["choices"]) if row["texts"] else ()
    switch = takes != "_StoreAction"
    if switch:
        kind, default = "bool", bool(default)
        off = {"_StoreTrueAction": "", "_StoreFalseAction": flag}.get(takes, off)
        flag = "" if takes == "_StoreFalseAction" else flag
    elif choices:
        kind, default = "choice", default if default in choices else None
    else:
        known = row["kind"] in ("int", "float")
        kind = row["kind"] if known else _kind(default)
        default = _number(default, kind) if known else default
    return Argument(
        flag=flag,
        name=row["name"],
        kind=kind,
        default=default,
        choices=choices,
        doc=_sentence(row["doc"]),
        required=row["required"],
        switch=switch,
        off=off,
    )


def _number(given: Any, kind: str) -> Any:
    """Returns a default as the number that the script makes of it; None if it is none."""
    try:
        number = (int if kind == "int" else float)(given)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


_OPTION = re.compile(
    r"^\s+(?:\* +)?(?:-\w,?\s+)?(--[a-zA-Z][\w-]*)(?: +/? *(--no-[\w-]+))?"
    r"(?:[ =](\{[^}]*\}|\[[\w-]+(?:\|[\w-]+)+\]|\[?[A-Z][A-Z_|]*\]?(?: RANGE\b)?)| +(<[^>]*>))?"
    r"(\s.*)?$"
)
_DEFAULT = re.compile(r"[(\[]default(?:s to)?[:=]?\s*([^)\];]+)[^)\]]*[)\]]", re.IGNORECASE)
_REQUIRED = "[required]"


def _of_text(text: str) -> Iterator[Argument]:
    """Yields the options that a help lists."""
    found: list[list[Any]] = []
    for line in text.replace("\u2502", " ").splitlines():  # the sides of a box
        if option := _OPTION.match(line):
            flag, off, plain, angular, doc = option.groups()
            found.append([flag, off or "", plain or angular or "", (doc or "").strip()])
        elif found and line.startswith(" " * 8):
            found[-1][3] += f" {line.strip()}"
    for flag, off, metavar, doc in found:
        if flag in ("--help", "--version"):
            continue
        given = _DEFAULT.search(doc)
        default = scalar(given[1].strip().strip("'\"")) if given else None
        if off:
            default = default is True or f"--{default}" == flag
        choices = tuple(metavar[1:-1].replace("|", ",").split(",")) if len(metavar) > 2 else ()
        choices = choices if len(choices) > 1 or metavar.startswith("{") else ()
        switch = bool(off) or (not metavar and (default is None or isinstance(default, bool)))
        kind = "choice" if choices else _kind(default)
        if default is None:
            kind = "choice" if choices else _of_metavar(metavar)
        yield Argument(
            flag=flag,
            name=flag.lstrip("-").replace("-", "_"),
            kind=kind,
            default=bool(default) if switch else default,
            choices=choices,
            doc=_sentence(_DEFAULT.sub("", doc).replace(_REQUIRED, "")),
            required=_REQUIRED in doc,
            switch=switch,
            off=off,
        )


def _of_metavar(metavar: str) -> str:
    word = metavar.strip("[]<>").lower().removesuffix(" range")
    return {"": "bool", "int": "int", "integer": "int", "float": "float"}.get(word, "text")


def _kind(default: Any) -> str:
    kinds = {bool: "bool", int: "int", float: "float"}
    return kinds.get(type(default), "text")


def _sentence(text: str) -> str:
    """Returns a help text in a line of some length."""
    text = text.replace("%(default)s", "").replace("(default: )", "").replace("%%", "%")
    return shorten(text, 90)


def _first(arguments: Sequence[Argument], names: Sequence[str], kind: str) -> Argument | None:
    """Returns the argument that is called like one of the names, the earliest of them, else the
    first of the kind that may be meant."""
    numbers = [each for each in arguments if each.kind == kind and (each.default or 1) > 0]
    for name in names:
        for each in numbers:
            if each.name.lower() == name:
                return each
    likely = [each for each in numbers if not _NO_SIZES.search(each.name.lower())]
    return next(iter(likely), None)


def _lines(
    script: Path,
    arguments: Sequence[Argument],
    left_out: Sequence[str],
    scale: Argument,
    rate: Argument,
) -> Iterator[str]:
    settings = [each for each in arguments if not _stands_for(each)]
    name = re.sub(r"[^A-Za-z0-9._-]", "-", script.stem).lstrip("._-") or "study"
    yield f"# A first study of {script}: its arguments as they are told by --help. Read it, and"
    yield "# `sweeper plan FILE` says what it costs, `sweeper run FILE` runs it (docs/script.md)."
    yield f"name: {name}"
    yield f"question: Does the best {rate.name} stay put as {scale.name} grows?"
    yield "workload: command"
    yield "command:"
    first = ["python"] if script.suffix == ".py" else []
    program = script.as_posix() if first or "/" in script.as_posix() else f"./{script}"
    for each in (*first, program, *(part for a in arguments for part in _placed(a))):
        yield f"  - {_yaml(each)}"
    if left_out:
        yield "# Left out, since no setting is like them; write them into the command yourself:"
        yield f"#   {' '.join(left_out)}"
    yield "# Types and defaults; every one may be swept, fixed, or set by a variant."
    yield "settings:"
    yield from (f"  {each.name}: {_declared(each)}" for each in settings)
    yield f"# {scale.name} is the axis along which optima are tracked; it has to be swept."
    yield f"scale: {scale.name}"
    yield from _fixed(settings, scale, rate)
    yield "# Every combination is run; {log2: [a, b]} is 2**a .. 2**b."
    yield "sweep:"
    size = int(scale.default or 64)
    yield f"  {scale.name}: [{size}, {2 * size}, {4 * size}]"
    middle = round(log2(rate.default or 2**-7))
    yield f"  {rate.name}: {{log2: [{middle - 3}, {middle + 3}]}}"
    if any(_stands_for(each) == "seed" for each in arguments):
        yield "  seed: [0, 1]"
    yield from _rest(script, scale)


def _rest(script: Path, scale: Argument) -> Iterator[str]:
    yield '# What it measures: lines of JSON on its output, {"step": 10, "val_loss": 3.2}, unless'
    yield "# you say how its lines read, or name a file, a folder of TensorBoard or of W&B:"
    yield '# results: {lines: "step (?P<step>\\\\d+).* val_loss (?P<val_loss>[\\\\d.]+)"}'
    yield "objective: {metric: val_loss, goal: min}"
    yield "# What decides results, if not arguments that are files and what these import:"
    yield f"# files: [{script.as_posix()}, model/]"
    yield "# What a trial costs, as formulas of its settings:"
    yield f'# cost: {{params: "12 * {scale.name}**2", tokens: "1e6", steps: "1000"}}'
    yield "# What a trial is given; gpus: 8 is one trial on eight, {gpus} in the command."
    yield "resources: {cpus: 1, gpus: 0}"
    yield "# claims:"
    yield "#   - {hyperparameter: NAME, exponent: 0, tolerance: 0.25}"


def _stands_for(argument: Argument) -> str | None:
    """Returns the name that every trial has and an argument stands for."""
    if argument.name.lower() in _SEEDS and argument.kind in ("int", "text"):
        return "seed"
    if argument.kind == "text" and _OUTPUTS.fullmatch(argument.name.lower()):
        return "folder"
    return None


def _placed(argument: Argument) -> Iterator[str]:
    """Yields the parts of the command for an argument."""
    name = _stands_for(argument) or argument.name
    if argument.switch:
        yield f"{{{name}:{argument.flag}{'|' if argument.off else ''}{argument.off}}}"
    else:
        yield f"{argument.flag}={{{name}}}" if argument.flag else f"{{{name}}}"


def _declared(argument: Argument) -> str:
    """Returns the declaration of a setting, as YAML."""
    fields: dict[str, Any] = {"type": argument.kind}
    if argument.kind == "choice":
        fields = {"choices": list(argument.choices)}
    if not argument.required:
        fields["default"] = argument.default
    if argument.doc:
        fields["doc"] = argument.doc
    return _yaml(fields)


def _fixed(settings: Sequence[Argument], scale: Argument, rate: Argument) -> Iterator[str]:
    needed = [each for each in settings if each.required and each not in (scale, rate)]
    if needed:
        yield "# What the script does not do without; fill it in."
        yield "fixed:"
    for each in needed:
        first = {"int": 1, "float": 1.0, "bool": False, "choice": (*each.choices, "?")[0]}
        yield f"  {each.name}: {_yaml(first.get(each.kind, '?'))}"


def _yaml(value: Any) -> str:
    """Returns a value as YAML on one line."""
    dumped: str = yaml.safe_dump(
        value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True
    )
    return dumped.removesuffix("\n").removesuffix("...").strip()

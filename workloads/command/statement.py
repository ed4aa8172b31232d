"""What a study states about its command, read and checked: the program, its settings, what it
measures and costs, and everything that is wrong with it, each at its place."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from workloads.command.files import digests, named_files
from workloads.command.formulas import QUANTITIES, Costs, Formula
from workloads.command.imported import imported_files
from workloads.command.placeholders import RESERVED, placeholders, unknown, whole, written
from workloads.command.program import (
    GRACE_SECONDS,
    PATHS,
    Program,
    config_name,
    template_environment,
)
from workloads.command.results import Results
from workloads.command.settings import declared, inferred, packable
from workloads.programs import Objection
from workloads.workload import Config, DataUnavailableError, Setting

_SAMPLES: Mapping[str, Any] = {"int": 8, "float": 0.5, "bool": True, "choice": "a", "text": "a"}
"""A value of each kind, to try a format by."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"(^|_)(PASSWORD|PASSWD|SECRET|CREDENTIALS?|TOKEN|KEY)$", re.IGNORECASE)

_OWN_VARIABLES = ("SWEEPER_", "CUDA_VISIBLE_DEVICES")
"""Beginnings of the variables that are set for every trial."""

_HELPERS = (b"SWEEPER_CONFIG", b"sweeper.script", b"sweeper_script")
"""What a script has in it that reads its settings by itself."""


_SHELL = re.compile(r"(\||\|\||&|&&|;|\d?>.*|<.*)$|~/|\$[A-Za-z_{(]")
"""Arguments that mean something to a shell."""

_PROGRAM = re.compile(r"\w\.(py|sh|jl|R)$")
"""Arguments that name the file of a program."""

_APART = ("folder", "key", "checkpoint")
"""Names that are another one's in every trial."""


class Statement:
    """A study's words about its command.

    Args:
        stated: the keys of the study, as :meth:`workloads.workload.Programmed.programmed` has
            them.
        metric: the study's objective.
        scale: the setting along which optima are tracked.
        values: all values of each setting.

    Attributes:
        objections: what is wrong; where there is anything, the rest is not to be used.
        settings: all settings, in the order in which they are declared or given.
        metrics: what is measured, as far as the study tells.
        program: what is run.
        costs: what a trial costs.
        digests: of the files that count.
        warnings: what may not be meant, in sentences.
    """

    def __init__(
        self, stated: Config, *, metric: str, scale: str, values: Mapping[str, Sequence[Any]]
    ) -> None:
        self._stated, self._scale, self._values = stated, scale, values
        self._used: set[str] = set()
        self.objections: list[Objection] = []
        self.warnings: list[str] = []
        self.settings: tuple[Setting, ...] = ()
        self.metrics: dict[str, str] = {}
        self.digests: dict[str, str] = {}
        self.program: Program | None = None
        self.costs: Costs | None = None
        self._by_name: dict[str, Setting] = {}
        self._read_settings()
        if self.objections:
            return
        self._read_costs()
        self._read_program(metric)
        if not self.objections:
            self._measure(metric)
            self._warn()

    def _object(self, *place: str | int, message: str) -> None:
        self.objections.append(Objection(place=place, message=message))

    # Settings ----------------------------------------------------------------------------------

    def _read_settings(self) -> None:
        given = {name: values for name, values in self._values.items() if name != "seed"}
        if "settings" in self._stated:
            settings, faults = declared(self._stated["settings"])
            self.objections += faults
        else:
            settings = []
            for name, values in given.items():
                try:
                    settings.append(inferred(name, values))
                except ValueError as fault:
                    self._object("settings", name, message=str(fault))
        if not settings and not self.objections:
            message = "no setting has a value, so there is nothing to sweep; give some in `sweep`"
            self._object("sweep", message=message)
        self.settings = tuple(settings)
        self._by_name = {each.name: each for each in settings}

    # Costs -------------------------------------------------------------------------------------

    def _read_costs(self) -> None:
        formulas: dict[str, Formula] = {}
        for quantity, text in self._stated.get("cost", {}).items():
            try:
                formulas[quantity] = Formula(str(text))
            except ValueError as fault:
                self._object("cost", quantity, message=str(fault))
        known = {*self._by_name, *formulas}
        for quantity, formula in formulas.items():
            for name in sorted(formula.names - known):
                close = get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]!r}? " if close else ""
                message = f"{name!r} is no setting; {hint}known: {', '.join(sorted(known))}"
                if name in QUANTITIES:
                    message = f"{name!r} is not given; add a formula for it, cost: {{{name}: ...}}"
                self._object("cost", quantity, message=message)
        if self.objections:
            return
        try:
            self.costs = Costs(formulas, self._by_name, self._scale)
        except ValueError as fault:
            self._object("cost", message=str(fault))
            return
        timed = {self._scale, *self.costs.settings}
        self.settings = tuple(
            replace(setting, packable=True)
            if setting.name not in timed and packable(setting, self._values.get(setting.name, ()))
            else setting
            for setting in self.settings
        )

    # The program -------------------------------------------------------------------------------

    def _read_program(self, metric: str) -> None:
        said = self._stated
        command = tuple(said["command"])
        for index, argument in enumerate(command):
            self._placeholders(argument, "command", index)
        self._nulls(command)
        self._variables(said.get("environment", {}))
        template = said.get("config")
        if template is not None:
            self._template(template)
        elif "config" in self._used:
            message = "{config} is the file made from a template, and there is none; add config: "
            self._object("command", message=f"{message}FILE.j2")
        measured = self._measured()
        files, resumable = self._files(command), self._resumable()
        if self.objections:
            return
        self.program = Program(
            command=command,
            variables=said.get("environment", {}),
            template=template,
            measured=measured,
            files=files,
            version=said.get("version"),
            metric=metric,
            resumable=resumable,
            grace=said.get("grace", GRACE_SECONDS),
            folder=os.getcwd(),
        )

    def _placeholders(self, text: str, *place: str | int) -> None:
        try:
            found = list(placeholders(text))
        except ValueError as fault:
            self._object(*place, message=str(fault))
            return
        for name, spec in found:
            self._used.add(name)
            if name not in self._by_name and name not in RESERVED:
                known = {*self._by_name, *RESERVED}
                self._object(*place, message=unknown(name, known))
            elif spec is not None and (problem := self._format_problem(name, spec)):
                self._object(*place, message=problem)

    def _format_problem(self, name: str, spec: str) -> str | None:
        """Returns why a value cannot be written so: not at all, or not apart from another."""
        setting = self._by_name.get(name)
        sample = RESERVED[name] if setting is None else _SAMPLES[setting.kind]
        numeric = setting is not None and setting.kind in ("int", "float")
        values = [each for each in self._values.get(name, ()) if each is not None]
        try:
            written(sample, spec)
            seen: dict[str, Any] = {}
            for value in values if numeric else ():
                text = written(whole(value), spec)
                if seen.setdefault(text, value) != value:
                    return (
                        f"{{{name}:{spec}}} writes {seen[text]!r} and {value!r} alike, as {text}; "
                        f"give more digits, or no format: {{{name}}} reads back exactly"
                    )
        except (ValueError, TypeError) as fault:
            return f"{{{name}:{spec}}} is no format of its values: {fault}"
        return None

    def _nulls(self, command: Sequence[str]) -> None:
        """Objects to an option whose value, an argument of its own, would be left out."""
        for index, argument in enumerate(command[1:], 1):
            whole_name = re.fullmatch(r"\{([^{}:]+)(:[^{}]*)?\}", argument)
            setting = self._by_name.get(whole_name[1]) if whole_name else None
            before = command[index - 1]
            if setting and setting.optional and before.startswith("-") and "{" not in before:
                message = f"{setting.name} may be null, which would leave {before} without a value"
                self._object(
                    "command", index, message=f"{message}; write {before}={argument}, all left out"
                )

    def _variables(self, environment: Mapping[str, str]) -> None:
        for name, text in environment.items():
            place = ("environment", name)
            if not _VARIABLE.fullmatch(name):
                self._object(*place, message=f"{name!r} is no name of a variable")
            elif name.startswith(_OWN_VARIABLES):
                self._object(*place, message=f"{name} is set for every trial; remove it")
            elif _SECRET.search(name) and "{" not in text:
                self.warnings.append(
                    f"the value of {name} stands in the study and so in the store for all to see; "
                    "leave it out: the command has the environment of `sweeper run`"
                )
            self._placeholders(text, *place)

    def _template(self, name: str) -> None:
        from jinja2 import TemplateSyntaxError, meta

        path = os.path.normpath(name)
        if not os.path.isfile(path):
            message = f"there is no file {name} in {os.getcwd()}, where this was called"
            self._object("config", message=message)
            return
        made = template_environment(config_name(name))
        try:
            with open(path, encoding="utf-8") as file:
                tree = made.parse(file.read())
            used = meta.find_undeclared_variables(tree) - made.globals.keys()
        except (OSError, UnicodeDecodeError) as fault:
            self._object("config", message=f"{name} cannot be read: {fault}")
            return
        except TemplateSyntaxError as fault:
            self._object("config", message=f"{name}:{fault.lineno}: {fault.message}")
            return
        if list(meta.find_referenced_templates(tree)):
            self._object("config", message=f"{name} brings in other files; write it all in one")
        known = {*(each.partition(".")[0] for each in self._by_name), *RESERVED} - {"config"}
        self._used |= used
        self._used |= {each for each in self._by_name if each.partition(".")[0] in used}
        for unlike in sorted(used - known):
            self._object("config", message=f"{name}: {unknown(unlike, known)}")

    def _measured(self) -> dict[str, Any]:
        said = {name: value for name, value in self._stated.get("results", {}).items() if value}
        paths = {name: said[name] for name in PATHS if name in said}
        for name, text in paths.items():
            self._placeholders(text, "results", name)
        if problem := Results(**said).problem():
            told = re.fullmatch(r"(results[.\w]*):? (.*)", problem, re.DOTALL)
            assert told is not None, "it begins with its place"
            self._object(*told[1].split("."), message=told[2])
        for name, text in paths.items() if not self.objections else ():
            if problem := self._shared(text):
                self._object("results", name, message=problem)
        return said

    def _shared(self, path: str) -> str | None:
        """Returns why trials that run side by side would read each other's results there."""
        told = {each.name for each in placeholders(path)}
        if told & set(_APART):
            return None
        varying = [name for name, values in self._values.items() if len({*values}) > 1]
        if not (alike := [name for name in varying if name not in told]):
            return None
        return (
            f"{path!r} is one place for trials that differ in {', '.join(alike)}: side by side, "
            "each would take the others' results for its own; put {folder} or {key} there and in "
            "what the command is told, or run a script that always writes to one place in its "
            "{folder} (docs/script.md)"
        )

    def _files(self, command: Sequence[str]) -> tuple[str, ...]:
        named = self._stated.get("files")
        if named is None:
            named, large = named_files(command)
            for name in large:
                self.warnings.append(
                    f"{name} is large and its content is no part of the key; list it in `files` "
                    "if it decides results"
                )
        faults = len(self.objections)
        for index, entry in enumerate(named):
            try:
                self.digests |= digests([entry])
            except DataUnavailableError as fault:
                self._object("files", index, message=str(fault))
        template = self._stated.get("config")
        if template is not None and len(self.objections) == faults:
            with suppress(DataUnavailableError):  # which is told where it is stated
                self.digests |= digests([template])
        if self._stated.get("version"):
            return tuple(named)
        roots = [name for name in self._stated.get("files") or () if os.path.isfile(name)]
        if unlisted := [name for name in imported_files(roots) if name not in self.digests]:
            more = f" and {len(unlisted) - 3} more" if len(unlisted) > 3 else ""
            self.warnings.append(
                f"`files` leaves out what is imported, {', '.join(unlisted[:3])}{more}, so that "
                "results are kept when that changes; add it, or leave `files` out"
            )
        if not self.digests:
            self.warnings.append(
                "no file of the command counts, so that results are kept when its code changes; "
                "name its files: files: [...]"
            )
        return tuple(named)

    def _resumable(self) -> bool:
        said = self._stated.get("checkpoint")
        uses = "checkpoint" in self._used
        if said is False and uses:
            message = "{checkpoint} is used, and so trials go on from that folder; remove it"
            self._object("checkpoint", message=message)
        resumable = bool(said) or uses
        if "grace" in self._stated and not resumable:
            self._object(
                "grace",
                message="only a command that can go on has time to save: use {checkpoint} in it, "
                "or say checkpoint: true where it reads SWEEPER_CHECKPOINT",
            )
        return resumable

    # What comes out ----------------------------------------------------------------------------

    def _measure(self, metric: str) -> None:
        said = self._stated.get("results", {})
        ours = {theirs: name for name, theirs in (said.get("names") or {}).items()}
        groups = re.compile(said["lines"]).groupindex if said.get("lines") else ()
        names = [ours.get(name, name) for name in groups if name not in ("step", "tokens")]
        told = "As the command prints it." if groups else "As the command says it."
        self.metrics = dict.fromkeys(names or [metric], told)
        if metric not in self.metrics:
            first = names[0]
            self._object(
                *("results", "lines"),
                message=f"no group of the pattern is the objective {metric}; the groups are "
                f"{', '.join(names)}: write (?P<{metric}>...), or names: {{{metric}: {first}}} "
                f"beside it, or objective: {{metric: {first}}}",
            )

    def _warn(self) -> None:
        assert self.program is not None and self.costs is not None
        self.warnings += _of_costs(self.costs, self._scale)
        self.warnings += self._unused()
        self.warnings += _of_words(self.program.command)
        first = self.program.command[0]
        if "{" not in first and shutil.which(first) is None:
            self.warnings.append(f"there is no program {first} on this machine's PATH")

    def _unused(self) -> Iterator[str]:
        """Yields which settings the command is not told."""
        seeds = ["seed"] if len(self._values.get("seed", ())) > 1 else []
        given = [name for name in self._by_name if name in self._values]
        untold = [name for name in (*given, *seeds) if name not in self._used]
        if not untold or self._reads_by_itself():
            return
        each = ", ".join(untold)
        placed = " ".join(f"{{{name}}}" for name in untold)
        yield (
            f"{each} reaches the command by no argument, variable or config file, so that its "
            f"values make no difference; put {placed} there, unless it reads SWEEPER_CONFIG"
        )

    def _reads_by_itself(self) -> bool:
        for name in self.digests:
            try:
                with open(name, "rb") as file:
                    content = file.read(1 << 20)
            except OSError:
                continue
            if any(word in content for word in _HELPERS):
                return True
        return False


def _of_words(command: Sequence[str]) -> Iterator[str]:
    """Yields which arguments a shell would read otherwise, and which files are not there."""
    plain = [each for each in command[1:] if "{" not in each and not re.search(r"\s", each)]
    if shell := [each for each in plain if _SHELL.match(each)]:
        yield (
            f"no shell reads the command: its program is given {' and '.join(shell)} as written; "
            "write [sh, -c, '...'] where a shell is meant"
        )
    for each in plain:
        if _PROGRAM.search(each) and not os.path.isfile(each):
            yield f"there is no file {each} in {os.getcwd()}, where the command runs"


def _of_costs(costs: Costs, scale: str) -> Iterator[str]:
    if "flops" in costs.assumed:
        yield (
            f"`cost` does not say what a trial costs, so its FLOPs are taken to be {scale}^2: "
            "prices, budgets and loss against compute mean no more than that; give cost: {params: "
            '"...", tokens: "..."}, formulas of the settings, or have it report params and flops'
        )

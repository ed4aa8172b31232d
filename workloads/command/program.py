"""What a study states to be run: a command with its environment, its config file and where its
results are, for one trial after another."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.command.placeholders import filled, whole

if TYPE_CHECKING:
    from jinja2 import Environment

    from workloads.command.results import Results

GRACE_SECONDS = 20.0
"""How long a process that can go on later has to write its checkpoint, unless a study says."""

PATHS = ("file", "tensorboard", "wandb")
"""Those of the keys of ``results`` that are paths, in which names may stand."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A command, for any values of its settings.

    Attributes:
        command: arguments, with placeholders.
        variables: environment beside that of the worker, with placeholders.
        template: the file that the config file is made from; None makes none.
        measured: as ``results`` states it, with placeholders in paths.
        files: those whose content decides results, relative to the working folder.
        version: counts in place of that content; None lets the content count.
        metric: the study's objective.
        resumable: whether it goes on from the folder that it is given.
        grace: seconds that it has to end by itself, where it is resumable.
        tokens: seen in a step, where the script does not say.
        folder: in which it runs, the working folder of who planned it.
    """

    command: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    template: str | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    version: str | None = None
    metric: str = "val_loss"
    resumable: bool = False
    grace: float = GRACE_SECONDS
    tokens: float = 1.0
    folder: str = ""

    @classmethod
    def of(cls, text: str) -> Program:
        """Returns the program of a :attr:`text`, or of a :attr:`keyed` one, in which the rest is
        as it is by default."""
        stated = json.loads(text)
        lists = {name: tuple(stated[name]) for name in ("command", "files") if name in stated}
        return cls(**{**stated, **lists})

    @property
    def text(self) -> str:
        """All of it as canonical JSON, as a worker is given it."""
        beside = {
            "files": self.files,
            "version": self.version,
            "metric": self.metric,
            "resumable": self.resumable,
            "grace": self.grace,
            "tokens": self.tokens,
            "folder": self.folder,
        }
        return _canonical(self._deciding | beside)

    @property
    def keyed(self) -> str:
        """As canonical JSON what decides the results, beside the content of files."""
        return _canonical(self._deciding)

    @property
    def _deciding(self) -> dict[str, Any]:
        stated = {
            "command": self.command,
            "variables": self.variables,
            "template": self.template,
            "measured": self.measured,
        }
        return {name: value for name, value in stated.items() if value}

    @property
    def root(self) -> Path:
        """The folder in which it runs: on another machine, where that is not there, as where a
        folder has travelled, the working folder of this process."""
        return Path(self.folder if os.path.isdir(self.folder) else "")

    def arguments(self, values: Mapping[str, Any]) -> list[str]:
        """Returns the arguments; one with a value that is null, and one that is empty since a
        truth value is false, is left out.

        Args:
            values: of all settings and of the names that every trial has.
        """
        known = {"python": sys.executable, **values}
        found = (filled(each, known) for each in self.command)
        return [each for each in found if each is not None]

    def environment(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Returns the variables that are set, without those whose value is null."""
        known = {"python": sys.executable, **values}
        found = {name: filled(text, known) for name, text in self.variables.items()}
        return {name: text for name, text in found.items() if text is not None}

    def config_file(self, values: Mapping[str, Any]) -> tuple[str, str] | None:
        """Returns name and content of the config file; None where there is none.

        Raises:
            jinja2.TemplateError: the template cannot be filled in.
            OSError: it cannot be read.
        """
        if self.template is None:
            return None
        path = self.root / self.template
        name = config_name(self.template)
        made = template_environment(name).from_string(path.read_text(encoding="utf-8"))
        return name, made.render(_nested({"python": sys.executable, **values}))

    def results(self, values: Mapping[str, Any]) -> Results:
        """Returns where the results of a trial are."""
        from workloads.command.results import Results

        stated = {"names": {}, **self.measured}
        known = {"python": sys.executable, **values}
        texts = {name: filled(stated[name], known) for name in PATHS if stated.get(name)}
        paths = {
            name: None if text is None else str(self.root / text) for name, text in texts.items()
        }
        return Results(**{**stated, **paths})

    def tokens_at(self, step: int) -> int:
        """Returns the tokens that were seen after a step, where the script does not say."""
        return round(self.tokens * step)


def config_name(template: str) -> str:
    """Returns the name of the file that a template makes: its own without ``.j2``."""
    name = os.path.basename(template)
    for suffix in (".j2", ".jinja2", ".jinja"):
        name = name.removesuffix(suffix)
    return name


def template_environment(name: str) -> Environment:
    """Returns the engine that fills in the template of a file: a sandbox, in which every name has
    to be known, and which writes true, false and null as files of the kind do."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    python = name.endswith(".py")

    def finalize(value: Any) -> Any:
        if python or not (value is None or isinstance(value, bool)):
            return whole(value)
        return json.dumps(value)

    made = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, finalize=finalize
    )
    made.filters |= {"tojson": json.dumps, "repr": repr}
    return made


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values by name, those with a dot in their name also as a template reads them."""
    found = dict(values)
    for name, value in values.items():
        *above, last = name.split(".")
        holder = found
        for part in above:
            holder = holder.setdefault(part, {})
            if not isinstance(holder, dict):  # a setting of that name, which comes first
                break
        else:
            holder[last] = value
    return found


def _canonical(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

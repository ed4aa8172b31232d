"""A workload whose trials are processes of a script of the tests, for an engine that plans nothing
of it: the card of a study makes the same configs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from workloads.command.program import Program
from workloads.command.trainer import CommandTrainer
from workloads.settings import completed, missing
from workloads.workload import Config, Problem, Resolved, Setting, TrainerFactory

SETTINGS = (
    Setting(name="program", kind="text", doc="What is run, as JSON.", required=True),
    Setting(name="width", kind="int", doc="Scale.", default=32),
    Setting(name="learning_rate", kind="float", doc="Rate.", default=0.1),
    Setting(name="steps", kind="int", doc="Steps.", default=4),
)


@dataclass(frozen=True)
class ScriptCard:
    """Card of a script."""

    name: str = "tests.engine.command_card:CARD"
    version: str = "1.0.0"
    doc: str = "Runs a script."
    settings: tuple[Setting, ...] = SETTINGS

    @property
    def metrics(self) -> Mapping[str, str]:
        return {"val_loss": "Loss."}

    def problems(self, config: Config) -> list[Problem]:
        absent = missing(SETTINGS, config)
        return [Problem(keys=(name,), message=f"{name} is required") for name in absent]

    def resolve(self, config: Config) -> Resolved:
        full = completed(SETTINGS, config)
        steps, width = full["steps"], full["width"]
        costs = {"params": width**2, "flops": float(steps * width**2)}
        return Resolved(config=full, derived={"steps": steps, "tokens": steps, **costs})

    def data_fingerprint(self, config: Config) -> str:
        return "none"

    def pack_size(self, config: Config, device: str) -> int:
        return 1

    def parallel_problems(self, config: Config, processes: int) -> list[Problem]:
        return []

    def parallel_trainer(self, processes: int) -> TrainerFactory:
        return partial(CommandTrainer, processes=processes)

    def trainer(self) -> TrainerFactory:
        return CommandTrainer


CARD = ScriptCard()
NAME = "tests.engine.command_card:CARD"
"""As a worker finds it, which has the working folder of the run on its path."""


def program(code: str, *arguments: str, **stated: Any) -> str:
    """Returns the program of Python code, as text; it finds its arguments in ``sys.argv``."""
    plain = code.replace("{", "{{").replace("}", "}}")
    return command(sys.executable, "-c", plain, *arguments, **stated)


def command(*words: str, **stated: Any) -> str:
    """Returns the program of a command, as text."""
    return Program.of(json.dumps({"command": words, **stated})).text


def configs(texts: Sequence[str], **settings: Any) -> list[dict[str, Any]]:
    """Returns a config a program."""
    return [{"program": text, **settings} for text in texts]

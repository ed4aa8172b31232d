"""The keys by which a study says itself what is run, as frozen models; their meaning is checked by
the card of the workload (:class:`workloads.workload.Programmed`)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from sweeper.errors import shown
from sweeper.study.values import Positive, Text

CHECKPOINT = "{checkpoint}"
"""The placeholder for the folder that a trial goes on from."""


class Section(BaseModel):
    """A frozen part of a study that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _argument(raw: Any) -> str:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise ValueError(f"{shown(raw)} is no text; quote it, an argument is handed on as it is")
    return str(raw)


def _command(raw: Any) -> tuple[str, ...]:
    if isinstance(raw, str):
        try:
            raw = shlex.split(raw)
        except ValueError as fault:
            raise ValueError(f"{shown(raw)} is no command: {fault}") from None
    if not isinstance(raw, list | tuple) or not raw:
        raise ValueError(
            f"{shown(raw)} is no command; write its program and arguments as a list, such as "
            "[python, train.py, --lr, '{learning_rate}']"
        )
    return tuple(_argument(each) for each in raw)


def _files(raw: Any) -> tuple[str, ...]:
    names = [raw] if isinstance(raw, str) else raw
    if not isinstance(names, list | tuple):
        raise ValueError(f"{shown(raw)} is no list of files and folders")
    if bad := [each for each in names if not isinstance(each, str) or not each.strip()]:
        raise ValueError(f"{shown(bad[0])} is no name of a file")
    return tuple(names)


def _version(raw: Any) -> str:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float) or not str(raw).strip():
        raise ValueError(f'{shown(raw)} is no version; write a text, such as "3"')
    return str(raw)


def _template(raw: Any) -> str:
    if isinstance(raw, Mapping) and raw.keys() == {"template"}:
        raw = raw["template"]
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError(f"{shown(raw)} is no template; name its file, such as base.yaml.j2")
    return raw


def _texts(raw: Any) -> dict[str, str]:
    if not isinstance(raw, Mapping):
        raise ValueError(f"{shown(raw)} is not a mapping; write `NAME: text` lines below it")
    for name, each in raw.items():
        if each is None or isinstance(each, dict | list):
            raise ValueError(f"{name}: {shown(each)} is no text")
    return {
        name: str(each).lower() if isinstance(each, bool) else str(each)
        for name, each in raw.items()
    }


def _settings(raw: Any) -> dict[str, Any]:
    if not isinstance(raw, Mapping) or not raw:
        raise ValueError(
            f"{shown(raw)} declares nothing; write a type for each, such as "
            "{width: int, schedule: [wsd, cosine]}, or leave it out"
        )
    return dict(raw)


def _changed(raw: Any) -> str:
    if raw not in CHANGED:
        raise ValueError(f"{shown(raw)} is not known; allowed: {', '.join(CHANGED)}")
    return str(raw)


def _checkpoint(raw: Any) -> bool:
    if raw != CHECKPOINT and not isinstance(raw, bool):
        raise ValueError(f"{shown(raw)} is neither true nor false")
    return bool(raw)


CHANGED = ("keep", "rerun")
"""What may become of results that were made before a file changed."""

_STRINGS = {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1}
Command = Annotated[
    tuple[str, ...],
    BeforeValidator(_command),
    WithJsonSchema({"anyOf": [{"type": "string"}, _STRINGS]}),
]
Files = Annotated[
    tuple[str, ...],
    BeforeValidator(_files),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    ),
]
Version = Annotated[str, BeforeValidator(_version), WithJsonSchema({"type": ["string", "number"]})]
Template = Annotated[
    str,
    BeforeValidator(_template),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {"template": {"type": "string"}},
                    "required": ["template"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
_SCALAR = {"type": ["string", "number", "boolean"]}
Texts = Annotated[
    dict[str, str],
    BeforeValidator(_texts),
    WithJsonSchema({"type": "object", "additionalProperties": _SCALAR}),
]
_KINDS = {"enum": ["int", "float", "bool", "text"]}
_CHOICES = {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}
_FULL = {
    "type": "object",
    "properties": {
        "type": _KINDS,
        "low": {"type": "number"},
        "high": {"type": "number"},
        "default": {},
        "choices": _CHOICES,
        "doc": {"type": "string"},
    },
    "additionalProperties": False,
}
Declarations = Annotated[
    dict[str, Any],
    BeforeValidator(_settings),
    WithJsonSchema(
        {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"anyOf": [_KINDS, _CHOICES, _FULL]},
        }
    ),
]
Changed = Annotated[
    str, BeforeValidator(_changed), WithJsonSchema({"type": "string", "enum": list(CHANGED)})
]
Checkpoint = Annotated[
    bool,
    BeforeValidator(_checkpoint),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"const": CHECKPOINT}]}),
]
Amount = Annotated[str, BeforeValidator(_argument), WithJsonSchema({"type": ["string", "number"]})]


class Measured(Section):
    """Where a command's results are; JSON lines on its output unless given."""

    lines: Text | None = Field(
        default=None, description="Regular expression of a line, with a named group a metric."
    )
    file: Text | None = Field(
        default=None, description="A .csv, .json, .jsonl or .parquet file that it writes."
    )
    tensorboard: Text | None = Field(
        default=None, description="Folder in which it writes TensorBoard events."
    )
    wandb: Text | None = Field(
        default=None, description="Folder in which it keeps an offline run of W&B."
    )
    names: Texts | None = Field(
        default=None, description="Our name of a metric: the script's, val_loss: eval/loss."
    )
    diverged: Text | None = Field(
        default=None, description="Regular expression of a line that says that it diverged."
    )


class Cost(Section):
    """What a trial costs, as formulas of the settings and of each other."""

    params: Amount | None = Field(default=None, description="Parameters of the model.")
    tokens: Amount | None = Field(default=None, description="Tokens, or examples, of the run.")
    steps: Amount | None = Field(default=None, description="Optimizer steps of the run.")
    flops: Amount | None = Field(
        default=None, description="Training FLOPs; 6 x params x tokens where these two are given."
    )


class ProgramKeys(Section):
    """The keys of a study whose trials are processes."""

    command: Command | None = Field(
        default=None,
        description="The program and its arguments, with {placeholders} for settings.",
    )
    settings: Declarations | None = Field(
        default=None,
        description="Types of the settings: int, float, bool, text, a list of choices, or "
        "{type, low, high, default, choices, doc}; told by their values unless given.",
    )
    results: Measured | None = Field(
        default=None, description="Where its results are; JSON lines on its output unless given."
    )
    files: Files | None = Field(
        default=None,
        description="Files and folders whose content decides results; the arguments that are "
        "files, and what they import from here, unless given.",
    )
    version: Version | None = Field(
        default=None, description="Counts in place of the content of `files`."
    )
    config: Template | None = Field(
        default=None,
        description="A Jinja template of a config file, whose path is {config}.",
    )
    environment: Texts | None = Field(
        default=None, description="Variables that it is given, with {placeholders}."
    )
    cost: Cost | None = Field(
        default=None, description="What a trial costs, as formulas of the settings."
    )
    checkpoint: Checkpoint | None = Field(
        default=None,
        description="true if it goes on from the folder SWEEPER_CHECKPOINT; using {checkpoint} "
        "says so too.",
    )
    grace: Positive | None = Field(
        default=None,
        description="Seconds that it has to save once it is asked to end; 20 unless given.",
    )
    changed: Changed | None = Field(
        default=None,
        description="What becomes of results when a file changes: keep or rerun; asked otherwise.",
    )

    @property
    def program(self) -> dict[str, Any]:
        """Those of these keys that are given, as plain data."""
        found = {name: getattr(self, name) for name in ProgramKeys.model_fields}
        return {name: _plain(value) for name, value in found.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True)
    return list(value) if isinstance(value, tuple) else value

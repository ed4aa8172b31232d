"""JSON schema of a study file, for editors: sections from the models, settings from the cards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeper.study.axes import GEOMETRIC_RANGE, LOG2_RANGE, axis_schema, number_schema
from sweeper.study.program import ProgramKeys
from sweeper.study.settings import KINDS, NUMERIC, SEED, condition
from sweeper.study.study import Study
from sweeper.study.workloads import find_card, known_workloads
from workloads.programs import Programmed
from workloads.workload import Card, Setting, Tailored

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def study_schema() -> dict[str, Any]:
    """Returns the JSON schema (draft 2020-12) of a study file.

    A file that names a registered workload may hold the settings of that workload only; any
    other workload, and one whose settings depend on the study, may have settings of any name.
    What a schema cannot express (combinations of settings, reversed ranges, the swept scale) is
    left to :func:`load_study`.
    """
    schema = Study.model_json_schema()
    cards = {name: find_card(name) for name in known_workloads()}
    free = (Programmed, Tailored)
    names = [name for name, card in cards.items() if not isinstance(card, free)]
    for name in names:
        schema["$defs"] |= _definitions(cards[name], name)
    whole: dict[str, Any] = _shared(schema)
    return {
        "$schema": DIALECT,
        **whole,
        "$defs": {**whole["$defs"], "Log2Range": LOG2_RANGE, "GeometricRange": GEOMETRIC_RANGE},
        "title": "sweeper study",
        "description": "A sweep of hyperparameters over the size of a model.",
        "allOf": [_conditional(name) for name in names],
    }


def setting_schema(setting: Setting) -> dict[str, Any]:
    """Returns the JSON schema of one value of a setting."""
    kind = KINDS[setting.kind].json_type
    if setting.kind in NUMERIC:
        low = "exclusiveMinimum" if setting.low_open else "minimum"
        bounds = {"type": kind, low: setting.low, "maximum": setting.high}
        given = {key: bound for key, bound in bounds.items() if bound is not None}
        kinds = number_schema(**given)["anyOf"]
    else:
        kinds = [{"enum": list(setting.choices)} if setting.choices else {"type": kind}]
    if setting.optional:
        kinds.append({"type": "null"})
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def nested_schema(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns JSON schemas by setting with those of dotted names also as nested objects."""
    inner: dict[str, dict[str, Any]] = {}
    for name, schema in values.items():
        first, dot, rest = name.partition(".")
        if dot:
            inner.setdefault(first, {})[rest] = schema
    objects = {
        first: {
            "type": "object",
            "properties": nested_schema(below),
            "additionalProperties": False,
        }
        for first, below in inner.items()
    }
    return {**values, **objects}


def _definitions(card: Card, name: str) -> dict[str, Any]:
    values = {setting.name: _documented(setting) for setting in card.settings}
    axes = {
        setting.name: {
            **axis_schema(setting_schema(setting), ranges=setting.kind in NUMERIC),
            "description": _description(setting),
        }
        for setting in (*card.settings, SEED)
    }
    values = nested_schema(values)
    variant = _object({**values, "sweep": _reference(f"{name}-sweep")})
    return {
        f"{name}-fixed": _object(values),
        f"{name}-sweep": _object(axes),
        f"{name}-variant": {"anyOf": [variant, {"type": "null"}]},
    }


def _conditional(name: str) -> dict[str, Any]:
    variants = {"type": "object", "additionalProperties": _reference(f"{name}-variant")}
    sections = {
        "fixed": _reference(f"{name}-fixed"),
        "sweep": _reference(f"{name}-sweep"),
        "variants": variants,
        **dict.fromkeys(ProgramKeys.model_fields, False),
    }
    return {
        "if": {"properties": {"workload": {"const": name}}, "required": ["workload"]},
        "then": {"properties": sections},
    }


def _shared(schema: Any) -> Any:
    """Returns a schema in which every copy of the two ranges is a reference."""
    if schema == LOG2_RANGE:
        return _reference("Log2Range")
    if schema == GEOMETRIC_RANGE:
        return _reference("GeometricRange")
    if isinstance(schema, dict):
        return {key: _shared(value) for key, value in schema.items()}
    return [_shared(item) for item in schema] if isinstance(schema, list) else schema


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _documented(setting: Setting) -> dict[str, Any]:
    schema = {**setting_schema(setting), "description": _description(setting)}
    return schema if setting.required else {**schema, "default": setting.default}


def _description(setting: Setting) -> str:
    return f"{setting.doc} Only where {condition(setting)}." if setting.when else setting.doc

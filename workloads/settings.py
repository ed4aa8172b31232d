"""Kinds of settings that several parts have, and the canonical form of a config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from workloads.workload import Condition, Config, Setting, applies

When = Condition | tuple[Condition, ...]
"""When a setting applies, as :class:`Setting` has it."""


@dataclass(frozen=True, kw_only=True)
class Share(Setting):
    """A number from 0 to below 1, such as the decay of a mean."""


def share(name: str, default: float, doc: str) -> Share:
    """Returns a setting from 0 to below 1."""
    return Share(name=name, kind="float", default=default, low=0.0, doc=doc)


def count(name: str, default: int | None, doc: str, when: When = ()) -> Setting:
    """Returns a setting of whole numbers from 1; null is allowed where it is the default."""
    return Setting(
        name=name,
        kind="int",
        default=default,
        optional=default is None,
        low=1,
        when=when,
        doc=doc,
    )


def flag(name: str, default: bool, doc: str, when: When = ()) -> Setting:
    """Returns a setting that is true or false."""
    return Setting(name=name, kind="bool", default=default, when=when, doc=doc)


def choice(
    name: str, default: str, choices: tuple[str, ...], doc: str, when: When = ()
) -> Setting:
    """Returns a setting with one of some values."""
    return Setting(name=name, kind="choice", default=default, choices=choices, when=when, doc=doc)


def positive(
    name: str, default: float | None, doc: str, when: When = (), *, packable: bool = False
) -> Setting:
    """Returns a setting above 0; null is allowed where it is the default."""
    return Setting(
        name=name,
        kind="float",
        default=default,
        optional=default is None,
        low=0.0,
        low_open=True,
        when=when,
        packable=packable,
        doc=doc,
    )


LEAST_EPSILON = 2.0**-126
"""Below it float32 has no number but denormal ones, which training takes for zero."""


def epsilon(name: str, default: float, doc: str, when: When = ()) -> Setting:
    """Returns a setting above 0, as float32 can hold it, in which members of a pack may differ."""
    return replace(
        positive(name, default, doc, when, packable=True), low=LEAST_EPSILON, low_open=False
    )


def completed(settings: Sequence[Setting], config: Config) -> dict[str, Any]:
    """Returns a config with every setting that applies, in the order of ``settings``.

    Numbers get their declared type (an int for ``int``, a float for ``float``, so that 1 and 1.0
    are one value, and so are 0.0 and -0.0). Bounds and choices are the reader's business.

    Raises:
        ValueError: a setting is unknown, is required and missing, or is not of its type.
    """
    unknown = config.keys() - {setting.name for setting in settings}
    if unknown:
        known = ", ".join(setting.name for setting in settings)
        raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}; known: {known}")
    filled = {setting.name: _value(setting, config) for setting in settings}
    while True:  # a setting whose condition rests on one that does not apply has no meaning either
        kept = {
            s.name: filled[s.name] for s in settings if s.name in filled and applies(s, filled)
        }
        if len(kept) == len(filled):
            return kept
        filled = kept


def missing(settings: Sequence[Setting], config: Config) -> list[str]:
    """Returns the names of required settings that a config does not give."""
    return [
        setting.name for setting in settings if setting.required and setting.name not in config
    ]


def _value(setting: Setting, config: Config) -> Any:
    if setting.name not in config and setting.required:
        raise ValueError(f"{setting.name} is required: {setting.doc}")
    value = config.get(setting.name, setting.default)
    if value is None and setting.optional:
        return None
    if not _is_of_kind(setting.kind, value):
        raise ValueError(f"{setting.name} is {value!r}; it has to be of type {setting.kind}")
    if setting.kind == "int":
        return int(value)
    return float(value) + 0.0 if setting.kind == "float" else value  # -0.0 + 0.0 is 0.0


def _is_of_kind(kind: str, value: Any) -> bool:
    """Returns whether a value can stand for a kind without loss; a bool is never a number."""
    if kind == "bool":
        return isinstance(value, bool)
    if kind in ("choice", "text"):
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return kind == "float" or value == value // 1

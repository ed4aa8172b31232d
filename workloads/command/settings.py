"""The settings of a command: as a study declares them, else by the values that it gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from workloads.command.placeholders import NAME, RESERVED, whole
from workloads.programs import Objection
from workloads.settings import completed
from workloads.workload import Setting

KINDS = ("int", "float", "bool", "text")
"""Types that may be written; a list is one of choices."""

KEYS = ("type", "low", "high", "default", "choices", "doc")
"""What a setting written in full may have."""

TAKEN = frozenset({*RESERVED, "program", "sweep"})
"""Names that mean something else."""


def name_problem(name: str) -> str | None:
    """Returns why a setting may not be called so; None if it may."""
    if name in TAKEN:
        return f"{name!r} means something else in every study; choose another name"
    if not NAME.fullmatch(name):
        return f"{name!r} is no name; use letters, digits, '_', '-' and '.', first a letter"
    return None


def declared(stated: Mapping[str, Any]) -> tuple[list[Setting], list[Objection]]:
    """Returns the settings that a study declares, and what is wrong with them.

    Args:
        stated: by name its type, a list of choices, or a mapping of :data:`KEYS`.
    """
    settings: list[Setting] = []
    faults: list[Objection] = []
    for name, how in stated.items():
        reader = _Reader(name, how if isinstance(how, Mapping) else _short(how))
        wrong = list(reader.faults())
        faults += wrong
        if not wrong:
            settings.append(reader.setting())
            faults += _default_faults(settings[-1])
    return settings, faults


def _default_faults(setting: Setting) -> Iterator[Objection]:
    """Yields what is wrong with a default."""
    if setting.required:
        return
    place = ("settings", setting.name, "default")
    try:
        value = completed((setting,), {})[setting.name]
    except ValueError as fault:
        yield Objection(place=place, message=str(fault))
        return
    numbers = setting.kind in ("int", "float") and value is not None
    if (numbers and not setting.admits(value)) or (
        setting.choices and value not in (None, *setting.choices)
    ):
        yield Objection(place=place, message=f"{value!r} is none of the values that are allowed")


def inferred(name: str, values: Sequence[Any]) -> Setting:
    """Returns a setting by its values: all numbers, all truth values, or all text; null is
    allowed where it is among them.

    Raises:
        ValueError: they are of several kinds; says what to do.
    """
    if problem := name_problem(name):
        raise ValueError(problem)
    known = [value for value in values if value is not None]
    kinds = {_kind(value) for value in known} or {"text"}
    if len(kinds) > 1:
        words = " and ".join(sorted(kinds))
        raise ValueError(
            f"its values are of several kinds, {words}; quote them all, or declare it: "
            f"settings: {{{name}: text}}"
        )
    doc = "Setting of the command; its type is told by its values."
    return Setting(name=name, kind=kinds.pop(), doc=doc, required=True, optional=None in values)


def packable(setting: Setting, values: Sequence[Any]) -> bool:
    """Returns whether a setting leaves the time of a trial alone, as far as its values tell: one
    of numbers that are not all whole, such as a learning rate."""
    return setting.kind == "float" and any(not isinstance(whole(each), int) for each in values)


def _kind(value: Any) -> Any:
    if isinstance(value, bool):
        return "bool"
    return "float" if isinstance(value, int | float) else "text"


def _short(how: Any) -> Mapping[str, Any]:
    return {"choices": how} if isinstance(how, list | tuple) else {"type": how}


class _Reader:
    """Reads one declaration."""

    def __init__(self, name: str, spec: Mapping[str, Any]) -> None:
        self._name, self._spec = name, spec

    def faults(self) -> Iterator[Objection]:
        spec, place = self._spec, ("settings", self._name)
        if problem := name_problem(self._name):
            yield Objection(place=place, message=problem)
        for key in spec.keys() - {*KEYS}:
            yield Objection(
                place=(*place, key), message=f"unknown key {key!r}; known: {', '.join(KEYS)}"
            )
        kind, choices = self._kind, spec.get("choices")
        if choices is not None and (kind != "choice" or not _are_choices(choices)):
            message = "choices are a list of distinct texts; quote numbers, or use low and high"
            yield Objection(place=(*place, "choices"), message=message)
        elif choices is None and kind not in KINDS:
            close = get_close_matches(str(kind), KINDS, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            message = f"{kind!r} is no type; {hint}allowed: {', '.join(KINDS)}, or a list of texts"
            yield Objection(place=place, message=message)
        for key in ("low", "high"):
            bound = spec.get(key)
            number = isinstance(bound, int | float) and not isinstance(bound, bool)
            if bound is not None and not (number and kind in ("int", "float")):
                message = f"{bound!r} bounds nothing; {key} is a number, of a setting of numbers"
                yield Objection(place=(*place, key), message=message)

    @property
    def _kind(self) -> Any:
        return "choice" if "choices" in self._spec else self._spec.get("type", "float")

    def setting(self) -> Setting:
        spec = self._spec
        has_default = "default" in spec
        return Setting(
            name=self._name,
            kind=self._kind,
            doc=str(spec.get("doc") or "Setting of the command."),
            default=whole(spec.get("default")),
            required=not has_default,
            optional=has_default and spec["default"] is None,
            low=spec.get("low"),
            high=spec.get("high"),
            choices=tuple(spec.get("choices", ())),
        )


def _are_choices(choices: Any) -> bool:
    texts = isinstance(choices, list | tuple) and all(isinstance(each, str) for each in choices)
    return bool(texts and choices) and len(set(choices)) == len(choices)

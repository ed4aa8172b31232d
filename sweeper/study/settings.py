"""Settings as a study gives them: their full names, canonical values and conditions.

A setting with a dot in its name may be written as nested mappings, too::

    custom: {hidden: {learning_rate: -1}}    is    custom.hidden.learning_rate: -1

A canonical value has the declared type and lies within the declared bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from sweeper.errors import shown
from sweeper.study.axes import Axis, ListAxis, number, whole_number
from sweeper.study.source import Place
from workloads.workload import Config, Setting, applies

SEED = Setting(
    name="seed",
    kind="int",
    doc="Seed of initialisation and of the order of the data.",
    default=0,
    low=0,
    high=2**31 - 1,
)
"""The one setting that every workload has and no card lists."""

NUMERIC = frozenset({"int", "float"})


class ValueKind(NamedTuple):
    """What is common to all settings of a kind.

    Attributes:
        read: returns a value in its one form, or raises a ValueError that says what is wrong.
        words: what is allowed, in words; of a choice its settings say it.
        json_type: the type in a JSON schema.
        first: a value for the first draft of a study.
    """

    read: Callable[[Any], Any]
    words: str
    json_type: str
    first: Any


def text(raw: Any) -> str:
    """Returns text, which may be empty.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(raw, str):
        raise ValueError(f"{shown(raw)} is not text (quote it if it is meant to be)")
    return raw


def as_number(raw: Any) -> Any:
    """Returns the number that a text is, and anything else as it is."""
    try:
        return number(raw) if isinstance(raw, str) else raw
    except ValueError:
        return raw


def _boolean(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise ValueError(f"{shown(raw)} is not true or false")
    return raw


def _float(raw: Any) -> float:
    return float(number(raw)) + 0.0  # -0.0 and 0.0 are one value


KINDS: Mapping[str, ValueKind] = {
    "int": ValueKind(whole_number, "a whole number", "integer", 1),
    "float": ValueKind(_float, "a number", "number", 1.0),
    "bool": ValueKind(_boolean, "true or false", "boolean", False),
    "choice": ValueKind(text, "", "string", None),
    "text": ValueKind(text, "text", "string", "?"),
}
"""The kinds of setting, as :class:`workloads.workload.Setting` names them."""


def canonical_value(setting: Setting, raw: Any) -> Any:
    """Returns a value in the setting's declared type.

    Raises:
        ValueError: the value is of another type or out of bounds; says what is allowed.
    """
    if raw is None:
        if setting.optional:
            return None
        raise ValueError(f"has no value; allowed: {allowed(setting)}")
    try:
        value = _typed(setting, raw)
    except ValueError as error:
        raise ValueError(f"{error}; allowed: {allowed(setting)}") from None
    if setting.kind in NUMERIC and not setting.admits(value):
        raise ValueError(f"{shown(raw)} is out of bounds; allowed: {allowed(setting)}")
    return value


def axis_values(setting: Setting, axis: Axis) -> list[Any]:
    """Returns the raw values of an axis; those of a range over whole numbers are rounded."""
    if setting.kind == "int" and not isinstance(axis, ListAxis):
        return [round(value) for value in axis.values()]
    return list(axis.values())


def allowed(setting: Setting) -> str:
    """Returns what a setting may be, in words."""
    words = ", ".join(setting.choices) or KINDS[setting.kind].words
    if setting.kind in NUMERIC:
        words += _bounds(setting)
    return f"{words}, or null" if setting.optional else words


def condition(setting: Setting) -> str:
    """Returns when a setting applies, in words: ``optimizer is muon``."""
    return ", or ".join(
        " and ".join(
            f"{name} is {' or '.join(str(value) for value in values)}"
            for name, values in one.items()
        )
        for one in setting.conditions
    )


def deciding(setting: Setting) -> set[str]:
    """Returns the names of the settings on which it depends whether this one applies."""
    return {name for one in setting.conditions for name in one}


def applying(settings: Mapping[str, Setting], config: Config) -> set[str]:
    """Returns the names of the settings that have a meaning under a config.

    Settings that the config leaves out count with their defaults, and a setting whose condition
    is itself without meaning has none.
    """
    full = {name: config.get(name, setting.default) for name, setting in settings.items()}
    while True:
        kept = {name: full[name] for name in full if applies(settings[name], full)}
        if len(kept) == len(full):
            return set(kept)
        full = kept


def by_name(settings: Iterable[Setting]) -> dict[str, Setting]:
    """Returns settings under their names, the seed among them."""
    return {setting.name: setting for setting in (*settings, SEED)}


class Given(NamedTuple):
    """One setting as a study gives it.

    Attributes:
        name: the full name, with dots.
        place: where it stands below the mapping that holds it.
        value: as written.
    """

    name: str
    place: Place
    value: Any


def given_settings(raw: Mapping[str, Any], known: Collection[str]) -> Iterator[Given]:
    """Yields the settings of a mapping, those of nested mappings under their full names.

    A mapping is opened only where known settings lie below it, so that any other one is still
    told to be no value.

    Args:
        raw: settings as written.
        known: full names of all settings.
    """
    for key, value in raw.items():
        below = {name.removeprefix(f"{key}.") for name in known if name.startswith(f"{key}.")}
        if below and isinstance(value, Mapping):
            for inner in given_settings(value, below):
                yield Given(f"{key}.{inner.name}", (key, *inner.place), inner.value)
        else:
            yield Given(key, (key,), value)


def place_of(raw: Mapping[str, Any], name: str) -> Place:
    """Returns where a mapping holds a setting, itself or nested; empty where it does not."""
    found = (given.place for given in given_settings(raw, [name]) if given.name == name)
    return next(found, ())


def siblings(name: str, known: Collection[str]) -> list[str]:
    """Returns what may stand in place of an unknown name: of the known names that share most of
    its first parts, these and the part that follows; all known names where none does."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length]) + "."
        found = {
            each.removeprefix(prefix).partition(".")[0]: None
            for each in known
            if each.startswith(prefix)
        }
        if found:
            return [f"{prefix}{part}" for part in found]
    return list(known)


def _typed(setting: Setting, raw: Any) -> Any:
    value = KINDS[setting.kind].read(raw)
    if setting.kind == "choice" and value not in setting.choices:
        raise ValueError(f"{shown(raw)} is not a choice{_nearest(raw, setting.choices)}")
    return value


def _nearest(raw: str, choices: Sequence[str]) -> str:
    close = get_close_matches(raw, choices, n=1)
    return f", did you mean {close[0]!r}" if close else ""


def _bounds(setting: Setting) -> str:
    above = "above" if setting.low_open else "at least"
    parts = []
    if setting.low is not None:
        parts.append(f"{above} {setting.low:g}")
    if setting.high is not None:
        parts.append(f"at most {setting.high:.10g}")
    return f", {' and '.join(parts)}" if parts else ""

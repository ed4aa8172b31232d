"""The workloads that a study can name: registered ones and ``package.module:ATTRIBUTE``."""

from __future__ import annotations

import importlib
from collections import Counter
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, cast

from sweeper.errors import RequestError, UnknownNameError, shown
from workloads.workload import Card, Setting

GROUP = "sweeper.workloads"
"""Entry point group under which packages register their cards."""

MEMBERS = tuple(name for name in vars(Card) if not name.startswith("_"))
"""What makes an object a card: name, version and so on, as the protocol declares them."""

RESERVED = frozenset({"seed", "sweep"})
"""Names that a card may not give to a setting: they have a meaning in every study."""


@cache
def _registered() -> EntryPoints:
    """Returns what packages register, read once: a card is asked for with every trial, and a look
    through all packages takes 10 ms."""
    return entry_points(group=GROUP)


def known_workloads() -> tuple[str, ...]:
    """Returns the names of all registered workloads, sorted; loads none of them."""
    return tuple(sorted({point.name for point in _registered()}))


def find_card(name: str) -> Card:
    """Returns the card of a workload, by registered name or as ``package.module:ATTRIBUTE``.

    Raises:
        RequestError: no such workload, its module cannot be imported, the attribute is missing
            or is not a card; says which.
    """
    if ":" in name:
        point = EntryPoint(name=name, value=name, group=GROUP)
    else:
        found = list(_registered().select(name=name))
        if not found:
            raise UnknownNameError("workload", name, known_workloads())
        point = found[0]
    return _checked(name, _made(name, _attribute(name, point.value)))


def _attribute(name: str, reference: str) -> Any:
    module_name, _, path = reference.partition(":")
    if not module_name or not all(part.isidentifier() for part in module_name.split(".")):
        raise RequestError(
            f"{_asked(name)} is not of the form package.module:ATTRIBUTE; "
            "for example mypackage.cards:CARD"
        )
    target = _module(name, module_name)
    for part in path.split("."):
        if not hasattr(target, part):
            raise RequestError(
                f"{_asked(name)}: module {module_name} has no attribute {shown(path)}; "
                "name the card, for example mypackage.cards:CARD"
            )
        target = getattr(target, part)
    return target


def _module(name: str, module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise RequestError(
                f"{_asked(name)}: there is no module {error.name}; install the package that "
                "holds it, or put its folder on PYTHONPATH"
            ) from error
        raise RequestError(
            f"{_asked(name)}: module {module_name} needs {error.name}, which is not installed"
        ) from error
    except Exception as error:  # a user's module may raise anything at all while it is imported
        raise RequestError(
            f"{_asked(name)}: importing {module_name} failed: {_said(error)}"
        ) from error


def _made(name: str, target: Any) -> Any:
    """Returns the card itself where the reference is a class or function that makes one."""
    if not isinstance(target, type) and (not callable(target) or not _missing(target)):
        return target
    try:
        return target()
    except Exception as error:  # the maker is the user's code: report what it said, whatever it is
        raise RequestError(f"{_asked(name)}: making the card failed: {_said(error)}") from error


def _checked(name: str, card: Any) -> Card:
    missing = _missing(card)
    if missing:
        raise RequestError(
            f"{_asked(name)} is not a card: {type(card).__name__} lacks {', '.join(missing)} "
            "(the protocol is workloads.workload.Card)"
        )
    if not all(isinstance(setting, Setting) for setting in card.settings):
        raise RequestError(f"{_asked(name)}: every one of card.settings has to be a Setting")
    names = Counter(setting.name for setting in card.settings)
    wrong = sorted(key for key, count in names.items() if count > 1 or key in RESERVED)
    if wrong:
        raise RequestError(
            f"{_asked(name)}: settings {', '.join(wrong)} are declared twice or reserved "
            f"({', '.join(sorted(RESERVED))} have a meaning in every study)"
        )
    return cast(Card, card)


def _asked(name: str) -> str:
    return f"workload {shown(name)}"


def _said(error: Exception) -> str:
    """What an error of the user's code says, in one line of some length."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


def _missing(target: Any) -> list[str]:
    return [member for member in MEMBERS if not hasattr(target, member)]

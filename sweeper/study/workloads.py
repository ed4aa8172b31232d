"""The workloads that a study can name: registered ones and ``package.module:ATTRIBUTE``."""

from __future__ import annotations

import importlib
import logging
import sys
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from inspect import getattr_static
from typing import Any, cast

from sweeper.errors import RequestError, UnknownNameError, shown
from sweeper.study.trust import SHIPPED, place_of, require_trusted
from workloads.workload import Card, Setting

GROUP = "sweeper.workloads"
"""Entry point group under which packages register their cards."""

MEMBERS = tuple(name for name in vars(Card) if not name.startswith("_"))
"""What makes an object a card: name, version and so on, as the protocol declares them."""

METHODS = tuple(name for name in MEMBERS if not isinstance(vars(Card)[name], property))
"""What makes a class one of cards; all else an instance may set."""

log = logging.getLogger("sweeper.study")

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


def find_card(name: str, *, trust: bool = False) -> Card:
    """Returns the card of a workload, by registered name or as ``package.module:ATTRIBUTE``.

    The attribute is a card, or a class of cards that takes no arguments; nothing else is called.
    To import its module is to run that: where it is not one of ours, its file is logged before.

    Args:
        name: the workload.
        trust: import a module that the user has not spoken for (:mod:`sweeper.study.trust`), whose
            name was typed, or which the study was allowed before.

    Raises:
        RequestError: no such workload, its module is not trusted or cannot be imported, the
            attribute is missing or is not a card; says which.
    """
    if ":" in name:
        if not trust:
            require_trusted(name)
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
        _announce(name, module_name)
        return importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise RequestError(
                f"{_asked(name)}: there is no module {error.name}; install the package that "
                "holds it, or put its folder on PYTHONPATH"
            ) from error
        raise RequestError(
            f"{_asked(name)}: module {module_name} needs {error.name}, which is not installed"
        ) from error
    except BaseException as error:  # a user's module may raise anything, also SystemExit
        raise RequestError(
            f"{_asked(name)}: importing {module_name} failed: {_said(error)}"
        ) from error


def _announce(name: str, module_name: str) -> None:
    """Logs which file, or whose folder, is run when a module is imported that is new and not one
    of ours."""
    if module_name in sys.modules or module_name.partition(".")[0] == SHIPPED:
        return
    if (place := place_of(module_name)) is not None:
        log.info("%s loads module %s from %s", _asked(name), module_name, place)


def _made(name: str, target: Any) -> Any:
    """Returns the card itself where the reference is a class of cards."""
    if not isinstance(target, type):
        return target
    if lacks := _missing(target, METHODS):
        raise RequestError(
            f"{_asked(name)}: {target.__name__} is no class of cards: it lacks {', '.join(lacks)} "
            "(the protocol is workloads.workload.Card)"
        )
    try:
        return target()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the class is the user's: report what it said, whatever it is
        raise RequestError(f"{_asked(name)}: making the card failed: {_said(error)}") from error


def _checked(name: str, card: Any) -> Card:
    if missing := _missing(card, MEMBERS):
        raise RequestError(
            f"{_asked(name)} is not a card: {type(card).__name__} lacks {', '.join(missing)} "
            "(the protocol is workloads.workload.Card); name a card, or a class of cards that "
            "takes no arguments"
        )
    try:
        parts = (card.name, card.version, card.doc, card.metrics, tuple(card.settings))
    except Exception as error:  # properties are code of the user, too
        raise RequestError(f"{_asked(name)}: reading the card failed: {_said(error)}") from error
    if not all(isinstance(each, str) for each in parts[:3]) or not isinstance(parts[3], Mapping):
        raise RequestError(
            f"{_asked(name)} is not a card: name, version and doc have to be text, and metrics a "
            "mapping"
        )
    if not all(isinstance(setting, Setting) for setting in parts[4]):
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


def _said(error: BaseException) -> str:
    """What an error of the user's code says, in one line of some length."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


_ABSENT = object()


def _missing(target: Any, members: tuple[str, ...]) -> list[str]:
    """The members that an object lacks, told without running any code of its own."""
    return [name for name in members if getattr_static(target, name, _ABSENT) is _ABSENT]

"""Whose code a study may run: a workload of the form ``package.module:CARD`` names a module, and
to import that is to run it; one of workload ``command`` states its code itself.

A module that the user has not spoken for is not imported. What speaks for it: it belongs to this
program, it is loaded already, SWEEPER_TRUST is 1, or the user said ``--trust`` once. That is kept
in the file ``trusted`` of the folder ``sweeper`` in XDG_CONFIG_HOME, else in ``~/.config``: a line
a module, with the place of its package, since a name alone may be found elsewhere tomorrow. What
stands in the file is not looked at again: it is edited all the time by those whose own it is.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from sweeper.errors import EnvironmentFault, RequestError, shown

ALL = "SWEEPER_TRUST"
"""Variable that is 1 where every module that a study names may run."""

COMMAND = "command"
"""The workload whose code is the command that a study states; it is kept with the study's file."""

SHIPPED = "workloads"
"""The package whose modules are a part of this program."""


def is_trusted(module: str) -> bool:
    """Returns whether a module may be imported because a study names it; imports nothing."""
    if module in sys.modules or _package(module) == SHIPPED or os.environ.get(ALL) == "1":
        return True
    place = place_of(module)
    return place is not None and _line(module, place) in _remembered()


def require_trusted(reference: str) -> None:
    """Raises RequestError if the module of ``package.module:ATTRIBUTE`` is there and the user has
    not spoken for it; says how to."""
    module = reference.partition(":")[0]
    if not is_trusted(module) and (place := place_of(module)) is not None:
        raise RequestError(
            f"workload {shown(reference)} is code, in {place}, and was not run, since you have "
            "not said that you trust it. Read it; then give --trust once to `sweeper plan`, "
            f"`check`, `run`, `doctor` or `submit` ({trusted_file()} remembers it), or set {ALL}=1"
        )


def require_command_trusted(study: Path | None, command: Sequence[str] | None) -> None:
    """Raises RequestError if the user has not spoken for the command that a study's file names;
    says how to. A study without a file is of the program that made it; one without a command runs
    none."""
    if study is None or command is None:
        return
    if os.environ.get(ALL) != "1" and _line(COMMAND, os.path.realpath(study)) not in _remembered():
        raise RequestError(
            f"the command of {study}, {shown(' '.join(command))}, is code and was not run, since "
            "you have not said that you trust it. Read it; then give --trust once to `sweeper "
            f"plan`, `run` or `submit` ({trusted_file()} remembers the file), or set {ALL}=1"
        )


def remember_command(study: Path) -> None:
    """Has the command of a study's file be trusted from now on, whatever that says later.

    Raises:
        EnvironmentFault: the file that remembers cannot be written; says what to do.
    """
    _add(_line(COMMAND, os.path.realpath(study)))


def remember(reference: str) -> None:
    """Has the module of ``package.module:ATTRIBUTE`` be trusted from now on, where it is now; a
    registered name changes nothing.

    Raises:
        EnvironmentFault: the file cannot be written; says what to do.
    """
    module, colon, _ = reference.partition(":")
    place = place_of(module) if colon else None
    if place is not None and not is_trusted(module):
        _add(_line(module, place))


def _add(line: str) -> None:
    """Has the file that remembers hold a line."""
    if line in _remembered():
        return
    file = trusted_file()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "w") as lines:
            lines.write(f"{line}\n")
    except OSError as fault:
        raise EnvironmentFault(
            f"--trust cannot be remembered in {file} ({fault.strerror}); set {ALL}=1 in its place"
        ) from fault


def trusted_file() -> Path:
    """Returns the file that remembers; it need not be there."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    root = Path(given) if os.path.isabs(given) else Path(os.path.expanduser("~/.config"))
    return root / "sweeper" / "trusted"


def place_of(module: str) -> str | None:
    """Returns the file or folder of the package that a module is in, or several folders joined as
    in PATH; None where there is none. Looks for the package alone, and runs nothing of it."""
    try:
        found = find_spec(_package(module))
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    places = list(found.submodule_search_locations or ()) or [found.origin or ""]
    return os.pathsep.join(map(os.path.realpath, places))


def _package(module: str) -> str:
    return module.partition(".")[0]


def _line(module: str, place: str) -> str:
    return json.dumps([module, place])  # on one line, whatever the names hold


def _remembered() -> list[str]:
    try:
        return trusted_file().read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []

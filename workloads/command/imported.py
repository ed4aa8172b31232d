"""The files here that a script brings in: modules that it imports, and scripts that it names."""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

MOST_IMPORTED = 500
"""Files that are followed; a script that brings in more lists its folders."""

READ_BYTES = 1_000_000
"""Bytes of a file that is read for what it imports."""

_OWN = tuple(Path(__file__).parents[2] / name for name in ("sweeper", "workloads"))
"""Packages that are no part of anybody's script."""


def imported_files(names: Sequence[str]) -> list[str]:
    """Returns the Python files below the working folder that others bring in, at first or second
    hand, in the order in which they are met.

    Modules are looked for beside each of the named files and in the working folder, as Python
    does when it runs one of them; so are ``.py`` files that are named in a text of their own, as
    in nanoGPT's ``exec(open("configurator.py").read())``. Nothing is run: what a script puts
    together while it runs is not found.

    Args:
        names: files, relative to the working folder; those that are no Python bring in nothing.
    """
    places = list(dict.fromkeys([*(os.path.dirname(name) for name in names), ""]))
    found = [os.path.normpath(name) for name in names]
    met, given = set(found), len(found)
    for name in found:  # which grows on the way
        for each in _brought_in(name, places):
            if each not in met and len(found) < given + MOST_IMPORTED:
                met.add(each)
                found.append(each)
    return found[given:]


def module_files(module: str, places: Sequence[str] = ("",)) -> list[str]:
    """Returns the files below the working folder that are run when a module is imported: its own
    and those of the packages that it is in.

    Args:
        module: dotted name.
        places: folders that it may be in, relative to the working one.
    """
    found = []
    for parent in accumulate(module.split("."), os.path.join):
        paths = [os.path.join(place, parent) for place in places]
        found.append(_first(name for p in paths for name in (f"{p}/__init__.py", f"{p}.py")))
    return [name for name in found if name is not None]


def _brought_in(name: str, places: Sequence[str]) -> Iterator[str]:
    wanted = _wanted(name)
    for level, module in wanted.modules:
        above = os.path.join(os.path.dirname(name), *[".."] * (level - 1))
        yield from module_files(module, [above] if level else places)
    for text in wanted.scripts:
        if (file := _first(os.path.join(place, text) for place in places)) is not None:
            yield file


def _first(paths: Iterator[str]) -> str | None:
    """Returns the first file that there is; None if it is not below the working folder, or is
    this program's."""
    path = next((os.path.normpath(path) for path in paths if os.path.isfile(path)), "..")
    if os.path.isabs(path) or path.startswith(".."):
        return None
    ours = any(Path(path).absolute().is_relative_to(each) for each in _OWN)
    return None if ours else path


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What a file brings in: modules, each with the dots before its name, and names of scripts."""

    modules: tuple[tuple[int, str], ...] = ()
    scripts: tuple[str, ...] = ()


def _wanted(name: str) -> _Wanted:
    try:
        seen = os.stat(name)
    except OSError:
        return _Wanted()
    if not name.endswith(".py") or seen.st_size > READ_BYTES:
        return _Wanted()
    return _read(os.path.abspath(name), seen.st_mtime_ns, seen.st_size, seen.st_ino)


@lru_cache(maxsize=2 * MOST_IMPORTED)
def _read(path: str, *seen: int) -> _Wanted:
    """Returns what a file brings in, nothing where it cannot be read as Python; read again only
    where time, size or place have changed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return _Wanted()
    modules: list[tuple[int, str]] = []
    scripts: list[str] = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules += [(0, each.name) for each in names]
            case ast.ImportFrom(module=module, names=names, level=level):
                inside = [module] if module else []
                modules += [(level, ".".join([*inside, each.name])) for each in names]
            case ast.Constant(value=str(text)) if text.endswith(".py"):
                scripts.append(text)
    return _Wanted(modules=tuple(dict.fromkeys(modules)), scripts=tuple(scripts))

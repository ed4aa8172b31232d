"""Where answers go: tables to a reader, JSON to a program."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

WIDTH = 100
"""Columns where the output is no terminal, so that a log looks the same everywhere."""


def console(width: int | None = None) -> Console:
    """Returns the console of standard output, as wide as asked for, or as the terminal."""
    if width is None and not sys.stdout.isatty():
        width = WIDTH
    return Console(width=width, highlight=False, markup=False)


def print_json(document: Any) -> None:
    """Prints a document as strict JSON.

    Raises:
        ValueError: it holds NaN or an infinity, which JSON does not know.
    """
    print(json.dumps(document, indent=2, allow_nan=False))

"""Where a package that brings data is installed."""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from workloads.workload import DataUnavailableError


def folder_of(package: str, *, missing: str) -> Path:
    """Returns the folder of packages that one is installed in.

    Args:
        package: its name.
        missing: what to say where it is not installed.

    Raises:
        DataUnavailableError: it is not installed.
    """
    try:
        return _folder(package, tuple(sys.path))
    except PackageNotFoundError as error:
        raise DataUnavailableError(missing) from error


@lru_cache(maxsize=16)
def _folder(package: str, searched: tuple[str, ...]) -> Path:
    return Path(str(distribution(package).locate_file("")))

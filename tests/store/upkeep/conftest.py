"""The tests of the upkeep run on every back end, and on files that lie in no folder."""

from __future__ import annotations

import sys
from pathlib import Path

import memory_files
import pytest


@pytest.fixture(
    params=["folder", "memory", "bucket", pytest.param("server", marks=pytest.mark.postgres)]
)
def location(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Returns the place of a store that does not exist yet."""
    if request.param == "folder":
        return str(tmp_path / "ergebnisse ✓ 100%")
    if request.param == "bucket":
        monkeypatch.setenv("SWEEPER_FILES", request.getfixturevalue("s3"))
        return f"sqlite:///{tmp_path}/database.db"
    if request.param == "memory":
        monkeypatch.setitem(sys.modules, "sweeper.store.files.memory", memory_files)
        monkeypatch.setenv("SWEEPER_FILES", f"memory://{tmp_path}/")
        return f"sqlite:///{tmp_path}/database.db"
    found: str = request.getfixturevalue("postgres")
    return found

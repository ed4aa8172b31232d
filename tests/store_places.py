"""Every test that asks for ``store`` or ``location`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from sweeper.store.database import Database
from sweeper.store.location import locate
from sweeper.store.store import Store


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Returns the place of a store that does not exist yet."""
    if request.param == "sqlite":
        return str(tmp_path / "ergebnisse ✓ 100%")
    found: str = request.getfixturevalue("postgres")
    return found


@pytest.fixture
def store(location: str) -> Iterator[Store]:
    """Yields an open, empty store."""
    with Store.open(location, create=True) as opened:
        yield opened


@contextmanager
def written(location: str) -> Iterator[Connection]:
    """Yields a connection inside a writing transaction, as another program would hold one."""
    database = Database(locate(location))
    try:
        with database.write() as connection:
            yield connection
    finally:
        database.close()

"""A store of finished studies, made once, and fresh ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from planted_studies import Planted

from sweeper.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Yields an empty store."""
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Yields a store with the finished study ``planted``, for reading."""
    with Store.open(tmp_path_factory.mktemp("report") / "store", create=True) as opened:
        Planted(curves=True).save(opened)
        yield opened

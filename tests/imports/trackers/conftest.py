"""Trackers are read into a store in a folder; the other places are tested a folder above."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tracked import Site, Take

from sweeper.imports.importing import Imported, import_results
from sweeper.imports.request import ImportRequest
from sweeper.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


@pytest.fixture
def take(store: Store) -> Take:
    """Imports a place as the study ``theirs``, by width and lr unless told otherwise."""

    def taken(place: Path | str, objective: str, **more: Any) -> Imported:
        options: dict[str, Any] = {"scales": ("width",), "hyperparameters": ("lr",)} | more
        request = ImportRequest(file=place, study="theirs", objective=objective, **options)
        return import_results(store, request)

    return taken


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as serving:
        yield serving

"""A store that is open: where it is, and how it is opened and closed."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from sweeper.store.database import Database
from sweeper.store.files import Paths
from sweeper.store.integrity import require_whole
from sweeper.store.location import locate
from sweeper.store.schema import open_database


class OpenStore:
    """A connection to the database of a store, and the paths of the files that go with it.

    Args:
        database: its database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(
        cls,
        location: str | Path | None = None,
        *,
        create: bool = True,
        read_only: bool = False,
        checked: bool = False,
    ) -> Self:
        """Returns the store at a place, made or migrated if need be.

        Args:
            location: a folder or a database URL; None takes ``SWEEPER_STORE``, and failing
                that the folder ``sweeper-results``.
            create: make the store where there is none.
            read_only: refuse all writes; never creates nor migrates.
            checked: read the whole of an SQLite file first, so that damage is noticed before
                anything is built on it.

        Raises:
            RequestError: the location is neither a folder nor the URL of a known database.
            StoreError: there is no store, or it is out of reach, damaged, not writable, of
                another program or of a newer sweeper.
        """
        database = open_database(locate(location), create=create, read_only=read_only)
        try:
            if checked:
                require_whole(database, thorough=False)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections to the database."""
        self._database.close()

    @property
    def paths(self) -> Paths:
        """The owner of the paths of curves and checkpoints."""
        return self._database.location.paths

    @property
    def shown(self) -> str:
        """The store's place for messages, without a password."""
        return self._database.location.shown

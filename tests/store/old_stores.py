"""Databases of earlier schemas, with the data that the fixtures hold."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy import MetaData, Table, inspect

from sweeper.store.database import Database
from sweeper.store.location import locate
from sweeper.store.schema import MIGRATIONS
from sweeper.store.tables import SCHEMA_TABLE

FIXTURES = Path(__file__).parent / "fixtures"

ORDER = (
    "studies",
    "trials",
    "study_trials",
    "attempts",
    "results",
    "marks",
    "probes",
    "estimates",
    "wishes",
    "controllers",
)
"""The tables, each after those that it refers to."""


def restore_baseline(location: str, revision: str) -> None:
    """Makes the database of a fixture at a place where there is none."""
    place = locate(location)
    text = (FIXTURES / f"baseline-{revision}.sql").read_text(encoding="utf-8")
    if place.sqlite_file is None:
        _copy_to_server(location, revision, text)
        return
    place.sqlite_file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(place.sqlite_file)) as link:
        link.executescript(text)


def _copy_to_server(location: str, revision: str, text: str) -> None:
    """The fixtures are SQLite's; the rows are copied into a schema that the migrations made."""
    source = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.StaticPool)
    database = Database(locate(location))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with source.connect() as here, database.write() as there:
        assert isinstance(here.connection.driver_connection, sqlite3.Connection)
        here.connection.driver_connection.executescript(text)
        config.attributes["connection"] = there
        command.upgrade(config, revision)
        for name in filter(inspect(here).has_table, ORDER):
            rows = here.execute(Table(name, MetaData(), autoload_with=here).select()).mappings()
            table = Table(name, MetaData(), autoload_with=there)
            if found := [dict(row) for row in rows]:
                there.execute(table.insert(), found)
        found_revision = here.exec_driver_sql(f"select version_num from {SCHEMA_TABLE}").scalar()
        assert found_revision == revision
    source.dispose()
    database.close()

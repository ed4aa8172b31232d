"""The schema of a database: finding it, creating it, migrating it forward."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from sqlalchemy import Connection, func, inspect, select, text

from sweeper import trial
from sweeper.errors import StoreError
from sweeper.store.database import Database
from sweeper.store.faults import UTF8, network_warning
from sweeper.store.files import TEMPORARY_PREFIX, disk_fault, flush
from sweeper.store.location import Location
from sweeper.store.owner import signature, signer_has_ended
from sweeper.store.tables import SCHEMA, SCHEMA_TABLE, metadata, trials

log = logging.getLogger("sweeper.store")

MIGRATIONS = Path(__file__).parent / "migrations"


def open_database(location: Location, *, create: bool, read_only: bool) -> Database:
    """Returns the database of a store, at this code's schema.

    Args:
        location: where it is.
        create: make it where there is none.
        read_only: never write, and so never create nor migrate.

    Raises:
        StoreError: there is none, it is damaged, out of reach, another program's, or newer.
    """
    file = location.sqlite_file
    if file is not None:
        _require_file(location, file, create=create and not read_only)
        if create and not read_only and (warning := network_warning(file)):
            log.warning(warning)
    database = Database(location, read_only=read_only)
    try:
        _bring_to_schema(database, create=create and not read_only)
        _require_known_keys(database)
    except BaseException:
        database.close()
        raise
    return database


def exists(location: Location) -> bool:
    """Returns whether there is a store, without making or changing anything.

    Raises:
        StoreError: the place cannot be looked at.
    """
    file = location.sqlite_file
    if file is not None and not file.exists():
        return False
    database = Database(location, read_only=True)
    try:
        with database.read() as connection:
            return _revision(connection) is not None
    finally:
        database.close()


def _require_file(location: Location, file: Path, *, create: bool) -> None:
    """Sees to it that the SQLite file is there, and that it is not an emptied one."""
    if create:
        _forget_unfinished(file)
    try:
        size = file.stat().st_size
    except FileNotFoundError:
        if not create:
            raise _missing(location) from None
        _refuse_log_of_lost_file(file)
        _create_file(location, file)
        return
    except OSError as error:
        raise disk_fault("open", file, error) from error
    if size == 0:
        raise StoreError(
            f"store {file}: the file is empty, so it was cut short by something else than "
            "sweeper; restore it from a backup, or move it away (with the files beside it whose "
            "names end in -wal and -shm) and run the studies again: finished results are taken "
            "over from their curve files"
        )


def _refuse_log_of_lost_file(file: Path) -> None:
    """SQLite would play the log of a lost database into the new one."""
    log = Path(f"{file}-wal")
    if log.exists() and log.stat().st_size > 0:
        raise StoreError(
            f"store {file}: the file is missing, but its log {log.name} is there; put the file "
            "back from a backup, or move the log away, too, and run the studies again: finished "
            "results are taken over from their curve files"
        )


def _create_file(location: Location, file: Path) -> None:
    """Makes a whole database aside and links it into place, so that no one ever sees half a
    store and two processes that start at once agree on one."""
    aside = file.with_name(f"{TEMPORARY_PREFIX}{signature()}-{file.name}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.touch(exist_ok=False)
        database = Database(Location(location.url.set(database=str(aside)), location.paths))
        try:
            _migrate(database)
        finally:
            database.close()
        _put_in_place(aside, file)
        flush(file.parent)
    except OSError as error:
        raise disk_fault("create", file, error) from error
    finally:
        for leftover in (aside, Path(f"{aside}-wal"), Path(f"{aside}-shm")):
            leftover.unlink(missing_ok=True)


def _forget_unfinished(file: Path) -> None:
    """Removes the halves of databases that killed processes left."""
    for path in file.parent.glob(f"{TEMPORARY_PREFIX}*-{file.name}*"):
        signed = path.name.removeprefix(TEMPORARY_PREFIX).partition("-")[0]
        if signer_has_ended(signed):
            path.unlink(missing_ok=True)


def _put_in_place(aside: Path, file: Path) -> None:
    try:
        os.link(aside, file)
    except FileExistsError:
        return  # another process was faster, and its store is as good
    except OSError:
        # A file system without hard links; here two processes that create one store in the
        # same instant could replace each other's empty database.
        os.rename(aside, file)


def _bring_to_schema(database: Database, *, create: bool) -> None:
    with database.read() as connection:
        if not database.is_sqlite:
            _require_utf8(database, connection)
        revision = _revision(connection)
        foreign = revision is None and _foreign_tables(connection)
    if revision == SCHEMA:
        return
    if revision is None:
        _require_empty(database, foreign=foreign, create=create)
    else:
        _require_older(database, revision)
    _migrate(database)


def _require_utf8(database: Database, connection: Connection) -> None:
    encoding = connection.execute(text("show server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise StoreError(
            f"store {database.location.shown}: its encoding is {encoding}, which does not hold "
            f"every text; {UTF8}"
        )


def _require_empty(database: Database, *, foreign: bool, create: bool) -> None:
    """Sees to it that a database without our mark is one in which a store may be made."""
    if foreign:
        raise StoreError(
            f"store {database.location.shown}: it holds tables of another program and none of "
            "sweeper's; give sweeper a database of its own"
        )
    if database.is_sqlite or not create:  # an SQLite file that is a store was made whole
        raise _missing(database.location)


def _require_older(database: Database, revision: str) -> None:
    """Sees to it that a store of another schema can be migrated, here and now."""
    shown = database.location.shown
    if revision not in known_revisions():
        raise StoreError(
            f"store {shown}: its schema is {revision!r} and this sweeper knows up to {SCHEMA!r}; "
            "a newer sweeper has written it, so upgrade sweeper here"
        )
    if database.read_only:
        raise StoreError(
            f"store {shown}: its schema {revision!r} is older than {SCHEMA!r} and it was opened "
            "for reading alone; `sweeper status` migrates it where you may write"
            + (", as in a copy of the folder" if database.is_sqlite else "")
        )


def _require_known_keys(database: Database) -> None:
    """Refuses a store whose trials have keys that this code could not make again."""
    with database.read() as connection:  # the end of an index
        newest = connection.execute(select(func.max(trials.c.hash_version))).scalar()
    if newest is not None and newest > trial.HASH_VERSION:
        raise StoreError(
            f"store {database.location.shown}: it has keys of version {newest} and this sweeper "
            f"makes version {trial.HASH_VERSION}; a newer sweeper has written it, so upgrade "
            "sweeper here"
        )


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(SCHEMA_TABLE):
        return None
    found = connection.execute(text(f"select version_num from {SCHEMA_TABLE}")).scalar()
    return None if found is None else str(found)


def _foreign_tables(connection: Connection) -> bool:
    """Whether tables stand where ours would be made, without our schema's mark."""
    return bool(set(inspect(connection).get_table_names()) & set(metadata.tables))


def _missing(location: Location) -> StoreError:
    return StoreError(
        f"store {location.shown}: there is no store here; `sweeper run STUDY.yaml` makes one, or "
        "name another place with --store or SWEEPER_STORE"
    )


def known_revisions() -> set[str]:
    """Returns the schemas that this code can migrate from."""
    from alembic.script import ScriptDirectory  # imported here: opening a store is fast

    return {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}


def _migrate(database: Database) -> None:
    """Runs the missing migrations inside one writing transaction, so that several processes
    that open an old store at once migrate it once."""
    from alembic import command  # imported here: opening a store is fast
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def missing_rights(connection: Connection) -> list[str]:
    """Returns what this role may not do with the tables of a PostgreSQL database, such as ``insert
    on results``; empty on SQLite, where to have begun to write is to have every right."""
    if connection.dialect.name == "sqlite":
        return []
    return [
        f"{right} on {table}"
        for table in metadata.tables
        for right in ("select", "insert", "update", "delete")
        if not connection.execute(select(func.has_table_privilege(table, right))).scalar()
    ]

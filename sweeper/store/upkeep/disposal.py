"""A study called otherwise, or taken out of the store with what is its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from sweeper.errors import RequestError
from sweeper.store.attempts import holders
from sweeper.store.controllers import controllers_of
from sweeper.store.database import CHUNK, Database, current_time, rows_in
from sweeper.store.files import FileStore, Paths
from sweeper.store.studies import find_study, member_keys
from sweeper.store.tables import (
    attempts,
    controllers,
    estimates,
    marks,
    results,
    studies,
    study_trials,
    trials,
    wishes,
)
from sweeper.store.upkeep.copies import AT_ONCE

OF_STUDY = (study_trials, estimates, wishes, controllers)
"""The tables whose rows belong to a study."""

OF_TRIAL = (marks, results, attempts, wishes)
"""The tables whose rows belong to a trial, those first that refer to others."""


def rename_study(database: Database, study: str, name: str) -> None:
    """Calls a study otherwise; its trials and results are as they were.

    Raises:
        RequestError: somebody runs it, or a study of the new name is there.
        UnknownNameError: there is no such study.
    """
    with database.write() as connection:
        old = find_study(connection, study)
        if name == study:
            raise RequestError(f"study {study} is called so already")
        if connection.scalar(select(studies.c.name).where(studies.c.name == name)) is not None:
            raise RequestError(
                f"there is a study {name} in the store already; choose another name, or take "
                f"that one away with sweeper delete {name}"
            )
        _require_resting(connection, study, _own_keys(connection, study), "rename")
        here = studies.c.name == study
        row = dict(connection.execute(select(studies).where(here)).one()._mapping)
        document = dict(old.document) | {"name": name}
        connection.execute(insert(studies).values(row | {"name": name, "document": document}))
        for table in OF_STUDY:
            own = update(table).where(table.c.study == study)
            connection.execute(own.values(study=name))
        connection.execute(delete(studies).where(here))
    files = database.location.paths.files
    for each in files.infos(_checks(study)):
        files.rename(each, _checks(name) + each.removeprefix(_checks(study)))


@dataclass(frozen=True, kw_only=True)
class Disposal:
    """What goes when a study is deleted, and what stays.

    Attributes:
        trials: trials that no other study has, which go.
        results: results among them.
        shared: trials that another study has too, which stay with their results.
        files: files of the trials that go: curves and checkpoints.
        size: their bytes.
    """

    trials: int
    results: int
    shared: int
    files: int
    size: int


def disposal_of(database: Database, study: str) -> Disposal:
    """Returns what :func:`delete_study` would take away.

    Raises:
        RequestError: somebody runs the study.
        UnknownNameError: there is no such study.
    """
    with database.read() as connection:
        return _survey(connection, database.location.paths, study)[0]


def delete_study(database: Database, study: str) -> Disposal:
    """Takes a study out of the store: its trials but for those that another study has too, their
    attempts, results and marks, their curves and checkpoints, its checks and estimates.

    Until it is gone nobody can run it, as after ``sweeper stop``. Files go first: a curve that
    outlived its row would be taken over by the next run. So the same call goes on with one that
    was cut short.

    Raises:
        RequestError: somebody runs the study.
        UnknownNameError: there is no such study.
        StoreError: a file cannot be removed.
    """
    paths, checks = database.location.paths, _checks(study)
    with database.write() as connection:
        found, names = _survey(connection, paths, study)
        connection.execute(delete(wishes).where(wishes.c.study == study))
        said: dict[str, Any] = {"wish": "stop", "made_by": "sweeper delete"}
        said |= {"study": study, "made_at": current_time(connection)}
        connection.execute(insert(wishes).values(said))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(paths.files.remove, names))
    for folder in [*sorted({_folder(n) for n in names if n.startswith("checkpoints/")}), checks]:
        paths.files.remove(folder)
    with database.write() as connection:
        own = _own_keys(connection, study)
        _require_resting(connection, study, own, "delete")
        for table in OF_STUDY:
            connection.execute(delete(table).where(table.c.study == study))
        for table in OF_TRIAL:
            _delete(connection, table, table.c.trial_key, own)
        _delete(connection, trials, trials.c.key, own)
        connection.execute(delete(studies).where(studies.c.name == study))
    return found


def _survey(connection: Connection, paths: Paths, study: str) -> tuple[Disposal, list[str]]:
    """What would go, and the names of its files."""
    every = member_keys(connection, study)
    own = _own_keys(connection, study)
    _require_resting(connection, study, own, "delete")
    ended = rows_in(connection, select(results.c.trial_key), results.c.trial_key, own)
    number = len(list(ended))
    names, size = _files_of(paths.files, own)
    return Disposal(
        trials=len(own),
        results=number,
        shared=len(every) - len(own),
        files=len(names),
        size=size,
    ), names


def _own_keys(connection: Connection, study: str) -> list[str]:
    """The trials that no other study has, not even hidden."""
    key, named = study_trials.c.trial_key, study_trials.c.study
    here = select(key).where(named == study)
    others = select(key).where(named != study)
    return sorted(connection.scalars(here.where(key.not_in(others)).distinct()))


def _files_of(files: FileStore, keys: Collection[str]) -> tuple[list[str], int]:
    """The files of trials, those of withdrawn results and unfinished ones too, and their bytes."""
    wanted = set(keys)
    found = {
        name: info.size
        for folder in ("curves/", "checkpoints/", "logs/")
        for name, info in files.infos(folder).items()
        if not wanted.isdisjoint(_keys_in(name))
    }
    return list(found), sum(found.values())


def _folder(name: str) -> str:
    return name.rpartition("/")[0] + "/"


def _keys_in(name: str) -> Iterable[str]:
    """What may be the key of a trial in the name of one of its files."""
    return (part.rpartition("-")[2][:64] for part in name.split("/")[2:])


def _require_resting(connection: Connection, study: str, own: Sequence[str], verb: str) -> None:
    """Raises RequestError if somebody runs a study, or one of the trials that it alone has."""
    who = {
        f"process {each.pid} on {each.host}"
        for each in controllers_of(connection, study)
        if each.alive
    }
    running = holders(connection, own)
    who |= {f"process {each.pid} on {each.host}" for each in running.values()}
    if who:
        raise RequestError(
            f"study {study} is being run ({', '.join(sorted(who))}); sweeper stop {study} ends "
            f"that with checkpoints, then {verb} it"
        )


def _delete(connection: Connection, table: Table, column: Any, keys: list[str]) -> None:
    for start in range(0, len(keys), CHUNK):
        connection.execute(delete(table).where(column.in_(keys[start : start + CHUNK])))


def _checks(study: str) -> str:
    return f"checks/{study}/"

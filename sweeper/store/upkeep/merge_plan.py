"""What has to be written to one store so that it has what another one has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, Row, delete, func, insert, select, tuple_, update

from sweeper.errors import RequestError
from sweeper.store.attempts import RUNNING, holders, next_fence
from sweeper.store.database import CHUNK, present_in, rows_in
from sweeper.store.files import Paths
from sweeper.store.tables import (
    attempts,
    estimates,
    marks,
    probes,
    results,
    studies,
    study_trials,
    trials,
)
from sweeper.store.upkeep.copies import key_of, rows_there

Side = Literal["here", "there"]

FREE = {"question", "claims", "resources", "budget", "check"}
"""Sections of a study that may differ between two stores: they change no trial."""

SAME = ("outcome", "metrics", "step", "tokens")
"""Columns by which two results of one trial are the same; times and machines may differ."""

LISTED = 5
"""Trials that a message names."""


@dataclass(frozen=True, kw_only=True)
class Differing:
    """A trial of which both stores have a result, and not the same one.

    Attributes:
        key: key of the trial.
        here, there: what the results are, outcome and objective.
    """

    key: str
    here: tuple[str, float | None]
    there: tuple[str, float | None]


@dataclass(kw_only=True)
class Merge:
    """What a merge comes to.

    Attributes:
        studies: names of the studies that this store lacked.
        extended: names of those that it had, and that have more trials now.
        trials: trials that it lacked.
        results: results that were taken in.
        same: trials of which both stores had the same result; that of this store stays.
        differing: those of which they had another one.
        withdrawn: results that were withdrawn here, and stay so.
        attempts: attempts that it lacked.
        checkpoints: trials without a result that can go on from a checkpoint of the other store.
        files: curves, checks and tables that go with all that.
        missing_curves: curves that taken results name and that the other store lacks.
    """

    studies: list[str] = field(default_factory=list)
    extended: list[str] = field(default_factory=list)
    trials: int = 0
    results: int = 0
    same: int = 0
    differing: list[Differing] = field(default_factory=list)
    withdrawn: int = 0
    attempts: int = 0
    checkpoints: int = 0
    files: int = 0
    missing_curves: int = 0


@dataclass(frozen=True)
class CopiedFile:
    """A file that goes with the rows, or the folder of a trial's checkpoints, and its name
    here."""

    name: str
    to: str


class Plan:
    """What has to be written here, as both stores are now.

    Args:
        here: inside a transaction of this store.
        there: inside one of the other store.
        names: its studies that are taken.
        keep: which of two results counts.
        beside: names of its checks, of what its programs printed, and of its tables.
        begun: keys of its trials that have checkpoints.
    """

    def __init__(
        self,
        here: Connection,
        there: Connection,
        names: Sequence[str],
        keep: Side | None,
        *,
        beside: Sequence[str],
        begun: Collection[str],
    ) -> None:
        self.found = Merge()
        self.files: list[CopiedFile] = []
        self._here, self._keep = here, keep
        self._beside = frozenset(beside)
        self._undecided: list[Differing] = []
        self._new: list[tuple[Any, list[dict[str, Any]]]] = []
        self._results: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
        self._replaced: list[str] = []
        self._plan_studies(there, names)
        keys = self._plan_trials(there, names)
        self._plan_attempts(there, keys, begun)
        self._plan_notes(there)
        wanted = ("tables/", *(f"checks/{name}/" for name in self.found.studies))
        self.files += [CopiedFile(name, name) for name in beside if name.startswith(wanted)]
        self.found.files = len(self.files) - self.found.checkpoints

    def require_agreement(self) -> None:
        """Raises RequestError if results differ and nothing says which counts."""
        if not (found := self._undecided):
            return
        listed = "; ".join(
            f"{each.key[:12]} is {_said(each.here)} here and {_said(each.there)} there"
            for each in found[:LISTED]
        )
        more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
        who = "1 trial has" if len(found) == 1 else f"{len(found)} trials have"
        raise RequestError(
            f"{who} another result there "
            f"({listed}{more}); nothing was merged: --keep here lets those of this store count, "
            "--keep there those of the other one; both are kept as attempts"
        )

    def write(self) -> None:
        """Writes all of it; the files are there already."""
        for table, rows in self._new:
            for start in range(0, len(rows), CHUNK):
                self._here.execute(insert(table), rows[start : start + CHUNK])
        ids = self._ids([(row["trial_key"], row["number"]) for row, _ in self._results])
        for start in range(0, len(self._replaced), CHUNK):
            keys = self._replaced[start : start + CHUNK]
            for table in (marks, results):
                self._here.execute(delete(table).where(table.c.trial_key.in_(keys)))
            ended = update(attempts).where(attempts.c.trial_key.in_(keys))
            self._here.execute(ended.values(accepted=False))
        accepted, measured, given = [], [], []
        for row, of_marks in self._results:
            at = ids[row["trial_key"], row.pop("number")]
            given.append(at)
            accepted.append(row | {"attempt_id": at})
            measured += [mark | {"attempt_id": at} for mark in of_marks]
        for table, rows in ((results, accepted), (marks, measured)):
            for start in range(0, len(rows), CHUNK):
                self._here.execute(insert(table), rows[start : start + CHUNK])
        for start in range(0, len(given), CHUNK):
            own = update(attempts).where(attempts.c.id.in_(given[start : start + CHUNK]))
            self._here.execute(own.values(accepted=True, excused=False))

    def _ids(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        found: dict[tuple[str, int], int] = {}
        columns = attempts.c
        statement = select(columns.trial_key, columns.number, columns.id)
        for start in range(0, len(places), CHUNK // 2):
            some = places[start : start + CHUNK // 2]
            here = statement.where(tuple_(columns.trial_key, columns.number).in_(some))
            found |= {(row.trial_key, row.number): row.id for row in self._here.execute(here)}
        return found

    # Studies and trials

    def _plan_studies(self, there: Connection, names: Sequence[str]) -> None:
        theirs = list(rows_in(there, select(studies), studies.c.name, names))
        ours = {r.name: r for r in rows_in(self._here, select(studies), studies.c.name, names)}
        unlike = {
            row.name: parts
            for row in theirs
            if row.name in ours and (parts := _unlike(ours[row.name], row))
        }
        if unlike:
            raise RequestError(
                "both stores have "
                + "; ".join(f"study {name}, with another {said}" for name, said in unlike.items())
                + "; nothing was merged: give one of them another name, as in sweeper rename "
                f"{next(iter(unlike))} NEW --store OTHER"
            )
        new = [dict(row._mapping) for row in theirs if row.name not in ours]
        self.found.studies = [row["name"] for row in new]
        self._new.append((studies, new))

    def _plan_trials(self, there: Connection, names: Sequence[str]) -> list[str]:
        ordered = select(study_trials).order_by(study_trials.c.position)
        places = list(rows_in(there, ordered, study_trials.c.study, names))
        keys = list(dict.fromkeys(row.trial_key for row in places))
        known = present_in(self._here, trials.c.key, keys)
        absent = [key for key in keys if key not in known]
        new = [dict(r._mapping) for r in rows_in(there, select(trials), trials.c.key, absent)]
        self.found.trials = len(new)
        at = study_trials.c.study
        last = select(at, func.max(study_trials.c.position).label("last")).group_by(at)
        ends = {row.study: row.last + 1 for row in rows_in(self._here, last, at, names)}
        present = rows_there(self._here, study_trials, places)
        added = []
        for row in places:
            if key_of(study_trials, row) in present:
                continue
            place = dict(row._mapping)
            if row.study in ends:
                place["position"], ends[row.study] = ends[row.study], ends[row.study] + 1
            added.append(place)
        more = {row["study"] for row in added} - {*self.found.studies}
        self.found.extended = [name for name in names if name in more]
        self._new += [(trials, new), (study_trials, added)]
        return keys

    # Attempts and results

    def _plan_attempts(
        self, there: Connection, keys: Sequence[str], begun: Collection[str]
    ) -> None:
        ordered = select(attempts).order_by(attempts.c.trial_key, attempts.c.number)
        ended = ordered.where(attempts.c.state != RUNNING)
        theirs = list(rows_in(there, ended, attempts.c.trial_key, keys))
        ours = list(rows_in(self._here, ordered, attempts.c.trial_key, keys))
        known = {_origin(row): row for row in ours}
        last: dict[str, int] = {}
        for row in ours:
            last[row.trial_key] = max(row.number, last.get(row.trial_key, 0))
        fence = next_fence(self._here)
        added: list[dict[str, Any]] = []
        numbers: dict[int, int] = {}
        met: dict[int, Row[Any]] = {}
        for row in theirs:
            if (mine := known.get(_origin(row))) is not None:
                numbers[row.id], met[row.id] = mine.number, mine
                continue
            number = row.number if row.trial_key not in last else last[row.trial_key] + 1
            if row.trial_key in last:
                last[row.trial_key] = number
            numbers[row.id] = number
            if (printed := Paths.output(row.trial_key, row.number)) in self._beside:
                self.files.append(CopiedFile(printed, Paths.output(row.trial_key, number)))
            new = {name: v for name, v in row._mapping.items() if name != "id"}
            added.append(new | {"number": number, "accepted": False, "fence": fence + len(added)})
        self.found.attempts = len(added)
        self._new.append((attempts, added))
        here = _by_key(rows_in(self._here, select(results), results.c.trial_key, keys))
        over = _by_key(rows_in(there, select(results), results.c.trial_key, keys))
        self._plan_results(there, here, over, numbers, met)
        open_ = [key for key in keys if key in begun and key not in here and key not in over]
        self._plan_checkpoints(open_)

    def _plan_results(
        self,
        there: Connection,
        here: dict[str, Row[Any]],
        over: dict[str, Row[Any]],
        numbers: dict[int, int],
        met: dict[int, Row[Any]],
    ) -> None:
        told = _marks_of(there, over)
        both = [key for key in over if key in here]
        mine = _marks_of(self._here, both)
        for key, row in over.items():
            if row.attempt_id not in numbers:
                continue  # a damaged store, which sweeper verify mends
            before = met.get(row.attempt_id)
            if key not in here:
                if before is not None and before.excused:
                    self.found.withdrawn += 1
                    continue
                self.found.results += 1
                self._take(row, told.get(key, []), numbers[row.attempt_id])
            elif _alike(here[key], row) and _measured(mine, key) == _measured(told, key):
                self.found.same += 1
            else:
                self._decide(here[key], row, told.get(key, []), numbers[row.attempt_id], before)

    def _decide(
        self,
        ours: Row[Any],
        row: Row[Any],
        measured: list[Row[Any]],
        number: int,
        before: Row[Any] | None,
    ) -> None:
        """Two results of one trial that differ: what was decided before needs no word again."""
        differing = Differing(
            key=row.trial_key,
            here=(ours.outcome, ours.objective),
            there=(row.outcome, row.objective),
        )
        self.found.differing.append(differing)
        if self._keep == "there":
            self._replaced.append(row.trial_key)
            self._take(row, measured, number)
        elif before is None:
            if self._keep is None:
                self._undecided.append(differing)
            self._bring(row, number)

    def _take(self, row: Row[Any], measured: list[Row[Any]], number: int) -> None:
        curve = None if row.curve is None else self._bring(row, number)
        result = {name: v for name, v in row._mapping.items() if name != "attempt_id"}
        rows = [
            {name: v for name, v in mark._mapping.items() if name != "attempt_id"}
            for mark in measured
        ]
        self._results.append((result | {"curve": curve, "number": number}, rows))

    def _bring(self, row: Row[Any], number: int) -> str:
        """Has the curve of a result come, under the number that its attempt has here."""
        name = Paths.curve(row.trial_key, number)
        if row.curve is not None:
            self.files.append(CopiedFile(row.curve, name))
        return name

    def _plan_checkpoints(self, keys: Sequence[str]) -> None:
        """Checkpoints of trials without a result anywhere, which nobody runs here."""
        busy = holders(self._here, keys)
        folders = [Paths.checkpoint_folder(key) for key in keys if key not in busy]
        self.found.checkpoints = len(folders)
        self.files += [CopiedFile(folder, folder) for folder in folders]

    # Speeds and estimates

    def _plan_notes(self, there: Connection) -> None:
        speeds = list(there.execute(select(probes)))
        known = rows_there(self._here, probes, speeds)
        absent = [dict(r._mapping) for r in speeds if key_of(probes, r) not in known]
        of_new = rows_in(there, select(estimates), estimates.c.study, self.found.studies)
        made = [{n: v for n, v in row._mapping.items() if n != "id"} for row in of_new]
        self._new += [(probes, absent), (estimates, made)]


def _said(result: tuple[str, float | None]) -> str:
    outcome, value = result
    return outcome if value is None else f"{value:.6g}"


def _unlike(ours: Row[Any], theirs: Row[Any]) -> str:
    """What two studies of one name do not share; empty if that changes no trial."""
    columns = ("workload", "scale", "metric", "goal")
    parts = [name for name in columns if getattr(ours, name) != getattr(theirs, name)]
    both = {*ours.document, *theirs.document} - FREE - {*columns}
    parts += sorted(n for n in both if ours.document.get(n) != theirs.document.get(n))
    return ", ".join(parts)


def _origin(row: Row[Any]) -> tuple[Any, ...]:
    """What tells an attempt from all others, whatever its number."""
    return (row.trial_key, row.owner, row.started_at, row.host, row.pid)


def _by_key(rows: Iterable[Row[Any]]) -> dict[str, Row[Any]]:
    return {row.trial_key: row for row in rows}


def _marks_of(connection: Connection, keys: Iterable[str]) -> dict[str, list[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = {}
    for row in rows_in(connection, select(marks), marks.c.trial_key, keys):
        found.setdefault(row.trial_key, []).append(row)
    return found


def _measured(found: dict[str, list[Row[Any]]], key: str) -> set[tuple[Any, ...]]:
    return {(row.step, row.tokens, row.metric, row.value) for row in found.get(key, ())}


def _alike(ours: Row[Any], theirs: Row[Any]) -> bool:
    return all(getattr(ours, name) == getattr(theirs, name) for name in SAME)

"""Result folders of Ray Tune: a folder a trial, with params.json and result.json or progress.csv.

A trial has the columns ``experiment``, ``name``, ``trial_id``, ``status``, ``config.*`` and the
metrics that it reported, over ``training_iteration``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from sweeper.imports.bounds import Limits, piece, reading, refusal, require_bounded, walk
from sweeper.imports.cells import as_cell, is_number
from sweeper.imports.json_records import Clash, record_of, records_of
from sweeper.imports.sheet import Wanted
from sweeper.imports.trackers.runs import Run, Tracked

STEP, STATE = "training_iteration", "status"
"""Columns of every run."""

_PARAMS, _PICKLE = "params.json", "params.pkl"
_RESULT, _PROGRESS = "result.json", "progress.csv"
_STATES = "experiment_state-"
_OWN = frozenset({STEP, "config", "done", "pid", "timestamp", "hostname", "node_ip", "date"})
"""What Ray adds to a result, and is no metric."""

_MARK = b'"training_iteration"'


def is_folder(folder: Path) -> bool:
    """Returns whether there are trials of Ray Tune below a folder, or it is that of an experiment
    whose trials left nothing."""
    return any(True for _ in _trials(folder)) or any(folder.glob(f"{_STATES}*.json"))


def _trials(folder: Path) -> Iterator[Path]:
    """Yields the folders of trials, which hold no others."""
    for place, folders, files in walk(folder):
        if _is_trial(place, files):
            folders.clear()
            yield place


def _is_trial(place: Path, files: list[str]) -> bool:
    if _PARAMS in files and (_PROGRESS in files or _PICKLE in files):
        return True
    if _RESULT not in files:
        return False
    with (place / _RESULT).open("rb") as source:
        return _MARK in source.readline(1 << 20)


def read_folder(folder: Path, wanted: Wanted, limits: Limits) -> Tracked:
    """Returns the trials of a folder, of one experiment or of several.

    Raises:
        RequestError: a file of it is not whole; names it and the line. Its trials left nothing.
    """
    runs: list[Run] = []
    states: dict[Path, Mapping[str, str]] = {}
    for place in _trials(folder):
        above = place.parent
        if above not in states:
            states[above] = _states(above, limits)
        name = place.name if above in (folder, folder.parent) else f"{above.name}/{place.name}"
        run = Run(name=name, said={"experiment": above.name, "name": place.name})
        _read_trial(run, place, states[above], wanted, limits)
        runs.append(run)
    if not runs:
        raise refusal(
            folder,
            f"is an experiment of Ray Tune whose trials left no {_RESULT} and no {_PROGRESS}: "
            "they reported nothing, or ran with TUNE_DISABLE_AUTO_CALLBACK_LOGGERS=1",
        )
    blind = sorted({place.name for place, found in states.items() if not found})
    notes = [f"{name} has no {_STATES}*.json: its trials without an error ended" for name in blind]
    return Tracked(path=folder, runs=runs, step=STEP, state=STATE, notes=tuple(notes))


def _states(folder: Path, limits: Limits) -> Mapping[str, str]:
    """How the trials of an experiment ended, by their folders' names, as its newest file says."""
    files = sorted(folder.glob(f"{_STATES}*.json"), key=lambda path: (path.stat().st_mtime, path))
    if not files:
        return {}
    require_bounded(files[-1], limits)
    found = {}
    try:
        with reading(files[-1]):
            document = json.loads(files[-1].read_text("utf-8"))
        for entry in document["trial_data"]:
            trial = json.loads(entry[0])
            found[str(trial["relative_logdir"])] = str(trial["status"])
    except (ValueError, KeyError, TypeError, IndexError) as fault:
        raise refusal(
            files[-1],
            f"is not the state of an experiment as Ray writes it: {fault}; without the "
            "file, its trials are read without their states",
        ) from fault
    return found


def _read_trial(
    run: Run, place: Path, states: Mapping[str, str], wanted: Wanted, limits: Limits
) -> None:
    params, results = place / _PARAMS, place / _RESULT
    if params.is_file():
        require_bounded(params, limits)
        for record in records_of(params, limits):
            run.said |= {f"config.{name}": value for name, value in record.items()}
    if results.is_file() and results.stat().st_size:
        require_bounded(results, limits)
        rows = _json_rows(results, limits)
    else:
        rows = _csv_rows(place / _PROGRESS, limits)
    for number, row in enumerate(rows, start=1):
        if "trial_id" in row:
            run.said.setdefault("trial_id", str(row["trial_id"]))
        if not params.is_file():
            config = {n: v for n, v in row.items() if n.startswith("config.")}
            run.said.update({n: v for n, v in config.items() if n not in run.said})
        step = as_cell(row.get(STEP, number))
        for name, text in row.items():
            if name.partition(".")[0] in _OWN or isinstance(text, Clash) or name in run.said:
                continue
            value = _number(text)
            if value is not None and is_number(step):
                run.log(name, int(step), value, follow=wanted.follows(name))
    failed = (place / "error.txt").exists() or (place / "error.pkl").exists()
    unknown = "ERROR" if failed else "TERMINATED" if run.last and not states else "RUNNING"
    run.said[STATE] = states.get(place.name, unknown)


def _number(text: str) -> float | None:
    """A reported value as a number; None of what is none."""
    try:
        return float(text.replace("_", "?"))
    except ValueError:
        return None


def _json_rows(path: Path, limits: Limits) -> Iterator[Mapping[str, str | Clash]]:
    """Yields the results of a file of a result a line."""
    with reading(path), path.open("rb") as source:
        for number, raw in enumerate(source, start=1):
            text = piece(path, raw.decode("utf-8"), limits)
            try:
                found = json.loads(text)
            except (ValueError, RecursionError) as fault:
                cut = "" if raw.endswith(b"\n") else ", and is cut off before its end"
                raise refusal(
                    path, f"line {number} is not JSON: {fault}{cut}; remove the line"
                ) from fault
            if not isinstance(found, dict):
                raise refusal(path, f"line {number} is no result of Ray, but {text[:40]!r}")
            yield record_of(found)


def _csv_rows(path: Path, limits: Limits) -> Iterator[Mapping[str, str | Clash]]:
    """Yields the results of a table of them, none if there is no table."""
    if not path.is_file():
        return
    require_bounded(path, limits)
    with reading(path), path.open(encoding="utf-8", newline="") as source:
        rows = csv.reader(source)
        try:
            header = [name.replace("/", ".") for name in next(rows, [])]
            for row in rows:
                if len(row) != len(header):
                    raise refusal(
                        path,
                        f"line {rows.line_num}: {len(row)} cells where the header names "
                        f"{len(header)} columns; remove the line",
                    )
                yield dict(zip(header, row, strict=True))
        except csv.Error as fault:
            raise refusal(path, f"line {rows.line_num}: {fault}; remove the line") from fault

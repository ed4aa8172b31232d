"""Results that were made elsewhere, from their file into the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sweeper.errors import RequestError, shown
from sweeper.imports.cells import Floats, Plain, coded, state
from sweeper.imports.duplicates import Deduplicated, deduplicated, numbered_repeats
from sweeper.imports.files import release_batches
from sweeper.imports.request import ImportRequest, found_columns, notes_on_logged
from sweeper.imports.sheet import Sheet, Wanted
from sweeper.imports.sources import open_sheet
from sweeper.imports.study import ImportedStudy
from sweeper.imports.table import COMPLETED, MISSING, Reader, Rows, first_rows
from sweeper.store import Changes, Store
from sweeper.words import is_batch_size, plural, setting


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import did.

    Attributes:
        study: name of the study.
        file: name of the file.
        sha256: of its bytes.
        rows: rows of the file.
        used: rows that are in the study.
        repeated: rows that said again what another row says.
        set_aside: rows without a result of a run that has one in another row.
        trials: trials by how they ended: completed, diverged, failed, missing.
        variants: names of the variants.
        columns: column of the file by name, where they are not the same.
        changes: what it did to the members of the study.
        curves: curves that were written.
        left_out: rows that have no log2: a hyperparameter is 0 there.
        notes: sentences on what was not taken as it stands in the file.
    """

    study: str
    file: str
    sha256: str
    rows: int
    used: int
    repeated: int
    set_aside: int
    trials: Mapping[str, int]
    variants: tuple[str, ...]
    columns: Mapping[str, str]
    changes: Changes
    curves: int
    left_out: int
    notes: tuple[str, ...]


def import_results(store: Store, request: ImportRequest) -> Imported:
    """Reads a file of results and keeps it as a study.

    A trial's key covers its settings, its seed and its result. So the same results give the same
    trials, from whatever file and in whatever order they come, and a corrected result is another
    trial: the earlier one is hidden and kept.

    Raises:
        RequestError: the file or the request is wrong, two rows of one trial differ, or trials
            would be hidden and ``request.replace`` is not set. Nothing is written then.
        StoreError: the store cannot be written.
    """
    sheet = open_sheet(request.file, wanted=_wanted(request))
    request = replace(request, file=sheet.path)  # without a password, for messages
    if sheet.goals and request.goal not in sheet.goals:
        other = "more" if request.goal == "min" else "less"
        raise RequestError(
            f"{sheet.path}: its studies are after {other} of their value; say so with --goal "
            f"{', '.join(sheet.goals)}"
        )
    request, found = _with_outcome(sheet, request)
    columns = found_columns(sheet.names, _in_columns(sheet, request), request.measured)
    found += notes_on_logged(columns, sheet.names)
    in_names, names = request.in_names, None
    if in_names is not None:
        names = in_names.column_of(sheet.names)
        columns |= dict.fromkeys(in_names.names, names)
    reader = Reader(request, columns, names, sheet.place)
    for batch in sheet.batches(list(dict.fromkeys(columns.values()))):
        reader.add(batch)
    release_batches()
    sorted_rows, cells = _one_row_each(sheet, reader, request)
    rows, short = _without_short_runs(sorted_rows.rows, cells, request)
    source = {"source": sheet.name, "sha256": sheet.digest()}
    imported = ImportedStudy(request, cells, rows, source, sheet.run_of)
    curves = imported.write_curves(store)
    changes = store.save_imported(
        imported.record(), imported.members(), imported.outcomes(), replace=request.replace
    )
    counts = imported.counts()
    return Imported(
        study=request.study,
        file=sheet.name,
        sha256=source["sha256"],
        rows=reader.seen,
        used=len(rows.row),
        repeated=sorted_rows.repeated,
        set_aside=sorted_rows.set_aside,
        trials=counts,
        variants=tuple(imported.variants),
        columns={name: column for name, column in columns.items() if name != column},
        changes=changes,
        curves=curves,
        left_out=reader.left_out,
        notes=(
            *(*sheet.notes, *found, *reader.notes(), *_short_words(sheet, rows, short, request)),
            *_not_run(counts["missing"] - len(short), request),
        ),
    )


NAMED = 3
"""Runs that a note names before it counts the others."""

SHORT = 0.99
"""Share of the length of the others of its place below which a run stopped early: less than
this is rounding to whole batches."""


def _without_short_runs(
    rows: Rows, cells: Sequence[tuple[Plain, ...]], request: ImportRequest
) -> tuple[Rows, dict[int, float]]:
    """Returns the rows, where the runs that stopped early count as missing, and the length that
    each of these would have to have, by the place of its last row.

    A run is as long as its tokens say, or else its steps. It stopped early if along every
    hyperparameter another run of the same settings got further: runs of other batch sizes have
    other numbers of steps by right, and along a batch size steps are not compared at all.
    """
    lengths = _lengths(rows)
    if request.any_length or request.holds_optima or not (request.tokens or request.step):
        return rows, {}
    last = np.append(first_rows(rows)[1:], len(rows.cell)) - 1
    done = last[(rows.kind[last] == COMPLETED) & np.isfinite(lengths[last])]
    if not len(done) or lengths[done].min() >= SHORT * lengths[done].max():
        return rows, {}
    owners = [cells[number] for number in rows.cell[done].tolist()]
    own = lengths[done]
    full = np.full(len(done), np.inf)
    for axis in _lengthwise(request):
        longest: dict[tuple[Plain, ...], float] = {}
        places = [tuple(v for i, v in enumerate(cell[:-1]) if i != axis) for cell in owners]
        for place, length in zip(places, own.tolist(), strict=True):
            longest[place] = max(length, longest.get(place, 0.0))
        full = np.minimum(full, [longest[place] for place in places])
    short = {int(done[i]): float(full[i]) for i in np.flatnonzero(own < SHORT * full)}
    kind = rows.kind.copy()
    kind[list(short)] = MISSING
    return replace(rows, kind=kind), short


def _lengths(rows: Rows) -> Floats:
    return rows.extras.get("tokens", rows.step.astype(np.float64))


def _lengthwise(request: ImportRequest) -> list[int | None]:
    """Returns the places in a cell of the hyperparameters along which runs have one length."""
    names = [name for name in request.hyperparameters if request.tokens or not is_batch_size(name)]
    return [request.settings.index(name) for name in names] or [None]


def _short_words(
    sheet: Sheet, rows: Rows, short: Mapping[int, float], request: ImportRequest
) -> list[str]:
    if not short:
        return []
    unit, lengths = "tokens" if request.tokens else "steps", _lengths(rows)
    some = [
        f"{sheet.place(int(rows.row[place]))} with {setting(float(lengths[place]))} of "
        f"{setting(full)}"
        for place, full in sorted(short.items(), key=lambda item: rows.row[item[0]])[:NAMED]
    ]
    more = f", and {len(short) - NAMED} more" if len(short) > NAMED else ""
    return [
        f"{plural(len(short), 'run')} stopped early and not counted as finished: "
        f"{', '.join(some)} {unit}{more}; --any-length takes runs of any length as results"
    ]


def _not_run(missing: int, request: ImportRequest) -> list[str]:
    if not missing:
        return []
    if request.outcome:
        return [f"{plural(missing, 'trial')} not run yet, or without a {request.objective}"]
    return [
        f"{plural(missing, 'trial')} with an empty objective, not run; if they diverged, write "
        "nan there, or say so in an --outcome column"
    ]


STATE_NAMES = ("state", "status")
"""How trackers call the column that says how a run ended, in small letters."""


def _with_outcome(sheet: Sheet, request: ImportRequest) -> tuple[ImportRequest, list[str]]:
    """Returns the request with the file's own column of how a run ended, and a sentence about it;
    as it is where the request names one, or where no column holds such words alone."""
    free = [name for name in sheet.names if name.lower() in STATE_NAMES]
    if request.outcome is not None or len(free) != 1 or free[0] in _asked(request):
        return request, []
    for batch in sheet.batches(free):
        _, cells = coded(batch[free[0]])
        if any(cell is None or state(cell) is None for cell in cells):
            return request, []
    told = f"column {free[0]} says how each run ended; --outcome names another column"
    return replace(request, outcome=free[0]), [told]


def _in_columns(sheet: Sheet, request: ImportRequest) -> list[str]:
    """Returns what was asked for and is no part of the runs' names.

    Raises:
        RequestError: something is both a column and a part of the names.
    """
    in_names = request.in_names.names if request.in_names is not None else ()
    asked = _asked(request)
    both = [name for name in in_names if name in asked and name in sheet.names]
    if both:
        raise RequestError(
            f"--name-pattern: {both[0]} is a column of the file too; call it otherwise in the "
            "pattern, or put * in its place"
        )
    return [name for name in asked if name not in in_names]


def _wanted(request: ImportRequest) -> Wanted:
    objective = None if request.holds_optima else request.objective
    places = [text for name, text in request.where if name == "experiment"]
    named = () if request.in_names is None else request.in_names.names
    return Wanted(
        names=tuple(_asked(request)),
        settings=tuple(name for name in request.settings if name not in named),
        objective=objective,
        step=request.step,
        outcome=request.outcome,
        experiments=tuple(places),
        history=request.history,
    )


def _asked(request: ImportRequest) -> list[str]:
    seed = [request.seed] if request.seed else []
    wheres = (name for name, _ in request.where)
    return [*request.settings, *seed, *request.measured, *wheres]


def _one_row_each(
    sheet: Sheet, reader: Reader, request: ImportRequest
) -> tuple[Deduplicated, list[tuple[Plain, ...]]]:
    if request.repeats:
        return numbered_repeats(reader.rows(), reader.cells)
    found = deduplicated(reader.rows())
    if isinstance(found, Deduplicated):
        return found, reader.cells
    first, second, count = found
    pair = _cells_of(sheet, (first, second))
    apart = [name for name in sheet.names if pair[0][name] != pair[1][name]]
    same = f"{', '.join(request.settings)}{' and ' + request.seed if request.seed else ''}"
    others = f" ({count} cells are like that)" if count > 1 else ""
    near = [name for name in apart if name in request.settings]
    apart = [name for name in apart if name not in near]
    for name in near:  # a rounding apart, and taken for one value
        same += f" ({name} {shown(pair[0][name])} and {shown(pair[1][name])} are a rounding apart)"
    where = f"rows {first} and {second}"
    if sheet.run_of is not None:
        where = f"runs {sheet.run_of(first)} and {sheet.run_of(second)}"
    raise RequestError(
        f"{sheet.path}: {where} agree in {same} and have different results"
        f"{others}; they differ in {', '.join(apart)}; name what tells them apart: --seed COLUMN, "
        "--step COLUMN, --variant or --fixed COLUMN, or choose rows with --where COLUMN=VALUE; "
        "--repeats takes them for runs that only their seeds tell apart"
    )


def _cells_of(sheet: Sheet, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Returns whole rows of a file, by their numbers from 1."""
    found: dict[int, dict[str, Any]] = {}
    names = [name for name, count in Counter(sheet.names).items() if count == 1]
    start = 0
    for batch in sheet.batches(names):
        size = len(batch[names[0]])
        for row in rows:
            if start < row <= start + size:
                place = row - start - 1
                found[row] = {name: str(batch[name][place].as_py()) for name in names}
        start += size
        if len(found) == len(set(rows)):
            break
    return [found[row] for row in rows]

"""Card of the ``replay`` workload, and its trainer: a trial is answered from a recorded table.

The settings beside those of :data:`SETTINGS` are the columns of the table: a column of numbers
is an axis, and ``where.COLUMN`` keeps the rows with one value. So the card that a study has is
made for its table (:meth:`ReplayCard.tailored`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from workloads.answers import AnswerTrainer
from workloads.replay.table import (
    CONTENT,
    STUDY,
    Surface,
    Table,
    find_table,
    read_table,
    surface_of,
)
from workloads.settings import completed, missing
from workloads.workload import (
    Card,
    Config,
    DataUnavailableError,
    Problem,
    Resolved,
    Setting,
    Tables,
)

if TYPE_CHECKING:
    from workloads.workload import TrainerFactory

SETTINGS = (
    Setting(
        name="table",
        kind="text",
        doc="CSV file with a heading, or study:NAME for the results of a study in the store; its "
        "columns of numbers are settings of the study.",
        required=True,
    ),
    Setting(name="loss", kind="text", doc="Column of the loss.", default="loss"),
    Setting(
        name="noise",
        kind="float",
        doc="Standard deviation of what seeds add, in the unit of the loss.",
        default=0.0,
        low=0,
    ),
    Setting(
        name="flops",
        kind="text",
        doc="Column of the training FLOPs; null for that of a study, or the square of the width.",
        default=None,
        optional=True,
    ),
    Setting(
        name="sha256",
        kind="text",
        doc="SHA-256 of the table; filled in, and where it is given, no other table will do.",
        default=None,
        optional=True,
    ),
)

TAKEN = frozenset({*(setting.name for setting in SETTINGS), "where", "seed", "sweep"})
"""Names that mean something else than a column."""


@dataclass(frozen=True)
class ReplayCard:
    """Card of the ``replay`` workload.

    Attributes:
        settings: all settings but ``seed``; those of the columns only once it is tailored.
        tables: finds tables that are no files of the user's; None finds none.
    """

    settings: tuple[Setting, ...] = SETTINGS
    tables: Tables | None = None
    name: str = "replay"
    version: str = "1.0.0"
    doc: str = (
        "Answers from a recorded table, interpolated in log2 of its axes; trains nothing. For "
        "trying a search in seconds, and a study on the results of an old one."
    )

    @property
    def metrics(self) -> Mapping[str, str]:
        """The loss of the table, by the name that every workload gives it."""
        return {"val_loss": "Loss of the table, in its unit, with the noise of the seed."}

    def with_tables(self, tables: Tables) -> Card:
        """Returns the card that finds the results of studies."""
        return replace(self, tables=tables)

    def tailored(self, fixed: Config) -> Card | Problem:
        """Returns the card with a setting for every column of the table that a study fixes."""
        path = fixed.get("table")
        if not isinstance(path, str) or not path.strip():
            return Problem(
                keys=("table",),
                message="table is required under `fixed`: a CSV file or study:NAME, whose columns "
                "of numbers are settings of the study",
            )
        try:
            table = find_table(path, self.tables)
        except DataUnavailableError as fault:
            return Problem(keys=("table",), message=str(fault))
        return replace(self, settings=_settings(table.path, table.digest))

    def problems(self, config: Config) -> list[Problem]:
        """Returns what of a config the table does not have."""
        if missing(SETTINGS, config):
            return [Problem(keys=("table",), message="table is required")]
        try:
            problem = _problem(_completed(config, self.tables), self.tables)
        except ValueError as fault:  # of a table that a variant has to itself
            problem = Problem(keys=("table",), message=str(fault))
        return [problem] if problem else []

    def resolve(self, config: Config) -> Resolved:
        """Returns the completed config with the digest of the table; a trial has one step of one
        token and the FLOPs of the table.

        Raises:
            ValueError: the config has a problem.
        """
        full = _completed(config, self.tables)
        if problem := _problem(full, self.tables):
            raise ValueError(problem.message)
        table = find_table(full["table"], self.tables)
        own = {setting.name for setting in SETTINGS}
        kept = {name: value for name, value in full.items() if name in own or value is not None}
        place = CONTENT + table.digest if _is_kept(full) else table.path
        kept |= {"table": place, "sha256": table.digest}
        flops = _flops(table, kept)
        assert flops is not None
        return Resolved(
            config=kept,
            derived={"params": round(kept.get("width") or 1) ** 2, "steps": 1, "tokens": 1}
            | {"flops": flops},
        )

    def data_fingerprint(self, config: Config) -> str:
        """Returns the SHA-256 of the table.

        Raises:
            DataUnavailableError: it cannot be read, or is not the one of the config.
        """
        return _table_of(config, self.tables).digest

    def pack_size(self, config: Config, device: str) -> int:
        """Returns 16: a trial takes no time, and starting one does."""
        return 16

    def trainer(self) -> TrainerFactory:
        """Returns the factory of the pretended trainer."""
        return partial(AnswerTrainer, partial(replayed_loss, tables=self.tables))


def replayed_loss(config: Config, seed: int, *, tables: Tables | None = None) -> float:
    """Returns the loss of a trial: that of the surface, and normal noise that is drawn from the
    seed and the axes alone; infinite where it diverges.

    Args:
        config: a canonical config.
        seed: the seed.
        tables: finds a table that is no file of the user's.

    Raises:
        DataUnavailableError: the table cannot be read or has changed, or ends before this place.
    """
    import numpy as np

    table = _table_of(config, tables)
    axes = _axes(table, config)
    loss = _surface(table, config["loss"], tuple(axes), _where(config)).at(list(axes.values()))
    if loss is None:
        raise DataUnavailableError(f"{table.path} ends before {_words(axes)}")
    named = json.dumps([axes, seed], sort_keys=True).encode()
    draw = np.random.default_rng(int.from_bytes(hashlib.sha256(named).digest()[:8]))
    return loss + float(config["noise"]) * float(draw.standard_normal())


def _number(table: Table, name: str) -> Setting:
    cells = table.columns[name]
    whole = all(cell.lstrip("+-").isdigit() for cell in cells if cell)
    doc = f"Column {name} of the table."
    return Setting(name=name, kind="int" if whole else "float", doc=doc, optional=True)


def _cell(table: Table, name: str) -> Setting:
    doc = f"Only rows with this value of {name}."
    if table.numbers(name) is not None:
        return replace(_number(table, name), doc=doc)
    return Setting(name=name, kind="text", doc=doc, optional=True)


@lru_cache(maxsize=16)
def _settings(path: str, digest: str) -> tuple[Setting, ...]:
    """Returns all settings that a study of a table may have."""
    table = read_table(path)
    columns = [name for name in table.columns if name not in TAKEN]
    axes = [
        replace(_number(table, name), packable=True)
        for name in columns
        if table.numbers(name) is not None
    ]
    wheres = [replace(_cell(table, name), name=f"where.{name}") for name in columns]
    return (*SETTINGS, *axes, *wheres)


def _is_kept(config: Config) -> bool:
    """Returns whether the table of a config is the results of a study."""
    return str(config["table"]).startswith((STUDY, CONTENT))


def _completed(config: Config, tables: Tables | None) -> dict[str, Any]:
    """Returns a config with every setting of its table.

    Raises:
        ValueError: the table lacks what the config sets, or cannot be read.
    """
    try:
        table = find_table(config["table"], tables)
    except DataUnavailableError as fault:
        raise ValueError(str(fault)) from None
    full = completed(_settings(table.path, table.digest), config)
    if full["flops"] is None and _is_kept(full) and "flops" in table.columns:
        full["flops"] = "flops"
    return full


def _table_of(config: Config, tables: Tables | None) -> Table:
    table = find_table(config["table"], tables)
    if config.get("sha256") not in (None, table.digest):
        raise DataUnavailableError(
            f"table {table.path} has the SHA-256 {table.digest} and not {config['sha256']}: it "
            "was changed; plan anew, which makes other trials of it"
        )
    return table


def _axes(table: Table, config: Config) -> dict[str, float]:
    """Returns the columns that a config gives a value, in the order of the table."""
    given = (name for name in table.columns if name not in TAKEN)
    return {name: config[name] for name in given if config.get(name) is not None}


def _where(config: Config) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (name.removeprefix("where."), value)
        for name, value in sorted(config.items())
        if name.startswith("where.") and value is not None
    )


@lru_cache(maxsize=256)
def _rows(path: str, digest: str, where: tuple[tuple[str, Any], ...]) -> tuple[int, ...]:
    """Returns the rows of a table that have the wanted values."""
    table = read_table(path)
    kept = range(table.num_rows)
    for name, value in where:
        numbers = table.numbers(name)
        cells: Sequence[Any] = table.columns[name] if numbers is None else numbers
        kept = [row for row in kept if cells[row] == value]  # type: ignore[assignment]
    return tuple(kept)


def _surface(
    table: Table, column: str, axes: tuple[str, ...], where: tuple[tuple[str, Any], ...]
) -> Surface:
    return _made_surface(table.path, table.digest, column, axes, where)


@lru_cache(maxsize=256)
def _made_surface(
    path: str,
    digest: str,
    column: str,
    axes: tuple[str, ...],
    where: tuple[tuple[str, Any], ...],
) -> Surface:
    table = read_table(path)
    return surface_of(table, table.losses(column), axes, _rows(path, digest, where))


@lru_cache(maxsize=256)
def _mixed(
    path: str, digest: str, axes: tuple[str, ...], where: tuple[tuple[str, Any], ...]
) -> str | None:
    """Returns the column of a study's results, if any, that sets rows apart which would be taken
    for seeds of one trial: the variant where there are several, or one that differs between two
    rows of one seed."""
    table, rows = read_table(path), _rows(path, digest, where)
    columns, seen = table.columns, dict[tuple[str, ...], int]()
    if len({columns["variant"][row] for row in rows}) > 1:
        return "variant"
    for row in rows:
        other = seen.setdefault(tuple(columns[name][row] for name in (*axes, "seed")), row)
        for name, cells in columns.items():
            if name not in axes and cells[row] != cells[other]:
                return name
    return None


def _problem(config: Config, tables: Tables | None) -> Problem | None:
    """Returns the first thing that is wrong with a completed config, or None."""
    try:
        table = _table_of(config, tables)
    except DataUnavailableError as fault:
        return Problem(keys=("table", "sha256"), message=str(fault))
    for name in ("loss", "flops"):
        column = config.get(name)
        if column is not None and column not in table.columns:
            known = ", ".join(table.columns)
            why = f"the table has no column {column!r}; it has {known}"
            return Problem(keys=(name, "table"), message=why)
    for name in ("loss", "flops"):
        try:
            table.losses(config[name] or config["loss"])
        except ValueError as fault:
            return Problem(keys=(name, "table"), message=str(fault))
    axes, where = _axes(table, config), _where(config)
    if not axes:
        return Problem(keys=("table",), message="no column of the table is swept or fixed")
    if not _rows(table.path, table.digest, where):
        why = f"the table has no row where {_words(dict(where))}"
        return Problem(keys=(*(f"where.{name}" for name, _ in where), "table"), message=why)
    mixed = _mixed(table.path, table.digest, tuple(axes), where) if _is_kept(config) else None
    if mixed is not None:
        rows = _rows(table.path, table.digest, where)
        found = ", ".join(sorted({table.columns[mixed][row] for row in rows}))
        choice = "" if mixed == "variant" else f"sweep or fix {mixed}, or "
        why = f"the study has results of several {mixed} ({found}), which would be taken for "
        why += f"seeds of one trial; {choice}choose with `where: {{{mixed}: ...}}`"
        return Problem(keys=(f"where.{mixed}", "table"), message=why)
    surface = _surface(table, config["loss"], tuple(axes), where)
    if surface.at(list(axes.values())) is None:
        why = f"{_words(axes)} is beyond the table, which has {surface.bounds()}"
        return Problem(keys=tuple(axes), message=why)
    flops = _flops(table, config)
    if flops is None or not (math.isfinite(flops) and flops > 0):
        why = "FLOPs are unknown here: name a column of positive numbers, or give a width"
        return Problem(keys=("flops", "table"), message=why)
    return None


def _flops(table: Table, config: Config) -> float | None:
    """Returns the FLOPs of a trial, or None if they are unknown."""
    column = config.get("flops")
    if column is None:
        width = config.get("width")
        return None if width is None else float(width) ** 2
    axes, where = _axes(table, config), _where(config)
    return _surface(table, column, tuple(axes), where).at(list(axes.values()))


def _words(values: Mapping[str, Any]) -> str:
    shown = (f"{v:g}" if isinstance(v, float) else str(v) for v in values.values())
    return ", ".join(f"{name} {value}" for name, value in zip(values, shown, strict=True))


REPLAY = ReplayCard()

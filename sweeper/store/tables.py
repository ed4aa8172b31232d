"""The tables. Their names and columns are public: people write SQL against them.

Times are UTC. A number that is not finite is never stored: the outcome says "diverged", and the
numeric column is null.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)
from sqlalchemy.engine import Dialect

SCHEMA = "0004"
"""The schema that this code reads and writes: the last revision in ``migrations/versions``."""

SCHEMA_TABLE = "sweeper_schema"
"""Holds the revision. It also tells our database from another program's."""


class UtcTime(TypeDecorator[datetime]):
    """A time, aware and in UTC in Python on every database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Returns the time in UTC, as every database keeps it."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Returns the time with its zone, which SQLite does not keep."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class PlainText(TypeDecorator[str]):
    """Text of any origin: what UTF-8 or the database cannot hold is written as an escape."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Returns the text as every database takes it."""
        return None if value is None else plain_text(value)


class Number(TypeDecorator[float]):
    """A number that is finite; any other is stored as null."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        """Returns the number, or None where it is not finite."""
        return finite(value)


def finite(value: float | None) -> float | None:
    """Returns the number, or None where it is missing, NaN or infinite."""
    return None if value is None or not math.isfinite(value) else float(value)


def plain_text(text: str) -> str:
    """Returns text that every database takes: valid UTF-8, without NUL characters."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def json_text(document: Any) -> str:
    """Returns the JSON of a document; numbers that are not finite become null."""
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_without_nonfinite(document), ensure_ascii=False, allow_nan=False)
    return plain_text(text)


def _without_nonfinite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nonfinite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nonfinite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER keys itself.
_key = String(64)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s",
        "ix": "ix_%(column_0_label)s",
    }
)

studies = Table(
    "studies",
    metadata,
    Column("name", PlainText, primary_key=True),
    Column("question", PlainText, nullable=False),
    Column("workload", PlainText, nullable=False),
    Column("scale", PlainText, nullable=False),
    Column("metric", PlainText, nullable=False),
    Column("goal", String(3), nullable=False),
    Column("document", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
)

SCALE_COLUMNS: dict[str, type] = {
    "width": int,
    "depth": int,
    "params": int,
    "tokens": int,
    "flops": float,
    "batch_size": int,
    "steps": int,
    "learning_rate": float,
    "weight_decay": float,
    "optimizer": str,
    "parametrization": str,
}
"""Columns of ``trials`` copied from the config or the derived quantities, for people's SQL."""

_SCALE_TYPES: dict[type, type[BigInteger | Number | PlainText]] = {
    int: BigInteger,
    float: Number,
    str: PlainText,
}

trials = Table(
    "trials",
    metadata,
    Column("key", _key, primary_key=True),
    Column("hash_version", Integer, nullable=False),
    Column("workload", PlainText, nullable=False),
    Column("workload_version", PlainText, nullable=False),
    Column("data", PlainText, nullable=False),
    Column("config", JSON, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("derived", JSON, nullable=False),
    *(Column(name, _SCALE_TYPES[kind]) for name, kind in SCALE_COLUMNS.items()),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_trials_hash_version", "hash_version"),  # asked for its ends at every opening
)

study_trials = Table(
    "study_trials",
    metadata,
    Column("study", PlainText, ForeignKey("studies.name"), nullable=False),
    Column("variant", PlainText, nullable=False),
    Column("trial_key", _key, ForeignKey("trials.key"), nullable=False, index=True),
    Column("position", Integer, nullable=False),
    Column("reason", PlainText, nullable=False),
    Column("hidden", Boolean, nullable=False),
    PrimaryKeyConstraint("study", "variant", "trial_key"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=True),
    Column("trial_key", _key, ForeignKey("trials.key"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("owner", PlainText, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("host", PlainText, nullable=False),
    Column("pid", BigInteger),
    Column("process", PlainText, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("step", BigInteger),
    Column("device_seconds", Number),
    Column("error", PlainText),
    Column("accepted", Boolean, nullable=False),
    Column("metrics", JSON(none_as_null=True)),
    Column("excused", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("trial_key", "number"),
    Index("ix_attempts_state_owner", "state", "owner"),
    Index("ix_attempts_fence", "fence"),
)

results = Table(
    "results",
    metadata,
    Column("trial_key", _key, ForeignKey("trials.key"), primary_key=True),
    Column("attempt_id", _id, ForeignKey("attempts.id"), nullable=False, index=True),
    Column("outcome", String(16), nullable=False),
    Column("objective", Number),
    Column("metrics", JSON, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("flops", Number),
    Column("device_seconds", Number),
    Column("wall_seconds", Number),
    Column("device", PlainText, nullable=False),
    Column("host", PlainText, nullable=False),
    Column("environment", JSON, nullable=False),
    Column("curve", PlainText),
    Column("accepted_at", UtcTime, nullable=False),
)

marks = Table(
    "marks",
    metadata,
    Column("trial_key", _key, ForeignKey("trials.key"), nullable=False),
    Column("attempt_id", _id, ForeignKey("attempts.id"), nullable=False, index=True),
    Column("step", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("metric", PlainText, nullable=False),
    Column("value", Number),
    PrimaryKeyConstraint("trial_key", "step", "metric"),
)

probes = Table(
    "probes",
    metadata,
    Column("workload", PlainText, nullable=False),
    Column("workload_version", PlainText, nullable=False),
    Column("shape_hash", _key, nullable=False),
    Column("shape", JSON, nullable=False),
    Column("device", PlainText, nullable=False),
    Column("threads", Integer, nullable=False),
    Column("pack", Integer, nullable=False),
    Column("startup_seconds", Number, nullable=False),
    Column("step_seconds", Number, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("measured_at", UtcTime, nullable=False),
    PrimaryKeyConstraint(
        "workload", "workload_version", "shape_hash", "device", "threads", "pack"
    ),
)

estimates = Table(
    "estimates",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=True),
    Column("study", PlainText, ForeignKey("studies.name"), nullable=False),
    Column("variant", PlainText, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("hyperparameter", PlainText, nullable=False),
    Column("kind", PlainText, nullable=False),
    Column("scale", Number),
    Column("value", Number),
    Column("low", Number),
    Column("high", Number),
    Column("text", PlainText, nullable=False),
    Column("made_at", UtcTime, nullable=False),
    Index("ix_estimates_study_hyperparameter", "study", "hyperparameter"),
)

wishes = Table(
    "wishes",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=True),
    Column("study", PlainText, ForeignKey("studies.name"), nullable=False),
    Column("variant", PlainText),
    Column("trial_key", _key, ForeignKey("trials.key")),
    Column("wish", String(8), nullable=False),
    Column("made_at", UtcTime, nullable=False),
    Column("made_by", PlainText, nullable=False),
    Index("ix_wishes_study", "study"),
)

controllers = Table(
    "controllers",
    metadata,
    Column("owner", PlainText, primary_key=True),
    Column("study", PlainText, ForeignKey("studies.name"), nullable=False),
    Column("host", PlainText, nullable=False),
    Column("pid", BigInteger),
    Column("process", PlainText, nullable=False),
    Column("executor", String(8), nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("doing", String(8), nullable=False),
    Column("slots", Integer, nullable=False),
    Column("trials", JSON, nullable=False),
    Column("left_seconds", Number),
    Index("ix_controllers_study_ended_at", "study", "ended_at"),
)

"""Measured speeds and made estimates: what the store notes down beside the results."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select

from sweeper.store.records import Estimate, Probe
from sweeper.store.tables import estimates, probes
from sweeper.trial import canonical_json


def save_probe(connection: Connection, now: datetime, probe: Probe) -> None:
    """Writes a probe in place of an older one of the same circumstances."""
    connection.execute(delete(probes).where(_like(probe)))
    row = vars(probe) | {
        "shape": dict(probe.shape),
        "shape_hash": _shape_hash(probe.shape),
        "measured_at": now,
    }
    connection.execute(insert(probes).values(row))


def find_probe(connection: Connection, wanted: Probe) -> Probe | None:
    """Returns the probe of the same circumstances, if one was made; its times are ignored."""
    row = connection.execute(select(probes).where(_like(wanted))).one_or_none()
    if row is None:
        return None
    return Probe(**{name: value for name, value in row._mapping.items() if name != "shape_hash"})


def save_estimates(
    connection: Connection,
    now: datetime,
    study: str,
    hyperparameter: str,
    rows: Sequence[Estimate],
) -> None:
    """Writes the estimates of a study's hyperparameter in place of the earlier ones."""
    here = (estimates.c.study == study, estimates.c.hyperparameter == hyperparameter)
    connection.execute(delete(estimates).where(*here))
    if rows:
        fixed = {"study": study, "hyperparameter": hyperparameter, "made_at": now}
        connection.execute(insert(estimates), [_estimate_row(row) | fixed for row in rows])


def find_estimates(connection: Connection, study: str, hyperparameter: str) -> list[Estimate]:
    """Returns the newest estimates of a study's hyperparameter, in the order of saving."""
    statement = (
        select(estimates)
        .where(estimates.c.study == study, estimates.c.hyperparameter == hyperparameter)
        .order_by(estimates.c.id)
    )
    names = Estimate.__dataclass_fields__
    return [
        Estimate(**{name: row._mapping[name] for name in names})
        for row in connection.execute(statement)
    ]


def _shape_hash(shape: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(dict(shape)).encode()).hexdigest()


def _like(probe: Probe) -> ColumnElement[bool]:
    columns = probes.c
    return and_(
        columns.workload == probe.workload,
        columns.workload_version == probe.workload_version,
        columns.shape_hash == _shape_hash(probe.shape),
        columns.device == probe.device,
        columns.threads == probe.threads,
        columns.pack == probe.pack,
    )


def _estimate_row(row: Estimate) -> dict[str, Any]:
    return vars(row) | {"settings": dict(row.settings)}

"""Measured speeds and made estimates: what the store notes down beside the results."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select

from sweeper.store.database import current_time
from sweeper.store.records import Estimate, Probe
from sweeper.store.studies import find_study
from sweeper.store.tables import estimates, probes
from sweeper.trial import canonical_json


def save_probe(connection: Connection, probe: Probe) -> None:
    """Keeps a measured speed in place of an older one of the same circumstances."""
    connection.execute(delete(probes).where(_measured_as(vars(probe))))
    row = vars(probe) | {
        "shape": dict(probe.shape),
        "shape_hash": _shape_hash(probe.shape),
        "measured_at": current_time(connection),
    }
    connection.execute(insert(probes).values(row))


def find_probe(
    connection: Connection,
    *,
    workload: str,
    workload_version: str,
    shape: Mapping[str, Any],
    device: str,
    threads: int,
    pack: int,
) -> Probe | None:
    """Returns the measured speed under the same circumstances, as :class:`Probe` describes them,
    if there is one."""
    same = {
        "workload": workload,
        "workload_version": workload_version,
        "shape": shape,
        "device": device,
        "threads": threads,
        "pack": pack,
    }
    row = connection.execute(select(probes).where(_measured_as(same))).one_or_none()
    if row is None:
        return None
    return Probe(**{name: value for name, value in row._mapping.items() if name != "shape_hash"})


def save_estimates(
    connection: Connection, study: str, hyperparameter: str, rows: Sequence[Estimate]
) -> None:
    """Keeps the estimates of a study's hyperparameter in place of the earlier ones.

    Raises:
        UnknownNameError: there is no such study.
    """
    find_study(connection, study)
    here = (estimates.c.study == study, estimates.c.hyperparameter == hyperparameter)
    connection.execute(delete(estimates).where(*here))
    if rows:
        fixed: dict[str, Any] = {"study": study, "hyperparameter": hyperparameter}
        fixed["made_at"] = current_time(connection)
        values = [vars(row) | {"settings": dict(row.settings)} | fixed for row in rows]
        connection.execute(insert(estimates), values)


def find_estimates(connection: Connection, study: str, hyperparameter: str) -> list[Estimate]:
    """Returns the newest estimates of a study's hyperparameter, in the order of saving.

    Raises:
        UnknownNameError: there is no such study.
    """
    find_study(connection, study)
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


def _measured_as(circumstances: Mapping[str, Any]) -> ColumnElement[bool]:
    names = ("workload", "workload_version", "device", "threads", "pack")
    same = [probes.c[name] == circumstances[name] for name in names]
    return and_(probes.c.shape_hash == _shape_hash(circumstances["shape"]), *same)

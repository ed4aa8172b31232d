"""What is kept of an answer in the store's table of estimates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isinf
from typing import Any

from sweeper.answers.drift import DriftStatement, Group
from sweeper.store import Estimate, Store


def keep_estimates(store: Store, statements: Sequence[DriftStatement]) -> None:
    """Writes statements to the store's table of estimates, in place of the earlier ones.

    Raises:
        StoreError: the store cannot be written.
    """
    for statement in statements:
        rows = [row for group in statement.groups for row in _estimates(group)]
        store.save_estimates(statement.study, statement.hyperparameter, rows)


def _estimates(group: Group) -> Iterator[Estimate]:
    place: dict[str, Any] = {"variant": group.variant, "settings": dict(group.settings)}
    for optimum in group.optima:
        yield Estimate(
            kind="optimum",
            **place,
            scale=optimum.scale,
            value=optimum.value,
            low=None if isinf(optimum.low) else 2.0**optimum.low,
            high=None if isinf(optimum.high) else 2.0**optimum.high,
            text=", ".join(optimum.flags),
        )
    drift = group.drift
    if drift is None:
        yield Estimate(kind="drift", **place, text=group.refused or "")
    else:
        value, low, high = drift.slope, drift.low, drift.high
        yield Estimate(
            kind="drift", **place, value=value, low=low, high=high, text=", ".join(drift.flags)
        )
    for verdict in group.verdicts:
        claim = verdict.claim
        yield Estimate(
            kind="claim",
            **place,
            value=claim.exponent,
            low=claim.exponent - claim.tolerance,
            high=claim.exponent + claim.tolerance,
            text=f"{verdict.ruling}: {verdict.why}",
        )
    for cost in group.regret:
        note = cost.note or ("below the noise floor" if cost.harmless else "")
        yield Estimate(kind="regret", **place, scale=cost.scale, value=cost.regret, text=note)

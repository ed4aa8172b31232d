"""A group's answer as plain values for strict JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sweeper.analysis.drift import Drift
from sweeper.analysis.optimum import Optimum
from sweeper.analysis.transfer import Regret

if TYPE_CHECKING:
    from sweeper.analysis.statement import Group


def group_json(group: Group, *, keys: bool = False) -> dict[str, Any]:
    """Returns a group as plain values under stable keys, its trials' keys only if asked for."""
    return {
        "variant": group.variant,
        "settings": {name: plain(value) for name, value in group.settings.items()},
        "optima": [_optimum_json(optimum) for optimum in group.optima],
        "drift": None if group.drift is None else _drift_json(group.drift),
        "regret": [_regret_json(regret) for regret in group.regret],
        "regret_exponent": group.exponent,
        "claims": [
            {
                "exponent": verdict.claim.exponent,
                "tolerance": verdict.claim.tolerance,
                "verdict": verdict.ruling,
                "why": verdict.why,
            }
            for verdict in group.verdicts
        ],
        "refused": group.refused,
        "left_out": [{"scale": s, "why": why} for s, why in group.left_out.items()],
        "evidence": group.evidence.to_json(keys=keys),
    }


def _optimum_json(optimum: Optimum) -> dict[str, Any]:
    return {
        "scale": optimum.scale,
        "log2": optimum.log2,
        "value": optimum.value,
        "low": number(optimum.low),
        "high": number(optimum.high),
        "loss": optimum.loss,
        "curvature": number(optimum.curvature),
        "points": optimum.points,
        "flags": list(optimum.flags),
        "estimator": optimum.estimator,
        "estimators": dict(optimum.estimators),
        "noise": optimum.noise,
        "noise_source": optimum.noise_source,
        "seeds": optimum.seeds,
        "coverage": optimum.coverage,
        "trials": optimum.answered,
        "declared": optimum.declared,
    }


def _drift_json(drift: Drift) -> dict[str, Any]:
    bend = drift.bend
    return {
        "slope": drift.slope,
        "low": number(drift.low),
        "high": number(drift.high),
        "scales_used": list(drift.scales_used),
        "flags": list(drift.flags),
        "intercept": drift.intercept,
        "censored": list(drift.censored),
        "scatter": drift.scatter,
        "estimators": dict(drift.estimators),
        "bend": bend and {k: number(v) for k, v in vars(bend).items()},
        "leave_one_out": [{"scale": o.scale, "change": o.change} for o in drift.leave_one_out],
    }


def _regret_json(regret: Regret) -> dict[str, Any]:
    return {
        "scale": regret.scale,
        "tuned": regret.tuned,
        "transferred": number(regret.transferred),
        "regret": number(regret.regret),
        "percent": number(regret.percent),
        "log2": regret.log2,
        "floor": regret.floor,
        "harmless": regret.harmless,
        "certainty": regret.certainty,
        "note": regret.note,
        "compute": number(regret.compute),
        "compute_note": regret.compute_note,
    }


def number(value: float) -> float | None:
    """Returns a number that strict JSON can hold: None for infinite and unknown ones."""
    return float(value) if math.isfinite(value) else None


def plain(value: Any) -> Any:
    """Returns a setting's value as a plain Python value; None for a missing one."""
    found = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(found, float) and math.isnan(found) else found

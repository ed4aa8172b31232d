"""What a group says about transfer as plain values for strict JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweeper.analysis.gaps import GAPS, Gap, ScaleGaps
from sweeper.analysis.group_json import number
from sweeper.analysis.law import Law
from sweeper.analysis.pace import Rate

if TYPE_CHECKING:
    from sweeper.analysis.transfer_statement import Transfer


def transfer_json(group: Transfer) -> dict[str, Any]:
    """Returns gaps, rates, verdict and laws under stable keys; what is infinite or unknown is
    null."""
    pace = group.pace
    return {
        "exponent": group.exponent,
        "reference": {
            "scale": number(group.reference.scale),
            "log2": float(group.reference.log2[0]),
            "loss": float(group.reference.loss[0]),
            "curvature": number(group.reference.curvature),
        },
        "gaps": [_row_json(row) for row in group.rows],
        "rates": {
            name: _rate_json(group.rates[name]) if name in group.rates else None for name in GAPS
        },
        "verdict": {
            "speed": pace.speed,
            "why": pace.why,
            "lead": None if pace.lead is None else _rate_json(pace.lead),
            "useful": pace.useful,
            "free": pace.free,
            "free_from": number(pace.free_from),
        },
        "laws": {
            "base": group.overlay.base,
            "tuned": _law_json(group.overlay.tuned),
            "transferred": _law_json(group.overlay.transferred),
        },
        "left_out": [{"scale": s, "why": why} for s, why in group.left_out.items()],
        "evidence": group.evidence.to_json(),
    }


def _row_json(row: ScaleGaps) -> dict[str, Any]:
    gaps = {name: _gap_json(getattr(row, name)) for name in GAPS}
    return {
        "scale": row.scale,
        **gaps,
        "expected_c": number(row.expected),
        "c_over_a": number(row.ratio),
    }


def _gap_json(gap: Gap) -> dict[str, float | None]:
    return {key: number(value) for key, value in vars(gap).items()}


def _rate_json(rate: Rate) -> dict[str, Any]:
    return {
        "value": rate.value,
        "low": number(rate.low),
        "high": number(rate.high),
        "scales": list(rate.scales),
    }


def _law_json(law: Law | None) -> dict[str, Any] | None:
    if law is None:
        return None
    (term,) = law.terms
    return {
        "asymptote": law.asymptote,
        "asymptote_low": number(law.low),
        "asymptote_high": number(law.high),
        "amplitude": term.amplitude,
        "exponent": term.exponent,
        "exponent_low": number(term.low),
        "exponent_high": number(term.high),
        "flags": list(law.flags),
    }

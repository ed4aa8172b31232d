"""How much of it: the tests of violence and of rates have a short form, which every change runs,
and a long one, which ``make torture`` runs."""

from __future__ import annotations

import os

ROUNDS = int(os.environ.get("SWEEPER_TORTURE_ROUNDS", "3"))
"""Kills of a test that kills again and again; `make torture` sets 100."""

LONG = ROUNDS >= 100
"""Whether this is the long form."""


def draws(short: int, long: int) -> int:
    """Returns how many draws a rate is counted over."""
    return long if LONG else short


def floor(rate: float, count: int) -> float:
    """Returns a rate less three standard errors of so many independent draws."""
    return float(rate - 3 * (rate * (1 - rate) / count) ** 0.5)

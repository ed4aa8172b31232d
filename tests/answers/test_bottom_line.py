"""The bottom line: what a researcher could paste, and what it does not keep back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from planted import trials

from sweeper.analysis.scaling.claim import Claim
from sweeper.answers.drift import DriftStatement, drift_statement

FLAT = Claim(exponent=0.0, tolerance=0.15)


def state(frame: pd.DataFrame, **options: Any) -> DriftStatement:
    given: dict[str, Any] = {"claims": [FLAT], "resamples": 200} | options
    return drift_statement(
        frame, study="planted", scale="width", hyperparameter="learning_rate", **given
    )


def test_a_claim_that_holds_is_a_value_that_does_not_move() -> None:
    line = state(trials(noise=0.005, draw=1)).bottom_line
    assert line.startswith("Under mup the best learning_rate does not move with the width (")
    assert "four widths 32 to 256): the claim 0 ± 0.15 holds; transferring from width 32" in line
    assert line.endswith("harmless.")


def test_a_drift_that_costs_says_where_and_how_much() -> None:
    line = state(trials(noise=0.002, slope=-1.0, start=-3.5)).bottom_line
    assert "falls with the width (-1.0" in line
    assert "the claim 0 ± 0.15 is broken; transferring from width 32 costs up to 0.3" in line
    assert line.endswith("at width 256.")


def test_bounds_and_two_scales_are_not_kept_back() -> None:
    bounded = state(trials(noise=0.002, slope=-1.0, start=-7.0)).bottom_line
    assert "of 4 optima are bounds" in bounded
    two = state(trials(noise=0.002, scales=(32, 64))).bottom_line
    assert "two widths 32 to 64; nothing tells whether it is a straight line" in two


def test_groups_without_a_drift_are_counted_by_reason() -> None:
    holed = trials(noise=0.002, variant="holed")
    holed.loc[holed["width"] == 256, ["loss", "outcome"]] = [np.nan, "missing"]
    lone = trials(noise=0.002, variant="lone", scales=(32,))
    edges = trials(noise=0.002, variant="edges", start=-12.0)
    line = state(pd.concat([trials(noise=0.002), holed, lone, edges])).bottom_line
    assert line.startswith("Under mup the best learning_rate ")
    for reason in (
        "no optimum at some width in 1",
        "one width only in 1",
        "optima at edges of their grids in 1",
    ):
        assert reason in line


def test_what_holes_do_not_explain_is_not_laid_on_them() -> None:
    edges = trials(noise=0.002, start=-12.0)
    edges.loc[edges["width"] == 256, ["loss", "outcome"]] = [np.nan, "missing"]
    line = state(edges, allow_holes=True).bottom_line
    assert "of 3 lowest losses 3 lie at the lower edge of their grids" in line

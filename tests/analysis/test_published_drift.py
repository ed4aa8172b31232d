"""Published curves: their stated slopes, minima and costs of transfer, read off the figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweeper.analysis.optimum.optimum import Optimum
from sweeper.answers.drift import DriftGroup, drift_statement

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "tests/fixtures/published"

STATED = {
    "Muon/SP": -0.05,
    "Muon/muP": -0.13,
    "Muon-Adam/SP": -0.51,
    "Muon-Adam/muP": -0.15,
    "Shampoo/SP": -0.15,
    "Shampoo/muP": 0.05,
}
"""arXiv 2512.05620 section 3.2: octaves per doubling of width, to two digits."""

STATED_COST = {
    "Muon/muP": (1.1698, 1.1736),
    "Muon-Adam/muP": (1.1678, 1.1713),
    "Muon-Adam/SP": (1.2344, 1.630),
}
"""The same source: loss at width 4096, tuned, and transferred from width 128."""


def published(name: str) -> pd.DataFrame:
    path = PUBLISHED / name
    return pd.read_csv(path).assign(seed=0, outcome="completed")


def openwebtext(**options: Any) -> dict[str, DriftGroup]:
    frame = published("openwebtext_width.csv")
    frame["variant"] = frame["optimizer"] + "/" + frame["parametrization"]
    statement = drift_statement(
        frame, study="openwebtext", scale="width", hyperparameter="learning_rate", **options
    )
    return {group.variant: group for group in statement.groups}


def plain_slope(optima: tuple[Optimum, ...]) -> float:
    """Returns the unweighted slope, as the source computes it."""
    return float(np.polyfit([np.log2(o.scale) for o in optima], [o.log2 for o in optima], 1)[0])


def test_three_point_parabolas_reproduce_the_stated_slopes() -> None:
    for variant, group in openwebtext(estimator="quadratic3", resamples=200).items():
        assert plain_slope(group.optima) == pytest.approx(STATED[variant], abs=0.01)


def test_the_default_interval_holds_the_stated_slopes() -> None:
    for variant, group in openwebtext().items():
        assert group.drift is not None
        assert group.drift.low < STATED[variant] < group.drift.high
        assert group.drift.high - group.drift.low < 0.3


def test_the_interval_holds_what_every_estimator_says() -> None:
    for group in openwebtext(resamples=200).values():
        assert group.drift is not None
        for slope in group.drift.estimators.values():
            assert group.drift.low - 1e-12 <= slope <= group.drift.high + 1e-12


def test_the_grid_argmin_reproduces_the_stated_costs_of_transfer() -> None:
    groups = openwebtext(estimator="argmin", resamples=200)
    for variant, (tuned, transferred) in STATED_COST.items():
        last = groups[variant].regret[-1]
        assert last.scale == 4096
        assert (last.tuned, last.transferred) == pytest.approx((tuned, transferred), abs=1e-4)


def test_the_default_puts_the_costs_of_transfer_in_the_same_order() -> None:
    groups = openwebtext(resamples=200)
    cost = {variant: groups[variant].regret[-1].regret for variant in STATED_COST}
    assert cost["Muon-Adam/SP"] > 0.1
    assert max(cost["Muon/muP"], cost["Muon-Adam/muP"]) < 0.006


def test_the_spline_reads_the_published_optima_of_muon() -> None:
    frame = published("llama_wikitext103_width.csv")
    frame = frame[frame["curve"] == "ema"].rename(columns={"setting": "variant"})
    statement = drift_statement(
        frame,
        study="wikitext103",
        scale="width",
        hyperparameter="learning_rate",
        estimator="spline",
        resamples=200,
    )
    muon = next(group for group in statement.groups if group.variant == "Muon-Llama")
    # arXiv 2512.22768: the optimum of Muon moves from 13.7e-3 at width 128 to 5.3e-3 at 2048.
    assert muon.optima[0].value == pytest.approx(13.7e-3, rel=0.1)
    assert muon.optima[-1].value == pytest.approx(5.3e-3, rel=0.05)
    # The printed fit of the tuned loss, 3.004 + 12.93 n^-0.50, is itself good to 2e-3 or so.
    for optimum in muon.optima:
        assert optimum.loss == pytest.approx(3.004 + 12.93 * optimum.scale**-0.5, abs=0.02)

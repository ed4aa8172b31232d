"""Published curves: the printed loss laws and costs of transfer of arXiv 2512.22768."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sweeper.answers.drift import drift_statement
from sweeper.answers.transfer import Transfer, transfer_statement

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "tests/fixtures/published"

PRINTED = {
    "Adam-Llama": {"tuned": (3.137, 0.52), "transferred": (3.130, 0.52)},
    "Muon-Llama": {"tuned": (3.004, 0.50), "transferred": (3.139, 0.60)},
}
"""Asymptote and exponent over the width, of losses tuned and transferred from width 128."""


@pytest.fixture(scope="module")
def groups() -> dict[str, Transfer]:
    path = PUBLISHED / "llama_wikitext103_width.csv"
    frame = pd.read_csv(path).assign(seed=0, outcome="completed")
    frame = frame[frame["curve"] == "ema"].rename(columns={"setting": "variant"})
    drifts = drift_statement(
        frame,
        study="wikitext103",
        scale="width",
        hyperparameter="learning_rate",
        estimator="spline",
        resamples=200,
    )
    found = transfer_statement(drifts).groups
    return {group.variant: group for group in found if isinstance(group, Transfer)}


@pytest.mark.parametrize("variant", PRINTED)
@pytest.mark.parametrize("which", ["tuned", "transferred"])
def test_the_printed_laws_come_out_of_the_curves(
    groups: dict[str, Transfer], variant: str, which: str
) -> None:
    law = getattr(groups[variant].overlay, which)
    found = (law.asymptote, law.terms[0].exponent)
    assert found == pytest.approx(PRINTED[variant][which], abs=0.01)


def test_a_gap_to_the_largest_width_closes_at_the_exponent_of_the_law(
    groups: dict[str, Transfer],
) -> None:
    for variant, laws in PRINTED.items():
        assert groups[variant].rates["a"].value == pytest.approx(laws["tuned"][1], abs=0.01)


def test_transfer_of_adam_costs_next_to_nothing(groups: dict[str, Transfer]) -> None:
    rows = groups["Adam-Llama"].rows
    assert rows[0].c.measured / rows[0].a.value <= 0.003
    assert [row.c.value for row in rows] == [0.0] * 4  # all below the noise of the curves
    assert max(row.c.measured / row.a.value for row in rows) < 0.01


def test_transfer_of_muon_costs_a_twentieth_of_the_loss_gap(groups: dict[str, Transfer]) -> None:
    first = groups["Muon-Llama"].rows[0]
    assert first.scale == 128
    assert first.ratio == pytest.approx(0.056, abs=0.003)
    assert first.b.value > 1


def test_neither_is_called_fast_on_four_gaps(groups: dict[str, Transfer]) -> None:
    assert {group.verdict.speed for group in groups.values()} == {"not distinguishable"}

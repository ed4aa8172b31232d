"""Compute multipliers against planted frontiers, and their coverage."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from long_form import draws, floor

from sweeper.analysis.compute.frontier import Frontier, FrontierPoint, compute_lost, frontier_of
from sweeper.analysis.compute.law import fit_law
from sweeper.analysis.compute.multiplier import fitted_multipliers, frontier_law, saving
from sweeper.errors import AnalysisRefusal

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = ROOT / "tests/fixtures/published"

COMPUTE = (1e18, 1e19, 1e20, 1e21)


def power(compute: float) -> float:
    """A straight line in ln loss against ln compute, on which interpolation is exact."""
    return float(40 * compute**-0.06)


def bent(compute: float) -> float:
    return float(1.7 + 190 * compute**-0.11)


def planted(
    name: str,
    loss: Callable[[float], float],
    *,
    multiplier: float = 1.0,
    compute: Sequence[float] = COMPUTE,
    error: float = 0.0,
    dof: float = math.inf,
) -> Frontier:
    """Returns points that have the loss of ``multiplier`` times their compute."""
    points = [
        FrontierPoint(label=f"{c:g}", compute=c, loss=loss(multiplier * c), error=error)
        for c in compute
    ]
    return frontier_of(name, points, dof=dof)


def curve(name: str, losses: Sequence[float], error: float = math.nan) -> Frontier:
    points = [
        FrontierPoint(label=f"{c:g}", compute=c, loss=loss, error=error)
        for c, loss in zip(COMPUTE, losses, strict=False)
    ]
    return frontier_of(name, points)


def values(baseline: Frontier, other: Frontier) -> list[float]:
    return [multiplier.value for multiplier in saving(baseline, other).multipliers]


@pytest.mark.parametrize("multiplier", [0.3, 1.0, 1.4, 6.0])
def test_the_planted_multiplier_is_found_at_every_point(multiplier: float) -> None:
    base, other = planted("base", power), planted("other", power, multiplier=multiplier)
    assert values(base, other) == pytest.approx([multiplier] * 4)


def test_points_outside_the_losses_of_the_baseline_are_marked() -> None:
    base = planted("base", power)
    better = saving(base, planted("other", power, multiplier=1.4))
    assert [m.extrapolated for m in better.multipliers] == [False, False, False, True]
    worse = saving(base, planted("other", power, multiplier=0.5))
    assert [m.extrapolated for m in worse.multipliers] == [True, False, False, False]
    same = saving(base, base)
    assert not any(m.extrapolated for m in same.multipliers)


def test_fitted_laws_give_the_planted_multiplier_on_a_bent_frontier() -> None:
    base, other = planted("base", bent), planted("other", bent, multiplier=1.4)
    fitted = fitted_multipliers(frontier_law(base), frontier_law(other), np.array(COMPUTE))
    assert [f.value for f in fitted] == pytest.approx([1.4] * 4, rel=1e-4)


def test_a_bent_frontier_is_read_along_the_bend_of_its_law() -> None:
    base, other = planted("base", bent), planted("other", bent, multiplier=1.4)
    along = saving(base, other, law=frontier_law(base)).multipliers
    assert [m.value for m in along] == pytest.approx([1.4] * 4, rel=1e-4)
    # Chords of a convex curve lie above it, so that they read too much compute within its points
    # and too little beyond.
    chords = values(base, other)
    assert all(1.401 < value < 1.45 for value in chords[:3])
    assert chords[3] < 1.39


def test_a_frontier_that_proves_no_asymptote_is_read_along_its_chords() -> None:
    base, other = (
        planted(name, power, multiplier=k, error=0.02) for name, k in (("base", 1), ("other", 1.4))
    )
    law = frontier_law(base)
    assert "asymptote_open" in law.flags
    straight = saving(base, other).multipliers
    stretched = saving(base, other, law=law).multipliers
    assert [m.value for m in stretched] == pytest.approx([m.value for m in straight])
    assert all(s.low <= m.low for s, m in zip(stretched, straight, strict=True))
    assert all(s.high >= m.high for s, m in zip(stretched, straight, strict=True))


def test_intervals_on_a_bent_frontier_cover_the_planted_multiplier() -> None:
    rng, noise, count = np.random.default_rng(3), 0.001, draws(10, 30)
    compute = tuple(1e11 * 4.0**k for k in range(5))
    hits = np.zeros(5)
    for draw in range(count):
        sides = [
            planted(
                name,
                lambda c: 2 + (c / 1e11) ** -0.15 + noise * float(rng.standard_normal()),
                multiplier=k,
                compute=compute,
                error=noise,
            )
            for name, k in (("base", 1.0), ("other", 2.0))
        ]
        law = frontier_law(sides[0], resamples=200)
        found = saving(*sides, law=law, resamples=200, seed=draw)
        hits += [m.low <= 2 <= m.high for m in found.multipliers]
    # As if the points of a draw were one: they err together.
    assert hits.sum() / (5 * count) > max(floor(0.95, count), 0.8), hits / count


def test_a_multiplier_far_beyond_the_measured_compute_is_refused_in_words() -> None:
    base = planted("base", power, error=0.003)
    better = planted("better", lambda c: power(c) - 1.5, error=0.003)
    worse = planted("worse", lambda c: power(c) + 2.5, error=0.003)
    laws = frontier_law(base), frontier_law(better)
    for law in (None, laws[0]):
        first, *_, last = saving(base, better, law=law).multipliers
        assert math.isnan(first.value)
        assert first.refused == "more than 1000 times: beyond what was measured"
        assert (first.low, first.high) == (pytest.approx(1e3), math.inf)
        assert last.refused == "more than 1 times: beyond what was measured"
        lowest = saving(base, worse, law=law).multipliers[-1]
        assert lowest.refused == "less than 0.001 times: beyond what was measured"
        assert (lowest.low, lowest.high) == (0, pytest.approx(1e-3))
        assert saving(base, better, law=law).trend is None
    assert fitted_multipliers(*laws, np.array(COMPUTE))[-1].value == math.inf


def test_a_loss_that_the_law_of_the_baseline_never_reaches_is_refused() -> None:
    base = planted("base", bent)
    lowest = [FrontierPoint(label="x", compute=1e21, loss=1.69)]
    found = saving(base, frontier_of("other", lowest), law=frontier_law(base)).multipliers[0]
    assert found.refused == "more than 1 times: beyond what was measured"


def test_frontiers_that_cross_are_ahead_before_and_behind_after() -> None:
    base = planted("base", power)
    steep = planted("steep", lambda c: power(1e19) * (c / 1e19) ** -0.08)
    found = saving(base, steep)
    # At c, 40 C^-.06 = 40 (1e19)^-.06 (c / 1e19)^-.08, so C / c = (c / 1e19)^(1/3).
    truth = [(c / 1e19) ** (1 / 3) for c in COMPUTE]
    assert [m.value for m in found.multipliers] == pytest.approx(truth)
    assert [m.extrapolated for m in found.multipliers] == [True, False, False, True]
    assert found.trend is not None
    assert found.trend.exponent == pytest.approx(1 / 3)


@pytest.mark.parametrize("dof", [4.0, math.inf])
def test_intervals_cover_the_planted_multiplier(dof: float) -> None:
    rng = np.random.default_rng(8)
    noise, count = 0.01, 300
    hits = np.zeros(5)
    for draw in range(count):
        error = noise if math.isinf(dof) else noise * math.sqrt(rng.chisquare(dof) / dof)
        sides = [
            planted(
                name,
                lambda c: power(c) + noise * float(rng.standard_normal()),
                multiplier=k,
                error=error,
                dof=dof,
            )
            for name, k in (("base", 1.0), ("other", 1.4))
        ]
        found = saving(*sides, resamples=200, seed=draw)
        hits[:4] += [m.low <= 1.4 <= m.high for m in found.multipliers]
        assert found.trend is not None
        hits[4] += found.trend.low <= 0 <= found.trend.high
    # Three standard deviations of 300 draws at 95% are 3.8%; the first and last points are
    # read between or beyond two noisy points, which the interval holds as well.
    assert (hits / count > 0.91).all(), hits / count
    assert (hits / count).mean() < 0.985


def test_noise_widens_the_interval_and_none_closes_it() -> None:
    base, other = planted("base", power), planted("other", power, multiplier=1.4)
    exact = saving(base, other).multipliers[1]
    assert (exact.low, exact.high) == pytest.approx((1.4, 1.4))
    widths = []
    for error in (0.002, 0.02):
        noisy = saving(
            planted("base", power, error=error),
            planted("other", power, multiplier=1.4, error=error),
        ).multipliers[1]
        assert noisy.low < 1.4 < noisy.high
        widths.append(noisy.high - noisy.low)
    assert widths[1] > 5 * widths[0]


def test_where_the_noise_is_unknown_so_is_the_interval() -> None:
    base = planted("base", power, error=math.nan)
    found = saving(base, planted("other", power, multiplier=1.4, error=0.01))
    assert found.multipliers[0].value == pytest.approx(1.4)
    assert math.isnan(found.multipliers[0].low)
    assert found.trend is not None
    assert math.isnan(found.trend.high)


def test_noise_larger_than_the_fall_of_the_baseline_leaves_the_interval_open() -> None:
    base = planted("base", power, error=1.0)
    wide = saving(base, planted("other", power, multiplier=1.4, error=1.0)).multipliers[1]
    assert wide.low == 0
    assert wide.high == math.inf


def test_a_baseline_point_worse_than_a_cheaper_one_is_passed_by() -> None:
    base = curve("base", [3.0, 3.2, 2.6, 2.4])
    assert base.dominated == ("1e+19",)
    without = frontier_of("base", [p for p in base.points if p.label != "1e+19"])
    other = curve("other", [2.9, 2.8, 2.5, 2.45])
    assert values(base, other) == pytest.approx(values(without, other))


def test_of_two_points_with_one_compute_the_better_counts() -> None:
    points = [
        FrontierPoint(label=label, compute=c, loss=loss)
        for label, c, loss in [("a", 1e18, 3.0), ("b", 1e18, 2.9), ("c", 1e19, 2.5)]
    ]
    assert [p.label for p in frontier_of("base", points).points] == ["b", "c"]


def test_neither_the_order_of_points_nor_units_change_the_answer() -> None:
    base, other = curve("base", [3.2, 3.0, 2.8, 2.7], 0.01), curve("other", [3.1, 2.9, 2.7], 0.01)
    first = saving(base, other)
    shuffled = saving(
        frontier_of("base", base.points[::-1]), frontier_of("other", other.points[::-1])
    )
    assert shuffled == first
    bits, peta = 1 / math.log(2), 1e-15

    def scaled(frontier: Frontier) -> Frontier:
        return frontier_of(
            frontier.name,
            [
                FrontierPoint(
                    label=p.label,
                    compute=p.compute * peta,
                    loss=p.loss * bits,
                    error=p.error * bits,
                )
                for p in frontier.points
            ],
        )

    for ours, theirs in zip(
        saving(scaled(base), scaled(other)).multipliers, first.multipliers, strict=True
    ):
        assert (ours.value, ours.low, ours.high) == pytest.approx(
            (theirs.value, theirs.low, theirs.high)
        )


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([3.0], "it has one point"),
        ([3.0, 3.1, 3.2], "none of its 3 points beats the cheapest"),
        ([3.0, 3.0, 3.0], "none of its 3 points beats the cheapest"),
    ],
)
def test_a_baseline_whose_loss_does_not_fall_is_refused(losses: list[float], message: str) -> None:
    with pytest.raises(AnalysisRefusal, match=message):
        saving(curve("base", losses), curve("other", [3.0, 2.5]))


@pytest.mark.parametrize(
    ("compute", "loss", "message"),
    [(0.0, 3.0, "compute = 0"), (math.nan, 3.0, "compute = nan"), (1.0, -0.9, "loss = -0.9")],
)
def test_numbers_without_a_logarithm_are_refused(
    compute: float, loss: float, message: str
) -> None:
    with pytest.raises(AnalysisRefusal, match=message):
        frontier_of("base", [FrontierPoint(label="x", compute=compute, loss=loss)])


def test_a_frontier_without_points_is_refused() -> None:
    with pytest.raises(AnalysisRefusal, match="no tuned loss"):
        frontier_of("base", [])


def test_a_regret_is_the_compute_that_a_tuned_run_would_save() -> None:
    base = planted("base", power)
    regret = power(0.8e20) - power(1e20)
    factor, extrapolated = compute_lost(base, loss=power(1e20), regret=regret)
    assert factor == pytest.approx(1 / 0.8)
    assert not extrapolated
    factor, extrapolated = compute_lost(base, loss=power(1e18), regret=0.1)
    assert factor > 1
    assert extrapolated
    assert compute_lost(base, loss=2.5, regret=0.0)[0] == pytest.approx(1)
    assert compute_lost(base, loss=2.5, regret=math.inf)[0] == math.inf
    assert math.isnan(compute_lost(base, loss=2.5, regret=math.nan)[0])


def test_a_regret_can_be_read_off_a_law_of_compute() -> None:
    law = fit_law({"compute": np.array(COMPUTE)}, np.array([bent(c) for c in COMPUTE]))
    regret = bent(0.8e20) - bent(1e20)
    factor, extrapolated = compute_lost(law, loss=bent(1e20), regret=regret)
    assert factor == pytest.approx(1 / 0.8, rel=1e-4)
    assert not extrapolated
    assert compute_lost(law, loss=bent(1e18), regret=0.1)[1]


@pytest.mark.parametrize(
    ("variant", "stated"),
    [
        ("muon,mup+wd", [1.429, 1.417, 1.427, 1.413]),
        ("muon,sp", [1.429, 1.279, 1.084, 0.773]),
    ],
)
def test_published_multipliers_are_reproduced(variant: str, stated: list[float]) -> None:
    path = PUBLISHED / "llama_fineweb_frontier.csv"
    rows, columns = pd.read_csv(path), ["model", "flops", "loss"]
    rows["variant"] = rows["optimizer"] + "," + rows["scaling"]
    base, other = (
        frontier_of(
            name,
            [
                FrontierPoint(label=label, compute=flops, loss=loss)
                for label, flops, loss in rows[rows["variant"] == name][columns].values.tolist()
            ],
        )
        for name in ("adam,mup+wd", variant)
    )
    found = saving(base, other).multipliers
    assert [m.value for m in found] == pytest.approx(stated, abs=0.005)
    assert [m.extrapolated for m in found] == [False] * 3 + [variant == "muon,mup+wd"]

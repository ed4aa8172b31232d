"""Optima read together from too few runs to be read scale by scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import pytest

from sweeper.analysis import DEFAULT, SHARED, Located, optima_of
from sweeper.analysis.optimum.shared import locate_together
from sweeper.analysis.scaling.drift import measure_drift
from sweeper.errors import AnalysisRefusal

WIDTHS = (64, 128, 256, 512, 1024)
PLACES = {64: range(-8, 1), 128: (-6, -3), 256: (-7, -4), 512: (-7, -4), 1024: (-8, -5)}


def frame_of(
    noise: float = 0.0,
    seed: int = 0,
    seeds: int = 1,
    wall: float = math.inf,
    places: Mapping[int, Iterable[int]] | None = None,
    skew: float = 0.0,
) -> pd.DataFrame:
    """Runs on basins whose optimum moves by -0.4 octaves per doubling from -4.2 on."""
    rng = np.random.default_rng(seed)
    rows = []
    for width, values in (places or PLACES).items():
        best = -4.2 - 0.4 * math.log2(width / 64)
        for x in values:
            d = x - best
            height = d**2 / 2 + skew * d**3 / 6
            for draw in range(seeds):
                loss = 2 + 0.04 * height + noise * rng.standard_normal()
                ended = "completed" if d < wall else "diverged"
                rows.append((width, 2.0**x, draw, loss if d < wall else np.nan, ended))
    return pd.DataFrame(rows, columns=["width", "learning_rate", "seed", "loss", "outcome"])


def read(frame: pd.DataFrame, **options: int) -> Located:
    return locate_together(frame, scale="width", hyperparameter="learning_rate", **options)


TRUTH = [-4.2 - 0.4 * i for i in range(5)]


def test_two_runs_a_scale_locate_optima_whose_shape_a_full_one_shows() -> None:
    located = read(frame_of())
    assert [optimum.log2 for optimum in located.optima] == pytest.approx(TRUTH, abs=0.2)
    assert all(o.low <= t <= o.high for o, t in zip(located.optima, TRUTH, strict=True))
    drift = measure_drift(located.optima)
    assert drift.slope == pytest.approx(-0.4, abs=0.05)


def test_intervals_hold_what_they_should_over_draws() -> None:
    held, halves = [], []
    for seed in range(8):
        for optimum, truth in zip(
            read(frame_of(0.004, seed, skew=0.2), resamples=300).optima, TRUTH, strict=True
        ):
            held.append(optimum.low <= truth <= optimum.high)
            halves.append((optimum.high - optimum.low) / 2)
    assert np.mean(held) > 0.85
    assert np.median(halves) < 0.8


def test_the_same_trials_give_the_same_answer_in_any_order() -> None:
    frame = frame_of(0.003)
    one, other = read(frame), read(frame.sample(frac=1.0, random_state=1))
    assert [o.log2 for o in one.optima] == [o.log2 for o in other.optima]
    assert [o.low for o in one.optima] == [o.low for o in other.optima]


def test_an_optimum_beyond_the_runs_is_a_bound() -> None:
    places = {64: range(-8, 1), 128: range(-8, 1), 256: range(-4, 1)}
    *_, last = read(frame_of(0.001, places=places)).optima
    assert "censored_low" in last.flags
    assert math.isinf(last.low) and last.log2 == -4
    walled = {64: range(-8, 1), 128: range(-8, 1), 256: (-9, -8, -7, -4)}
    *_, last = read(frame_of(0.001, places=walled, wall=0.5)).optima
    assert last.high < -4 + 1e-9


def test_seeds_narrow_and_tell_the_noise() -> None:
    one, many = read(frame_of(0.01)), read(frame_of(0.01, seeds=4))
    assert many.noise is not None and many.noise.source == "seed replicates pooled"
    assert many.noise.level == pytest.approx(0.01, rel=0.5)
    widths = [[o.high - o.low for o in located.optima] for located in (one, many)]
    assert np.mean(widths[1]) < np.mean(widths[0])


def test_losses_between_runs_are_those_of_the_basin() -> None:
    optimum = read(frame_of()).optima[2]
    places = np.array([-6.5, -5.0, -4.5])
    expected = 2 + 0.02 * (places - TRUTH[2]) ** 2
    assert optimum.curve(places) == pytest.approx(expected, abs=0.01)
    assert np.isnan(optimum.curve(np.array([-30.0]))).all()
    draws = optimum.regret_draws(-5.0)
    assert len(draws) == 1000 and np.median(draws) == pytest.approx(0, abs=0.01)


def test_a_second_hyperparameter_is_tuned_with_the_first() -> None:
    rows = []
    for width in WIDTHS:
        step = math.log2(width / 64)
        a, b = -4.2 - 0.4 * step, -3.0 + 0.3 * step
        grid = [(x, y) for x in range(-8, 1, 2) for y in range(-6, 1, 2)]
        few = [(round(a), round(b)), (round(a) - 2, round(b) + 2), (round(a) + 1, round(b) - 2)]
        for x, y in grid if width == 64 else [*few, (round(a) + 2, round(b) + 2)]:
            u, v = x - a, y - b
            loss = 2 + 0.025 * u**2 + 0.01 * v**2 + 0.01 * u * v
            rows.append((width, 2.0**x, 2.0**y, 0, loss, "completed"))
    columns = ["width", "learning_rate", "weight_decay", "seed", "loss", "outcome"]
    frame = pd.DataFrame(rows, columns=columns)
    located = optima_of(
        frame,
        scale="width",
        hyperparameter="learning_rate",
        others=["weight_decay"],
        estimator=SHARED,
    )
    assert [o.log2 for o in located.optima] == pytest.approx(TRUTH, abs=0.15)
    decays = [math.log2(o.tuned["weight_decay"]) for o in located.optima]
    assert decays == pytest.approx([-3.0 + 0.3 * i for i in range(5)], abs=0.3)


def test_full_curves_are_read_as_they_are_alone() -> None:
    full = frame_of(0.002, places=dict.fromkeys(WIDTHS, range(-8, 1)))
    both = [
        optima_of(full, scale="width", hyperparameter="learning_rate", estimator=estimator)
        for estimator in (SHARED, DEFAULT)
    ]
    one, other = ([o.log2 for o in located.optima] for located in both)
    assert one == pytest.approx(other, abs=0.15)


def test_too_little_is_refused_in_words() -> None:
    few = read(frame_of(places={64: (-5, -4), 128: (-5, -4)}))
    assert not few.optima
    assert all("no scale has 3 points with a loss yet" in why for why in few.refused.values())
    lost = read(frame_of(places={64: range(-8, 1), 128: (0,)}, wall=2.0))
    assert list(lost.refused) == [128]
    with pytest.raises(AnalysisRefusal, match="reads one or two hyperparameters"):
        locate_together(
            frame_of().assign(a=1.0, b=1.0),
            scale="width",
            hyperparameter="learning_rate",
            others=["a", "b"],
        )

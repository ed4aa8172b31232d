"""Loss laws against planted ones, with their intervals and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from long_form import draws, floor
from scipy.optimize import curve_fit

from sweeper.analysis.compute.law import Law, fit_law
from sweeper.analysis.compute.powers import Method
from sweeper.analysis.optimum.curve import Floats, measured_curves
from sweeper.analysis.optimum.locate import locate
from sweeper.errors import AnalysisRefusal, UnknownNameError

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = ROOT / "tests/fixtures/published"

WIDTHS = np.array([128.0, 256.0, 512.0, 1024.0, 2048.0])
METHODS: tuple[Method, ...] = ("huber", "least_squares")


def chinchilla() -> tuple[Floats, Floats, Floats]:
    """Returns N, D and the loss of Hoffmann et al. 2022, equation 10, on a 5 x 5 grid."""
    n, d = (g.ravel() for g in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    return n, d, 1.69 + 406.4 / n**0.34 + 410.7 / d**0.28


def numbers(law: Law) -> list[float]:
    parts = [law.asymptote, law.low, law.high]
    for term in law.terms:
        parts += [term.amplitude, term.exponent, term.low, term.high]
    return parts


@pytest.mark.parametrize("method", METHODS)
def test_a_law_of_one_scale_is_found_exactly(method: Method) -> None:
    law = fit_law({"width": WIDTHS}, 3.137 + 13.16 * WIDTHS**-0.52, method=method)
    assert law.asymptote == pytest.approx(3.137, abs=1e-9)
    assert law.terms[0].amplitude == pytest.approx(13.16, rel=1e-8)
    assert law.terms[0].exponent == pytest.approx(0.52, abs=1e-9)
    assert law.flags == ()
    assert law.at(width=16384).loss == pytest.approx(3.137 + 13.16 * 16384**-0.52, abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_law_of_two_scales_is_found_exactly(method: Method) -> None:
    n, d, loss = chinchilla()
    law = fit_law({"params": n, "tokens": d}, loss, method=method, resamples=100)
    terms = {term.scale: term for term in law.terms}
    assert law.asymptote == pytest.approx(1.69, abs=1e-7)
    assert (terms["params"].amplitude, terms["params"].exponent) == pytest.approx((406.4, 0.34))
    assert (terms["tokens"].amplitude, terms["tokens"].exponent) == pytest.approx((410.7, 0.28))
    there = law.at(params=7e10, tokens=1.4e12)
    assert there.loss == pytest.approx(1.69 + 406.4 / 7e10**0.34 + 410.7 / 1.4e12**0.28)


def test_least_squares_agrees_with_an_independent_fit() -> None:
    loss = 3 + 13 * WIDTHS**-0.5 + np.array([4, -7, 5, 3, -5]) * 1e-3
    law = fit_law({"width": WIDTHS}, loss, method="least_squares")
    (e, a, p), _ = curve_fit(
        lambda n, e, a, p: e + a * (n / 512) ** -p, WIDTHS, loss, p0=(3.0, 0.6, 0.5)
    )
    assert law.asymptote == pytest.approx(e, abs=1e-5)
    assert law.terms[0].exponent == pytest.approx(p, abs=1e-5)
    assert law.terms[0].amplitude == pytest.approx(a * 512**p, rel=1e-4)


def test_one_spoiled_run_hardly_moves_the_robust_fit() -> None:
    n = np.geomspace(64, 8192, 12)
    loss = 3 + 13 * n**-0.5
    loss[5] += 0.3
    robust = fit_law({"width": n}, loss, method="huber")
    plain = fit_law({"width": n}, loss, method="least_squares")
    assert robust.asymptote == pytest.approx(3, abs=0.01)
    assert robust.terms[0].exponent == pytest.approx(0.5, abs=0.01)
    assert abs(plain.asymptote - 3) > 5 * abs(robust.asymptote - 3)


@pytest.mark.parametrize("method", METHODS)
def test_intervals_cover_the_planted_law(method: Method) -> None:
    rng = np.random.default_rng(5)
    truth = 3 + 13 * np.append(WIDTHS, 16384.0) ** -0.5
    hits = np.zeros(3)
    count = draws(20, 60)
    for draw in range(count):
        loss = truth[:5] + 0.01 * rng.standard_normal(5)
        errors = np.full(5, 0.01) if draw % 2 else None
        law = fit_law({"n": WIDTHS}, loss, method=method, errors=errors, resamples=100, seed=draw)
        term, there = law.terms[0], law.at(n=16384)
        hits += [
            law.low <= 3 <= law.high,
            term.low <= 0.5 <= term.high,
            there.low <= truth[5] <= there.high,
        ]
    # At 95%, fewer are hit with a probability below 1e-3.
    assert (hits >= floor(0.95, count) * count).all(), hits


def test_an_interval_grows_with_the_extrapolation_and_with_the_noise() -> None:
    loss = 3 + 13 * WIDTHS**-0.5
    wide, narrow = (
        fit_law({"n": WIDTHS}, loss, errors=np.full(5, error)) for error in (0.02, 0.002)
    )
    halves = [wide.at(n=n).high - wide.at(n=n).low for n in (512, 8192, 65536)]
    assert halves == sorted(halves)
    assert narrow.at(n=65536).high - narrow.at(n=65536).low < halves[-1] / 4


@pytest.mark.parametrize("method", METHODS)
def test_losses_in_other_units_give_the_same_law(method: Method) -> None:
    loss = 3 + 13 * WIDTHS**-0.5 + np.array([4, -7, 5, 3, -5]) * 1e-3
    nats = fit_law({"n": WIDTHS}, loss, method=method)
    bits = fit_law({"n": WIDTHS}, loss / np.log(2), method=method)
    assert bits.asymptote * np.log(2) == pytest.approx(nats.asymptote, rel=1e-6)
    assert bits.terms[0].exponent == pytest.approx(nats.terms[0].exponent, rel=1e-6)
    assert bits.terms[0].high == pytest.approx(nats.terms[0].high, rel=1e-4)


def test_the_order_of_points_and_of_scales_changes_nothing() -> None:
    n, d, loss = chinchilla()
    loss = loss * np.exp(0.003 * np.random.default_rng(1).standard_normal(25))
    order = np.random.default_rng(2).permutation(25)
    one = fit_law({"n": n, "d": d}, loss, resamples=100)
    other = fit_law({"d": d[order], "n": n[order]}, loss[order], resamples=100)
    assert numbers(one) == numbers(other)


def test_the_inverse_of_a_law_is_its_scale() -> None:
    law = fit_law({"n": WIDTHS}, 3 + 13 * WIDTHS**-0.5)
    assert law.scale_at(3 + 13 * 4096**-0.5) == pytest.approx(4096)
    assert law.scale_at(2.9) == np.inf


def test_a_loss_without_an_asymptote_is_flagged() -> None:
    law = fit_law({"n": WIDTHS}, 13 * WIDTHS**-0.05, errors=np.full(5, 1e-3))
    assert law.asymptote == pytest.approx(0, abs=0.5)
    assert "asymptote_open" in law.flags


def test_a_loss_that_rises_is_flagged() -> None:
    law = fit_law({"n": WIDTHS}, 3 + 0.1 * np.log(WIDTHS), method="least_squares")
    assert "no_fall" in law.flags
    assert "exponent_open" in law.flags
    assert law.terms[0].high == np.inf


def test_an_asymptote_below_zero_can_be_allowed() -> None:
    # arXiv 2512.22768: log2 of the best learning rate of a two-layer network.
    places = 7.80 * WIDTHS**-0.388 - 6.78
    law = fit_law({"n": WIDTHS}, places, method="least_squares", free_asymptote=True)
    assert law.asymptote == pytest.approx(-6.78, abs=1e-6)
    assert law.terms[0].exponent == pytest.approx(0.388, abs=1e-6)


def test_as_many_points_as_parameters_have_no_interval() -> None:
    law = fit_law({"n": WIDTHS[:3]}, 3 + 13 * WIDTHS[:3] ** -0.5)
    assert law.asymptote == pytest.approx(3, abs=1e-6)
    assert law.flags == ("exact",)
    assert (law.low, law.high) == (-np.inf, np.inf)
    there = law.at(n=4096)
    assert (there.low, there.high) == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("scales", "losses", "message"),
    [
        ({"n": [1, 2]}, [3, 2], "2 points, and a law of n has 3 parameters"),
        ({"n": [1, 1, 2, 2]}, [3, 3, 2, 2], "2 values of n"),
        ({"n": [1, 2, 0]}, [3, 2, 1], "n = 0 in 1 of 3 points"),
        ({"n": [1, 2, 4]}, [3, 2, -1], "loss = -1 in 1 of 3 points"),
        ({"n": [1, 2, 4]}, [3, 2, np.inf], "must be finite"),
        ({"n": [1, 2, 4]}, [3, 3, 3], "all 3 losses are equal"),
        ({"n": [1, 2, 4]}, [3, 2], "one loss for every value"),
        ({}, [3, 2], "one or two scales"),
        (
            {"n": [1, 2, 4, 8, 16], "d": [20, 40, 80, 160, 320]},
            [5, 4, 3, 2, 1],
            "d and n move together",
        ),
    ],
)
def test_what_cannot_carry_a_law_is_refused(
    scales: dict[str, list[float]], losses: list[float], message: str
) -> None:
    with pytest.raises(AnalysisRefusal, match=message):
        fit_law({k: np.array(v, float) for k, v in scales.items()}, np.array(losses, float))


def test_wrong_options_are_refused() -> None:
    loss = 3 + 13 * WIDTHS**-0.5
    with pytest.raises(UnknownNameError, match="no method named 'lasso'"):
        fit_law({"n": WIDTHS}, loss, method="lasso")  # type: ignore[arg-type]
    with pytest.raises(AnalysisRefusal, match="at least 100"):
        fit_law({"n": WIDTHS}, loss, resamples=10)
    with pytest.raises(AnalysisRefusal, match="needs least_squares"):
        fit_law({"n": WIDTHS}, loss, free_asymptote=True)
    with pytest.raises(AnalysisRefusal, match="positive and finite"):
        fit_law({"n": WIDTHS}, loss, errors=np.zeros(5))
    law = fit_law({"n": WIDTHS}, loss)
    with pytest.raises(AnalysisRefusal, match="the law is in n"):
        law.at(width=128)


@pytest.mark.parametrize(
    ("setting", "transferred", "asymptote", "exponent"),
    [
        ("Adam-Llama", False, 3.137, 0.52),
        ("Adam-Llama", True, 3.130, 0.52),
        ("Muon-Llama", False, 3.004, 0.50),
        ("Muon-Llama", True, 3.139, 0.60),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_the_printed_laws_follow_from_the_published_curves(
    setting: str, transferred: bool, asymptote: float, exponent: float, method: Method
) -> None:
    path = PUBLISHED / "llama_wikitext103_width.csv"
    frame = pd.read_csv(path).assign(seed=0, outcome="completed")
    frame = frame[(frame["curve"] == "ema") & (frame["setting"] == setting)]
    curves = measured_curves(frame, scale="width", hyperparameter="learning_rate")
    optima = locate(curves, estimator="spline", resamples=100).optima
    base = np.array([optima[0].log2])
    losses = [float(o.curve(base)[0]) if transferred else o.loss for o in optima]
    law = fit_law({"width": WIDTHS}, np.array(losses), method=method)
    assert law.asymptote == pytest.approx(asymptote, abs=0.01)
    assert law.terms[0].exponent == pytest.approx(exponent, abs=0.01)

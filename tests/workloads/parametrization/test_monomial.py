"""Products of powers as formulas and as numbers."""

from __future__ import annotations

from workloads.parametrization.formula import ONE, Growth, monomial


def test_powers_add_up_and_cancel() -> None:
    step = monomial(r_out=0.5, r_in=-0.5)
    assert step * step == monomial(r_out=1, r_in=-1)
    assert step / step == ONE == step**0
    assert (step**2).only("r_in") == monomial(r_in=-1)


def test_a_formula_reads_as_a_fraction() -> None:
    assert str(ONE) == "1"
    assert str(monomial(r_in=-1)) == "1 / r_in"
    assert str(monomial(gamma=2, r_in=1, r_out=-1, n_in=-0.5)) == (
        "gamma^2 r_in / (r_out n_in^(1/2))"
    )
    assert str(monomial(m=-0.3)) == "1 / m^(3/10)"
    assert str(monomial(m=0.123)) == "m^0.123"


def test_equal_sizes_cancel_to_the_last_bit() -> None:
    formula = monomial(r_out=0.5, r_in=-0.5)
    for size in (3.0, 1.7, 10 / 3):
        assert formula.at(Growth(r_in=size, r_out=size)) == 1.0
    assert formula.at(Growth(r_in=4, r_out=9)) == 1.5

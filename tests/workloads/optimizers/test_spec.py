"""Names of optimizers and their coefficient sets."""

from __future__ import annotations

import pytest

from workloads.llama.card import LLAMA
from workloads.optimizers.coefficients import (
    MARGINS,
    NEWTON_SCHULZ,
    default_steps,
    newton_schulz_coefficients,
)
from workloads.optimizers.spec import (
    ELEMENTWISE,
    MATRIX,
    OPTIMIZERS,
    ORTHOGONAL,
    SPECS,
    others_of,
    vectors_of,
)


def test_optimizers_are_named_in_the_order_of_the_documents() -> None:
    assert (
        *("sgd", "adamw", "adopt", "lamb", "sophia"),
        *("muon", "muonclip", "dion", "adamuon", "shampoo", "soap"),
    ) == OPTIMIZERS


def test_every_epsilon_is_a_setting_that_its_optimizer_reads() -> None:
    for spec in SPECS.values():
        read = {setting.name for setting in spec.settings} | set(spec.borrowed)
        assert set(spec.epsilons.values()) <= read, spec.name


def test_kinds_divide_the_optimizers() -> None:
    assert set(ELEMENTWISE) | set(MATRIX) == set(OPTIMIZERS) == set(SPECS)
    assert not set(ELEMENTWISE) & set(MATRIX)
    assert set(ORTHOGONAL) <= set(MATRIX)


@pytest.mark.parametrize("name", NEWTON_SCHULZ)
def test_a_trial_stores_the_numbers_of_its_set(name: str) -> None:
    config = {"width": 32, "steps": 5, "learning_rate": 0.1, "optimizer": "muon"}
    plan = LLAMA.resolve({**config, "newton_schulz": name})
    stored = plan.derived["newton_schulz_coefficients"]
    assert plan.config.get("newton_schulz_margin") == MARGINS.get(name)
    assert stored == newton_schulz_coefficients(name, None, MARGINS.get(name, 1.0))
    bare = {"newton_schulz_margin": 1} if name in MARGINS else {}
    plain = LLAMA.resolve({**plan.config, **bare})
    stored = plain.derived["newton_schulz_coefficients"]
    assert stored == [list(each) for each in NEWTON_SCHULZ[name]][: default_steps(name)]
    assert plan.config["newton_schulz_steps"] == len(stored)
    assert all(isinstance(number, float) for each in stored for number in each)


def test_sets_have_the_number_of_steps_that_they_are_meant_for() -> None:
    found = {name: len(newton_schulz_coefficients(name, None)) for name in NEWTON_SCHULZ}
    assert found == {
        "keller_jordan": 5,
        "quintic": 5,
        "polar_express": 5,
        "polar_express_safe": 5,
        "cans": 5,
        "modula": 6,
        "deepseek": 10,
        "cubic": 5,
    }


def test_fewer_steps_are_the_first_ones_and_more_repeat_the_last() -> None:
    full = [list(each) for each in NEWTON_SCHULZ["quintic"]]
    assert newton_schulz_coefficients("quintic", 2) == full[:2]
    assert newton_schulz_coefficients("quintic", 7) == [*full, full[-1], full[-1]]


def test_polar_express_goes_on_with_its_own_later_steps() -> None:
    full = [list(each) for each in NEWTON_SCHULZ["polar_express"]]
    assert len(full) == 8
    assert newton_schulz_coefficients("polar_express", 8) == full


def test_the_cubic_needs_no_square_of_the_gram_matrix() -> None:
    assert all(c == 0 for _, _, c in NEWTON_SCHULZ["cubic"])


def test_the_last_step_of_convergent_sets_keeps_one_where_it_is() -> None:
    for name in ("polar_express", "deepseek"):
        assert sum(NEWTON_SCHULZ[name][-1]) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("optimizer", "others", "of_others", "of_vectors"),
    [
        ("adopt", "auto", "adopt", "adopt"),
        ("muon", "auto", "adamw", "adamw"),
        ("muon", "sgd", "sgd", "sgd"),
        ("muon", "muon", "muon", "adamw"),
        ("sgd", "soap", "soap", "adamw"),
    ],
)
def test_others_and_vectors_have_the_optimizer_that_suits_them(
    optimizer: str, others: str, of_others: str, of_vectors: str
) -> None:
    config = {"optimizer": optimizer, "others": others}
    assert (others_of(config), vectors_of(config)) == (of_others, of_vectors)

"""Epsilons that float32 cannot hold would be zero in training."""

from __future__ import annotations

import pytest

from sweeper.errors import StudyError
from sweeper.study.study import Study


def with_epsilon(value: float) -> Study:
    """Returns a study with an epsilon of the optimizer."""
    return Study.from_document(
        {
            "name": "e",
            "workload": "llama",
            "scale": "width",
            "fixed": {"steps": 2, "epsilon": value},
            "sweep": {"width": [16, 32], "learning_rate": [0.01]},
        }
    )


@pytest.mark.parametrize("value", [1e-39, 1e-50, 0.0, -1e-8])
def test_an_epsilon_that_float32_cannot_hold_is_refused(value: float) -> None:
    with pytest.raises(StudyError, match=r"epsilon"):
        with_epsilon(value)


def test_the_least_epsilon_is_taken() -> None:
    assert with_epsilon(2.0**-126).document["fixed"]["epsilon"] == 2.0**-126

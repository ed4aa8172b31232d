"""The script that sets one exponent of a rule wrong at a time."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "check.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_benchmark", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_wrong_rates_and_initial_values_of_the_readout_are_named(script: ModuleType) -> None:
    asked = "--optimizers adamw --roles readout --quantities learning_rate,init"
    rows = script.main([*asked.split(), "--widths", "32,128", "--seeds", "3"])
    assert [row["wrong"] for row in rows] == [
        "nothing",
        "learning_rate of readout",
        "init of readout",
    ]
    assert all(row["right"] for row in rows), rows


def test_a_sound_rule_raises_no_alarm(script: ModuleType) -> None:
    (row,) = script.main(["--alarms", "2", "--optimizers", "adamw", "--widths", "32,128"])
    assert (row["groups"], row["fail"]) == (2, 0)

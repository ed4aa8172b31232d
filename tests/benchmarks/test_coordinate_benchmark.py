"""The script that measures every rule."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "coordinates.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coordinates_benchmark", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_rules_promise_no_slope_under_mup_and_one_per_doubling_under_sp(
    script: ModuleType,
) -> None:
    def promised(case: str, parametrization: str) -> list[float]:
        config = script.settings_of(case, parametrization)
        return [script.expected_slope(config, role) for role in ("hidden", "readout")]

    assert promised("adamw", "mup") == [0, 0]
    assert promised("adamw", "sp") == pytest.approx([1, 1])
    assert promised("muon", "sp") == pytest.approx([0, 1])
    assert promised("muon", "moonlight") == pytest.approx([0.5, 1])
    assert promised("sgd", "ntk") == pytest.approx([-0.5, 0])
    assert promised("sgd", "sp") == pytest.approx([1, 1])  # through the readout's growth


def test_rules_that_come_to_the_same_are_trained_once(script: ModuleType) -> None:
    def same(one: str, other: str, scale: str, sizes: tuple[int, ...]) -> bool:
        signatures = [script.signature("adamw", rule, scale, sizes) for rule in (one, other)]
        return bool(signatures[0] == signatures[1])

    assert same("mup", "mean_field", "width", (32, 64))
    assert not same("mup", "sp", "width", (32, 64))
    assert not same("mup", "mean_field", "depth", (2, 4))


def test_combinations_that_are_not_defined_are_left_out(script: ModuleType) -> None:
    assert list(script.jobs(["adamw", "muon"], ["moonlight", "mup"])) == [
        ("adamw", "mup"),
        ("muon", "moonlight"),
        ("muon", "mup"),
    ]


def test_a_promise_is_kept_within_a_tenth_and_silent_where_there_is_none(
    script: ModuleType,
) -> None:
    row: dict[str, Any] = {"expected_hidden": 0.0, "expected_readout": 0.0}
    assert script.verdict({**row, "worst": -0.1}) == "kept"
    assert script.verdict({**row, "worst": 0.11}) == "off by +0.11"
    assert script.verdict({**row, "expected_hidden": 1.0, "worst": 1.0}) == ""
    assert script.verdict({**row, "failed": "diverged"}) == "diverged"


@pytest.mark.slow
def test_it_measures_prints_and_writes_rows(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(SCRIPT.parents[1])
    monkeypatch.setenv("PYTHONPATH", f"{root}:{SCRIPT.parent}")  # for the spawned process
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import coordinates

    table, rows_file = tmp_path / "table.md", tmp_path / "rows.csv"
    rows = coordinates.main(
        [
            *("--cases", "adamw", "--parametrizations", "mup,sp", "--sizes", "32,64,128"),
            *("--seeds", "2", "--markdown", str(table), "--csv", str(rows_file)),
        ]
    )
    assert [row["parametrization"] for row in rows] == ["mup", "sp"]
    assert abs(rows[0]["stream"]) < 0.3 < 0.7 < rows[1]["stream"]
    assert table.read_text().count("\n") == 4
    with rows_file.open() as file:
        assert [row["optimizer"] for row in csv.DictReader(file)] == ["adamw", "adamw"]

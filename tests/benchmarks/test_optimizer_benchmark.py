"""The benchmark of the optimizers runs, and says all that it should; how fast is not tested."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from workloads.optimizers.spec import OPTIMIZERS

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "optimizers.py"


def output(*arguments: str) -> str:
    command = [sys.executable, str(SCRIPT), "--quick", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_quick_run_measures_every_optimizer() -> None:
    rows = json.loads(output("--json"))
    names = [row["optimizer"] for row in rows]
    assert len(set(names)) == len(names)
    assert set(OPTIMIZERS) <= {name.split(",")[0] for name in names}
    for row in rows:
        assert row["width"] == 32
        assert 0 < row["least_ms"] <= row["ms"]
        assert row["floor_ms"] > 0
        assert math.isclose(row["over_floor"], row["ms"] / row["floor_ms"])
        assert (row["peer"] == "") == (row["ratio"] is None)
        assert row["ratio"] is None or math.isclose(row["ratio"], row["peer_ms"] / row["ms"])


@pytest.mark.slow
def test_a_table_has_a_line_for_each_chosen_optimizer() -> None:
    lines = output("--only", "muon", "soap").splitlines()
    assert [line.split()[0] for line in lines] == ["optimizer", "muon", "soap"]
    assert all(float(line.split()[-1]) > 0 for line in lines[1:])

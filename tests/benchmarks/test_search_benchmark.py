"""The benchmark of searches: its series, its truth, and what it counts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search import (
    Score,
    page,
    row,
    score,
    truth_of,
)
from benchmarks.search_series import (
    TABLES,
    known_series,
    own_series,
    series_in,
    write_table,
)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    for series in known_series(TABLES):
        write_table(series, folder)
    return folder


def test_there_are_eight_published_series() -> None:
    found = list(series_in(TABLES))
    assert len(found) == 8
    assert all(each.noise > 0 for each in found)
    cut = next(each for each in found if each.name == "Muon-Adam/SP")
    assert sum(map(math.isinf, cut.losses.values())) == 9


def test_our_own_width_studies_are_series_with_the_noise_that_was_found_in_them() -> None:
    found = {each.name: each for each in own_series()}
    assert list(found) == ["our AdamW/sp", "our AdamW/mup", "our Muon/sp", "our Muon/mup"]
    assert found["our AdamW/sp"].widths == [32, 64, 128, 256]
    assert sum(map(math.isinf, found["our AdamW/sp"].losses.values())) == 2
    assert found["our Muon/sp"].noise == pytest.approx(0.0164, abs=1e-4)


def test_a_search_that_a_study_can_name_is_measured_by_its_name(tables: Path) -> None:
    found = score(("telescope", "our Muon/mup", 1.0, 0), TABLES, tables)
    assert found.runs[0] == 7 and min(found.runs) >= 3
    assert found.share < 0.8
    assert not np.isnan(found.errors).any()


def test_a_ladder_is_measured_against_the_grid_without_noise(tables: Path) -> None:
    series, truth = truth_of("Shampoo/muP", TABLES, tables)
    assert truth.flops == 13 * sum(width**2 for width in series.widths)
    found = score(("ladder", "Shampoo/muP", 1.0, 0), TABLES, tables)
    assert found.share < 0.2
    assert max(found.errors) < 0.4
    assert min(found.regrets) >= 0
    assert found == score(("ladder", "Shampoo/muP", 1.0, 0), TABLES, tables)


def scored(**changes: object) -> Score:
    values = {
        "search": "ladder",
        "series": "a",
        "times": 1.0,
        "share": 0.1,
        "grid": 1.0,
        "runs": (3, 2),
        "errors": (0.1, 0.3),
        "held": (1.0, 0.0),
        "drift_held": 1.0,
        "regrets": (0.0, 0.001),
        "ruling": "holds",
        "truth": "holds",
    }
    return Score(**(values | changes))  # type: ignore[arg-type]


def test_a_row_weighs_series_by_their_flops_and_counts_verdicts() -> None:
    scores = [
        scored(),
        scored(series="b", share=0.2, grid=3.0, ruling="inconclusive"),
        scored(series="c", ruling="broken", errors=(np.nan, 0.3), held=(np.nan, 1.0)),
    ]
    cells = row(scores)
    assert cells[:4] == ["×1", "ladder", "0.160", "0.133"]
    assert cells[4] == "0.300"
    assert cells[-4:] == ["60.0%", "100.0%", "2 of 3", "1"]
    assert page(scores, by_series=True).count("\n| a |") == 1

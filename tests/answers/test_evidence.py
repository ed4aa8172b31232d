"""The evidence behind a group."""

from __future__ import annotations

import pandas as pd
import pytest
from planted import trials

from sweeper.answers.groups import evidence_of

POINT = ["width", "learning_rate"]


def table() -> pd.DataFrame:
    frame = trials(seeds=2, noise=0.01, cliff=2.5)
    return frame.assign(
        key=[f"k{i}" for i in range(len(frame))], commit="c0ffee", torch="2.9", device="a card"
    )


def test_results_divergences_points_and_seeds_are_counted() -> None:
    frame = table()
    found = evidence_of(frame, POINT)
    assert (found.trials, found.declared) == (len(frame), len(frame))
    assert found.diverged == (frame["outcome"] == "diverged").sum() > 0
    assert (found.points, found.seeds) == (len(frame) // 2, (2, 2))
    assert found.keys == tuple(sorted(frame["key"]))
    assert found.coverage == 1
    assert found.warnings == ()
    assert found.versions == ("commit c0ffee", "torch 2.9")
    assert found.devices == ("a card",)


def test_holes_lower_the_coverage_and_the_seeds_of_their_points() -> None:
    frame = table()
    frame.loc[frame.index[0], ["outcome", "loss"]] = ["missing", float("nan")]
    found = evidence_of(frame, POINT)
    assert found.trials == len(frame) - 1
    assert found.coverage == pytest.approx(1 - 1 / len(frame))
    assert found.seeds == (1, 2)
    assert frame["key"].iloc[0] not in found.keys


def test_a_repeated_row_counts_once_and_a_result_stands_before_its_hole() -> None:
    frame = table()
    hole = frame.iloc[[0]].assign(outcome="missing", loss=float("nan"))
    twice = pd.concat([hole, frame, frame])
    assert evidence_of(twice, POINT) == evidence_of(frame, POINT)


@pytest.mark.parametrize("column", ["commit", "torch", "device"])
def test_what_results_should_share_is_warned_about_with_counts(column: str) -> None:
    frame = table()
    frame.loc[frame.index[:3], column] = "other"
    (warning,) = evidence_of(frame, POINT).warnings
    assert "other (3)" in warning and f"({len(frame) - 3})" in warning


def test_a_table_without_sources_has_none() -> None:
    found = evidence_of(trials(), POINT)
    assert (found.keys, found.versions, found.devices, found.warnings) == ((), (), (), ())
    document = found.to_json()
    assert "keys" not in document
    assert document["seeds"] == [3, 3]
    assert found.to_json(keys=True)["keys"] == []


def test_a_group_without_a_result_has_no_seeds() -> None:
    found = evidence_of(trials().assign(outcome="missing", loss=float("nan")), POINT)
    assert (found.trials, found.points, found.seeds) == (0, 0, None)
    assert found.to_json()["seeds"] is None

"""The studies of beds are read as theory says."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.answers.transfer import Transfer, transfers_of
from sweeper.engine.run import Run
from sweeper.store import Store
from sweeper.study import load_study

STUDIES = Path(__file__).resolve().parents[3] / "studies"


def read(name: str, folder: Path) -> list[Transfer]:
    with Store.open(folder, create=True) as store:
        Run(load_study(STUDIES / f"{name}.yaml"), store, executor="inline").execute()
        (statement,) = transfers_of(store, name)
    groups = [group for group in statement.groups if isinstance(group, Transfer)]
    assert len(groups) == len(statement.groups)
    return groups


def test_random_features_transfer_fast_at_the_rates_of_the_proof(tmp_path: Path) -> None:
    (group,) = read("random_features", tmp_path)
    assert group.verdict.speed == "fast"
    for name, rate in (("a", 1.0), ("b", 1.0), ("c", 2.0)):
        found = group.rates[name]
        assert found is not None
        assert found.low - 0.005 <= rate <= found.high + 0.005


def test_a_linear_network_transfers_fast_or_slowly_as_its_inputs_say(tmp_path: Path) -> None:
    gaussian, orthogonal = read("linear_network", tmp_path)
    assert (gaussian.verdict.speed, orthogonal.verdict.speed) == ("fast", "slow")
    for group in (gaussian, orthogonal):
        found = group.rates["b"]
        assert found is not None
        assert found.low - 0.005 <= 0.5 <= found.high + 0.005
    loss = orthogonal.rates["a"]
    assert loss is not None and loss.value == pytest.approx(2.0, abs=0.15)

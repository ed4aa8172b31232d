"""The top-k decomposition beside a training: it changes no bit of it, and has the same bits alone,
in any pack and after any interruption."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlp_runs import TINY as MLP_TINY
from pack_runs import TINY, history

from workloads.llama.card import LLAMA
from workloads.mlp.card import MLP
from workloads.training.alignment import width_sides
from workloads.workload import Card, Measurement, Member, Record

CASES: dict[str, tuple[Card, dict[str, Any]]] = {
    "llama": (LLAMA, {**TINY, "norm_gain": True}),
    "mlp": (MLP, {**MLP_TINY, "steps": 12}),
}
BOTH = Record(quantities=("topk", "examples"))


def members(case: str, *rates: float, checkpoints: list[Path] | None = None) -> list[Member]:
    card, settings = CASES[case]
    places = checkpoints or [None] * len(rates)
    return [
        Member(
            config=card.resolve({**settings, "learning_rate": rate}).config,
            seed=seed,
            checkpoint=place,
        )
        for (seed, rate), place in zip(enumerate(rates), places, strict=True)
    ]


def training(case: str, pack: list[Member], record: Record | None = BOTH) -> Any:
    extra: dict[str, Any] = {} if record is None else {"record": record}
    return CASES[case][0].trainer()(pack, threads=1, device="cpu", **extra)


def said(running: Any) -> list[Measurement]:
    return [each for step in running.run() for each in step]


def arrays(found: list[Measurement], member: int = 0) -> dict[str, Any]:
    (last,) = [each for each in found if each.member == member and each.status == "completed"]
    return dict(last.arrays)


def assert_same(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first.keys() == second.keys()
    for name, each in first.items():
        np.testing.assert_array_equal(each, second[name], err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_what_is_followed_trains_to_the_same_bits(case: str) -> None:
    pack = members(case, 2.0**-6, 2.0**-5)
    followed, plain = said(training(case, pack)), said(training(case, pack, record=None))
    for place in (0, 1):
        assert history(followed, place) == history(plain, place)
    assert not any(each.arrays for each in plain)


@pytest.mark.parametrize("case", CASES)
def test_a_member_is_followed_to_the_same_bits_in_a_pack_and_after_an_interruption(
    case: str, tmp_path: Path
) -> None:
    pack = members(case, 2.0**-6, 2.0**-5)
    together = said(training(case, pack))
    alone = training(case, [Member(config=pack[1].config, seed=1)])
    assert_same(arrays(said(alone)), arrays(together, 1))
    running = training(case, pack)
    for _ in islice(running.run(), 7):
        pass
    paths = [tmp_path / f"{place}.pt" for place in (0, 1)]
    for place, path in enumerate(paths):
        running.save(place, path)
    later = said(training(case, members(case, 2.0**-6, 2.0**-5, checkpoints=paths)))
    for place in (0, 1):
        assert_same(arrays(later, place), arrays(together, place))


@pytest.mark.parametrize("case", CASES)
def test_the_parts_of_a_training_add_up_to_its_change_of_the_loss(case: str) -> None:
    (only,) = members(case, 2.0**-7)
    found = arrays(said(training(case, [only])))
    phi = {name: each for name, each in found.items() if name.startswith("topk.phi.")}
    halves = (found["topk.linear"].sum() + found["topk.late"].sum()) / 2
    assert sum(each[-1] for each in phi.values()) == pytest.approx(halves, rel=1e-9)
    change = found["topk.loss"][-1] - found["topk.loss"][0]
    assert change < -0.01
    assert halves == pytest.approx(change, rel=0.02)
    early = found["topk.linear"].sum()
    assert found["examples.psi"].sum(1).mean() == pytest.approx(early, rel=1e-4)
    fall = (found["examples.end"] - found["examples.start"]).mean()
    assert fall == pytest.approx(change, rel=1e-6)
    width = only.config["width"]
    sizes = {name.removeprefix("topk.phi."): len(each) for name, each in phi.items()}
    vectors = {name for name in sizes if name.endswith(("gain", "bias"))}
    assert vectors
    assert all(size == (1 if name in vectors else width) for name, size in sizes.items())


def test_of_tokens_position_and_frequency_are_known() -> None:
    found = arrays(said(training("llama", members("llama", 2.0**-6))))
    context = TINY["context"]
    assert len(found["examples.psi"]) == TINY["eval_tokens"]
    np.testing.assert_array_equal(
        found["examples.position"][: context + 2] % context, [*range(context), 0, 1]
    )
    space = found["examples.label"] == ord(" ")
    shares = found["examples.frequency"]
    assert 0.1 < shares[space].max() == shares[space].min() < 0.25
    assert shares[~space].max() < shares[space].min()


def test_the_points_are_those_that_a_study_asks_for() -> None:
    record = Record(quantities=("topk",), every=5)
    found = arrays(said(training("mlp", members("mlp", 2.0**-6), record)))
    assert found["topk.step"].tolist() == [0, 5, 10, 12]
    assert not any(name.startswith("examples.") for name in found)


def test_a_member_that_diverges_leaves_nothing_and_the_others_go_on() -> None:
    pack = members("mlp", 2.0**-6, 2.0**40, 2.0**-5)
    found = said(training("mlp", pack))
    ends = {each.member: each.status for each in found if each.status != "running"}
    assert ends == {0: "completed", 1: "diverged", 2: "completed"}
    assert_same(arrays(found, 2), arrays(said(training("mlp", pack[2:])), 0))


def test_a_checkpoint_that_follows_nothing_is_refused(tmp_path: Path) -> None:
    running = training("mlp", members("mlp", 2.0**-6), record=None)
    for _ in islice(running.run(), 3):
        pass
    running.save(0, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="something else was recorded; delete it"):
        training("mlp", members("mlp", 2.0**-6, checkpoints=[tmp_path / "a.pt"]))


def test_the_side_that_grows_is_known_where_a_matrix_is_square_by_chance() -> None:
    from workloads.mlp.model import Mlp

    plan = MLP.resolve({**MLP_TINY, "width": 64})  # digits have 64 pixels
    sides = width_sides(Mlp(plan, compute=torch.float32))
    assert sides == {"embedding": "rows", "0": "columns", "1": "columns", "readout": "columns"}

"""The two_layer bed: its tasks, its training, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from workloads.beds.two_layer import TWO_LAYER
from workloads.beds.two_layer_model import Examples, TwoLayer
from workloads.workload import Measurement, Member, Record

GIVEN: dict[str, Any] = {"width": 32, "learning_rate": 2.0**-6, "steps": 60, "batch_size": 64}
GIVEN |= {"eval_examples": 4096, "evals": 1}


def trained(seeds: tuple[int, ...] = (0,), **settings: Any) -> list[Measurement]:
    config = TWO_LAYER.resolve({**GIVEN, **settings}).config
    members = [Member(config=config, seed=seed) for seed in seeds]
    trainer = TWO_LAYER.trainer()(members, threads=1, device="cpu")
    return [m for said in trainer.run() for m in said if m.status != "running"]


@pytest.mark.parametrize(("task", "guess"), [("ball", np.log(2)), ("k_index", 1 / 30)])
def test_it_learns_its_task(task: str, guess: float) -> None:
    (last,) = trained(task=task, steps=300, width=128, batch_size=256)
    assert last.status == "completed"
    assert last.metrics["val_loss"] < 0.95 * guess


def test_half_of_all_inputs_are_in_the_ball_and_k_inputs_have_the_size_of_one() -> None:
    def held_out(task: str) -> tuple[np.ndarray, np.ndarray]:
        stream = Examples(TWO_LAYER.resolve({**GIVEN, "task": task}).config, device="cpu")
        parts = list(stream.evaluation(1))
        return tuple(torch.cat([part[i][0] for part in parts]).numpy() for i in (0, 1))  # type: ignore[return-value]

    inputs, labels = held_out("ball")
    assert labels.mean() == pytest.approx(0.5, abs=0.03)
    outside = np.square(inputs).sum(1) > 63.33  # the median of chi-square of 64
    assert (outside == (labels == 1)).mean() > 0.999
    inputs, targets = held_out("k_index")
    sizes = np.sqrt(64 / (4 * 15) * np.square(inputs[:, :15]).sum(1))
    assert targets == pytest.approx(sizes, rel=1e-5)


def test_gradients_are_those_of_the_formula() -> None:
    plan = TWO_LAYER.resolve({**GIVEN, "task": "k_index"})
    model, draw = TwoLayer(plan), torch.Generator().manual_seed(1)
    parameters = {
        name: torch.randn(2, *each.shape, generator=draw, dtype=torch.float64).requires_grad_()
        for name, each in model.tensors.items()
    }
    x = torch.randn(2, 5, 64, generator=draw, dtype=torch.float64)
    y = torch.randn(2, 5, generator=draw, dtype=torch.float64)
    model._compute = torch.float64
    weight, bias, readout, shift = (parameters[name] for name in model.tensors)
    values = torch.einsum("eod,ebd->ebo", weight, x) + bias[:, None]
    expected = torch.einsum("ebo,eo->eb", values.clamp(min=0), readout[:, 0]) + shift
    found = model.losses(parameters, x, y)
    assert found.detach().numpy() == pytest.approx(((expected - y) ** 2).detach().numpy())


def test_a_member_of_a_pack_has_the_bits_that_it_has_alone() -> None:
    together = {m.member: m.metrics for m in trained((3, 4))}
    assert together[1] == trained((4,))[0].metrics


def test_a_run_goes_on_from_its_checkpoint_with_the_same_bits(tmp_path: Path) -> None:
    config = TWO_LAYER.resolve(GIVEN).config
    trainer = TWO_LAYER.trainer()([Member(config=config, seed=0)], threads=1, device="cpu")
    for step, _ in enumerate(trainer.run(), 1):
        if step == 20:
            trainer.save(0, tmp_path / "checkpoint")
            break
    member = Member(config=config, seed=0, checkpoint=tmp_path / "checkpoint")
    said = list(TWO_LAYER.trainer()([member], threads=1, device="cpu").run())
    assert said[-1][-1].metrics == trained()[0].metrics


def test_the_readouts_rate_is_a_factor_on_its_own_groups_alone() -> None:
    plain, slow = (
        TWO_LAYER.resolve({**GIVEN, "readout_rate": rate}).derived["groups"] for rate in (1, 0.02)
    )
    for name, group in plain.items():
        factor = 0.02 if "readout" in name else 1.0
        assert slow[name]["learning_rate"] == pytest.approx(factor * group["learning_rate"])


def test_what_cannot_be_is_refused_in_words() -> None:
    def message(**settings: Any) -> str:
        (problem,) = TWO_LAYER.problems({**GIVEN, **settings})
        return problem.message

    assert "k is 65, of 64 inputs" in message(task="k_index", k=65)
    assert "there is one layer" in message(
        parametrization="completep", base_width=32, base_depth=2
    )
    assert "use muon" in message(optimizer="muonclip")


def test_it_records_updates_and_activations_and_trains_with_the_same_bits() -> None:
    config = TWO_LAYER.resolve(GIVEN).config
    record = Record(quantities=tuple(TWO_LAYER.recordings), steps=(2, 60))
    factory: Any = TWO_LAYER.trainer()
    trainer = factory([Member(config=config, seed=0)], threads=1, device="cpu", record=record)
    said = [m for some in trainer.run() for m in some]
    rows = {m.step: m.metrics for m in said if "update_norm.embedding" in m.metrics}
    assert sorted(rows) == [2, 60]
    for row in rows.values():
        assert 0 < row["update_alignment.readout"] <= 1
        assert row["activation_moved.outputs"] > 0
    (last,) = (m for m in said if m.status == "completed")
    assert last.metrics["val_loss"] == trained()[0].metrics["val_loss"]

"""The perceptron in training: packs, resuming, what is measured, a bare loop."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mlp_runs import MIXED, RUNS, TINY, history, measured, member, trainer
from torch import nn

from workloads.data.images import load
from workloads.mlp.card import MLP
from workloads.mlp.stream import order
from workloads.training.schedule import Schedule
from workloads.workload import Member


@pytest.fixture(params=RUNS)
def changes(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Returns the settings of one of the runs."""
    return RUNS[request.param]


def test_every_member_has_the_bits_of_its_solo_run_beside_a_diverged_one(
    changes: dict[str, Any],
) -> None:
    members = [member(**{**changes, **each}) for each in MIXED]
    together = measured(trainer(*members))
    for place, each in enumerate(members):
        assert history(together, place) == history(measured(trainer(each)))
    statuses = [history(together, place)[-1][-1] for place in range(len(members))]
    assert statuses[2] == "diverged"
    assert statuses.count("completed") >= 2  # a large rate may end a member of itself


@pytest.mark.parametrize("step", [3])
def test_a_trial_goes_on_with_the_same_bits_alone_or_in_another_pack(
    changes: dict[str, Any], step: int, tmp_path: Path
) -> None:
    kept = [each for each in MIXED if each["learning_rate"] < 1]
    members = [member(**{**changes, **each}) for each in kept]
    running = trainer(*members)
    said = []
    steps = running.run()
    for now in islice(steps, step):
        said += now
    paths = [tmp_path / f"{place}.pt" for place in range(len(members))]
    for place, path in enumerate(paths):
        running.save(place, path)
    said += [each for now in steps for each in now]
    resumed = [
        Member(config=each.config, seed=each.seed, checkpoint=path)
        for each, path in zip(members, paths, strict=True)
    ]
    for places in ([1], [2, 0]):
        later = measured(trainer(*(resumed[place] for place in places)))
        for now, before in enumerate(places):
            assert history(later, now) == [row for row in history(said, before) if row[0] > step]


def test_bits_do_not_depend_on_how_many_members_go_through_the_model_at_once() -> None:
    settings = {"width": 512, "batch_size": 256, "depth": 1, "steps": 2, "evals": 1}  # two at once
    members = [member(seed=seed, **settings) for seed in range(3)]
    together = measured(trainer(*members))
    for place, each in enumerate(members):
        assert history(together, place) == history(measured(trainer(each)))


def test_marks_have_loss_and_accuracy_and_the_final_one_the_training_loss() -> None:
    said = measured(trainer(member(steps=60, learning_rate=2.0**-5)))
    marks = [each for each in said if each.mark]
    assert [each.step for each in marks] == [30, 60]
    assert set(marks[0].metrics) == {"val_loss", "val_accuracy"}
    assert set(marks[1].metrics) == set(MLP.metrics)
    assert marks[1].tokens == 60 * 16
    assert marks[1].metrics["val_accuracy"] > 0.7
    right = marks[1].metrics["val_accuracy"] * load("digits").sizes.held_out
    assert right == pytest.approx(round(right), abs=1e-9)


def test_the_first_loss_is_near_that_of_guessing_and_exactly_so_under_zero_init() -> None:
    exact = measured(trainer(member(zero_init=True)))[0].metrics["train_loss"]
    assert exact == pytest.approx(math.log(10), abs=1e-6)
    near = measured(trainer(member(width=128)))[0].metrics["train_loss"]
    assert near == pytest.approx(math.log(10), abs=1.0)


@pytest.mark.parametrize("residual", [False, True])
def test_training_is_that_of_a_bare_torch_loop_step_by_step(residual: bool) -> None:
    changes = {"steps": 25, "batch_size": 32, "clip": 0.0, "residual": residual}
    one = member(**changes, weight_decay=0.001)
    running = trainer(one)
    start = {name: each[0].clone() for name, each in running.parameters(0).items()}
    losses = [each.metrics["train_loss"] for each in measured(running) if not each.mark]
    assert losses == pytest.approx(list(bare(start, one, residual)), rel=2e-6, abs=1e-6)


def bare(start: dict[str, torch.Tensor], one: Member, residual: bool) -> list[float]:
    """Returns the losses of a plain loop in float64 from the same start on the same batches."""
    layers = nn.ModuleDict(
        {
            name: nn.Linear(start[name].shape[1], start[name].shape[0], dtype=torch.float64)
            for name in ("embedding", "0", "1", "readout")
        }
    )
    with torch.no_grad():
        for name, layer in layers.items():
            assert isinstance(layer, nn.Linear)
            layer.weight.copy_(start[name])
            layer.bias.copy_(start[f"{name}.bias"])
    decayed = [each for name, each in layers.named_parameters() if name.endswith("weight")]
    biases = [each for name, each in layers.named_parameters() if name.endswith("bias")]
    rate, decay = one.config["learning_rate"], one.config["weight_decay"]
    groups = [
        {"params": decayed, "weight_decay": decay / rate},
        {"params": biases, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), eps=1e-8)
    schedule = Schedule(steps=25, warmup_steps=3, shape="linear", final_ratio=0.0)
    data = load("digits").train
    pixels = torch.frombuffer(bytearray(data.pixels), dtype=torch.uint8).view(-1, 64) / 16
    labels = torch.frombuffer(bytearray(data.labels), dtype=torch.uint8).long()
    losses = []
    for step in range(1, 26):
        for group in optimizer.param_groups:
            group["lr"] = rate * schedule(step)
        places = order(len(labels), seed=one.seed, step=step, batch_size=32)
        loss = F.cross_entropy(forward(layers, pixels[places].double(), residual), labels[places])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def forward(layers: nn.ModuleDict, x: torch.Tensor, residual: bool) -> torch.Tensor:
    x = layers["embedding"](x)
    if not residual:
        for name in ("0", "1"):
            x = layers[name](x.relu())
        return layers["readout"](x.relu())  # type: ignore[no-any-return]
    for name in ("0", "1"):
        x = x + layers[name](normed(x)).relu()
    return layers["readout"](normed(x))  # type: ignore[no-any-return]


def normed(x: torch.Tensor) -> torch.Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_a_batch_in_parts_trains_like_the_whole(parts: int) -> None:
    whole = measured(trainer(member(steps=20)))
    pieces = measured(trainer(member(steps=20, accumulation=parts)))
    for mine, theirs in zip(pieces, whole, strict=True):
        assert mine.metrics == pytest.approx(dict(theirs.metrics), abs=1e-5)


def test_bfloat16_products_train_to_about_the_same_loss() -> None:
    settings = {"steps": 60, "learning_rate": 2.0**-5}
    exact, rough = (
        measured(trainer(member(dtype=dtype, **settings)))[-1].metrics["val_loss"]
        for dtype in ("float32", "bfloat16")
    )
    assert rough == pytest.approx(exact, abs=0.05)
    assert rough != exact


def test_every_optimizer_learns_the_digits() -> None:
    rates = {
        "sgd": 2.0**-1,
        "adamw": 2.0**-6,
        "adopt": 2.0**-6,
        "lamb": 2.0**-5,
        "sophia": 2.0**-6,
        "muon": 2.0**-4,
        "adamuon": 2.0**-6,
        "shampoo": 2.0**-4,
        "soap": 2.0**-6,
        "dion": 2.0**-4,
    }
    settings = {**TINY, "width": 32, "steps": 120, "evals": 1, "batch_size": 32}
    losses = {
        optimizer: measured(
            trainer(member(**{**settings, "optimizer": optimizer, "learning_rate": rate}))
        )[-1].metrics["val_loss"]
        for optimizer, rate in rates.items()
    }
    assert {name: loss for name, loss in losses.items() if not loss < 0.6} == {}

"""The trainer: packs, divergence, marks, curves."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pack_runs import OPTIMIZER_RUNS, SMALL, TINY, history, measured, member, trainer

from workloads.llama.card import LLAMA
from workloads.workload import Member

VARIANTS: list[dict[str, Any]] = [
    {"optimizer": "adamw"},
    {"optimizer": "muon", "mlp": "gelu", "norm_gain": True},
    {"optimizer": "muon", "zero_init": False, "parametrization": "mup", "base_width": 16},
]
MIXED: list[dict[str, Any]] = [
    {"seed": 0, "learning_rate": 2.0**-4},
    {"seed": 1, "learning_rate": 2.0**-6, "weight_decay": 0.01, "epsilon": 1e-6},
    {"seed": 0, "learning_rate": 2.0**60},  # diverges
    {"seed": 7, "learning_rate": 2.0**-5, "weight_decay": 0.001},
]
RATES: list[dict[str, Any]] = [
    {"seed": 0, "learning_rate": 2.0**-6, "weight_decay": 0.002},
    {"seed": 1, "learning_rate": 2.0**-8, "weight_decay": 0.01},
    {"seed": 0, "learning_rate": 2.0**60, "weight_decay": 0.01},  # diverges
    {"seed": 7, "learning_rate": 2.0**-9, "weight_decay": 0.001},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=lambda each: each["optimizer"])
def test_every_member_has_the_bits_of_its_solo_run_beside_a_diverged_one(
    changes: dict[str, Any],
) -> None:
    members = [member(**changes, **each) for each in MIXED]
    together = measured(trainer(*members))
    for place, each in enumerate(members):
        assert history(together, place) == history(measured(trainer(each)))
    assert history(together, 2)[-1][-1] == "diverged"
    assert history(together, 0)[-1][-1] == "completed"


@pytest.mark.parametrize("name", OPTIMIZER_RUNS)
def test_under_every_optimizer_a_member_has_the_bits_of_its_solo_run(name: str) -> None:
    changes = {**SMALL, **OPTIMIZER_RUNS[name]}
    members = [member(**changes, **RATES[i]) for i in range(len(RATES))]
    together = measured(trainer(*members))
    for place, each in enumerate(members):
        assert history(together, place) == history(measured(trainer(each)))
    statuses = [history(together, place)[-1][-1] for place in range(len(members))]
    assert statuses == ["completed", "completed", "diverged", "completed"]


def test_bits_do_not_depend_on_the_pack_where_a_large_vocabulary_is_read_out_in_parts(
    tmp_path: Path,
) -> None:
    ids = np.random.default_rng(0).integers(0, 1003, 100_000).astype("<u2")
    ids.tofile(tmp_path / "ids.bin")
    data = {"data": f"bin:{tmp_path / 'ids.bin'}", "vocabulary": 1003}
    logits = 70 * 1003  # 64 tokens at once, of 96
    changes = {**SMALL, **data, "optimizer": "sophia", "batch_size": 6, "evals": 1}
    members = [member(**changes, **each) for each in (RATES[0], RATES[1], RATES[3])]
    together = measured(trainer(*members, logits=logits))
    for place, each in enumerate(members):
        assert history(together, place) == history(measured(trainer(each, logits=logits)))
    assert set(together[-1].metrics) == {"val_loss", "train_loss"}


def test_bits_do_not_depend_on_how_how_many_members_go_through_the_model_at_once() -> None:
    settings = {"context": 64, "batch_size": 32, "steps": 3}  # four at once, so 4 + 1
    members = [member(seed=seed, **settings) for seed in range(5)]
    together = measured(trainer(*members))
    for place in (0, 4):
        assert history(together, place) == history(measured(trainer(members[place])))


def test_a_pack_in_which_most_have_diverged_goes_on_with_the_rest() -> None:
    rates = (2.0**60, 2.0**-5, 2.0**61, 2.0**62, 2.0**-6)
    members = [member(seed=i, learning_rate=rate) for i, rate in enumerate(rates)]
    running = trainer(*members)
    together = measured(running)
    for place in (1, 4):
        assert history(together, place) == history(measured(trainer(members[place])))
    assert running.parameters(4)["readout"].shape[0] == 1
    with pytest.raises(ValueError, match="0 is not in list"):
        running.parameters(0)


def test_members_that_are_let_go_leave_the_bits_of_the_others() -> None:
    members = [member(seed=i) for i in range(3)]
    running, together = trainer(*members), []
    for said in running.run():
        together += said
        if any(each.step == 5 for each in said):
            running.let_go(0)
            running.let_go(2)
    assert history(together, 1) == history(measured(trainer(members[1])))
    assert history(together, 0)[-1][-1] == "running"
    assert running.parameters(1)["readout"].shape[0] == 1


def test_a_pack_in_which_all_diverge_ends_early() -> None:
    said = list(trainer(member(learning_rate=2.0**60), member(learning_rate=2.0**61)).run())
    assert len(said) < TINY["steps"]
    ends = [each for step in said for each in step if each.status == "diverged"]
    assert sorted(each.member for each in ends) == [0, 1]
    assert all(dict(each.metrics) == {} and not each.mark for each in ends)


def test_the_final_measurement_has_all_metrics_of_the_card() -> None:
    said = measured(trainer(member(seed=2)))
    final = said[-1]
    assert set(final.metrics) == set(LLAMA.metrics)
    assert (final.step, final.mark, final.status) == (12, True, "completed")
    assert final.tokens == LLAMA.resolve(TINY).derived["tokens"]
    bits = final.metrics["val_loss"] / math.log(2)
    assert final.metrics["val_bits_per_byte"] == pytest.approx(bits)
    losses = [m.metrics["train_loss"] for m in said if not m.mark]
    assert final.metrics["train_loss"] == losses[-1]  # a twentieth of 12 steps is one


def test_the_train_loss_is_the_mean_of_the_last_twentieth_of_the_steps() -> None:
    said = measured(trainer(member(steps=60, batch_size=1)))
    losses = [m.metrics["train_loss"] for m in said if not m.mark]
    assert len(losses) == 60
    assert said[-1].metrics["train_loss"] == pytest.approx(math.fsum(losses[-3:]) / 3)


def test_marks_are_evenly_spaced_and_every_step_yields() -> None:
    said = list(trainer(member(steps=10, evals=3)).run())
    assert len(said) == 10
    marks = [each for step in said for each in step if each.mark]
    assert [each.step for each in marks] == [4, 7, 10]
    assert [each.status for each in marks] == ["running", "running", "completed"]
    assert set(marks[0].metrics) == {"val_loss", "val_bits_per_byte"}


def test_a_long_run_has_at_most_two_hundred_curve_points_and_the_first() -> None:
    small = {"width": 16, "depth": 1, "context": 4, "batch_size": 1, "eval_tokens": 4}
    said = measured(trainer(member(steps=450, evals=1, **small)))
    steps = [each.step for each in said if not each.mark]
    assert len(steps) == 201
    assert steps[0] == 1 and steps[-1] == 450
    assert max(b - a for a, b in pairwise(steps)) <= 3
    point = said[0].metrics
    assert set(point) == {"train_loss", "grad_norm", "schedule"}
    assert point["schedule"] == pytest.approx(1 / 45)


def test_an_evaluation_that_is_not_finite_is_a_divergence() -> None:
    running = trainer(member(steps=2, evals=1), member(steps=2, evals=1, seed=1))
    steps = running.run()
    next(steps)
    running.parameters(0)["readout"].fill_(torch.inf)
    statuses = {each.member: each.status for each in next(steps)}
    assert statuses == {0: "diverged", 1: "completed"}


def test_weights_beyond_the_finite_have_diverged_though_the_loss_reads_as_a_guess() -> None:
    running = trainer(member(steps=2, evals=1), member(steps=2, evals=1, seed=1))
    steps = running.run()
    next(steps)
    running.parameters(0)["embedding"].mul_(1e30)  # squares of it are infinite
    statuses = {each.member: each.status for each in next(steps)}
    assert statuses == {0: "diverged", 1: "completed"}


def test_training_learns_and_muon_learns_faster() -> None:
    settings = {"steps": 60, "batch_size": 16, "evals": 1, "mlp": "gelu"}
    rates = {"adamw": 2.0**-5, "muon": 2.0**-3.5}
    losses = {
        optimizer: measured(trainer(member(optimizer=optimizer, learning_rate=rate, **settings)))[
            -1
        ].metrics["val_loss"]
        for optimizer, rate in rates.items()
    }
    assert losses["adamw"] < 3.2  # guessing by frequency costs 3.04, uniformly 5.55
    assert losses["muon"] < losses["adamw"] - 0.1


def test_members_of_other_shapes_are_refused() -> None:
    message = "members of a pack differ in depth; they may differ in epsilon, learning_rate"
    with pytest.raises(ValueError, match=message):
        trainer(member(), member(depth=1))


def test_training_leaves_the_arithmetic_of_the_process_as_it_was() -> None:
    tiny = torch.tensor([1e-40])
    for _ in trainer(member(steps=2)).run():
        assert (tiny * 0.5).item() > 0


def test_the_device_has_a_name() -> None:
    assert trainer(member()).device_name().strip()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch's own
def test_a_compiled_step_trains_to_the_same_losses() -> None:
    small = {"steps": 3, "evals": 1, "depth": 1, "width": 16, "mlp": "gelu", "eval_tokens": 64}
    plain = history(measured(trainer(member(**small))))
    compiled = history(measured(trainer(member(**small, compile=True))))
    for mine, theirs in zip(compiled, plain, strict=True):
        assert mine[2] == pytest.approx(theirs[2], abs=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_trains_to_about_the_same_loss() -> None:
    cpu = measured(trainer(member()))[-1].metrics["val_loss"]
    config = member().config
    running = LLAMA.trainer()([Member(config=config, seed=0)] * 3, threads=1, device="cuda")
    assert measured(running)[-1].metrics["val_loss"] == pytest.approx(cpu, abs=0.05)

"""What is recorded on the way is right, where it was asked for, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from workloads.llama.card import LLAMA
from workloads.mlp.card import MLP
from workloads.training.quantities import (
    alignment,
    effect,
    rms,
    spectral_norm,
    stable_rank,
)
from workloads.workload import Card, Measurement, Member, Record

LLAMA_CONFIG: dict[str, Any] = {
    "width": 32,
    "depth": 1,
    "context": 16,
    "batch_size": 4,
    "learning_rate": 0.01,
    "weight_decay": 0.1,
    "optimizer": "muon",
    "positions": "learned",
    "norm_gain": True,
    "steps": 12,
    "evals": 2,
    "eval_tokens": 64,
}
MLP_CONFIG: dict[str, Any] = {
    "width": 16,
    "batch_size": 16,
    "learning_rate": 0.01,
    "biases": True,
    "steps": 12,
}


def _run(
    card: Card, config: dict[str, Any], record: Record | None, seeds: tuple[int, ...] = (0,)
) -> list[Measurement]:
    resolved = card.resolve(config).config
    members = [Member(config=resolved, seed=seed) for seed in seeds]
    options: dict[str, Any] = {} if record is None else {"record": record}
    running = card.trainer()(members, threads=1, device="cpu", **options).run()
    return [each for said in running for each in said]


def _final(said: list[Measurement]) -> dict[int, dict[str, float]]:
    return {each.member: dict(each.metrics) for each in said if each.status == "completed"}


def _recorded(said: list[Measurement]) -> dict[int, dict[str, float]]:
    columns = ("update", "activation", "attention")
    return {
        each.step: {k: v for k, v in each.metrics.items() if k.startswith(columns)}
        for each in said
        if any(name.startswith(columns) for name in each.metrics)
    }


@pytest.mark.parametrize(("card", "config"), [(LLAMA, LLAMA_CONFIG), (MLP, MLP_CONFIG)])
def test_a_trial_is_the_same_bit_for_bit_with_recording_and_without(
    card: Any, config: dict[str, Any]
) -> None:
    record = Record(quantities=tuple(card.recordings), every=3)
    plain, recorded = (_run(card, config, each, seeds=(0, 1)) for each in (None, record))
    assert _final(plain) == _final(recorded)
    assert not _recorded(plain)
    assert sorted(_recorded(recorded)) == [3, 6, 9, 12]


def test_a_member_of_a_pack_records_what_it_records_alone() -> None:
    record = Record(quantities=tuple(LLAMA.recordings), steps=(2, 11))  # type: ignore[attr-defined]
    together = _run(LLAMA, LLAMA_CONFIG, record, seeds=(3, 0))
    own = [each for each in together if each.member == 1]
    alone = _recorded(_run(LLAMA, LLAMA_CONFIG, record))
    for step, columns in _recorded(own).items():
        assert columns == pytest.approx(alone[step], rel=1e-4)
    assert sorted(alone) == [2, 11]


def test_a_run_records_about_twenty_times_unless_told_when() -> None:
    record = Record(quantities=("updates",))
    assert record.at(400) == frozenset(range(20, 401, 20))
    assert record.at(7) == frozenset(range(1, 8))
    assert record.at(410) == frozenset((*range(20, 401, 20), 410))
    assert Record(quantities=("updates",), every=300).at(410) == {300, 410}
    assert Record(quantities=("updates",), steps=(1, 10, 500)).at(410) == {1, 10}


def test_the_columns_are_those_of_every_tensor_activation_and_block() -> None:
    record = Record(quantities=("updates", "activations", "attention_logits"), steps=(12,))
    columns = _recorded(_run(LLAMA, LLAMA_CONFIG, record))[12]
    matrices = ["embedding", "position", "readout"]
    block = ("query", "key", "value", "output", "gate", "up", "down")
    matrices += [f"0.{name}" for name in block]
    vectors = ["0.attention_gain", "0.mlp_gain", "final_gain"]
    expected = {f"{q}.{m}" for q in ("update_rms", "update_norm") for m in matrices + vectors}
    expected |= {f"{q}.{m}" for q in ("update_stable_rank", "update_alignment") for m in matrices}
    pooled = ("update_rms", "update_norm", "update_stable_rank", "update_alignment")
    expected |= {f"{q}.hidden" for q in pooled} | {"update_rms.vector", "update_norm.vector"}
    names = ("embedding", "attention.0", "mlp.0", "block.0", "logits")
    expected |= {f"{q}.{n}" for q in ("activation_rms", "activation_change") for n in names}
    assert columns.keys() == expected | {"attention_logit_max", "attention_logit_max.0"}
    assert all(value >= 0 for value in columns.values())


def test_an_update_is_what_the_step_added_to_a_weight() -> None:
    config = LLAMA.resolve(LLAMA_CONFIG).config
    record = Record(quantities=("updates",), steps=(2,))
    trainer: Any = LLAMA.trainer()(
        [Member(config=config, seed=0)],
        threads=1,
        device="cpu",
        record=record,  # type: ignore[call-arg]
    )
    running = trainer.run()
    next(running)
    before = {name: each.clone() for name, each in trainer.parameters(0).items()}
    (said,) = next(running)
    after = trainer.parameters(0)
    for name in ("0.up", "embedding", "final_gain"):
        update = after[name] - before[name]
        assert said.metrics[f"update_rms.{name}"] == pytest.approx(
            update.square().mean().sqrt().item(), rel=1e-5
        )
        exact = torch.linalg.norm(update.flatten(0, -2).double(), 2).item()
        assert exact * 0.97 <= said.metrics[f"update_norm.{name}"] <= exact * 1.0001


def test_quantities_of_a_matrix_are_those_of_its_singular_values() -> None:
    generator = torch.Generator().manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(2, 24, 3, generator=generator))
    v, _ = torch.linalg.qr(torch.randn(2, 10, 3, generator=generator))
    values = torch.tensor([[4.0, 2.0, 1.0], [3e-12, 1e-12, 1e-12]])
    matrix = u @ torch.diag_embed(values) @ v.mT
    norm = spectral_norm(matrix)
    assert norm.tolist() == pytest.approx([4.0, 3e-12], rel=1e-4)
    assert stable_rank(matrix, norm).tolist() == pytest.approx([21 / 16, 11 / 9], rel=1e-3)
    assert rms(matrix)[0].item() == pytest.approx((21 / 240) ** 0.5, rel=1e-5)
    first, third = v[..., :1].mT, v[..., 2:].mT  # [2, 1, 10]
    assert alignment(matrix, first, norm).tolist() == pytest.approx([1, 1], rel=1e-3)
    assert alignment(matrix, third, norm).tolist() == pytest.approx([1 / 4, 1 / 3], rel=1e-3)


def test_a_token_is_a_row_of_its_table() -> None:
    table = torch.arange(24.0).view(2, 4, 3)
    tokens = torch.tensor([[[1, 3]], [[0, 0]]])  # [E, B, T]
    rows = effect(table, tokens)
    assert torch.equal(rows[0], table[0, [1, 3]])
    assert torch.equal(rows[1], table[1, [0, 0]])
    one = torch.zeros(1, 4, 3)
    one[0, 2, 0] = 5.0
    assert alignment(one, torch.tensor([[[2, 2]]]), spectral_norm(one)).item() == pytest.approx(1)

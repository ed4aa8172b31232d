"""What the tensors of a llama make up for an optimizer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pack_runs import TINY

from workloads.llama.card import LLAMA
from workloads.llama.model import Llama
from workloads.optimizers.layout import Unit
from workloads.training import initial_parameters
from workloads.workload import Resolved


def resolved(**changes: Any) -> Resolved:
    return LLAMA.resolve({**TINY, "depth": 1, "optimizer": "muon", **changes})


def units(plan: Resolved) -> dict[str, list[Unit]]:
    return {group: list(each) for group, each in Llama(plan).units.items()}


def with_groups(plan: Resolved, *kinds: str) -> Resolved:
    """Returns a plan whose rules treat some kinds of tensors apart from their roles."""
    groups = plan.derived["groups"]
    more = {kind: groups[kind.partition(".")[0]] for kind in kinds}
    return replace(plan, derived={**plan.derived, "groups": {**groups, **more}})


def plain(*names: str) -> list[Unit]:
    return [Unit(names=(name,)) for name in names]


def test_every_tensor_is_in_the_group_of_its_role() -> None:
    found = units(resolved(norm_gain=True))
    hidden = ("query", "key", "value", "output", "gate", "up", "down")
    assert found == {
        "embedding": [Unit(names=("embedding",), turned=True)],
        "hidden": plain(*(f"0.{name}" for name in hidden)),
        "vector": plain("0.attention_gain", "0.mlp_gain", "final_gain"),
        "readout": plain("readout"),
    }


def test_a_kind_with_a_group_of_its_own_is_there() -> None:
    plan = resolved(mlp="gelu", positions="learned")
    found = units(with_groups(plan, "hidden.qkv", "hidden.mlp_out", "embedding.position"))
    assert found["hidden.qkv"] == plain("0.query", "0.key", "0.value")
    assert found["hidden"] == plain("0.output", "0.up")
    assert found["hidden.mlp_out"] == plain("0.down")
    assert found["embedding.position"] == [Unit(names=("position",), turned=True)]
    assert units(with_groups(plan, "hidden.mlp_in"))["hidden.mlp_in"] == plain("0.up")


def test_fused_projections_are_one_unit() -> None:
    plan = with_groups(resolved(qkv="fused", depth=2), "hidden.qkv")
    assert units(plan)["hidden.qkv"] == [
        Unit(names=(f"{layer}.query", f"{layer}.key", f"{layer}.value")) for layer in range(2)
    ]


def test_every_head_is_a_matrix_of_its_own() -> None:
    plan = with_groups(resolved(qkv="per_head", head_dim=8), "hidden.qkv")
    names = ("0.query", "0.key", "0.value")
    assert units(plan)["hidden.qkv"] == [Unit(names=(name,), parts=4) for name in names]


def test_tied_embeddings_leave_no_readout() -> None:
    plan = resolved(tied_embeddings=True, optimizer="adamw")
    assert "readout" not in initial_parameters(
        Llama(plan).tensors, [0]
    ) and "readout" not in units(plan)


def test_all_tensors_are_in_some_unit_once() -> None:
    for qkv in ("split", "fused", "per_head"):
        plan = resolved(qkv=qkv, norm_gain=True, positions="learned", depth=2)
        names = [name for each in units(plan).values() for unit in each for name in unit.names]
        assert sorted(names) == sorted(initial_parameters(Llama(plan).tensors, [0]))

"""Muon over units, buckets and packs: the same bits whatever a matrix is stacked with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from matrix_cases import SHAPES, copied, draws, group, muon, trained
from torch import Tensor

from workloads.optimizers.layout import Unit
from workloads.optimizers.optimizer import Optimizer

RATES, DECAYS, EPSILONS = (0.1, 0.02), (0.0, 0.03), (1e-7, 0.5)
STEPS = 25


def test_one_optimizer_a_tensor_does_bit_for_bit_what_a_bucket_of_them_does() -> None:
    start, *gradients = draws(19, 2, steps=STEPS + 1, dtype=torch.float32)
    settings: dict[str, Any] = {"rates": RATES, "decays": DECAYS, "epsilon": EPSILONS}
    bucketed = trained(muon(), group(**settings), start, gradients)
    for name in SHAPES:
        looped = trained(muon(), group((name,), **settings), start, gradients)[name]
        assert torch.equal(looped, bucketed[name])


def test_a_packed_member_does_bit_for_bit_what_it_does_alone() -> None:
    start, *gradients = draws(20, 2, steps=STEPS + 1, dtype=torch.float32)
    pack = group(rates=RATES, decays=DECAYS, epsilon=EPSILONS)
    packed = trained(muon(), pack, start, gradients)
    for i in range(2):
        solo = trained(
            muon(),
            pack.keep([i]),
            {name: value[i : i + 1] for name, value in start.items()},
            [{name: g[i : i + 1] for name, g in each.items()} for each in gradients],
        )
        assert all(torch.equal(packed[name][i], weight[0]) for name, weight in solo.items())


FUSED = {"fused": (18, 6)}
SPLIT = {"query": (6, 6), "key": (6, 6), "value": (6, 6)}


def projections(dtype: torch.dtype = torch.float32) -> tuple[list[Any], list[Any]]:
    """Returns start and gradients of queries, keys and values, as one tensor and as three."""
    fused = list(draws(21, 2, steps=8, shapes=FUSED, dtype=dtype))
    split = [dict(zip(SPLIT, each["fused"].split(6, 1), strict=True)) for each in fused]
    return fused, [{n: t.contiguous() for n, t in each.items()} for each in split]


def ended(units: list[Unit], tensors: list[Any], factor: str = "mup") -> Tensor:
    """Returns queries, keys and values on top of each other after Muon on some units."""
    settings = group(rates=RATES, decays=DECAYS, epsilon=EPSILONS, units=units)
    found = trained(muon(shape_factor=factor), settings, tensors[0], tensors[1:])
    return torch.cat(list(found.values()), 1)


def test_parts_of_a_fused_tensor_are_parameters_of_their_own_bit_for_bit() -> None:
    fused, split = projections()
    apart_units = [Unit(names=(name,)) for name in SPLIT]
    parts = ended([Unit(names=("fused",), parts=3)], fused)
    assert torch.equal(parts, ended(apart_units, split))
    assert not torch.equal(parts, ended([Unit(names=("fused",))], fused))


def test_tensors_of_one_unit_are_the_fused_tensor_bit_for_bit() -> None:
    fused, split = projections()
    joined = ended([Unit(names=tuple(SPLIT))], split)
    assert torch.equal(joined, ended([Unit(names=("fused",))], fused))


def test_heads_are_matrices_of_their_own() -> None:
    fused, split = projections()
    heads = ended([Unit(names=(name,), parts=3) for name in SPLIT], split)
    assert torch.equal(heads, ended([Unit(names=("fused",), parts=9)], fused))
    shapes = {str(i): (2, 6) for i in range(9)}
    rows = [dict(zip(shapes, each["fused"].split(2, 1), strict=True)) for each in fused]
    alone = ended([Unit(names=(name,)) for name in shapes], rows)
    assert torch.equal(heads, alone)


def test_a_turned_tensor_is_the_transpose_of_a_plain_one() -> None:
    start, *gradients = draws(22, 2, steps=6, shapes={"table": (9, 4)})
    plain = {"table": start["table"].mT.contiguous()}
    turned = [{"table": each["table"].mT.contiguous()} for each in gradients]
    settings: dict[str, Any] = {"rates": RATES, "decays": DECAYS, "epsilon": EPSILONS}
    algorithm = muon(shape_factor="mup")
    unit = Unit(names=("table",), turned=True)
    stored = trained(algorithm, group(units=[unit], **settings), start, gradients)["table"]
    wanted = trained(algorithm, group(("table",), **settings), plain, turned)["table"]
    torch.testing.assert_close(stored, wanted.mT, rtol=1e-12, atol=1e-12)


def test_members_that_are_kept_go_on_as_if_nothing_had_been_dropped() -> None:
    start, *gradients = draws(5, 2, steps=6, dtype=torch.float32)
    pack = group(rates=RATES, decays=DECAYS, epsilon=EPSILONS)
    whole, cut = copied(start), copied(start)
    undisturbed, compacted = Optimizer(whole, pack, muon()), Optimizer(cut, pack, muon())
    for step, each in enumerate(gradients, start=1):
        if step == 3:
            compacted.keep([1])
            cut.update({name: value[1:].clone() for name, value in cut.items()})
        chosen = each if step < 3 else {name: g[1:] for name, g in each.items()}
        compacted.step(copied(chosen), scale=1.0, step=step)
        undisturbed.step(each, scale=1.0, step=step)
    assert all(torch.equal(cut[name][0], value[1]) for name, value in whole.items())
    for key, value in compacted.state(0).items():
        assert torch.equal(value, undisturbed.state(1)[key])


def test_a_vector_is_refused() -> None:
    with pytest.raises(ValueError, match=r"g has shape \[1, 4\]; the optimizer takes matrices"):
        Optimizer({"g": torch.ones(1, 4)}, group(("g",), epsilon=(1e-7,)), muon())


def test_a_nan_in_one_member_leaves_the_bits_of_the_others() -> None:
    start, *gradients = draws(25, 3, steps=4, dtype=torch.float32)
    settings = group(rates=(0.1, 0.1, 0.1), epsilon=(1e-7,) * 3)
    healthy = trained(muon(), settings, start, gradients)
    for each in gradients:
        each["square"][1] = torch.nan
        each["tall"][1] = torch.inf
    found = trained(muon(), settings, start, gradients)
    for name, weight in healthy.items():
        assert torch.equal(found[name][[0, 2]], weight[[0, 2]])
    assert found["square"][1].isnan().all()


def test_half_precision_parameters_round_once_a_step_and_keep_their_state_in_float32() -> None:
    start, gradient = draws(26, 1, steps=2, dtype=torch.bfloat16)
    parameters = copied(start)
    optimizer = Optimizer(parameters, group(epsilon=(1e-7,)), muon())
    optimizer.step(copied(gradient), scale=1.0, step=1)
    single = trained(
        muon(),
        group(epsilon=(1e-7,)),
        {name: value.float() for name, value in start.items()},
        [{name: g.float() for name, g in gradient.items()}],
    )
    for name, weight in parameters.items():
        assert weight.dtype == torch.bfloat16
        assert torch.equal(weight, single[name].bfloat16())
    assert all(each.dtype == torch.float32 for each in optimizer.state(0).values())

"""Muon over a pack, against its equations and against the Muons of others."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from matrix_cases import SHAPES, copied, draws, group, plain_newton_schulz, trained
from pytorch_optimizer import Muon as PeerMuon
from pytorch_optimizer import MuonClip as PeerMuonClip
from torch import Tensor

from workloads.optimizer_names import NEWTON_SCHULZ, newton_schulz_coefficients
from workloads.optimizers.muon import Muon, shape_factor
from workloads.optimizers.newton_schulz import Coefficients
from workloads.optimizers.optimizer import Unit
from workloads.optimizers.stacked import Stacked

KELLER_JORDAN = [(3.4445, -4.7750, 2.0315)] * 5
RATES, DECAYS, EPSILONS = (0.1, 0.02), (0.0, 0.03), (1e-7, 0.5)
STEPS = 25


def muon(**changes: Any) -> Muon:
    settings: dict[str, Any] = {
        "momentum": 0.95,
        "nesterov": True,
        "coefficients": KELLER_JORDAN,
    }
    return Muon(**{**settings, **changes})


def factor(name: str, rows: int, columns: int) -> float:
    """The factors as their authors write them."""
    if name == "keller_jordan":
        return max(1, rows / columns) ** 0.5
    if name == "moonlight":
        return 0.2 * max(rows, columns) ** 0.5
    return (rows / columns) ** 0.5 if name == "mup" else 1.0


def plain_step(
    weight: Tensor,
    momentum: Tensor,
    gradient: Tensor,
    *,
    nesterov: bool = True,
    coefficients: Coefficients = KELLER_JORDAN,
    shape: str = "none",
    scale: float,
    member: int,
) -> None:
    """One step of one matrix of one member, in place."""
    momentum.copy_(0.95 * momentum + 0.05 * gradient)
    ahead = 0.95 * momentum + 0.05 * gradient if nesterov else momentum
    update = plain_newton_schulz(ahead, coefficients, EPSILONS[member])
    update = factor(shape, *weight.shape) * update
    weight -= scale * (RATES[member] * update + DECAYS[member] * weight)


def follows_the_equations(algorithm: Muon, **form: Any) -> None:
    """Fails unless a pack of two goes along with the equations step by step."""
    start, *gradients = draws(7, 2, steps=STEPS + 1)
    parameters, momenta = copied(start), {n: torch.zeros_like(w) for n, w in start.items()}
    ours = Stacked(parameters, group(rates=RATES, decays=DECAYS, epsilon=EPSILONS), algorithm)
    for step, each in enumerate(gradients, start=1):
        scale = step / 30
        for name, weight in start.items():
            for i in range(2):
                state = momenta[name][i]
                plain_step(weight[i], state, each[name][i], **form, scale=scale, member=i)
        ours.step(each, scale=scale, step=step)
        for name, weight in start.items():
            torch.testing.assert_close(parameters[name], weight, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("shape", ["none", "keller_jordan", "moonlight", "mup"])
def test_every_member_follows_the_equations_under_every_factor(nesterov: bool, shape: str) -> None:
    follows_the_equations(
        muon(nesterov=nesterov, shape_factor=shape), nesterov=nesterov, shape=shape
    )


@pytest.mark.parametrize("name", NEWTON_SCHULZ)
def test_it_follows_the_equations_with_every_set_of_coefficients(name: str) -> None:
    found = [(a, b, c) for a, b, c in newton_schulz_coefficients(name, None)]
    follows_the_equations(muon(coefficients=found), coefficients=found)


def test_float32_stays_near_float64() -> None:
    start, *gradients = draws(8, 1, steps=STEPS + 1)
    single = [{name: g.float() for name, g in each.items()} for each in gradients]
    exact = trained(muon(), group(epsilon=(1e-7,)), start, gradients)
    found = trained(
        muon(), group(epsilon=(1e-7,)), {n: w.float() for n, w in start.items()}, single
    )
    for name, weight in exact.items():
        # 1e-6, times what small singular values are multiplied by on their way to one.
        assert (found[name] - weight).norm() < 1e-5 * (weight - start[name]).norm()


def apart(found: dict[str, Tensor], theirs: dict[str, Tensor], start: dict[str, Tensor]) -> float:
    """Returns the largest distance of two ends over the way from the start."""
    return max(
        float((found[n][0] - w).norm() / (w - start[n][0]).norm()) for n, w in theirs.items()
    )


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize(
    ("shape", "theirs"), [("keller_jordan", "original"), ("moonlight", "match_rms_adamw")]
)
def test_it_agrees_with_torch_within_the_rounding_of_bfloat16(
    nesterov: bool, shape: str, theirs: str
) -> None:
    start, *gradients = draws(11, 1, steps=STEPS + 1, dtype=torch.float32)
    weights = {name: value[0].clone() for name, value in start.items()}
    # torch decays by rate times decay, ours by the decay alone.
    peer = torch.optim.Muon(
        weights.values(), lr=0.1, weight_decay=0.2, nesterov=nesterov, adjust_lr_fn=theirs
    )
    for each in gradients:
        for name, weight in weights.items():
            weight.grad = each[name][0].clone()
        peer.step()
    settings = group(rates=(0.1,), decays=(0.02,), epsilon=(1e-7,))
    algorithm = muon(nesterov=nesterov, shape_factor=shape)
    assert apart(trained(algorithm, settings, start, gradients), weights, start) < 2e-2
    same = muon(nesterov=nesterov, shape_factor=shape, products=torch.bfloat16)
    assert apart(trained(same, settings, start, gradients), weights, start) < 2e-2


@pytest.mark.parametrize("name", ["original", "quintic"])
@pytest.mark.parametrize("adjusted", [True, False])
def test_it_agrees_with_pytorch_optimizer_within_the_rounding_of_bfloat16(
    name: str, adjusted: bool
) -> None:
    start, *gradients = draws(12, 1, steps=STEPS + 1, dtype=torch.float32)
    weights = {n: torch.nn.Parameter(value[0].clone()) for n, value in start.items()}
    peer = PeerMuon(
        [{"params": list(weights.values()), "use_muon": True}],
        lr=0.1,
        weight_decay=0.2,
        ns_coeffs=name,
        use_adjusted_lr=adjusted,
    )
    ours = muon(
        coefficients=NEWTON_SCHULZ["keller_jordan" if name == "original" else name],
        shape_factor="moonlight" if adjusted else "keller_jordan",
    )
    for each in gradients:
        for n, weight in weights.items():
            weight.grad = each[n][0].clone()
        peer.step()
    found = trained(ours, group(decays=(0.02,), epsilon=(1e-7,)), start, gradients)
    assert apart(found, {n: w.detach() for n, w in weights.items()}, start) < 2e-2


def test_without_nesterov_and_with_moonlights_factor_it_is_the_muon_of_muonclip() -> None:
    start, *gradients = draws(13, 1, steps=STEPS + 1, dtype=torch.float32)
    weights = {n: torch.nn.Parameter(value[0].clone()) for n, value in start.items()}
    # Their heads are clipped only where largest logits are passed to a step.
    peer = PeerMuonClip([{"params": list(weights.values()), "use_muon": True}], lr=0.1)
    for each in gradients:
        for n, weight in weights.items():
            weight.grad = each[n][0].clone()
        peer.step()
    ours = muon(nesterov=False, shape_factor="moonlight")
    found = trained(ours, group(epsilon=(1e-7,)), start, gradients)
    assert apart(found, {n: w.detach() for n, w in weights.items()}, start) < 2e-2


def test_factors_are_those_of_their_authors() -> None:
    for name in ("none", "keller_jordan", "moonlight", "mup"):
        for sides in ((8, 2), (2, 8), (3, 3)):
            assert shape_factor(name, *sides) == pytest.approx(factor(name, *sides), rel=1e-15)


def test_rescaled_gradients_change_nothing_without_epsilon() -> None:
    start, *gradients = draws(14, 1, steps=STEPS + 1)
    scaled = [{name: 1e5 * g for name, g in each.items()} for each in gradients]
    settings = group(epsilon=(0.0,))
    plain = trained(muon(), settings, start, gradients)
    for name, weight in trained(muon(), settings, start, scaled).items():
        torch.testing.assert_close(weight, plain[name], rtol=1e-10, atol=1e-10)


def rotation(size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]


def test_rotated_gradients_rotate_the_updates() -> None:
    start, *gradients = draws(15, 1, steps=STEPS + 1)
    nothing = {name: torch.zeros_like(value) for name, value in start.items()}
    turns = {n: (rotation(rows, 1), rotation(cols, 2)) for n, (rows, cols) in SHAPES.items()}
    turned = [{n: turns[n][0] @ g @ turns[n][1].T for n, g in each.items()} for each in gradients]
    settings = group(epsilon=(1e-3,))
    plain = trained(muon(), settings, nothing, gradients)
    for name, weight in trained(muon(), settings, nothing, turned).items():
        expected = turns[name][0] @ plain[name] @ turns[name][1].T
        torch.testing.assert_close(weight, expected, rtol=1e-10, atol=1e-10)


def test_flipped_signs_flip_updates_bit_for_bit() -> None:
    start, *gradients = draws(16, 1, steps=5, dtype=torch.float32)
    nothing = {name: torch.zeros_like(value) for name, value in start.items()}
    settings = group(epsilon=(1e-7,))
    plain = trained(muon(), settings, nothing, gradients)
    flipped = trained(
        muon(), settings, nothing, [{n: -g for n, g in e.items()} for e in gradients]
    )
    assert all(torch.equal(weight, -plain[name]) for name, weight in flipped.items())


def test_transposed_gradients_give_transposed_updates() -> None:
    start, *gradients = draws(17, 1, steps=STEPS + 1)
    settings = group(epsilon=(1e-7,))
    plain = trained(muon(), settings, start, gradients)
    other = trained(
        muon(),
        settings,
        {name: value.mT.contiguous() for name, value in start.items()},
        [{name: g.mT.contiguous() for name, g in each.items()} for each in gradients],
    )
    for name, weight in other.items():
        torch.testing.assert_close(weight.mT, plain[name], rtol=1e-10, atol=1e-10)


def test_an_update_has_a_spectral_norm_near_one() -> None:
    start, gradient = draws(18, 2, steps=2)
    nothing = {name: torch.zeros_like(value) for name, value in start.items()}
    quintic = muon(coefficients=NEWTON_SCHULZ["deepseek"])
    found = trained(quintic, group(rates=(1.0, 1.0), epsilon=(1e-7, 1e-7)), nothing, [gradient])
    for weight in found.values():
        torch.testing.assert_close(
            torch.linalg.svdvals(weight),
            torch.ones(2, min(weight.shape[1:])).double(),
            rtol=1e-3,
            atol=0,
        )


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
    undisturbed, compacted = Stacked(whole, pack, muon()), Stacked(cut, pack, muon())
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
        Stacked({"g": torch.ones(1, 4)}, group(("g",), epsilon=(1e-7,)), muon())


def test_a_zero_gradient_from_the_start_moves_nothing() -> None:
    start, zero = draws(23, 1, steps=2, dtype=torch.float32)
    zero = {name: torch.zeros_like(value) for name, value in zero.items()}
    found = trained(muon(), group(epsilon=(1e-7,)), start, [zero] * 3)
    assert all(torch.equal(found[name], weight) for name, weight in start.items())


@pytest.mark.parametrize("sides", [(1, 9), (9, 1), (3, 400), (400, 3)])
def test_thin_matrices_follow_the_equations(sides: tuple[int, int]) -> None:
    start, gradient = draws(24, 1, steps=2, shapes={"thin": sides})
    found = trained(muon(), group(("thin",), epsilon=(1e-7,)), start, [gradient])["thin"][0]
    ahead = (0.95 * 0.05 + 0.05) * gradient["thin"][0]
    expected = start["thin"][0] - 0.1 * plain_newton_schulz(ahead, KELLER_JORDAN, 1e-7)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_a_rank_one_gradient_moves_along_itself() -> None:
    line = torch.outer(torch.arange(1.0, 7.0), torch.tensor([1.0, -2.0, 0.5])).double()
    start = {"w": torch.zeros(1, 6, 3, dtype=torch.float64)}
    found = trained(muon(), group(("w",), epsilon=(0.0,)), start, [{"w": line[None]}])["w"][0]
    length = found.norm() / 0.1
    assert 0.68 < length < 1.135
    torch.testing.assert_close(-found / found.norm(), line / line.norm(), rtol=0, atol=1e-9)


def test_denormal_gradients_give_finite_updates() -> None:
    start = {"w": torch.zeros(1, 4, 4)}
    gradient = {"w": torch.full((1, 4, 4), 1e-41)}
    found = trained(muon(), group(("w",), epsilon=(1e-7,)), start, [gradient] * 3)["w"]
    assert found.isfinite().all()
    assert found.norm() < 1e-30


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
    optimizer = Stacked(parameters, group(epsilon=(1e-7,)), muon())
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


def test_a_rate_of_zero_leaves_decay_alone() -> None:
    start, gradient = draws(27, 1, steps=2)
    found = trained(muon(), group(rates=(0.0,), decays=(0.5,), epsilon=(1e-7,)), start, [gradient])
    for name, weight in start.items():
        torch.testing.assert_close(found[name], 0.5 * weight)


def test_moonlights_factor_gives_the_update_adamws_size() -> None:
    start, gradient = draws(28, 1, steps=2, shapes={"w": (24, 64)})
    nothing = {"w": torch.zeros_like(start["w"])}
    algorithm = muon(shape_factor="moonlight", coefficients=NEWTON_SCHULZ["deepseek"])
    found = trained(algorithm, group(("w",), rates=(1.0,), epsilon=(1e-9,)), nothing, [gradient])
    assert found["w"].square().mean().sqrt().item() == pytest.approx(0.2, rel=1e-3)
    assert math.isclose(shape_factor("moonlight", 24, 64), 1.6)

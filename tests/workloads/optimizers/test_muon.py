"""Muon over a pack, against its equations and against the Muons of others."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from matrix_cases import (
    KELLER_JORDAN,
    SHAPES,
    copied,
    draws,
    group,
    muon,
    plain_newton_schulz,
    trained,
)
from pytorch_optimizer import Muon as PeerMuon
from pytorch_optimizer import MuonClip as PeerMuonClip
from torch import Tensor

from workloads.optimizers.coefficients import (
    NEWTON_SCHULZ,
    Coefficients,
    newton_schulz_coefficients,
)
from workloads.optimizers.muon import Muon, shape_factor
from workloads.optimizers.optimizer import Optimizer

RATES, DECAYS, EPSILONS = (0.1, 0.02), (0.0, 0.03), (1e-7, 0.5)
STEPS = 25


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
    ours = Optimizer(parameters, group(rates=RATES, decays=DECAYS, epsilon=EPSILONS), algorithm)
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

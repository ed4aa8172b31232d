"""AdaMuon over a pack, against its equations and against the one of pytorch_optimizer."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from matrix_cases import KELLER_JORDAN, copied, draws, group, muon, plain_newton_schulz, trained
from pytorch_optimizer import AdaMuon as PeerAdaMuon
from torch import Tensor

from workloads.optimizers.adamuon import AdaMuon
from workloads.optimizers.optimizer import Optimizer

RATES, DECAYS = (0.1, 0.02), (0.0, 0.03)
EPSILONS, NORM_EPSILONS = (1e-8, 0.1), (1e-7, 0.5)
STEPS = 25
PACK = group(rates=RATES, decays=DECAYS, epsilon=EPSILONS, norm_epsilon=NORM_EPSILONS)
SINGLE = group(epsilon=(1e-8,), norm_epsilon=(1e-7,))
FORMS = [
    pytest.param(sign, align, id=f"{'sign' if sign else 'plain'}-{'aligned' if align else 'free'}")
    for sign in (False, True)
    for align in (False, True)
]


def adamuon(**changes: Any) -> AdaMuon:
    settings: dict[str, Any] = {
        "momentum": 0.95,
        "nesterov": True,
        "coefficients": KELLER_JORDAN,
        "beta2": 0.9,
        "sign": False,
        "rms_align": False,
    }
    return AdaMuon(**{**settings, **changes})


def plain_run(
    weight: Tensor,
    gradients: list[Tensor],
    member: int,
    *,
    nesterov: bool,
    sign: bool,
    align: bool,
) -> list[Tensor]:
    """Returns a matrix after each step, by the equations."""
    momentum, square = torch.zeros_like(weight), torch.zeros_like(weight)
    seen = []
    for step, gradient in enumerate(gradients, start=1):
        momentum = 0.95 * momentum + 0.05 * gradient
        ahead = 0.95 * momentum + 0.05 * gradient if nesterov else momentum
        ahead = torch.sign(ahead) if sign else ahead
        factor = plain_newton_schulz(ahead, KELLER_JORDAN, NORM_EPSILONS[member])
        square = 0.9 * square + 0.1 * factor**2
        update = factor / ((square / (1 - 0.9**step)) ** 0.5 + EPSILONS[member])
        if align:
            update = 0.2 * update / update.square().mean().sqrt()
        weight = weight - step / 30 * (RATES[member] * update + DECAYS[member] * weight)
        seen.append(weight)
    return seen


@pytest.mark.parametrize(("sign", "align"), FORMS)
@pytest.mark.parametrize("nesterov", [True, False])
def test_every_member_follows_the_equations_in_every_form(
    sign: bool, align: bool, nesterov: bool
) -> None:
    start, *gradients = draws(31, 2, steps=STEPS + 1)
    expected = {
        (name, i): plain_run(
            weight[i],
            [each[name][i] for each in gradients],
            i,
            nesterov=nesterov,
            sign=sign,
            align=align,
        )
        for name, weight in start.items()
        for i in range(2)
    }
    parameters = copied(start)
    ours = Optimizer(parameters, PACK, adamuon(nesterov=nesterov, sign=sign, rms_align=align))
    for step, each in enumerate(gradients, start=1):
        ours.step(copied(each), scale=step / 30, step=step)
        for (name, i), seen in expected.items():
            torch.testing.assert_close(parameters[name][i], seen[step - 1], rtol=1e-10, atol=1e-10)


def test_float32_stays_near_float64() -> None:
    start, *gradients = draws(32, 1, steps=STEPS + 1)
    exact = trained(adamuon(), SINGLE, start, gradients)
    single = [{name: g.float() for name, g in each.items()} for each in gradients]
    found = trained(adamuon(), SINGLE, {n: w.float() for n, w in start.items()}, single)
    for name, weight in exact.items():
        # 1e-6, times what small singular values are multiplied by on their way to one.
        assert (found[name] - weight).norm() < 1e-5 * (weight - start[name]).norm()


@pytest.mark.parametrize("adjusted", [True, False])
def test_it_agrees_with_pytorch_optimizer_within_the_rounding_of_bfloat16(adjusted: bool) -> None:
    """Theirs scales each update to a norm of sqrt(min(m, n)) and then by a factor of shape.

    With Moonlight's factor that is our alignment: 0.2 sqrt(max) sqrt(min) is 0.2 sqrt(m n), a
    root mean square of 0.2. With K. Jordan's it is sqrt(min) sqrt(max(1, m / n)) instead; a rate
    for each matrix makes up for it.
    """
    start, *gradients = draws(33, 1, steps=STEPS + 1, dtype=torch.float32)
    peers = {name: torch.nn.Parameter(value[0].clone()) for name, value in start.items()}
    peer = PeerAdaMuon(
        [
            {"params": [weight], "use_muon": True, "lr": 0.1 * _undone(weight, adjusted)}
            for weight in peers.values()
        ],
        betas=(0.95, 0.9),
        use_adjusted_lr=adjusted,
        eps=1e-8,
        foreach=False,
    )
    for each in gradients:
        for name, weight in peers.items():
            weight.grad = each[name][0].clone()
        peer.step()
    found = trained(adamuon(nesterov=False, rms_align=True), SINGLE, start, gradients)
    for name, weight in peers.items():
        way = weight.detach() - start[name][0]
        # Their bfloat16 products are off by up to 2e-2, more where a small entry is divided.
        assert (found[name][0] - weight.detach()).norm() < 5e-2 * way.norm()


def _undone(weight: Tensor, adjusted: bool) -> float:
    """Returns the rate of the peer that makes its update have a root mean square of 0.2."""
    rows, columns = weight.shape
    theirs = min(rows, columns) * max(1.0, rows / columns)  # squared norm with K. Jordan's factor
    return 1.0 if adjusted else 0.2 * (rows * columns / theirs) ** 0.5


def test_an_aligned_update_has_a_root_mean_square_of_a_fifth() -> None:
    start, *gradients = draws(34, 1, steps=6)
    ends = [trained(adamuon(rms_align=True), SINGLE, start, gradients[:t]) for t in range(5)]
    for before, after in pairwise(ends):
        for name in start:
            step = after[name] - before[name]
            assert step.square().mean().sqrt().item() == pytest.approx(0.2 * 0.1, rel=1e-9)


def test_the_first_free_update_is_a_sign() -> None:
    start, gradient = draws(35, 1, steps=2)
    nothing = {name: torch.zeros_like(value) for name, value in start.items()}
    tiny = group(epsilon=(1e-30,), norm_epsilon=(1e-30,))
    found = trained(adamuon(), tiny, nothing, [gradient])
    plain = trained(muon(), group(epsilon=(1e-30,)), nothing, [gradient])
    for name, weight in found.items():
        torch.testing.assert_close(weight, 0.1 * plain[name].sign())


def test_rescaled_gradients_change_nothing_without_epsilon() -> None:
    start, *gradients = draws(36, 1, steps=STEPS + 1)
    scaled = [{name: 1e5 * g for name, g in each.items()} for each in gradients]
    free = group(epsilon=(1e-8,), norm_epsilon=(0.0,))
    plain = trained(adamuon(), free, start, gradients)
    for name, weight in trained(adamuon(), free, start, scaled).items():
        torch.testing.assert_close(weight, plain[name], rtol=1e-9, atol=1e-9)


def test_with_signs_only_signs_matter_without_momentum() -> None:
    start, *gradients = draws(37, 1, steps=4)
    bare = adamuon(momentum=0.0, nesterov=False, sign=True)
    signs = [{name: 3.0 * g.sign() for name, g in each.items()} for each in gradients]
    plain = trained(bare, SINGLE, start, gradients)
    assert all(torch.equal(w, plain[n]) for n, w in trained(bare, SINGLE, start, signs).items())


@pytest.mark.parametrize(("sign", "align"), FORMS)
def test_bucketed_is_looped_and_packed_is_solo_bit_for_bit(sign: bool, align: bool) -> None:
    start, *gradients = draws(38, 2, steps=STEPS + 1, dtype=torch.float32)
    algorithm = adamuon(sign=sign, rms_align=align)
    packed = trained(algorithm, PACK, start, gradients)
    for name in start:
        looped = group(
            (name,), rates=RATES, decays=DECAYS, epsilon=EPSILONS, norm_epsilon=NORM_EPSILONS
        )
        assert torch.equal(trained(algorithm, looped, start, gradients)[name], packed[name])
    for i in range(2):
        alone = [{n: g[i : i + 1] for n, g in each.items()} for each in (start, *gradients)]
        solo = trained(algorithm, PACK.keep([i]), alone[0], alone[1:])
        assert all(torch.equal(packed[name][i], weight[0]) for name, weight in solo.items())


@pytest.mark.parametrize(("sign", "align"), FORMS)
def test_a_zero_gradient_from_the_start_moves_nothing(sign: bool, align: bool) -> None:
    (start,) = draws(39, 1, steps=1, dtype=torch.float32)
    zero = {name: torch.zeros_like(value) for name, value in start.items()}
    found = trained(adamuon(sign=sign, rms_align=align), SINGLE, start, [zero] * 3)
    assert all(torch.equal(found[name], weight) for name, weight in start.items())


@pytest.mark.parametrize(("sign", "align"), FORMS)
def test_denormal_gradients_give_bounded_updates(sign: bool, align: bool) -> None:
    start = {"w": torch.zeros(1, 4, 6)}
    (each,) = draws(40, 1, steps=1, dtype=torch.float32, shapes={"w": (4, 6)})
    settings = group(("w",), epsilon=(1e-8,), norm_epsilon=(1e-7,))
    found = trained(
        adamuon(sign=sign, rms_align=align), settings, start, [{"w": 1e-41 * each["w"]}] * 3
    )
    assert found["w"].isfinite().all()
    # Three updates: entries of at most one, or all of them with a root mean square of 0.2.
    assert found["w"].norm() <= 3 * 0.1 * (4 * 6) ** 0.5 * 1.01


@pytest.mark.parametrize("sides", [(1, 9), (9, 1), (3, 400), (400, 3)])
def test_thin_matrices_follow_the_equations(sides: tuple[int, int]) -> None:
    start, *gradients = draws(41, 1, steps=6, shapes={"thin": sides})
    columns = [each["thin"][0] for each in gradients]
    seen = plain_run(start["thin"][0], columns, 0, nesterov=True, sign=False, align=False)
    settings = group(("thin",), epsilon=(1e-8,), norm_epsilon=(1e-7,))
    parameters = copied(start)
    ours = Optimizer(parameters, settings, adamuon())
    for step, each in enumerate(gradients, start=1):
        ours.step(copied(each), scale=step / 30, step=step)
        torch.testing.assert_close(parameters["thin"][0], seen[step - 1], rtol=1e-10, atol=1e-10)


def test_rank_one_gradients_stay_finite_and_move_down_the_gradient() -> None:
    line = torch.outer(torch.arange(1.0, 7.0), torch.tensor([1.0, -2.0, 0.5])).double()
    settings = group(("w",), epsilon=(1e-8,), norm_epsilon=(1e-7,))
    start = {"w": torch.zeros(1, 6, 3, dtype=torch.float64)}
    found = trained(adamuon(), settings, start, [{"w": line[None]}] * 3)["w"][0]
    assert torch.equal(found.sign(), -line.sign())


def test_a_nan_in_one_member_leaves_the_bits_of_the_others() -> None:
    start, *gradients = draws(42, 3, steps=4, dtype=torch.float32)
    settings = group(rates=(0.1,) * 3, epsilon=(1e-8,) * 3, norm_epsilon=(1e-7,) * 3)
    algorithm = adamuon(rms_align=True)
    healthy = trained(algorithm, settings, start, gradients)
    for each in gradients:
        each["square"][1] = torch.nan
    found = trained(algorithm, settings, start, gradients)
    for name, weight in healthy.items():
        assert torch.equal(found[name][[0, 2]], weight[[0, 2]])
    assert found["square"][1].isnan().all()


def test_half_precision_parameters_round_once_a_step() -> None:
    start, gradient = draws(43, 1, steps=2, dtype=torch.bfloat16)
    parameters = copied(start)
    optimizer = Optimizer(parameters, SINGLE, adamuon())
    optimizer.step(copied(gradient), scale=1.0, step=1)
    single = trained(
        adamuon(),
        SINGLE,
        {name: value.float() for name, value in start.items()},
        [{name: g.float() for name, g in gradient.items()}],
    )
    assert all(torch.equal(w, single[name].bfloat16()) for name, w in parameters.items())
    assert all(each.dtype == torch.float32 for each in optimizer.state(0).values())

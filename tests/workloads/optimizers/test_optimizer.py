"""The core of the optimizers, under algorithms that are simple enough to see through."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from matrix_cases import copied, draws, group
from torch import Tensor

from workloads.optimizers.algorithm import (
    Algorithm,
    Matrixwise,
    State,
    StepContext,
    state_in,
    tensor_in,
)
from workloads.optimizers.layout import Unit
from workloads.optimizers.optimizer import Optimizer

RATES, DECAYS = (0.5, 0.25, 0.125), (0.25, 0.0, 0.5)
MATRICES = {"a": (4, 6), "b": (4, 6), "table": (6, 4), "fused": (8, 6)}
UNITS = (
    Unit(names=("a",)),
    Unit(names=("b",)),
    Unit(names=("table",), turned=True),
    Unit(names=("fused",), parts=2),
)


class Plain(Algorithm):
    """U = G."""

    def start(self, like: Tensor) -> State:
        return {}

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        return gradient


class Total(Matrixwise):
    """U is the sum of the gradients so far, over epsilon; states are nested and of many shapes."""

    def start(self, like: Tensor) -> State:
        rows = like[:, :, 0]
        return {"sum": torch.zeros_like(like), "inner": {"rows": torch.zeros_like(rows)}}

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        assert gradient.ndim == 3
        tensor_in(state, "sum").add_(gradient)
        rows = state_in(state, "inner")
        rows["rows"] = tensor_in(rows, "rows") + gradient.sum(2)  # replaced, not written in place
        return tensor_in(state, "sum") / now.epsilon


class Curved(Algorithm):
    """U is the curvature where there is one, else zero; wanted at even steps."""

    def wants_curvature(self, step: int) -> bool:
        return step % 2 == 0

    def start(self, like: Tensor) -> State:
        return {}

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        assert (now.curvature is not None) == (now.step % 2 == 0)
        return torch.zeros_like(gradient) if now.curvature is None else now.curvature


class Reader(Matrixwise):
    """U is the weights themselves."""

    def start(self, like: Tensor) -> State:
        return {}

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        return now.weights().clone()


def matrices(steps: int, dtype: torch.dtype = torch.float64) -> list[dict[str, Tensor]]:
    return list(draws(51, 3, steps=steps, dtype=dtype, shapes=MATRICES))


def total(parameters: dict[str, Tensor], **changes: Any) -> Optimizer:
    settings = {"rates": RATES, "decays": DECAYS, "epsilon": (1.0, 2.0, 4.0), "units": UNITS}
    return Optimizer(parameters, group(**{**settings, **changes}), Total())


@pytest.mark.parametrize("constant", [True, False])
def test_weights_move_by_rate_and_decay_of_their_member_and_the_schedule(constant: bool) -> None:
    shapes = {"matrix": (2, 3), "vector": (5,), "number": ()}
    start, gradient = draws(50, 3, steps=2, shapes=shapes)
    parameters = copied(start)
    settings = group(tuple(shapes), rates=RATES, decays=DECAYS, constant_decay=constant)
    Optimizer(parameters, settings, Plain()).step(copied(gradient), scale=0.5, step=1)
    for name, weight in start.items():
        for i in range(3):
            share = DECAYS[i] * (1.0 if constant else 0.5)
            expected = weight[i] - 0.5 * RATES[i] * gradient[name][i] - share * weight[i]
            torch.testing.assert_close(parameters[name][i], expected, rtol=1e-15, atol=1e-15)


def test_constant_decay_goes_on_when_the_schedule_has_come_to_zero() -> None:
    for constant, share in ((True, 0.75), (False, 1.0)):
        parameters = {"w": torch.ones(1, 2, 2)}
        settings = group(("w",), rates=(0.5,), decays=(0.25,), constant_decay=constant)
        Optimizer(parameters, settings, Plain()).step(
            {"w": torch.ones(1, 2, 2)}, scale=0.0, step=9
        )
        assert torch.equal(parameters["w"], torch.full((1, 2, 2), share))


def test_matrices_of_every_kind_of_unit_are_updated_with_their_members_epsilon() -> None:
    start, first, second = matrices(3)
    parameters = copied(start)
    optimizer = total(parameters)
    optimizer.step(copied(first), scale=1.0, step=1)
    optimizer.step(copied(second), scale=1.0, step=2)
    for name, weight in start.items():
        for i, epsilon in enumerate((1.0, 2.0, 4.0)):
            expected, sums = weight[i], torch.zeros_like(weight[i])
            for each in (first, second):
                sums = sums + each[name][i]
                expected = expected - RATES[i] * sums / epsilon - DECAYS[i] * expected
            torch.testing.assert_close(parameters[name][i], expected, rtol=1e-14, atol=1e-14)


def test_the_state_of_a_member_is_views_under_keys_of_tensor_and_moment() -> None:
    start, gradient = matrices(2)
    optimizer = total(copied(start))
    optimizer.step(copied(gradient), scale=1.0, step=1)
    bucket = "a+b+table+fused"
    found = optimizer.state(1)
    assert set(found) == {f"{bucket}:sum", f"{bucket}:inner.rows"}
    stack = torch.stack(
        (
            gradient["a"][1],
            gradient["b"][1],
            gradient["table"][1].T,
            gradient["fused"][1][:4],
            gradient["fused"][1][4:],
        )
    )
    assert torch.equal(found[f"{bucket}:sum"], stack)
    torch.testing.assert_close(found[f"{bucket}:inner.rows"], stack.sum(2))
    found[f"{bucket}:sum"].zero_()
    assert optimizer.state(1)[f"{bucket}:sum"].abs().sum() == 0
    assert optimizer.state(0)[f"{bucket}:sum"].abs().sum() > 0


def test_a_state_that_is_loaded_goes_on_with_the_same_bits() -> None:
    start, *gradients = matrices(7, torch.float32)
    whole = copied(start)
    undisturbed = total(whole)
    for step, each in enumerate(gradients[:3], start=1):
        undisturbed.step(copied(each), scale=1.0, step=step)
    resumed = copied(whole)
    fresh = total(resumed)
    for member in range(3):
        saved = {key: value.clone() for key, value in undisturbed.state(member).items()}
        for key, view in fresh.state(member).items():
            view.copy_(saved[key])
    for step, each in enumerate(gradients[3:], start=4):
        undisturbed.step(copied(each), scale=1.0, step=step)
        fresh.step(copied(each), scale=1.0, step=step)
    assert all(torch.equal(resumed[name], weight) for name, weight in whole.items())


def test_kept_members_keep_settings_and_state_in_their_new_places() -> None:
    start, *gradients = matrices(5, torch.float32)
    whole, cut = copied(start), copied(start)
    undisturbed, compacted = total(whole), total(cut)
    for step, each in enumerate(gradients, start=1):
        if step == 3:
            compacted.keep([2, 0])
            cut.update({name: value[[2, 0]] for name, value in cut.items()})
        chosen = each if step < 3 else {name: g[[2, 0]] for name, g in each.items()}
        compacted.step(copied(chosen), scale=1.0, step=step)
        undisturbed.step(copied(each), scale=1.0, step=step)
    assert all(torch.equal(cut[name], value[[2, 0]]) for name, value in whole.items())
    for new, old in enumerate((2, 0)):
        for key, value in compacted.state(new).items():
            assert torch.equal(value, undisturbed.state(old)[key])


def test_a_member_alone_has_the_bits_that_it_has_in_a_pack() -> None:
    start, *gradients = matrices(4, torch.float32)
    packed = copied(start)
    optimizer = total(packed)
    for step, each in enumerate(gradients, start=1):
        optimizer.step(copied(each), scale=0.3, step=step)
    settings = group(rates=RATES, decays=DECAYS, epsilon=(1.0, 2.0, 4.0), units=UNITS)
    for i in range(3):
        solo = {name: value[i : i + 1].clone() for name, value in start.items()}
        alone = Optimizer(solo, settings.keep([i]), Total())
        for step, each in enumerate(gradients, start=1):
            mine = {name: g[i : i + 1].clone() for name, g in each.items()}
            alone.step(mine, scale=0.3, step=step)
        assert all(torch.equal(packed[name][i], weight[0]) for name, weight in solo.items())


def test_a_nan_of_one_member_stays_with_it() -> None:
    start, gradient = matrices(2, torch.float32)
    healthy, ill = copied(start), copied(start)
    total(healthy).step(copied(gradient), scale=1.0, step=1)
    spoilt = copied(gradient)
    for each in spoilt.values():
        each[1] = torch.nan
    total(ill).step(spoilt, scale=1.0, step=1)
    for name, weight in ill.items():
        assert weight[1].isnan().all()
        assert torch.equal(weight[[0, 2]], healthy[name][[0, 2]])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32_and_rounded_once(dtype: torch.dtype) -> None:
    start, *gradients = matrices(3, dtype)
    parameters = copied(start)
    optimizer = total(parameters)
    exact = copied(start)
    for step, each in enumerate(gradients, start=1):
        single = {name: weight.float() for name, weight in exact.items()}
        reference = total(single)
        for member in range(3):
            for key, view in reference.state(member).items():
                view.copy_(optimizer.state(member)[key])
        reference.step({n: g.float() for n, g in each.items()}, scale=1.0, step=step)
        optimizer.step(copied(each), scale=1.0, step=step)
        exact = {name: weight.to(dtype) for name, weight in single.items()}
        assert all(torch.equal(parameters[name], weight) for name, weight in exact.items())
    assert all(weight.dtype == dtype for weight in parameters.values())
    assert all(value.dtype == torch.float32 for value in optimizer.state(0).values())


def test_curvature_reaches_the_algorithm_at_the_steps_that_want_it_only() -> None:
    start, curvature = matrices(2)
    parameters = copied(start)
    optimizer = Optimizer(parameters, group(rates=RATES, units=UNITS), Curved())
    assert [optimizer.wants_curvature(step) for step in (1, 2, 3)] == [False, True, False]
    zero = {name: torch.zeros_like(value) for name, value in start.items()}
    optimizer.step(copied(zero), scale=1.0, step=1, curvature=copied(curvature))
    assert all(torch.equal(parameters[name], weight) for name, weight in start.items())
    optimizer.step(copied(zero), scale=1.0, step=2, curvature=copied(curvature))
    for name, weight in start.items():
        rates = torch.tensor(RATES, dtype=torch.float64).view(3, 1, 1)
        torch.testing.assert_close(parameters[name], weight - rates * curvature[name])


def test_an_algorithm_sees_the_weights_before_the_update_in_the_shape_of_its_matrices() -> None:
    start, gradient = matrices(2)
    parameters = copied(start)
    Optimizer(parameters, group(rates=RATES, decays=DECAYS, units=UNITS), Reader()).step(
        gradient, scale=1.0, step=1
    )
    for name, weight in start.items():
        for i in range(3):
            expected = weight[i] * (1 - RATES[i] - DECAYS[i])
            torch.testing.assert_close(parameters[name][i], expected, rtol=1e-14, atol=1e-14)


def test_a_vector_under_an_algorithm_of_matrices_is_refused() -> None:
    with pytest.raises(ValueError, match=r"g has shape \[1, 4\]; the optimizer takes matrices"):
        Optimizer({"g": torch.ones(1, 4)}, group(("g",), epsilon=(1.0,)), Total())

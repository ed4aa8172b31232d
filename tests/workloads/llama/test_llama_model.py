"""The llama, against a plain model of one member written straight from the equations."""

from __future__ import annotations

import importlib.util
import math
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from pack_runs import TINY
from torch import Tensor

from workloads.llama.card import LLAMA
from workloads.llama.model import Llama
from workloads.training import initial_parameters
from workloads.training.devices import CACHED, compute_dtype, members_together
from workloads.training.model import RMS_EPSILON
from workloads.training.sampling import sampled, uniform
from workloads.workload import Config, Member, Resolved

VARIANTS: list[dict[str, Any]] = [
    {},
    {"mlp": "gelu", "norm_gain": True},
    {"qk_norm": False, "mlp_ratio": 1.5},
    {"parametrization": "mup", "base_width": 16, "base_depth": 1, "head_dim": 8},
    {"mlp": "gelu", "positions": "learned", "tied_embeddings": True, "qk_norm": False},
    {"positions": "learned", "attention_scale": "linear", "base_head_dim": 4, "norm_gain": True},
]


def resolved(**changes: Any) -> Resolved:
    return LLAMA.resolve({**TINY, "zero_init": False, **changes})


def norm(x: Tensor) -> Tensor:
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + RMS_EPSILON)


def rotated(x: Tensor, base: float) -> Tensor:
    """Turns x [T, H, K] as complex numbers made of the pairs (i, i + K / 2)."""
    half = x.shape[-1] // 2
    frequencies = base ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(x.shape[0], dtype=torch.float64)[:, None, None] * frequencies
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.exp(1j * angles)
    return torch.cat([turned.real, turned.imag], -1)


def scale(config: Config) -> float:
    if config["attention_scale"] == "linear":
        return float(math.sqrt(config["base_head_dim"]) / config["head_dim"])
    return float(1 / math.sqrt(config["head_dim"]))


def plain_loss(plan: Resolved, weights: dict[str, Tensor], windows: Tensor) -> Tensor:
    """Returns the mean loss of one sequence [T + 1] under one member's weights."""
    config, beta = plan.config, plan.derived["branch_multiplier"]
    gain = lambda name: weights.get(name, torch.ones(()))  # noqa: E731
    x = weights["embedding"][windows[:-1]]
    if config["positions"] == "learned":
        x = x + weights["position"][: len(x)]
    size, future = len(x), torch.ones(len(x), len(x)).triu(1).bool()
    for layer in range(config["depth"]):
        w = {n.split(".")[1]: v for n, v in weights.items() if n.startswith(f"{layer}.")}
        h = norm(x) * gain(f"{layer}.attention_gain")
        q, k, v = (
            torch.einsum("td,od->to", h, w[n]).view(size, -1, config["head_dim"])
            for n in ("query", "key", "value")
        )
        if config["qk_norm"]:
            q, k = norm(q), norm(k)
        if config["positions"] == "rope":
            q, k = rotated(q, config["rope_base"]), rotated(k, config["rope_base"])
        scores = torch.einsum("qhk,shk->hqs", q, k) * scale(config)
        shares = scores.masked_fill(future, -torch.inf).softmax(-1)
        mixed = torch.einsum("hqs,shk->qhk", shares, v).reshape(size, -1)
        x = x + beta * mixed @ w["output"].T
        h = norm(x) * gain(f"{layer}.mlp_gain")
        up = h @ w["up"].T
        if config["mlp"] == "swiglu":
            gate = h @ w["gate"].T
            hidden = gate * torch.sigmoid(gate) * up
        else:
            hidden = up * (1 + torch.erf(up / math.sqrt(2))) / 2
        x = x + beta * hidden @ w["down"].T
    table = weights["embedding" if config["tied_embeddings"] else "readout"]
    logits = norm(x) * gain("final_gain") @ table.T
    return -logits.log_softmax(-1)[torch.arange(size), windows[1:]].mean()


def double(model: Llama, seeds: list[int]) -> dict[str, Tensor]:
    return {
        name: value.double() for name, value in initial_parameters(model.tensors, seeds).items()
    }


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_losses_and_gradients_are_those_of_the_plain_model(changes: dict[str, Any]) -> None:
    plan = resolved(**changes)
    model = Llama(plan, compute=torch.float64)
    parameters = double(model, [4, 5])
    generator = torch.Generator().manual_seed(0)
    if "0.mlp_gain" in parameters:
        for name in ("0.mlp_gain", "1.attention_gain", "final_gain"):
            parameters[name] += 0.3 * torch.randn(2, 32, generator=generator)
    windows = torch.randint(256, (2, 3, 17), generator=generator)
    leaves = {name: value.requires_grad_() for name, value in parameters.items()}
    found = model.losses(leaves, windows[..., :-1], windows[..., 1:])
    expected = torch.stack(
        [
            torch.stack(
                [plain_loss(plan, {n: p[e] for n, p in leaves.items()}, w) for w in windows[e]]
            )
            for e in range(2)
        ]
    )
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    pairs = zip(
        torch.autograd.grad(found.sum(), list(leaves.values())),
        torch.autograd.grad(expected.sum(), list(leaves.values())),
        strict=True,
    )
    for mine, plain in pairs:
        torch.testing.assert_close(mine, plain, rtol=1e-8, atol=1e-10)


def test_the_gradient_of_a_weight_is_the_slope_of_the_loss() -> None:
    model = Llama(resolved(), compute=torch.float64)
    parameters = double(model, [1])
    windows = torch.randint(256, (1, 2, 9), generator=torch.Generator().manual_seed(3))
    loss = lambda: model.losses(parameters, windows[..., :-1], windows[..., 1:]).sum()  # noqa: E731
    weight = parameters["1.query"].requires_grad_()
    (slope,) = torch.autograd.grad(loss(), weight)
    with torch.no_grad():
        step = 1e-6
        weight[0, 2, 3] += step
        above = loss()
        weight[0, 2, 3] -= 2 * step
        below = loss()
    assert float((above - below) / (2 * step)) == pytest.approx(float(slope[0, 2, 3]), rel=1e-5)


def test_no_token_sees_the_future() -> None:
    model = Llama(resolved(), compute=torch.float64)
    parameters = double(model, [0])
    tokens = torch.randint(256, (1, 1, 16), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[..., 10:] = 7
    before, after = (model.logits(parameters, each)[0] for each in (tokens, changed))
    assert torch.equal(before[:10], after[:10])
    assert not torch.allclose(before[10:], after[10:])


def test_initial_values_have_the_spread_that_the_card_says() -> None:
    plan = LLAMA.resolve({**TINY, "width": 128, "norm_gain": True})
    start = initial_parameters(Llama(plan).tensors, [0])
    assert start["embedding"].std().item() == pytest.approx(0.1, rel=0.05)
    for name in ("query", "key", "value", "gate", "up"):
        assert start[f"1.{name}"].std().item() == pytest.approx(128**-0.5, rel=0.05)
    for name in ("0.output", "1.down", "readout"):
        assert not start[name].any()
    assert torch.equal(start["final_gain"], torch.ones(1, 128))


def test_without_zero_init_every_matrix_has_the_spread_of_its_inputs() -> None:
    plan = LLAMA.resolve({**TINY, "width": 128, "zero_init": False, "mlp_ratio": 2.0})
    start = initial_parameters(Llama(plan).tensors, [0])
    assert start["0.down"].std().item() == pytest.approx(256**-0.5, rel=0.05)
    assert start["0.output"].std().item() == pytest.approx(128**-0.5, rel=0.05)
    spread = plan.derived["groups"]["readout"]["init_std"]
    assert start["readout"].std().item() == pytest.approx(spread, rel=0.05)


def test_a_member_starts_the_same_in_any_pack() -> None:
    model = Llama(resolved())
    pack, alone = (
        initial_parameters(model.tensors, [3, 1, 2]),
        initial_parameters(model.tensors, [1]),
    )
    assert all(torch.equal(pack[name][1], alone[name][0]) for name in alone)
    assert not torch.equal(pack["embedding"][0], pack["embedding"][1])


def test_the_number_of_parameters_is_the_cards() -> None:
    for changes in VARIANTS:
        plan = resolved(**changes)
        start = initial_parameters(Llama(plan).tensors, [0])
        assert sum(value.numel() for value in start.values()) == plan.derived["params"]


def test_learned_positions_start_with_the_spread_of_the_embedding() -> None:
    plan = resolved(width=128, positions="learned", context=64)
    position = initial_parameters(Llama(plan).tensors, [0])["position"]
    assert position.shape == (1, 64, 128)
    assert position.std().item() == pytest.approx(0.1, rel=0.05)


def test_a_vocabulary_that_is_read_out_in_parts_has_the_same_losses_and_samples() -> None:
    plan = resolved()
    whole = Llama(plan, compute=torch.float64)
    parts = Llama(plan, compute=torch.float64, logits=1)  # 64 tokens at once
    parameters = double(whole, [0, 1])
    windows = torch.randint(256, (2, 10, 17), generator=torch.Generator().manual_seed(0))
    inputs, targets = windows[..., :-1], windows[..., 1:]
    draws = torch.stack([uniform((10, 16), seed=seed, step=1) for seed in (0, 1)])
    for mine, plain in (
        (parts.losses(parameters, inputs, targets), whole.losses(parameters, inputs, targets)),
        (
            parts.sampled_losses(parameters, inputs, draws),
            whole.sampled_losses(parameters, inputs, draws),
        ),
    ):
        torch.testing.assert_close(mine, plain, rtol=1e-12, atol=1e-12)


def test_sampled_losses_are_the_losses_on_the_guesses() -> None:
    model = Llama(resolved(), compute=torch.float64)
    parameters = double(model, [0, 1])
    inputs = torch.randint(256, (2, 3, 16), generator=torch.Generator().manual_seed(2))
    draws = torch.stack([uniform((3, 16), seed=seed, step=5) for seed in (0, 1)])
    labels = sampled(model.logits(parameters, inputs).view(2, 3, 16, -1), draws)
    found = model.sampled_losses(parameters, inputs, draws)
    assert torch.equal(found, model.losses(parameters, inputs, labels))


def test_peaks_are_the_largest_causal_logits_of_each_head() -> None:
    plan = resolved(qk_norm=False, attention_scale="linear", base_head_dim=4)
    model = Llama(plan, compute=torch.float64)
    parameters = double(model, [0, 1])
    inputs = torch.randint(256, (2, 3, 16), generator=torch.Generator().manual_seed(2))
    streams: dict[str, Tensor] = {}
    model.logits(parameters, inputs, observe=lambda n, v: streams.update({n: v}))
    found = model.peaks(parameters, inputs)
    assert found.shape == (2, 2, 2)  # members, blocks, heads
    for layer, before in enumerate(("embedding", "block 0")):
        for e in range(2):
            h = norm(streams[before][e]).view(3, 16, 32)
            q, k = (
                torch.stack(
                    [
                        rotated((one @ parameters[f"{layer}.{n}"][e].T).view(16, 2, 16), 1e4)
                        for one in h
                    ]
                )
                for n in ("query", "key")
            )
            logits = torch.einsum("bqhk,bshk->bhqs", q, k) * scale(plan.config)
            causal = logits.masked_fill(torch.ones(16, 16).triu(1).bool(), -torch.inf)
            torch.testing.assert_close(found[e, layer], causal.amax((0, 2, 3)))


def test_a_zero_readout_guesses() -> None:
    model = Llama(LLAMA.resolve(TINY))
    tokens = torch.arange(17).view(1, 1, 17)
    loss = model.losses(initial_parameters(model.tensors, [0]), tokens[..., :-1], tokens[..., 1:])
    assert loss.item() == pytest.approx(math.log(256), abs=1e-6)


def test_products_in_bfloat16_leave_loss_and_residual_stream_in_float32() -> None:
    plan = resolved()
    seen: dict[str, Tensor] = {}
    exact, rough = Llama(plan), Llama(plan, compute=torch.bfloat16)
    parameters = initial_parameters(exact.tensors, [0])
    tokens = torch.arange(17).view(1, 1, 17)
    rough.logits(parameters, tokens[..., :-1], observe=lambda n, v: seen.update({n: v}))
    assert seen["block 1"].dtype == torch.float32
    assert seen["logits"].dtype == torch.bfloat16
    losses = [m.losses(parameters, tokens[..., :-1], tokens[..., 1:]) for m in (exact, rough)]
    assert losses[1].dtype == torch.float32
    assert not torch.equal(*losses)
    torch.testing.assert_close(*losses, rtol=0.02, atol=0.02)


def test_the_number_format_follows_the_device_unless_it_is_set() -> None:
    assert compute_dtype("auto", "cpu") == torch.float32
    assert compute_dtype("auto", "cuda") == torch.bfloat16
    assert compute_dtype("bfloat16", "cpu") == torch.bfloat16
    assert compute_dtype("float32", "cuda") == torch.float32


def test_a_cpu_takes_few_large_members_at_once_and_a_gpu_all() -> None:
    large, middle, small = (CACHED, CACHED // 4, CACHED // 100)
    assert members_together(8, numbers=large, device="cpu") == 1
    assert members_together(8, numbers=10 * large, device="cpu") == 1
    assert members_together(8, numbers=large, device="cuda") == 8
    assert members_together(8, numbers=small, device="cpu") == 8
    assert members_together(8, numbers=middle, device="cpu") == 4


def bare_loop() -> ModuleType:
    path = Path(__file__).resolve().parents[3] / "benchmarks" / "training.py"
    spec = importlib.util.spec_from_file_location("benchmark_training", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("mlp", ["swiglu", "gelu"])
def test_a_single_trial_has_the_losses_of_the_bare_loop(mlp: str) -> None:
    changes = {"steps": 20, "mlp": mlp, "batch_size": 8, "clip": 0.5, "beta2": 0.99}
    plan = LLAMA.resolve({**TINY, **changes})
    expected = list(bare_loop().BareLoop(plan, 3).run())
    running = LLAMA.trainer()([Member(config=plan.config, seed=3)], threads=1, device="cpu").run()
    found = [said[0].metrics["train_loss"] for said in islice(running, 20)]
    assert found == pytest.approx(expected, abs=1e-5)
    assert found[-1] < found[0] - 0.5

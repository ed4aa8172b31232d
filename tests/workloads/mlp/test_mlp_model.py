"""The perceptron against plain torch modules: forward, gradients, start, sampled labels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mlp_runs import TINY
from torch import nn

from workloads.mlp.card import MLP
from workloads.mlp.model import Mlp
from workloads.training import initial_parameters

ACTIVATIONS = {"relu": nn.ReLU(), "gelu": nn.GELU(), "tanh": nn.Tanh()}
FORMS = [
    {"activation": "relu"},
    {"activation": "tanh", "biases": False},
    {"activation": "gelu", "residual": True},
    {
        "activation": "relu",
        "residual": True,
        "biases": False,
        "parametrization": "mup",
        "base_width": 8,
        "base_depth": 1,
    },
]


def model(**changes: Any) -> Mlp:
    return Mlp(MLP.resolve({**TINY, **changes}), compute=torch.float64)


def double(parameters: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: (
            torch.randn(each.shape, generator=generator) if name.endswith("bias") else each
        ).double()
        for name, each in parameters.items()
    }


def examples(members: int = 3, number: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.rand(members, number, 64, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(0, 10, (members, number), generator=generator)


def plain(
    parameters: dict[str, torch.Tensor], place: int, x: torch.Tensor, changes: dict[str, Any]
) -> torch.Tensor:
    """Returns the logits of one member, through torch.nn.Linear modules."""

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        weight, bias = parameters[name][place], parameters.get(f"{name}.bias")
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        values = {"weight": weight} | ({} if bias is None else {"bias": bias[place]})
        return torch.func.functional_call(layer, values, (x,))  # type: ignore[no-any-return]

    def norm(x: torch.Tensor) -> torch.Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    activation = ACTIVATIONS[changes["activation"]]
    x = linear("embedding", x)
    if not changes.get("residual"):
        for name in ("0", "1"):
            x = linear(name, activation(x))
        return linear("readout", activation(x))
    beta = 0.5 if "base_depth" in changes else 1.0  # depth 2 over base depth 1
    for name in ("0", "1"):
        x = x + beta * activation(linear(name, norm(x)))
    return linear("readout", norm(x))


@pytest.mark.parametrize("changes", FORMS, ids=str)
def test_logits_and_gradients_are_those_of_plain_modules(changes: dict[str, Any]) -> None:
    own = model(**changes)
    parameters = {
        k: v.requires_grad_()
        for k, v in double(initial_parameters(own.tensors, [0, 1, 2])).items()
    }
    inputs, labels = examples()
    losses = own.losses(parameters, inputs, labels)
    mine = torch.autograd.grad(losses.mean(1).sum(), list(parameters.values()))
    logits = torch.stack([plain(parameters, e, inputs[e], changes) for e in range(3)])
    each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(3, -1)
    theirs = torch.autograd.grad(each.mean(1).sum(), list(parameters.values()))
    torch.testing.assert_close(own.logits(parameters, inputs), logits, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(losses, each, rtol=1e-12, atol=1e-12)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_the_model_tells_every_activation_in_order() -> None:
    own = model()
    told: list[tuple[str, tuple[int, ...]]] = []
    parameters = double(initial_parameters(own.tensors, [0, 1, 2]))
    own.logits(parameters, examples()[0], lambda name, value: told.append((name, value.shape)))
    inner = (3, 16, 16)
    assert told == [
        ("input embedding", (3, 16, 64)),
        ("embedding", inner),
        ("input 0", inner),
        ("layer 0", inner),
        ("input 1", inner),
        ("layer 1", inner),
        ("input readout", inner),
        ("logits", (3, 16, 10)),
    ]


@pytest.mark.parametrize("residual", [False, True])
def test_the_residual_stream_keeps_the_precision_of_the_inputs(residual: bool) -> None:
    own = Mlp(MLP.resolve({**TINY, "residual": residual}), compute=torch.bfloat16)
    kinds: dict[str, torch.dtype] = {}
    inputs = torch.rand(1, 16, 64, generator=torch.Generator().manual_seed(0))
    logits = own.logits(
        initial_parameters(own.tensors, [0]), inputs, lambda name, x: kinds.update({name: x.dtype})
    )
    inner = torch.float32 if residual else torch.bfloat16
    assert {kinds[name] for name in ("embedding", "layer 0", "layer 1")} == {inner}
    assert logits.dtype == torch.float32


def test_accuracy_is_the_share_of_largest_logits_at_the_label() -> None:
    own = model()
    parameters = double(initial_parameters(own.tensors, [0, 1, 2]))
    inputs, labels = examples()
    found = own.evaluated(parameters, inputs, labels)
    guesses = own.logits(parameters, inputs).argmax(-1)
    assert torch.equal(found["val_accuracy"], (guesses == labels).double())
    assert torch.equal(found["val_loss"], own.losses(parameters, inputs, labels))


def test_sampled_losses_are_losses_on_labels_of_the_models_own_choice() -> None:
    own = model()
    parameters = double(initial_parameters(own.tensors, [0]))
    inputs = examples(1, 1)[0].expand(1, 20_000, -1)
    draws = (torch.arange(20_000, dtype=torch.float64) + 0.5)[None] / 20_000
    losses = own.sampled_losses(parameters, inputs, draws)[0]
    chances = own.logits(parameters, inputs[:, :1]).softmax(-1).flatten()
    entropy = -(chances * chances.log()).sum()
    assert losses.mean().item() == pytest.approx(entropy.item(), abs=1e-3)


def test_the_start_has_the_spread_of_the_rule_and_biases_of_zero() -> None:
    plan = MLP.resolve({**TINY, "width": 256, "parametrization": "mup", "base_width": 64})
    parameters = initial_parameters(Mlp(plan).tensors, [0, 1])
    stds = {
        "embedding": (2 / 64) ** 0.5,
        "0": (2 / 256) ** 0.5,
        "readout": (1 / 64) ** 0.5 * 64 / 256,
    }
    for name, std in stds.items():
        assert parameters[name].std().item() == pytest.approx(std, rel=0.03)
    assert not any(each.any() for name, each in parameters.items() if name.endswith("bias"))
    assert not torch.equal(parameters["0"][0], parameters["0"][1])


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2**0.5), ("gelu", 2**0.5), ("tanh", 1)])
def test_the_gain_keeps_the_size_of_values_through_layers(activation: str, gain: float) -> None:
    plan = MLP.resolve({**TINY, "activation": activation, "width": 512, "depth": 6})
    assert plan.config["init_gain"] == gain
    own, sizes = Mlp(plan), {}
    inputs = torch.randn(1, 256, 64, generator=torch.Generator().manual_seed(0))
    own.logits(
        initial_parameters(own.tensors, [0]),
        inputs,
        lambda name, x: sizes.update({name: x.square().mean().item()}),
    )
    change = sizes["layer 5"] / sizes["layer 0"]
    bounds = {"relu": (0.7, 1.4), "gelu": (0.3, 1.4), "tanh": (0.2, 1.0)}[activation]
    assert bounds[0] < change < bounds[1]


def test_zero_init_is_of_the_readout_alone() -> None:
    parameters = initial_parameters(model(zero_init=True).tensors, [0])
    assert [name for name in ("embedding", "0", "1", "readout") if not parameters[name].any()] == [
        "readout"
    ]


def test_a_bias_is_in_a_group_of_its_own_only_where_its_rates_differ() -> None:
    names = {
        group: [name for unit in units for name in unit.names]
        for group, units in model(
            optimizer="sgd", parametrization="mup", base_width=8
        ).units.items()
    }
    assert names["vector"] == ["embedding.bias", "0.bias", "1.bias"]
    assert names["vector.readout"] == ["readout.bias"]
    assert set(model().units) == {"embedding", "hidden", "readout", "vector"}
    assert set(model(biases=False).units) == {"embedding", "hidden", "readout"}

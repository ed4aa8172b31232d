"""Parameters and FLOPs against a count tensor by tensor and product by product."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from workloads.llama.card import LLAMA
from workloads.llama.model import Llama
from workloads.llama.shape import mlp_hidden, shape_of
from workloads.training import initial_parameters

SHAPES: list[dict[str, Any]] = [
    {"width": 32, "depth": 2, "mlp": "gelu"},
    {"width": 96, "depth": 3, "mlp": "swiglu", "mlp_ratio": 8 / 3, "head_dim": 32},
    {"width": 64, "depth": 1, "mlp": "swiglu", "norm_gain": True, "context": 128},
    {"width": 48, "depth": 5, "mlp": "gelu", "mlp_ratio": 1.5, "norm_gain": True, "head_dim": 8},
    {"width": 32, "depth": 2, "mlp": "gelu", "positions": "learned", "tied_embeddings": True},
    {"width": 64, "depth": 1, "mlp": "swiglu", "positions": "learned", "context": 32},
]


def linear_layers(shape: dict[str, Any]) -> list[tuple[int, int]]:
    """Returns (inputs, outputs) of every linear layer, the readout last."""
    width = shape["width"]
    hidden = round(width * shape.get("mlp_ratio", 4.0))
    layers: list[tuple[int, int]] = []
    for _ in range(shape["depth"]):
        layers += [(width, width)] * 4  # query, key, value, output
        layers += [(width, hidden)] * (2 if shape["mlp"] == "swiglu" else 1)
        layers += [(hidden, width)]
    return [*layers, (width, 256)]


@pytest.mark.parametrize("shape", SHAPES)
def test_parameters_are_those_of_a_naive_count(shape: dict[str, Any]) -> None:
    derived = LLAMA.resolve({**shape, "steps": 10, "learning_rate": 0.1}).derived
    layers = linear_layers(shape)
    gains = (2 * shape["depth"] + 1) * shape["width"] if shape.get("norm_gain") else 0
    positions = shape.get("context", 64) if "positions" in shape else 0
    tables = 256 * (0 if "tied_embeddings" in shape else 1) + positions
    assert derived["params"] == tables * shape["width"] + gains + sum(i * o for i, o in layers)
    assert derived["params_non_embedding"] == gains + sum(i * o for i, o in layers[:-1])


@pytest.mark.parametrize("shape", SHAPES)
def test_flops_are_those_of_a_naive_count(shape: dict[str, Any]) -> None:
    derived = LLAMA.resolve({**shape, "steps": 10, "learning_rate": 0.1}).derived
    context, head_dim = shape.get("context", 64), shape.get("head_dim", 16)
    heads = shape["width"] // head_dim
    flops = sum(2 * inputs * outputs for inputs, outputs in linear_layers(shape))
    for _ in range(shape["depth"] * heads):
        flops += 2 * context * head_dim  # scores of one query against all keys
        flops += 3 * context  # softmax
        flops += 2 * context * head_dim  # mean of the values
    assert derived["flops_per_token"] == flops
    assert derived["flops"] == 3 * flops * 10 * 32 * context
    assert derived["heads"] == heads


def test_a_reference_model_has_the_parameters_that_were_measured() -> None:
    shape = {"width": 64, "depth": 2, "mlp": "gelu", "mlp_ratio": 4.0}
    derived = LLAMA.resolve({**shape, "steps": 400, "learning_rate": 0.03}).derived
    assert derived["params_non_embedding"] == 2 * 12 * 64**2
    assert derived["params"] == 131_072


def test_a_ratio_that_is_whole_up_to_rounding_is_whole() -> None:
    assert mlp_hidden(96, 8 / 3) == 256
    assert mlp_hidden(96, 2.667) is None
    assert mlp_hidden(4, 0.1) is None


@pytest.mark.parametrize("shape", SHAPES)
def test_the_model_has_as_many_parameters_as_planned(shape: dict[str, Any]) -> None:
    resolved = LLAMA.resolve({**shape, "steps": 10, "learning_rate": 0.1})
    parameters = initial_parameters(Llama(resolved).tensors, [0])
    assert sum(values.numel() for values in parameters.values()) == resolved.derived["params"]


def test_the_tokens_that_are_read_out_at_once_keep_the_logits_bounded() -> None:
    bytes_alone = shape_of(LLAMA.resolve({**SHAPES[0], "steps": 1, "learning_rate": 0.1}).config)
    assert bytes_alone.tokens_read_out() == 65_536
    assert bytes_alone.tokens_read_out(1) == 64
    assert replace(bytes_alone, vocabulary=1003).tokens_read_out(70 * 1003) == 64
    assert replace(bytes_alone, vocabulary=50_257).tokens_read_out() == 320
    assert replace(bytes_alone, vocabulary=1 << 24).tokens_read_out() == 64


def test_a_pass_has_a_part_of_the_batch() -> None:
    config = {**SHAPES[0], "steps": 1, "learning_rate": 0.1, "batch_size": 8, "accumulation": 4}
    shape = shape_of(LLAMA.resolve(config).config)
    assert (shape.tokens_per_step, shape.tokens_per_pass) == (512, 128)

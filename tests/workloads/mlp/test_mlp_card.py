"""The mlp card: what it resolves, what it refuses, what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.mlp.card import MLP
from workloads.mlp.model import Mlp
from workloads.optimizers.spec import OPTIMIZERS
from workloads.parametrization.parametrizations import PARAMETRIZATIONS
from workloads.training import initial_parameters
from workloads.workload import unit_of

BASE: dict[str, Any] = {"width": 64, "steps": 100, "learning_rate": 0.01}


def canonical(**changes: Any) -> dict[str, Any]:
    return MLP.resolve({**BASE, **changes}).config


def groups(**changes: Any) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = MLP.resolve({**BASE, **changes}).derived["groups"]
    return found


def test_every_setting_is_explained_and_its_default_is_allowed() -> None:
    names = [setting.name for setting in MLP.settings]
    assert len(set(names)) == len(names)
    for setting in MLP.settings:
        assert setting.doc.endswith("."), setting.name
        assert {name for one in setting.conditions for name in one} <= set(names)
        if setting.required or setting.default is None:
            assert setting.required != setting.optional, setting.name
        elif setting.kind == "choice":
            assert setting.default in setting.choices
        elif setting.kind in ("int", "float"):
            assert setting.low is not None and setting.default >= setting.low


def test_nothing_of_attention_is_among_the_settings() -> None:
    names = {setting.name for setting in MLP.settings}
    assert not [name for name in names if name.startswith(("qk", "head", "rope", "attention"))]
    assert "eval_tokens" not in names


def test_the_canonical_config_holds_what_applies_and_no_more() -> None:
    config = canonical()
    assert config["data"] == "digits"
    assert config["init_gain"] == 2**0.5
    assert None not in config.values()
    for absent in ("epochs", "base_width", "momentum", "sgd_momentum"):
        assert absent not in config


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"init_gain": 1.0, "activation": "tanh"}, {"activation": "tanh"}),
        ({"steps": None, "epochs": 100 * 64 / 1437}, {}),
        ({"steps": None, "epochs": 1}, {"steps": 1437 // 64}),
        ({"steps": None, "epochs": 0.001}, {"steps": 1}),
        (
            {"data": "fashion-mnist", "steps": None, "epochs": 2},
            {"data": "fashion-mnist", "steps": 120_000 // 64},
        ),
        ({"parametrization": "mup", "base_width": 64}, {}),
        ({"evals": 1000}, {"evals": 100}),
        ({"data": "fashion-mnist:x/../y"}, {"data": f"fashion-mnist:{Path.cwd()}/y"}),
    ],
)
def test_configs_that_train_the_same_have_one_canonical_config(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = MLP.resolve({**BASE, **one}), MLP.resolve({**BASE, **other})
    assert json.dumps(first.config) == json.dumps(second.config)
    assert first.derived == second.derived


@pytest.mark.parametrize(
    "changes",
    [{"residual": True}, {"biases": False}, {"zero_init": True}, {"init_gain": 1.0}],
    ids=str,
)
def test_configs_that_train_differently_stay_apart(changes: dict[str, Any]) -> None:
    assert canonical(**changes) != canonical()


@settings(max_examples=150, deadline=None)
@given(
    width=st.sampled_from([16, 48, 64]),
    depth=st.integers(1, 3),
    base_width=st.sampled_from([None, 16, 32]),
    base_depth=st.sampled_from([None, 1, 2]),
    residual=st.booleans(),
    biases=st.booleans(),
    parametrization=st.sampled_from(list(PARAMETRIZATIONS)),
    optimizer=st.sampled_from(OPTIMIZERS),
    weight_decay=st.sampled_from([0.0, 0.01]),
    horizon=st.sampled_from([("steps", 7), ("epochs", 0.7)]),
)
def test_resolving_is_idempotent_for_whatever_is_not_refused(
    horizon: tuple[str, float], **chosen: Any
) -> None:
    config = {**chosen, "learning_rate": 0.01, horizon[0]: horizon[1]}
    if MLP.problems(config):
        return
    resolved = MLP.resolve(config)
    assert MLP.problems(resolved.config) == []
    assert MLP.resolve(resolved.config) == resolved
    assert json.loads(json.dumps(resolved.derived, allow_nan=False)) == resolved.derived


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("depth", [1, 3])
def test_parameters_are_counted_as_the_model_has_them(biases: bool, depth: int) -> None:
    plan = MLP.resolve({**BASE, "biases": biases, "depth": depth})
    tensors = initial_parameters(Mlp(plan).tensors, [0])
    inner = [name for name in tensors if name not in ("embedding", "readout")]
    assert plan.derived["params"] == sum(each.numel() for each in tensors.values())
    assert plan.derived["params_non_embedding"] == sum(tensors[name].numel() for name in inner)


def test_flops_and_examples_are_those_of_the_matrix_products() -> None:
    found = MLP.resolve({**BASE, "depth": 3, "batch_size": 32}).derived
    assert found["flops_per_token"] == 2 * (64 * 64 + 3 * 64 * 64 + 64 * 10)
    assert found["tokens"] == 3200
    assert found["flops"] == 3 * found["flops_per_token"] * 3200
    assert found["vocabulary"] == 10


def test_sgd_under_mup_has_the_published_rates_and_leaves_the_readouts_bias_alone() -> None:
    """arXiv 2203.03466, table 3: SGD's rate is fan_out for input weights and biases, 1 for hidden
    matrices and 1/fan_in for the readout; its bias has fan_out of one size."""
    found = groups(optimizer="sgd", parametrization="mup", base_width=16, learning_rate=1.0)
    rates = {key: group["learning_rate"] for key, group in found.items()}
    assert rates == pytest.approx(
        {
            "embedding": 4.0,
            "hidden": 1.0,
            "readout": 0.25,
            "vector": 4.0,
            "vector.readout": 1.0,
        }
    )


def test_adamw_under_mup_has_one_rate_for_all_biases() -> None:
    found = groups(parametrization="mup", base_width=16, learning_rate=1.0)
    assert found["vector"]["learning_rate"] == 1.0
    assert found["hidden"]["learning_rate"] == found["readout"]["learning_rate"] == 0.25
    assert found["vector.readout"]["epsilon"] == 4 * found["vector"]["epsilon"]


def test_a_depth_rule_is_for_what_is_inside_the_branches() -> None:
    found = groups(
        parametrization="completep",
        base_width=64,
        base_depth=1,
        depth=4,
        depth_alpha=0.5,
        residual=True,
        learning_rate=1.0,
    )
    rates = {key: group["learning_rate"] for key, group in found.items()}
    assert rates["hidden"] == rates["vector"] == 0.5
    outside = ("embedding", "readout", "vector.embedding", "vector.readout")
    assert {rates[key] for key in outside} == {1.0}


def test_under_the_ntk_parametrization_the_readouts_bias_sees_no_larger_gradient() -> None:
    found = groups(parametrization="ntk", base_width=16, optimizer="sgd", learning_rate=1.0)
    assert found["vector"]["learning_rate"] == pytest.approx(2.0)  # m / sqrt(m), m = 4
    assert found["vector.readout"]["learning_rate"] == 1.0


def test_the_spread_of_the_start_follows_gain_and_rule() -> None:
    found = groups(parametrization="mup", base_width=16, init_gain=0.5)
    stds = {key: group["init_std"] for key, group in found.items()}
    assert stds["embedding"] == pytest.approx(0.5 * 64**-0.5)
    assert stds["hidden"] == pytest.approx(0.5 * 64**-0.5)
    assert stds["readout"] == pytest.approx(16**-0.5 / 4)
    assert stds["vector"] == 0


@pytest.mark.parametrize(
    ("changes", "keys", "message"),
    [
        ({"data": "mnist"}, ("data",), "use digits, fashion-mnist, or fashion-mnist:FOLDER"),
        ({"steps": None}, ("steps", "epochs"), "give one of steps and epochs"),
        ({"epochs": 3}, ("steps", "epochs"), "steps 100 and epochs 3 are both lengths"),
        ({"warmup": 1.0}, ("warmup",), "warmup is 1; it has to be at least 0 and below 1"),
        (
            {"batch_size": 30, "accumulation": 4},
            ("accumulation", "batch_size"),
            "batch_size 30 does not divide into accumulation 4 equal parts; the next smaller "
            "accumulation that does is 3",
        ),
        (
            {"parametrization": "mup", "base_width": 32, "base_depth": 2},
            ("base_depth", "residual"),
            "set residual: true or remove base_depth",
        ),
        ({"optimizer": "muonclip"}, ("optimizer",), "an mlp has none; use muon with nesterov"),
        ({"parametrization": "mup"}, ("base_width",), "base_width is missing"),
        ({"beta2": 1.0}, ("beta2",), "beta2 is 1"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_what_to_do(
    changes: dict[str, Any], keys: tuple[str, ...], message: str
) -> None:
    problems = MLP.problems({**BASE, **changes})
    assert [(problem.keys, message in problem.message) for problem in problems] == [(keys, True)]
    with pytest.raises(ValueError) as refusal:
        MLP.resolve({**BASE, **changes})
    assert str(refusal.value) == problems[0].message


def test_missing_requirements_are_problems() -> None:
    assert [problem.keys for problem in MLP.problems({})] == [("width",), ("learning_rate",)]


@pytest.mark.parametrize(
    ("width", "batch_size", "size"),
    [(64, 64, 8), (64, 256, 8), (128, 64, 8), (128, 256, 1), (256, 64, 1), (1024, 16, 1)],
)
def test_packs_pay_on_a_cpu_for_small_models_and_steps_only(
    width: int, batch_size: int, size: int
) -> None:
    assert MLP.pack_size({**BASE, "width": width, "batch_size": batch_size}, "cpu") == size


def test_packs_on_a_gpu_shrink_as_models_grow_and_stay_within_bounds() -> None:
    sizes = [MLP.pack_size({**BASE, "width": 4**i, "batch_size": 512}, "cuda") for i in range(9)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 64
    assert sizes[-1] == 1


def test_every_loss_has_a_unit() -> None:
    assert {unit_of(MLP, name) for name in ("val_loss", "train_loss")} == {"nats per image"}
    assert unit_of(MLP, "val_accuracy") == ""

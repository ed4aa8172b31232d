"""The llama card: what it resolves, what it refuses, what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workloads.llama.card import LLAMA, LlamaCard
from workloads.llama.shape import mlp_hidden
from workloads.optimizers.spec import OPTIMIZERS, SPECS
from workloads.parametrization.decay import CONVENTIONS, DECAY_RULES
from workloads.parametrization.parametrizations import PARAMETRIZATIONS
from workloads.workload import DataUnavailableError

BASE: dict[str, Any] = {"width": 64, "steps": 100, "learning_rate": 0.01}
MUON: dict[str, Any] = {"optimizer": "muon"}
ADAMUON: dict[str, Any] = {"optimizer": "adamuon"}
CUSTOM: dict[str, Any] = {"base_width": 32, "custom.hidden.learning_rate": -1.0}
DEEP: dict[str, Any] = {"parametrization": "mup", "base_width": 64, "base_depth": 1}
TIMESCALE: dict[str, Any] = {"weight_decay_rule": "timescale", "weight_decay_timescale": 0.5}


def canonical(**changes: Any) -> dict[str, Any]:
    return LLAMA.resolve({**BASE, **changes}).config


def without(config: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in names}


def test_planning_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from workloads.llama.card import LLAMA; "
        f"LLAMA.resolve({BASE!r}); LLAMA.data_fingerprint({BASE!r}); "
        "print(sorted({'torch', 'numpy', 'pandas', 'sweeper'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_setting_is_explained_and_its_default_is_allowed() -> None:
    names = [setting.name for setting in LLAMA.settings]
    assert len(set(names)) == len(names)
    assert "seed" not in names
    for setting in LLAMA.settings:
        assert setting.doc.endswith("."), setting.name
        assert {name for one in setting.conditions for name in one} <= set(names)
        if setting.required or setting.default is None:
            assert setting.required != setting.optional, setting.name
            continue
        if setting.kind == "choice":
            assert setting.default in setting.choices
        if setting.kind in ("int", "float"):
            assert setting.low is not None and setting.default >= setting.low
            assert not (setting.low_open and setting.default == setting.low)


def test_packs_may_differ_in_rates_and_epsilons_alone() -> None:
    packable = {setting.name for setting in LLAMA.settings if setting.packable}
    epsilons = {name for spec in SPECS.values() for name in spec.epsilons.values()}
    assert packable == {"learning_rate", "weight_decay", "weight_decay_timescale"} | epsilons


def test_the_canonical_config_holds_what_applies_and_no_more() -> None:
    config = canonical()
    assert config["steps"] == 100
    assert config["context"] == 64
    for absent in ("momentum", "muon_epsilon", "base_width", "base_depth", "tokens"):
        assert absent not in config
    assert None not in config.values()
    muon = canonical(optimizer="muon")
    assert muon["momentum"] == 0.95
    assert muon["newton_schulz"] == "keller_jordan"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"steps": None, "tokens": 100 * 2048}, {"steps": None, "tokens": 101 * 2048 - 1}),
        ({"learning_rate": 1}, {"learning_rate": 1.0}),
        ({"base_width": 32}, {}),
        ({"weight_decay": 0}, {"weight_decay": -0.0}),
        ({"weight_decay_rule": "inverse_width", "base_width": 32}, {}),
        (
            {"weight_decay": 0.1, "weight_decay_rule": "inverse_width", "base_width": 64},
            {"weight_decay": 0.1},
        ),
        ({"parametrization": "mup", "base_width": 64}, {}),
        ({"parametrization": "mup", "base_width": 64, "base_depth": 2}, {}),
        (
            {"parametrization": "mup", "base_width": 32, "base_depth": 2},
            {"parametrization": "mup", "base_width": 32},
        ),
        ({"base_depth": 1}, {}),
        ({"parametrization": "completep", "base_width": 64, "depth_alpha": 0.5}, {}),
        ({"parametrization": "moonlight", "base_width": 64, "optimizer": "muon"}, MUON),
        ({"parametrization": "moonlight", "base_width": 32, "optimizer": "adamuon"}, ADAMUON),
        ({"parametrization": "custom", "base_width": 64, "custom.hidden.init": 1.0}, {}),
        ({"parametrization": "custom", "base_width": 32}, {}),
        (
            {"parametrization": "completep", "base_width": 32, "depth_alpha": 0.5},
            {"parametrization": "completep", "base_width": 32},
        ),
        (
            {"parametrization": "custom", "custom.readout.weight_decay": 1.0, **CUSTOM},
            {"parametrization": "custom", **CUSTOM},
        ),
        (
            {"weight_decay": 0.1, "weight_decay_rule": "inverse_width", **DEEP},
            {"weight_decay": 0.1, **DEEP},
        ),
        ({"weight_decay_convention": "coupled"}, {}),
        ({"weight_decay_convention": "constant"}, {}),
        (
            {"weight_decay_convention": "coupled", **TIMESCALE},
            TIMESCALE,
        ),
        (
            {"weight_decay": 0.1, "weight_decay_rule": "inverse_learning_rate"},
            {"weight_decay": 0.1},
        ),
        ({"momentum": 0.5}, {}),
        ({"evals": 100}, {"evals": 1000}),
        ({"eval_tokens": 640}, {"eval_tokens": 703}),
        ({"data": "text:corpus.txt"}, {"data": f"text:{Path.cwd()}/x/../corpus.txt"}),
    ],
)
def test_configs_that_train_the_same_have_one_canonical_config(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = LLAMA.resolve({**BASE, **one}), LLAMA.resolve({**BASE, **other})
    assert json.dumps(first.config) == json.dumps(second.config)
    assert first.derived == second.derived


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"parametrization": "mup", "base_width": 32}, {}),
        ({"parametrization": "mup", "base_width": 64, "base_depth": 1}, {}),
        (
            {"parametrization": "mup", "base_width": 32},
            {"parametrization": "mup", "base_width": 16},
        ),
        (
            {"weight_decay": 0.1, "weight_decay_rule": "inverse_width", "base_width": 32},
            {"weight_decay": 0.1},
        ),
        ({"epsilon": 1e-12}, {}),
        ({"evals": 2}, {}),
        ({"parametrization": "normalized", "base_width": 64}, {}),
        ({"parametrization": "moonlight", "base_width": 32, "optimizer": "muon"}, MUON),
        ({"weight_decay": 0.1, "weight_decay_convention": "coupled"}, {"weight_decay": 0.1}),
        ({"weight_decay": 0.1, "weight_decay_convention": "constant"}, {"weight_decay": 0.1}),
        ({"weight_decay_convention": "constant", **TIMESCALE}, TIMESCALE),
        (TIMESCALE, {}),
        (
            {"parametrization": "completep", "base_width": 64, "base_depth": 1},
            {
                "parametrization": "completep",
                "base_width": 64,
                "base_depth": 1,
                "depth_alpha": 0.5,
            },
        ),
    ],
)
def test_configs_that_train_differently_stay_apart(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert canonical(**one) != canonical(**other)


@example(
    width=16,
    depth=1,
    base_width=16,
    base_depth=2,
    parametrization="mup",
    rule="inverse_width",
    convention="coupled",
    weight_decay=0.01,
    optimizer="sgd",
    others="auto",
    horizon=("steps", 7),
    warmup=0.0,
)
@settings(max_examples=300, deadline=None)
@given(
    width=st.sampled_from([16, 32, 48, 64]),
    depth=st.integers(1, 4),
    base_width=st.sampled_from([None, 16, 32]),
    base_depth=st.sampled_from([None, 1, 2]),
    parametrization=st.sampled_from(list(PARAMETRIZATIONS)),
    rule=st.sampled_from(list(DECAY_RULES)),
    convention=st.sampled_from(list(CONVENTIONS)),
    weight_decay=st.sampled_from([0.0, 0.01]),
    optimizer=st.sampled_from(OPTIMIZERS),
    others=st.sampled_from(["auto", "muon", "shampoo"]),
    horizon=st.sampled_from([("steps", 7), ("tokens", 9000), ("tokens_per_param", 1.5)]),
    warmup=st.floats(0, 0.999),
)
def test_resolving_is_idempotent_and_keeps_what_is_trained(
    width: int,
    depth: int,
    base_width: int | None,
    base_depth: int | None,
    parametrization: str,
    rule: str,
    convention: str,
    weight_decay: float,
    optimizer: str,
    others: str,
    horizon: tuple[str, float],
    warmup: float,
) -> None:
    config = {
        "width": width,
        "depth": depth,
        "base_width": base_width,
        "base_depth": base_depth,
        "parametrization": parametrization,
        "weight_decay_rule": rule,
        "weight_decay": weight_decay,
        "weight_decay_convention": convention,
        "weight_decay_timescale": 0.5,
        "optimizer": optimizer,
        "others": others,
        "block_size": 16,
        "learning_rate": 0.01,
        "warmup": warmup,
        horizon[0]: horizon[1],
    }
    if LLAMA.problems(config):
        assert (
            base_width is None
            or parametrization == "moonlight"
            or convention == "coupled"
            or rule == "timescale"
        )
        return
    resolved = LLAMA.resolve(config)
    assert LLAMA.problems(resolved.config) == []
    assert LLAMA.resolve(resolved.config) == resolved
    assert resolved.derived["groups"].keys() >= {"embedding", "hidden", "readout"}
    assert 0 <= resolved.derived["warmup_steps"] < resolved.derived["steps"]
    assert json.loads(json.dumps(resolved.derived, allow_nan=False)) == resolved.derived


def test_tokens_are_rounded_down_to_whole_batches_and_at_least_one() -> None:
    per_step = 32 * 64
    assert canonical(steps=None, tokens=3 * per_step - 1)["steps"] == 2
    assert canonical(steps=None, tokens=1)["steps"] == 1
    resolved = LLAMA.resolve({**without(BASE, "steps"), "tokens_per_param": 20})
    assert resolved.config["steps"] == 20 * resolved.derived["params"] // per_step
    assert resolved.derived["tokens"] == resolved.config["steps"] * per_step


def test_muon_carries_its_coefficients_as_numbers() -> None:
    resolved = LLAMA.resolve({**BASE, "optimizer": "muon", "newton_schulz_steps": 3})
    assert resolved.derived["newton_schulz_coefficients"] == [[3.4445, -4.7750, 2.0315]] * 3
    assert "newton_schulz_coefficients" not in LLAMA.resolve(BASE).derived


def test_depth_scaling_divides_the_branches_under_mup_alone() -> None:
    deep = {**BASE, "depth": 8, "base_depth": 2, "base_width": 32}
    assert LLAMA.resolve({**deep, "parametrization": "mup"}).derived["branch_multiplier"] == 0.25
    assert LLAMA.resolve({**deep, "parametrization": "sp"}).derived["branch_multiplier"] == 1.0
    shallow = {**without(deep, "base_depth"), "parametrization": "mup"}
    assert LLAMA.resolve(shallow).derived["branch_multiplier"] == 1.0


@pytest.mark.parametrize(
    ("changes", "keys", "message"),
    [
        (
            {"width": 100},
            ("width", "head_dim"),
            "nearest allowed is 96 (6 heads) or 112 (7 heads)",
        ),
        ({"width": 8}, ("width", "head_dim"), "nearest allowed is 16 (1 head)"),
        ({"head_dim": 1, "width": 8}, ("head_dim",), "head_dim 1 is odd"),
        ({"mlp_ratio": 2.7}, ("mlp_ratio", "width"), "times width 64 is 172.8"),
        ({"mlp_ratio": 2.7}, ("mlp_ratio", "width"), "2.703125 (hidden size 173)"),
        ({"mlp_ratio": 0.001}, ("mlp_ratio", "width"), "0.015625 (hidden size 1)"),
        ({"tokens": 9999}, ("steps", "tokens"), "steps 100 and tokens 9999 are both lengths"),
        ({"steps": None}, ("steps", "tokens", "tokens_per_param"), "give one of steps, tokens"),
        (
            {"parametrization": "mup"},
            ("base_width",),
            "base_width is missing, and parametrization mup",
        ),
        (
            {"weight_decay_rule": "inverse_width"},
            ("base_width",),
            "weight_decay_rule inverse_width scales relative",
        ),
        ({"beta2": 1.0}, ("beta2",), "beta2 is 1; it has to be at least 0 and below 1"),
        ({"warmup": 1.0}, ("warmup",), "warmup is 1; it has to be at least 0 and below 1"),
        ({"eval_tokens": 63}, ("eval_tokens", "context"), "use at least 64"),
        ({"data": "wikipedia"}, ("data",), "use sotu, text:PATH"),
        ({"data": "text: "}, ("data",), "use sotu, text:PATH"),
        ({"data": "text:a\0b"}, ("data",), "use sotu, text:PATH"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_what_to_do(
    changes: dict[str, Any], keys: tuple[str, ...], message: str
) -> None:
    problems = LLAMA.problems({**BASE, **changes})
    assert [(problem.keys, message in problem.message) for problem in problems] == [(keys, True)]
    with pytest.raises(ValueError) as refusal:
        LLAMA.resolve({**BASE, **changes})
    assert str(refusal.value) == problems[0].message


@pytest.mark.parametrize(
    ("processes", "message"),
    [
        (2, None),
        (12, None),
        (
            5,
            "12 does not divide into equal parts for 5 devices; use 10 or 15, or 1 device",
        ),
        (8, "use 8 or 16, or 4 devices"),
        (16, "use 16, or 4 devices"),
        (10**300, "devices"),
    ],
)
def test_a_batch_has_to_divide_into_equal_parts_for_the_devices(
    processes: int, message: str | None
) -> None:
    problems = LlamaCard().parallel_problems({**BASE, "batch_size": 12}, processes)
    assert bool(problems) == (message is not None)
    for problem in problems:
        assert problem.keys == ("batch_size",)
        assert message in problem.message


def test_all_problems_are_told_at_once() -> None:
    problems = LLAMA.problems({"width": 100, "learning_rate": 0.1, "mlp_ratio": 0.123})
    assert [problem.keys[0] for problem in problems] == ["width", "mlp_ratio", "steps"]


def test_a_missing_requirement_is_a_problem() -> None:
    problems = LLAMA.problems({"steps": 10})
    assert [problem.keys for problem in problems] == [("width",), ("learning_rate",)]


@settings(max_examples=100, deadline=None)
@given(width=st.integers(1, 300), ratio=st.floats(0.01, 10))
def test_the_suggested_mlp_ratio_is_accepted(width: int, ratio: float) -> None:
    changes = {**BASE, "width": width, "head_dim": 2, "mlp_ratio": ratio}
    problems = [each for each in LLAMA.problems(changes) if each.keys[0] == "mlp_ratio"]
    assert len(problems) == (mlp_hidden(width, ratio) is None)
    for problem in problems:
        suggested = float(problem.message.split("this width is ")[1].split(" ")[0])
        again = LLAMA.problems({**changes, "mlp_ratio": suggested})
        assert "mlp_ratio" not in [key for other in again for key in other.keys]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widht": 3}, "unknown settings: widht; known: width, depth, head_dim"),
        ({"width": 64.5}, "width is 64.5; it has to be of type int"),
        ({"width": True}, "width is True; it has to be of type int"),
        ({"width": "64"}, "width is '64'; it has to be of type int"),
        ({"learning_rate": None}, "learning_rate is None; it has to be of type float"),
        ({"steps": float("inf")}, "steps is inf; it has to be of type int"),
        ({"norm_gain": 1}, "norm_gain is 1; it has to be of type bool"),
        ({"optimizer": 3}, "optimizer is 3; it has to be of type choice"),
    ],
)
def test_a_value_of_another_type_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LLAMA.resolve({**BASE, **changes})


@pytest.mark.parametrize(
    ("width", "batch_size", "size"),
    [(32, 32, 8), (64, 32, 1), (64, 8, 8), (128, 8, 8), (256, 8, 1)],
)
def test_packs_pay_on_a_cpu_for_small_steps_only(width: int, batch_size: int, size: int) -> None:
    assert LLAMA.pack_size({**BASE, "width": width, "batch_size": batch_size}, "cpu") == size


def test_packs_on_a_gpu_shrink_as_models_grow_and_stay_within_bounds() -> None:
    sizes = [
        LLAMA.pack_size({**BASE, "width": width, "head_dim": 64, "batch_size": 64}, "cuda")
        for width in (64, 128, 256, 512, 1024, 4096, 16384)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1
    assert 1 < sizes[0] <= 32
    tiny = LLAMA.pack_size({**BASE, "width": 16, "batch_size": 1}, "cuda")
    assert tiny == 32


def test_the_fingerprint_is_checked_for_size(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(f"Paragraph {i} says little." for i in range(500)))
    config = {**BASE, "data": f"text:{path}", "eval_tokens": 320}
    assert LLAMA.data_fingerprint(config).startswith("sha256:")
    with pytest.raises(
        DataUnavailableError, match=r"held-out bytes.*eval_tokens 65536 needs 65537"
    ):
        LLAMA.data_fingerprint({**config, "eval_tokens": 65536})
    with pytest.raises(DataUnavailableError, match=r"training bytes.*context 20000 needs 20001"):
        LLAMA.data_fingerprint({**config, "context": 20000})

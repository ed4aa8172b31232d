"""Scaling rules on a user's own torch model: roles from shapes, the factors of the rules,
agreement with mup, and our optimizers as torch's."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import mup
import pytest
import torch
from torch import nn

from workloads.llama.card import LLAMA
from workloads.optimizers import SPECS
from workloads.scaled import ScaledGroups, scaled_groups, set_init

PLAIN = [name for name in SPECS if name not in ("sophia", "muonclip")]


class Words(nn.Module):
    """Embedding, two layers, a norm and a readout."""

    def __init__(self, width: int, *, tied: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(12, width)
        self.layers = nn.ModuleList([nn.Linear(width, 4 * width), nn.Linear(4 * width, width)])
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 12)
        if tied:
            self.out.weight = self.table.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.table(tokens)
        x = x + self.layers[1](torch.tanh(self.layers[0](x)))
        return self.out(self.norm(x))  # type: ignore[no-any-return]


class Image(nn.Module):
    """Convolutions, positions that are a bare parameter, and a readout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.ModuleList([nn.Conv2d(3, width, 3), nn.Conv2d(width, width, 3)])
        self.positions = nn.Parameter(torch.randn(1, 7, width))
        self.out = nn.Linear(width, 5)


def groups_of(width: int = 64, base: int = 16, **settings: Any) -> ScaledGroups:
    torch.manual_seed(0)
    given = {"learning_rate": 0.01, **settings}
    return scaled_groups(Words(width), Words(base), Words(2 * base), **given)


def loss_of(model: nn.Module, seed: int = 0) -> torch.Tensor:
    tokens = torch.randint(12, (4, 9), generator=torch.Generator().manual_seed(seed))
    return nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())


def value(model: nn.Module, seed: int = 0) -> float:
    return loss_of(model, seed).item()


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        optimizer.zero_grad()
        loss_of(model, step).backward()
        optimizer.step()


def test_roles_are_read_off_the_shapes_of_two_models() -> None:
    assert {each.name: each.role for each in groups_of().tensors} == {
        "table.weight": "embedding",
        "layers.0.weight": "hidden",
        "layers.0.bias": "vector",
        "layers.1.weight": "hidden",
        "layers.1.bias": "vector",
        "norm.weight": "vector",
        "norm.bias": "vector",
        "out.weight": "readout",
        "out.bias": "vector",
    }


def test_kernels_count_among_the_inputs_and_a_bare_parameter_is_asked_about() -> None:
    with pytest.raises(ValueError, match=r"positions of shape 1x7x32 grows along one side"):
        scaled_groups(Image(32), Image(16), learning_rate=0.1)
    roles: Any = {"pos*": "embedding"}
    found = scaled_groups(Image(32), Image(16), learning_rate=0.1, roles=roles)
    factors = {each.name: (each.role, each.group["learning_rate"] / 0.1) for each in found.tensors}
    assert factors["conv.0.weight"] == ("embedding", 1.0)
    assert factors["conv.1.weight"] == ("hidden", 0.5)
    assert factors["positions"] == ("embedding", 1.0)
    assert factors["out.weight"] == ("readout", 0.5)


@pytest.mark.parametrize("parametrization", ["sp", "mup", "spectral", "ntk", "mean_field"])
@pytest.mark.parametrize("optimizer", PLAIN)
def test_factors_are_those_of_sweeper_rules(optimizer: str, parametrization: str) -> None:
    block = {"block_size": 16} if optimizer in ("shampoo", "soap") else {}
    given = {"optimizer": optimizer, "parametrization": parametrization, **block}
    table = LLAMA.rules({**given, "base_width": 16, "width": 64, "mlp_ratio": 4, "head_dim": 8})  # type: ignore[attr-defined]
    here, base = (
        {each.name: each.group for each in groups_of(width, **given).tensors} for width in (64, 16)
    )
    for name, role in (("table", "embedding"), ("layers.0", "hidden"), ("out", "readout")):
        group, start = here[f"{name}.weight"], base[f"{name}.weight"]
        leaf = table.leaves.get("hidden.mlp_in") if role == "hidden" else None
        expected = (leaf or table.roles[role]).factors
        assert group["optimizer"] == table.roles[role].optimizer
        ratio = group["learning_rate"] / start["learning_rate"]
        assert ratio == pytest.approx(expected["learning_rate"])
        if start.get("epsilon"):
            assert group["epsilon"] / start["epsilon"] == pytest.approx(expected["epsilon"])
        assert group["init_std"] == pytest.approx(expected["init_std"])


def test_a_model_trains_as_the_one_with_multipliers_of_mup_does() -> None:
    """mup (arXiv 2203.03466, table 8) multiplies the readout's inputs by 1 / m, starts it m times
    larger and gives it the base's learning rate; the functions of both are the same."""
    torch.manual_seed(1)
    m, ours = 4, Words(64)
    set_init(ours, Words(16))
    theirs = copy.deepcopy(ours)
    theirs.out.weight.data *= m
    theirs.out.register_forward_pre_hook(lambda module, inputs: (inputs[0] / m,))
    groups = scaled_groups(ours, Words(16), learning_rate=0.01, epsilon=1e-20)
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.95))
    matrices = [layer.weight for layer in theirs.layers]
    others = [p for p in theirs.parameters() if all(p is not each for each in matrices)]
    adam = torch.optim.Adam(
        [{"params": matrices, "lr": 0.01 / m}, {"params": others, "lr": 0.01}],
        betas=(0.9, 0.95),
        eps=1e-20,
    )
    steps(ours, optimizer, 0, 8)
    steps(theirs, adam, 0, 8)
    assert value(ours, 9) == pytest.approx(value(theirs, 9), rel=1e-5)


def test_a_model_trains_as_the_package_mup_has_it() -> None:
    class Perceptron(nn.Module):
        def __init__(self, width: int, last: Callable[..., nn.Module]) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(12, width), nn.Linear(width, width)
            self.out = last(width, 12)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            x = nn.functional.one_hot(tokens, 12).float()
            return self.out(torch.relu(self.two(torch.relu(self.one(x)))))  # type: ignore[no-any-return]

    torch.manual_seed(2)
    theirs = Perceptron(64, mup.MuReadout)
    mup.set_base_shapes(theirs, Perceptron(16, mup.MuReadout), delta=Perceptron(32, mup.MuReadout))
    ours = Perceptron(64, nn.Linear)
    ours.load_state_dict(theirs.state_dict())
    ours.out.weight.data /= 4
    groups = scaled_groups(ours, Perceptron(16, nn.Linear), learning_rate=0.01, epsilon=1e-20)
    steps(ours, torch.optim.Adam(groups, betas=(0.9, 0.95)), 0, 8)
    steps(theirs, mup.MuAdam(theirs.parameters(), lr=0.01, betas=(0.9, 0.95), eps=1e-20), 0, 8)
    assert value(ours, 9) == pytest.approx(value(theirs, 9), rel=1e-5)


def test_initial_values_have_the_size_of_the_base_model_times_the_rules_factor() -> None:
    torch.manual_seed(0)
    model, base = Words(64), Words(16)
    nn.init.zeros_(base.layers[1].weight)
    gain = model.norm.weight.detach().clone()
    set_init(model, base)

    def size(tensor: torch.Tensor) -> float:
        return tensor.square().mean().sqrt().item()

    assert size(model.table.weight) == pytest.approx(size(base.table.weight), rel=1e-5)
    assert size(model.layers[0].weight) == pytest.approx(size(base.layers[0].weight) / 2, rel=1e-5)
    assert not model.layers[1].weight.any()
    assert size(model.out.weight) == pytest.approx(size(base.out.weight) / 4, rel=1e-5)
    assert torch.equal(model.norm.weight, gain)


def test_decay_takes_the_share_of_the_rule_under_torchs_own_optimizer() -> None:
    groups = groups_of(weight_decay=0.02)
    model_share = {each.name: each.group["weight_decay"] for each in groups.tensors}
    optimizer = torch.optim.AdamW(groups)
    before = {
        n: p.detach().clone() for g in groups for n, p in zip(g["names"], g["params"], strict=True)
    }
    for each in groups.tensors:
        each.parameter.grad = torch.zeros_like(each.parameter)
    optimizer.step()
    for each in groups.tensors:
        kept = before[each.name] * (1 - model_share[each.name])
        assert torch.allclose(each.parameter, kept, atol=1e-7)
    assert model_share["layers.0.weight"] == 0.02 and model_share["norm.weight"] == 0


def test_ours_is_adamw_where_it_is_called_so() -> None:
    one, other = Words(64), Words(64)
    other.load_state_dict(one.state_dict())
    given: Any = {"learning_rate": 0.01, "weight_decay": 0.02}
    ours = scaled_groups(one, Words(16), **given).optimizer()
    torchs = torch.optim.AdamW(scaled_groups(other, Words(16), **given), betas=(0.9, 0.95))
    steps(one, ours, 0, 6)
    steps(other, torchs, 0, 6)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-6)


@pytest.mark.parametrize("parametrization", ["mup", "normalized"])
@pytest.mark.parametrize("optimizer", PLAIN)
def test_training_that_goes_on_from_a_state_dict_has_the_same_bits(
    optimizer: str, parametrization: str
) -> None:
    def made(model: nn.Module) -> tuple[torch.optim.Optimizer, Any]:
        groups = scaled_groups(
            model,
            Words(16),
            optimizer=optimizer,
            parametrization=parametrization,
            learning_rate=0.005,
            weight_decay=0.001,
        )
        ours = groups.optimizer()
        return ours, torch.optim.lr_scheduler.LambdaLR(ours, lambda t: 1 / (1 + t))

    torch.manual_seed(3)
    whole = Words(32)
    start = copy.deepcopy(whole.state_dict())
    ours, schedule = made(whole)
    first = value(whole, 99)
    for step in range(6):
        steps(whole, ours, step, step + 1)
        schedule.step()
        if step == 2:
            saved = copy.deepcopy((whole.state_dict(), ours.state_dict(), schedule.state_dict()))
    assert value(whole, 99) < first
    again = Words(32)
    again.load_state_dict(start)
    theirs, later = made(again)
    again.load_state_dict(saved[0])
    theirs.load_state_dict(saved[1])
    later.load_state_dict(saved[2])
    for step in range(3, 6):
        steps(again, theirs, step, step + 1)
        later.step()
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_sparse_gradient_is_refused_in_words() -> None:
    def make(width: int) -> nn.Module:
        return nn.Sequential(nn.Embedding(12, width, sparse=True), nn.Linear(width, 12))

    model = make(32)
    optimizer = scaled_groups(model, make(16), learning_rate=0.1).optimizer()
    loss_of(model).backward()
    with pytest.raises(ValueError, match=r"shape 12x32 is sparse.* sparse=False"):
        optimizer.step()


def test_a_state_of_another_algorithm_is_refused() -> None:
    model = Words(32)
    muon, soap = (
        scaled_groups(model, Words(16), optimizer=name, learning_rate=0.01).optimizer()
        for name in ("muon", "soap")
    )
    steps(model, muon, 0, 1)
    saved = muon.state_dict()
    for group in saved["param_groups"]:
        group["optimizer"] = "soap" if group["optimizer"] == "muon" else group["optimizer"]
    with pytest.raises(ValueError, match="another algorithm"):
        soap.load_state_dict(saved)


def test_closures_scalers_and_frozen_parameters_work_as_with_torchs_optimizers() -> None:
    model = Words(32)
    model.table.weight.requires_grad_(False)
    before = model.table.weight.clone()
    ours = scaled_groups(model, Words(16), optimizer="muon", learning_rate=0.01).optimizer()

    def closure() -> float:
        ours.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return float(loss.detach())

    first = ours.step(closure)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(5):
        ours.zero_grad()
        scaler.scale(loss_of(model)).backward()
        scaler.step(ours)
        scaler.update()
    assert first is not None and value(model) < first
    assert torch.equal(model.table.weight, before)


def test_the_table_says_every_parameter_with_its_role_and_rates() -> None:
    lines = str(groups_of(optimizer="muon")).splitlines()
    assert lines[0].split() == [
        "parameter",
        "shape",
        "base",
        *["role", "optimizer", "lr", "decay", "eps", "init"],
    ]
    assert lines[2].split()[1:6] == ["256x64", "64x16", "hidden", "muon", "0.01"]
    assert len(lines) == 10
    assert {group["optimizer"] for group in groups_of(optimizer="muon").of("muon")} == {"muon"}


def test_deeper_models_find_their_counterparts_by_name() -> None:
    class Deep(nn.Module):
        def __init__(self, width: int, depth: int) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])

    groups = scaled_groups(
        Deep(32, 6),
        Deep(16, 2),
        parametrization="completep",
        learning_rate=0.01,
        depth_ratio=3.0,
        depth_alpha=0.5,
    )
    assert len(groups.tensors) == 12
    assert groups.branch_multiplier == pytest.approx(1 / math.sqrt(3))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"optimizer": "adamv"}, "optimizer 'adamv' is not known; use"),
        ({"betta1": 0.9}, "unknown setting betta1; did you mean beta1"),
        ({"momentum": 0.9}, "momentum has no effect"),
        ({"beta1": 1.0}, "beta1 is 1; it has to be at least 0 and below 1"),
        ({"learning_rate": 0.0}, "learning_rate 0.0 is too small"),
        ({"learning_rate": math.nan}, "learning_rate nan is out of bounds"),
        ({"learning_rate": math.inf}, "learning_rate inf is out of bounds"),
        ({"roles": {"tabel.weight": "hidden"}}, "no parameter is called tabel.weight"),
        ({"roles": {"table.weight": "input"}}, "'input' is no role"),
        ({"weight_decay_rule": "timescale"}, "needs steps"),
    ],
)
def test_what_cannot_be_is_refused_in_words(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        groups_of(**settings)


def test_a_model_of_the_base_size_needs_another_one_to_tell_roles_by() -> None:
    with pytest.raises(ValueError, match="give delta_model"):
        scaled_groups(Words(16), Words(16), learning_rate=0.1)
    roles = [each.role for each in groups_of(16, optimizer="muon").tensors]
    assert roles == [each.role for each in groups_of(64, optimizer="muon").tensors]


def test_models_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="base model has no parameter positions"):
        scaled_groups(Image(32), Words(16), learning_rate=0.1)
    with pytest.raises(ValueError, match="one tensor, an embedding and a readout"):
        scaled_groups(Words(32, tied=True), Words(16, tied=True), learning_rate=0.1)
    meta = Words(16).to("meta")
    assert scaled_groups(Words(32), meta, learning_rate=0.1)
    with pytest.raises(ValueError, match="meta device has no initial values"):
        set_init(Words(32), meta)


def test_a_module_that_stands_in_two_places_has_one_group() -> None:
    class Twice(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.first = nn.Linear(width, width)
            self.again = self.first

    found = scaled_groups(Twice(32), Twice(16), learning_rate=0.1)
    assert [each.name for each in found.tensors] == ["first.weight", "first.bias"]


def test_a_tied_tensor_is_given_its_role_by_either_name() -> None:
    models = Words(32, tied=True), Words(16, tied=True)
    found = scaled_groups(*models, learning_rate=0.1, roles={"out.weight": "readout"})
    role, group = found.tensors[0].role, found.tensors[0].group
    assert (role, group["learning_rate"]) == ("readout", 0.05)


def test_transposed_convolutions_have_their_inputs_first_in_all_dimensions() -> None:
    def make(width: int) -> nn.Module:
        return nn.Sequential(nn.Conv3d(1, width, 2), nn.ConvTranspose3d(width, 3, 2))

    found = scaled_groups(make(32), make(16), learning_rate=0.1)
    assert [each.role for each in found.tensors] == ["embedding", "vector", "readout", "vector"]


def test_a_model_that_is_wrapped_or_has_no_sizes_yet_is_refused_in_words() -> None:
    wrapped = nn.DataParallel(Words(32))
    with pytest.raises(ValueError, match=r"before torch\.compile or DataParallel wrap it"):
        scaled_groups(wrapped, Words(16), learning_rate=0.1)
    lazy = nn.LazyLinear(32), nn.LazyLinear(16)
    with pytest.raises(ValueError, match=r"weight has no size yet.* call each of the models once"):
        scaled_groups(*lazy, learning_rate=0.1)


@pytest.mark.parametrize("optimizer", ["sophia", "muonclip"])
def test_an_optimizer_that_needs_more_than_gradients_is_refused(optimizer: str) -> None:
    with pytest.raises(ValueError, match=f"optimizer {optimizer} "):
        groups_of(optimizer=optimizer).optimizer()

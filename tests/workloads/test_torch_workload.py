"""A user's own torch module as a workload: the loop is torch's to the last digits that matter,
rules are those of any model, and what a resumed run could not repeat is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sweeper.engine.run import Run
from sweeper.store import Store
from sweeper.study import load_study
from workloads.scaled import scaled_groups
from workloads.torch_workload import TorchWorkload
from workloads.workload import DataUnavailableError, Measurement, Member, Record

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

GIVEN: dict[str, Any] = {"width": 16, "learning_rate": 2.0**-5, "steps": 12, "evals": 1}


class Noughts(TorchWorkload):
    """Is the first of eight numbers above the second? Three layers, a table and a convolution."""

    name = "noughts"
    version = "1.0.0"
    doc = "Compares two numbers."
    guess = 0.7

    def module(self, config: Any) -> nn.Module:
        width = config["width"]
        return nn.Sequential(
            nn.Unflatten(1, (1, 8)),
            nn.Conv1d(1, width, 3),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(6 * width, width),
            nn.Tanh(),
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.Linear(width, 2),
        )

    def examples(self, config: Any) -> Any:
        inputs = torch.randn(300, 8, generator=torch.Generator().manual_seed(5))
        labels = (inputs[:, 0] > inputs[:, 1]).long()
        return inputs[:200], labels[:200], inputs[200:], labels[200:]

    def measured(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"val_accuracy": (outputs.argmax(-1) == targets).float()}


CARD = Noughts()


def trained(seeds: tuple[int, ...] = (0,), card: Any = CARD, **settings: Any) -> list[Measurement]:
    config = card.resolve({**GIVEN, **settings}).config
    trainer = card.trainer()(
        [Member(config=config, seed=seed) for seed in seeds], threads=1, device="cpu"
    )
    return [m for said in trainer.run() for m in said if m.status != "running"]


@pytest.mark.parametrize(("width", "base"), [(16, None), (32, 8)])
def test_it_trains_as_a_plain_loop_of_torch_does(width: int, base: int | None) -> None:
    rule = {"parametrization": "mup", "base_width": base} if base else {}
    flat = {"warmup": 0.0, "final_ratio": 1.0, "clip": 0.0}
    config = CARD.resolve({**GIVEN, "width": width, **rule, **flat}).config
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = CARD.module(config)
        if base:
            torch.manual_seed(3)
            start, wide = CARD.module({"width": base}), CARD.module({"width": 2 * base})
    groups: Any = [{"params": list(model.parameters()), "lr": 2.0**-5}]
    if base:
        groups = scaled_groups(model, start, wide, learning_rate=2.0**-5)
        bases = dict(start.named_parameters())
        for each in groups.tensors:
            if each.role != "vector":
                size = bases[each.name].square().mean().sqrt() * each.group["init_std"]
                each.parameter.data *= size / each.parameter.data.square().mean().sqrt()
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0)
    for step in range(1, 13):
        inputs, labels = CARD.batch(config, 3, step)
        optimizer.zero_grad()
        CARD.loss(model(inputs), labels).mean().backward()
        optimizer.step()
    ((inputs, labels),) = CARD.held_out(config)
    expected = CARD.loss(model(inputs), labels).mean().item()
    (last,) = trained((3,), width=width, **rule, **flat)
    assert last.metrics["val_loss"] == pytest.approx(expected, rel=1e-4)
    assert 0 <= last.metrics["val_accuracy"] <= 1


@pytest.mark.parametrize("optimizer", ["sgd", "muon", "shampoo", "soap", "dion"])
def test_every_optimizer_drives_it_kernels_included(optimizer: str) -> None:
    (last,) = trained(optimizer=optimizer, learning_rate=2.0**-4, steps=40)
    assert last.status == "completed" and last.metrics["val_loss"] < 0.68


def test_a_member_of_a_pack_has_the_bits_that_it_has_alone() -> None:
    together = {m.member: m.metrics for m in trained((3, 4))}
    assert together[1] == trained((4,))[0].metrics


def test_a_run_goes_on_from_its_checkpoint_with_the_same_bits(tmp_path: Path) -> None:
    config = CARD.resolve(GIVEN).config
    trainer = CARD.trainer()([Member(config=config, seed=0)], threads=1, device="cpu")
    for step, _ in enumerate(trainer.run(), 1):
        if step == 5:
            trainer.save(0, tmp_path / "checkpoint")
            break
    member = Member(config=config, seed=0, checkpoint=tmp_path / "checkpoint")
    said = list(CARD.trainer()([member], threads=1, device="cpu").run())
    assert said[-1][-1].metrics == trained()[0].metrics


def test_groups_are_those_of_scaled_groups() -> None:
    given = {**GIVEN, "width": 64, "parametrization": "mup", "base_width": 16, "optimizer": "muon"}
    groups = CARD.resolve(given).derived["groups"]
    models = (CARD.module({"width": width}) for width in (64, 16, 32))
    for each in scaled_groups(*models, learning_rate=2.0**-5, optimizer="muon").tensors:
        found = groups.get(f"{each.role}.{each.name}", groups[each.role])
        assert {**found, "init_std": 0} == {**each.group, "init_std": 0}


def test_the_base_model_is_one_trial_under_any_rule() -> None:
    plain = CARD.resolve(GIVEN).config
    ruled = CARD.resolve({**GIVEN, "parametrization": "mup", "base_width": 16}).config
    assert plain == ruled


def test_data_that_changed_has_another_fingerprint() -> None:
    class Other(Noughts):
        def examples(self, config: Any) -> Any:
            inputs, labels, *rest = super().examples(config)
            return inputs, 1 - labels, *rest

    prints = [
        card.data_fingerprint(card.resolve(GIVEN).config) for card in (CARD, Other(), Noughts())
    ]
    assert prints[0] == prints[2] != prints[1]


def _drops_targets(data: list[torch.Tensor]) -> Any:
    return data[0], data[1][:10], data[2], data[3]


@pytest.mark.parametrize(
    ("spoiled", "said"),
    [
        (lambda data: data[:3], "are 3 parts; return four tensors"),
        (lambda data: [each.numpy() for each in data], "hold a ndarray; make it a tensor"),
        (_drops_targets, "200 inputs and 10 targets to train on"),
        (lambda data: [*data[:2], data[2][:0], data[3][:0]], "0 inputs and 0 targets held out"),
    ],
)
def test_examples_that_do_not_fit_together_are_refused_before_anything_trains(
    spoiled: Any, said: str
) -> None:
    class Spoiled(Noughts):
        def examples(self, config: Any) -> Any:
            return spoiled(list(super().examples(config)))

    card = Spoiled()
    with pytest.raises(DataUnavailableError, match=said):
        card.data_fingerprint(card.resolve(GIVEN).config)


def test_data_that_is_missing_or_depends_on_the_width_is_said() -> None:
    class ByWidth(Noughts):
        def examples(self, config: Any) -> Any:
            return super().examples(config)[: config["width"]]

    class NoData(Noughts):
        examples = TorchWorkload.examples

    class NothingHeldOut(Noughts):
        def held_out(self, config: Any) -> Any:
            return iter(())

    for card, said in (
        (ByWidth(), "reads 'width', and is given no settings but own_settings"),
        (NoData(), "has no data; give it examples"),
        (NothingHeldOut(), "holds nothing out"),
    ):
        with pytest.raises(DataUnavailableError, match=said):
            card.data_fingerprint(card.resolve(GIVEN).config)


def test_examples_drawn_without_a_seed_are_the_same_in_every_process() -> None:
    class Drawn(Noughts):
        def examples(self, config: Any) -> Any:
            inputs = torch.randn(40, 8)
            labels = (inputs[:, 0] > 0).long()
            return inputs[:30], labels[:30], inputs[30:], labels[30:]

    torch.manual_seed(1)
    config = Drawn().resolve(GIVEN).config
    before = torch.get_rng_state()
    assert Drawn().data_fingerprint(config) == Drawn().data_fingerprint(config)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loss_of_the_whole_batch_is_refused_in_words() -> None:
    class Averaged(Noughts):
        def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return nn.functional.cross_entropy(outputs, targets)

    with pytest.raises(ValueError, match=r"loss of workload noughts .* one number an example"):
        trained(card=Averaged())


def test_a_loss_beyond_that_of_guessing_diverges() -> None:
    (last,) = trained(optimizer="sgd", learning_rate=1e6, clip=0.0)
    assert last.status == "diverged"


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (nn.BatchNorm1d(8), "keeps running statistics"),
        (nn.Dropout(0.1), "by chance"),
        (nn.MultiheadAttention(8, 2, dropout=0.1), "MultiheadAttention 0 drops activations"),
    ],
)
def test_what_a_resumed_run_could_not_repeat_is_refused(part: nn.Module, said: str) -> None:
    class Unrepeatable(Noughts):
        def module(self, config: Any) -> nn.Module:
            return nn.Sequential(part, super().module(config))

    (problem,) = Unrepeatable().problems(GIVEN)
    assert said in problem.message


def test_the_network_of_the_examples_is_forty_lines_and_its_study_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (EXAMPLES / "digits_cnn.py").read_text("utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) <= 40
    monkeypatch.syspath_prepend(str(EXAMPLES))
    study = load_study(EXAMPLES / "digits_cnn.yaml")
    document = study.document
    document["sweep"] |= {"width": [8, 16], "learning_rate": [0.125], "seed": [0]}
    document["fixed"] |= {"steps": 60}
    with Store.open(tmp_path, create=True) as store:
        summary = Run(type(study).from_document(document), store, executor="inline").execute()
        assert (summary.finished, summary.failed) == (3, 0)
        frame = store.frame("digits_cnn")
    assert (frame.loss < 2.0).all()
    sys.modules.pop("digits_cnn", None)


def test_it_records_what_goes_through_its_parts_and_trains_with_the_same_bits() -> None:
    config = CARD.resolve({**GIVEN, "base_width": 8, "parametrization": "mup"}).config
    members = [Member(config=config, seed=seed) for seed in (0, 1)]
    record = Record(quantities=tuple(CARD.recordings), steps=(1, 12))
    factory: Any = CARD.trainer()
    said = [
        m for some in factory(members, threads=1, device="cpu", record=record).run() for m in some
    ]
    rows = [m.metrics for m in said if "update_norm.1.weight" in m.metrics]
    assert len(rows) == 4, "two members, two steps"
    for row in rows:
        assert 0 < row["update_alignment.4.weight"] <= 1
        assert "update_alignment.1.weight" not in row, "what goes into a convolution is not known"
        assert row["activation_rms.8"] > 0
    first = rows[0]
    assert first["activation_moved.8"] == first["activation_change.8"], "one step from the start"
    plain = trained((0, 1), base_width=8, parametrization="mup")
    assert [m.metrics for m in said if m.status != "running"] == [m.metrics for m in plain]

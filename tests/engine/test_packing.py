"""How trials are grouped into packs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engine_studies import TINY_LLAMA, planted

from sweeper.engine.messages import Shape
from sweeper.engine.packing import Pack, local_accelerators, local_processors, make_packs
from sweeper.study.plan import expand
from sweeper.study.study import Study


def llama(sweep: dict[str, Any], resources: dict[str, Any]) -> Study:
    fixed = {name: value for name, value in TINY_LLAMA.items() if name not in sweep}
    axes = {"width": [16, 32]} | sweep
    fixed.pop("width", None)
    return Study.from_document(
        {
            "name": "packs",
            "workload": "llama",
            "scale": "width",
            "fixed": fixed,
            "sweep": axes,
            "resources": resources,
        }
    )


def sizes(packs: list[Pack]) -> list[int]:
    return [len(pack.trials) for pack in packs]


def rates(count: int) -> list[float]:
    return [2.0**-index for index in range(1, count + 1)]


def test_a_pack_of_one_is_a_trial_alone() -> None:
    study = llama({"learning_rate": rates(5)}, {"pack": 1})
    assert sizes(make_packs(study, expand(study), processors=2)) == [1] * 10


def test_a_given_size_is_kept_and_the_rest_makes_a_smaller_pack() -> None:
    study = llama({"learning_rate": rates(5)}, {"pack": 3})
    assert sizes(make_packs(study, expand(study), processors=2)) == [3, 2, 3, 2]


def test_automatic_packs_are_no_larger_than_what_pays() -> None:
    study = llama({"learning_rate": rates(10), "seed": [0, 1]}, {})
    best = study.card.pack_size(expand(study)[0].trial.config, "cpu")
    assert best == 8
    assert sorted(sizes(make_packs(study, expand(study), processors=1))) == [6, 6, 7, 7, 7, 7]


@pytest.mark.parametrize("processors", [1, 2, 3, 4, 16])
def test_no_slot_is_left_empty_for_a_packs_sake(processors: int) -> None:
    study = llama({"learning_rate": rates(6)}, {})
    packs = make_packs(study, expand(study), processors=processors)
    for width in (16, 32):
        here = [pack for pack in packs if pack.trials[0].config["width"] == width]
        assert len(here) == min(processors, 6)
        assert max(sizes(here)) - min(sizes(here)) <= 1


def test_the_slots_of_a_gpu_are_counted_and_not_its_processors() -> None:
    study = llama({"learning_rate": rates(12)}, {"cpus": 1, "gpus": 1})
    packs = make_packs(study, expand(study), processors=16, accelerators=1)
    assert sizes(packs) == [12, 12]
    halves = llama({"learning_rate": rates(12)}, {"cpus": 1, "gpus": 0.5})
    assert sizes(make_packs(halves, expand(halves), processors=16, accelerators=1)) == [6] * 4


def test_members_of_a_pack_differ_in_packable_settings_only() -> None:
    study = llama(
        {"learning_rate": rates(3), "seed": [0, 1], "optimizer": ["adamw", "muon"]}, {"pack": 100}
    )
    packable = {setting.name for setting in study.card.settings if setting.packable}
    packs = make_packs(study, expand(study), processors=2)
    assert sizes(packs) == [6, 6, 6, 6]
    for pack in packs:
        shared = [
            {name: value for name, value in trial.config.items() if name not in packable}
            for trial in pack.trials
        ]
        assert all(settings == shared[0] for settings in shared)


def test_every_trial_is_in_one_pack_and_the_cheapest_come_first() -> None:
    study = llama({"learning_rate": rates(5), "seed": [0, 1]}, {})
    planned = expand(study)
    packed = [trial.key for pack in make_packs(study, planned) for trial in pack.trials]
    assert sorted(packed) == sorted(item.trial.key for item in planned)
    costs = [float(pack.trials[0].derived["flops"]) for pack in make_packs(study, planned)]
    assert costs == sorted(costs)


def test_resources_come_from_the_table_by_scale() -> None:
    study = planted(
        sweep={"width": [32, 64, 128]},
        resources={"cpus": {32: 0.5, 128: 2}, "gpus": {32: 0, 64: 0.25}},
    )
    shapes = {
        pack.trials[0].config["width"]: pack.shape for pack in make_packs(study, expand(study))
    }
    assert shapes == {
        32: Shape(cpus=0.5, gpus=0.0),
        64: Shape(cpus=0.5, gpus=0.25),
        128: Shape(cpus=2.0, gpus=0.25),
    }


def test_custom_resources_come_from_their_table_too_and_leave_packs_as_they_are() -> None:
    custom = {"H100": {32: 0, 64: 1, 256: 2}, "A100": 0.5}
    study = planted(sweep={"width": [32, 64, 128, 256]}, resources=custom)
    packs = make_packs(study, expand(study), processors=2)
    shapes = {pack.trials[0].config["width"]: dict(pack.shape.custom) for pack in packs}
    assert shapes == {
        32: {"A100": 0.5},
        64: {"A100": 0.5, "H100": 1},
        128: {"A100": 0.5, "H100": 1},
        256: {"A100": 0.5, "H100": 2},
    }
    plain = planted(sweep={"width": [32, 64, 128, 256]})
    assert len(packs) == len(make_packs(plain, expand(plain), processors=2))
    assert Study.from_document(study.document).resources == study.resources


@pytest.mark.parametrize("pack", ["auto", 4])
def test_trials_of_several_devices_are_not_packed(pack: Any) -> None:
    fixed = {"learning_rate": rates(4)}
    study = llama(fixed, {"cpus": 2, "processes": {16: 1, 32: 2}, "pack": pack})
    packs = make_packs(study, expand(study), processors=2)
    assert sizes(packs) == [4, 1, 1, 1, 1]
    assert [pack.shape.processes for pack in packs] == [1, 2, 2, 2, 2]


def test_every_gpu_of_a_trial_has_a_process() -> None:
    study = llama({"learning_rate": rates(1)}, {"cpus": 4, "gpus": {16: 0.5, 32: 2}})
    shapes = [pack.shape for pack in make_packs(study, expand(study))]
    assert shapes == [Shape(cpus=4, gpus=0.5), Shape(cpus=4, gpus=2, processes=2)]
    assert [shape.threads for shape in shapes] == [4, 2], "the processes share the processors"
    assert len({str(shape) for shape in shapes}) == 2


@pytest.mark.parametrize(("cpus", "threads"), [(0.5, 1), (1, 1), (1.9, 1), (2, 2), (4, 4)])
def test_a_worker_uses_one_thread_per_whole_processor(cpus: float, threads: int) -> None:
    assert Shape(cpus=cpus).threads == threads


def test_any_share_of_a_gpu_means_training_on_it() -> None:
    assert Shape(gpus=0.1).device == "cuda"
    assert Shape().device == "cpu"


@pytest.mark.parametrize(
    ("limit", "expected"), [("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1)]
)
def test_the_quota_of_a_container_bounds_the_processors(
    limit: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text(f"{limit}\n", encoding="ascii")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    assert local_processors(quota) == expected


def test_gpus_that_are_hidden_from_this_process_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert local_accelerators(tmp_path) == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert local_accelerators(tmp_path) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert local_accelerators(tmp_path) == 0

"""Checkpoints: the same bits after any interruption, and a clear word about a wrong file."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from pack_runs import OPTIMIZER_RUNS, SMALL, history, measured, member, trainer

from workloads.llama.model import LlamaTrainer
from workloads.workload import Measurement, Member

MIXED: list[dict[str, Any]] = [
    {"seed": 0, "learning_rate": 2.0**-4, "weight_decay": 0.01},
    {"seed": 1, "learning_rate": 2.0**-6},
    {"seed": 5, "learning_rate": 2.0**-5},
]


def interrupted(members: list[Member], step: int, folder: Path) -> list[Path]:
    """Trains up to a step and returns the checkpoints of all members."""
    running = trainer(*members)
    for _ in islice(running.run(), step):
        pass
    paths = [folder / f"{place}.pt" for place in range(len(members))]
    for place, path in enumerate(paths):
        running.save(place, path)
    return paths


def resumed(changes: dict[str, Any], places: list[int], paths: list[Path]) -> list[Measurement]:
    chosen = [member(**changes, **MIXED[i], checkpoint=paths[i]) for i in places]
    return measured(trainer(*chosen))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("step", [1, 5, 11])
def test_a_trial_goes_on_with_the_same_bits_alone_or_in_another_pack(
    optimizer: str, step: int, tmp_path: Path
) -> None:
    changes = {"optimizer": optimizer}
    members = [member(**changes, **each) for each in MIXED]
    undisturbed = measured(trainer(*members))
    paths = interrupted(members, step, tmp_path)
    for places in ([2], [1, 0]):
        later = resumed(changes, places, paths)
        for place, original in enumerate(places):
            whole = [row for row in history(undisturbed, original) if row[0] > step]
            assert history(later, place) == whole


@pytest.mark.parametrize("name", OPTIMIZER_RUNS)
def test_under_every_optimizer_a_trial_goes_on_after_any_step(name: str, tmp_path: Path) -> None:
    changes = {**SMALL, **OPTIMIZER_RUNS[name], "weight_decay": 0.01}
    rates: list[dict[str, Any]] = [
        {"seed": 3, "learning_rate": 2.0**-6},
        {"seed": 1, "learning_rate": 2.0**-8},
    ]
    running = trainer(*(member(**changes, **each) for each in rates))
    said: list[Measurement] = []
    for step, each in enumerate(running.run(), start=1):
        said += each
        running.save(1, tmp_path / f"{step}.pt")
    for step in range(1, changes["steps"] + 1):
        path = tmp_path / f"{step}.pt"
        later = trainer(member(**changes, **rates[1], checkpoint=path))
        last = step == changes["steps"]
        whole = [row for row in history(said, 1) if row[0] > step or (last and row[3])]
        assert history(measured(later)) == (whole[-1:] if last else whole)
        assert weights(later) == weights(running, 1)
        torch.load(path, weights_only=True)


def weights(running: LlamaTrainer, of: int = 0) -> list[list[float]]:
    """Returns the numbers of every tensor of a member, whatever the signs of its zeros."""
    return [each.flatten().tolist() for each in running.parameters(of).values()]


def test_a_checkpoint_of_a_solo_run_goes_on_in_a_pack(tmp_path: Path) -> None:
    members = [member(**each) for each in MIXED]
    paths = []
    for place, each in enumerate(members):
        (tmp_path / str(place)).mkdir()
        paths += interrupted([each], 6, tmp_path / str(place))
    later = resumed({}, [0, 1, 2], paths)
    for place, each in enumerate(members):
        whole = [row for row in history(measured(trainer(each))) if row[0] > 6]
        assert history(later, place) == whole


def test_the_train_loss_remembers_steps_before_the_interruption(tmp_path: Path) -> None:
    changes = {"steps": 80, "batch_size": 1, "evals": 1}
    members = [member(**changes, **MIXED[0])]
    paths = interrupted(members, 78, tmp_path)
    assert history(resumed(changes, [0], paths))[-1] == history(measured(trainer(*members)))[-1]


def test_a_checkpoint_of_the_last_step_yields_the_final_measurement_again(tmp_path: Path) -> None:
    members = [member(**MIXED[0])]
    paths = interrupted(members, 12, tmp_path)
    again = resumed({}, [0], paths)
    assert history(again) == history(measured(trainer(*members)))[-1:]
    assert again[0].status == "completed"


def test_a_checkpoint_holds_one_member_and_nothing_but_tensors_and_plain_values(
    tmp_path: Path,
) -> None:
    alone = interrupted([member(**MIXED[0])], 2, tmp_path)[0]
    size = alone.stat().st_size
    crowd = interrupted([member(seed=seed) for seed in range(6)], 2, tmp_path)[0]
    assert crowd.stat().st_size == pytest.approx(size, rel=0.01)
    document = torch.load(crowd, weights_only=True)
    assert document["step"] == 2
    assert document["parameters"]["0.query"].shape == (32, 32)


def test_saving_changes_nothing(tmp_path: Path) -> None:
    running = trainer(member(), member(seed=1))
    said = []
    for step in running.run():
        said += step
        running.save(1, tmp_path / "1.pt")
    assert history(said, 1) == history(measured(trainer(member(seed=1))))


def test_a_checkpoint_of_another_trial_is_refused(tmp_path: Path) -> None:
    path = interrupted([member(**MIXED[0])], 2, tmp_path)[0]
    for other in ({"seed": 3, "weight_decay": 0.01}, {"seed": 0}):
        with pytest.raises(ValueError, match="is a checkpoint of another trial"):
            trainer(member(learning_rate=2.0**-4, checkpoint=path, **other))


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "missing", "alien", "partial"])
def test_a_file_that_is_no_checkpoint_is_refused(damage: str, tmp_path: Path) -> None:
    path = interrupted([member()], 2, tmp_path)[0]
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "alien":
        torch.save({"weights": torch.ones(2)}, path)
    elif damage == "partial":
        torch.save({"format": 1, "trial": "0"}, path)
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"hello", "empty": b""}[damage])
    with pytest.raises(ValueError, match=r"checkpoint.*delete it to start over"):
        trainer(member(checkpoint=path))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"format": 1, "trial": Path("/")}, path)
    with pytest.raises(ValueError, match="cannot be read"):
        trainer(member(checkpoint=path))


def test_tensors_of_another_model_are_refused(tmp_path: Path) -> None:
    path = interrupted([member()], 2, tmp_path)[0]
    document = torch.load(path, weights_only=True)
    document["parameters"]["0.query"] = torch.zeros(16, 16)
    torch.save(document, path)
    with pytest.raises(ValueError, match="holds tensors of another model"):
        trainer(member(checkpoint=path))


@pytest.mark.parametrize(
    "forged",
    [
        {"parameters": []},
        {"optimizer": {"0.query": 1.0}},
        {"step": "2"},
        {"step": -1},
        {"step": 10**9},
        {"steps_above": None},
        {"recent_losses": ["3"]},
        {"recent_losses": 3.0},
    ],
)
def test_a_forged_checkpoint_is_refused(forged: dict[str, Any], tmp_path: Path) -> None:
    path = interrupted([member()], 2, tmp_path)[0]
    torch.save(torch.load(path, weights_only=True) | forged, path)
    with pytest.raises(ValueError, match=r"of another kind|another model|beyond the end"):
        trainer(member(checkpoint=path))


def test_members_of_different_steps_are_refused(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    paths = []
    for steps, folder in zip((2, 4), folders, strict=True):
        folder.mkdir()
        paths += interrupted([member()], steps, folder)
    with pytest.raises(ValueError, match="are of steps 2, 4; pack trials of one step"):
        trainer(*(member(checkpoint=path) for path in paths))
    with pytest.raises(ValueError, match="1 of 2 members of the pack have a checkpoint"):
        trainer(member(checkpoint=paths[0]), member())


def test_a_diverged_member_has_nothing_to_save(tmp_path: Path) -> None:
    running = trainer(member(learning_rate=2.0**60), member(), member(seed=1))
    measured(running)
    with pytest.raises(ValueError, match="member 0 has no state to save: it has diverged"):
        running.save(0, tmp_path / "0.pt")

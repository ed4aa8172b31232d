"""The top-k decomposition against one that is written out by brute force in float64."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from workloads.training.alignment import Side, align
from workloads.training.topk import Held, TopK, octaves_of, points, window

Array = NDArray[np.float64]
Weights = dict[str, Tensor]

SIDES: dict[str, Side] = {"inputs": "rows", "hidden": "columns", "readout": "columns"}
STEPS, WIDTH, CLASSES, EXAMPLES = 40, 12, 3, 10


def network(weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    hidden = torch.tanh(x @ weights["inputs"].mT + weights["bias"])
    return torch.tanh(hidden @ weights["hidden"].mT) @ weights["readout"].mT


def start() -> Weights:
    draws = torch.Generator().manual_seed(1)
    shapes = {
        "inputs": (WIDTH, 5),
        "bias": (WIDTH,),
        "hidden": (WIDTH, WIDTH),
        "readout": (CLASSES, WIDTH),
    }
    return {
        name: torch.randn(shape, generator=draws, dtype=torch.float64) / 3
        for name, shape in shapes.items()
    }


def data(seed: int) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn((EXAMPLES, 5), generator=draws, dtype=torch.float64)
    return x, torch.randint(CLASSES, (EXAMPLES,), generator=draws)


def each_loss(weights: Mapping[str, Tensor], seed: int = 7) -> Tensor:
    x, labels = data(seed)
    return torch.nn.functional.cross_entropy(network(weights, x), labels, reduction="none")


def gradient(weights: Mapping[str, Tensor], example: int | None = None, seed: int = 7) -> Weights:
    leaves = {name: each.clone().requires_grad_() for name, each in weights.items()}
    losses = each_loss(leaves, seed)
    loss = losses.mean() if example is None else losses[example]
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


def mean_gradient(before: Weights, after: Weights) -> Weights:
    first, second = gradient(before), gradient(after)
    return {name: (first[name] + second[name]) / 2 for name in first}


def trained() -> list[Weights]:
    """The weights before the first step and after each."""
    path = [start()]
    for step in range(STEPS):
        slope = gradient(path[-1], seed=100 + step)
        path.append({name: each - 0.3 * slope[name] for name, each in path[-1].items()})
    return path


def followed(path: list[Weights], **options: Any) -> TopK:
    labels = data(7)[1]
    held = Held(each=each_loss, known={"label": labels})
    recorder = TopK(path[0], held, SIDES, steps=STEPS, places=points(STEPS, 15), **options)
    for step, weights in enumerate(path[1:], 1):
        recorder.take(step, weights)
    return recorder


def averaged(path: list[Weights]) -> list[Weights]:
    """The points of the averaged path, by the sum of all weights that it is."""
    chosen = [path[0]]
    average = dict(path[0])
    for step in range(1, STEPS + 1):
        keep = 1 - 1 / window(step, STEPS)
        average = {name: keep * average[name] + (1 - keep) * path[step][name] for name in average}
        if step in points(STEPS, 15):
            chosen.append(average)
    return chosen


def alignment(g: Array, d: Array, side: Side) -> tuple[Array, Array]:
    """Eigenvalues by falling magnitude and eigenvectors of the whole of S."""
    s = (g.T @ d + d.T @ g) / 2 if side == "columns" else (g @ d.T + d @ g.T) / 2
    values, vectors = np.linalg.eigh(s)
    order = np.argsort(-np.abs(values), kind="stable")
    return values[order], vectors[:, order]


def brute_force(path: list[Weights]) -> dict[str, Array]:
    """phi^k of every matrix and the share of the bias, by loops."""
    sums: dict[str, Array] = {name: np.zeros(WIDTH) for name in SIDES} | {"bias": np.zeros(1)}
    chosen = averaged(path)
    for before, after in pairwise(chosen):
        slope = mean_gradient(before, after)
        for name, total in sums.items():
            g, d = slope[name].numpy(), (after[name] - before[name]).numpy()
            if name == "bias":
                total += np.dot(g, d)
                continue
            values, _ = alignment(g, d, SIDES[name])
            for k in range(WIDTH):
                total[k] += sum(values[: k + 1])
    return sums


def test_a_decomposition_equals_one_by_brute_force() -> None:
    path = trained()
    found, wanted = followed(path).arrays(), brute_force(path)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[f"topk.phi.{name}"].numpy(), values, rtol=0, atol=1e-9)


def test_the_sum_over_all_directions_is_the_linearised_change() -> None:
    path = trained()
    found = followed(path).arrays()
    whole = sum(each[-1].item() for name, each in found.items() if name.startswith("topk.phi."))
    chosen = averaged(path)
    wanted = sum(
        (slope * (after[name] - before[name])).sum().item()
        for before, after in pairwise(chosen)
        for name, slope in mean_gradient(before, after).items()
    )
    assert whole == pytest.approx(wanted, rel=1e-12)
    halves = (found["topk.linear"].sum() + found["topk.late"].sum()) / 2
    assert halves.item() == pytest.approx(wanted, rel=1e-12)


def test_the_losses_are_those_at_the_points_and_the_linearised_change_is_near_theirs() -> None:
    path = trained()
    found = followed(path).arrays()
    losses = [each_loss(weights).mean().item() for weights in averaged(path)]
    np.testing.assert_allclose(found["topk.loss"].numpy(), losses, rtol=1e-12)
    change = losses[-1] - losses[0]
    assert change < -0.05
    left, right = (found[f"topk.{name}"].sum().item() for name in ("linear", "late"))
    assert abs(left - change) < 0.2 * abs(change)
    assert abs((left + right) / 2 - change) < 0.01 * abs(change)


def test_the_changes_of_single_examples_equal_those_by_brute_force() -> None:
    path = trained()
    found = followed(path, per_example=True).arrays()
    octaves = octaves_of(WIDTH)
    wanted = np.zeros((EXAMPLES, 1 + len(octaves)))
    chosen = averaged(path)
    for before, after in pairwise(chosen):
        slope = mean_gradient(before, after)
        steps = {name: (after[name] - before[name]).numpy() for name in before}
        for i in range(EXAMPLES):
            own = {name: each.numpy() for name, each in gradient(before, example=i).items()}
            wanted[i, 0] += own["bias"] @ steps["bias"]
            for name, side in SIDES.items():
                _, vectors = alignment(slope[name].numpy(), steps[name], side)
                g, d = own[name], steps[name]
                core = g.T @ d if side == "columns" else g @ d.T
                psi = [u @ core @ u for u in vectors.T]
                for octave, place in enumerate(octaves, 1):
                    wanted[i, octave] += sum(psi[place])
    np.testing.assert_allclose(found["examples.psi"].numpy(), wanted, rtol=0, atol=1e-9)
    whole = found["topk.linear"].sum().item()
    assert found["examples.psi"].sum(1).mean().item() == pytest.approx(whole, rel=1e-10)
    start, end = (each_loss(weights) for weights in (chosen[0], chosen[-1]))
    torch.testing.assert_close(found["examples.start"], start)
    torch.testing.assert_close(found["examples.end"], end)
    assert torch.equal(found["examples.label"], data(7)[1].double())


def test_what_is_followed_per_example_changes_no_other_number() -> None:
    path = trained()
    plain, whole = followed(path).arrays(), followed(path, per_example=True).arrays()
    for name, each in plain.items():
        torch.testing.assert_close(whole[name], each, rtol=0, atol=1e-13)


def test_a_large_matrix_is_sketched_within_the_error_that_is_told() -> None:
    draws = torch.Generator().manual_seed(3)
    size = 96
    spectrum = torch.arange(1, size + 1, dtype=torch.float64) ** -1.0
    g = torch.linalg.qr(torch.randn(size, size, generator=draws, dtype=torch.float64))[0]
    step = -(g * spectrum) @ torch.randn(size, size, generator=draws, dtype=torch.float64)
    whole = align(g, step, "columns")
    part = align(g, step, "columns", exact=48, sketched=20)
    assert len(part.eigenvalues) == 20
    error = (part.eigenvalues - whole.eigenvalues[:20]).abs().max().item()
    assert error <= part.error < 0.05 * whole.eigenvalues[0].abs().item()
    left = whole.eigenvalues[20:].square().sum() / whole.eigenvalues.square().sum()
    assert part.left == pytest.approx(left.item(), rel=0.05)
    assert part.sums()[19].item() == pytest.approx(whole.sums()[19].item(), abs=20 * part.error)
    assert part.sums()[-1].item() == pytest.approx(whole.total.item(), rel=1e-12)
    assert len(part.sums()) == size


def test_eigenvalues_that_do_not_add_up_are_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draws = torch.Generator().manual_seed(5)
    g, step = (torch.randn(8, 8, generator=draws, dtype=torch.float64) for _ in range(2))
    right = torch.linalg.eigvalsh
    monkeypatch.setattr(torch.linalg, "eigvalsh", lambda matrix: right(matrix) * (1 + 1e-7))
    with pytest.raises(AssertionError, match="add up"):
        align(g, step, "columns")


def test_the_path_of_the_source_has_its_windows_and_spacing() -> None:
    steps = 7185
    assert window(1, steps) == pytest.approx(51, abs=0.1)
    assert window(2000, steps) == window(steps, steps) == pytest.approx(2000)
    chosen = points(steps, 920)
    gaps = np.diff((0, *chosen))
    assert chosen[-1] == steps
    assert gaps[:5].tolist() == [2] * 5
    assert set(gaps[-100:]) <= {9, 10, 11}


@pytest.mark.parametrize("steps", [1, 2, 7, 40, 200])
def test_a_short_run_has_a_point_a_step_at_most_and_ends_with_one(steps: int) -> None:
    chosen = points(steps)
    assert chosen[-1] == steps
    assert len(set(chosen)) == len(chosen) <= steps
    assert min(chosen) >= 1
    assert all(window(step, steps) >= 1 for step in chosen)


def test_octaves_cover_every_direction_once() -> None:
    assert octaves_of(1) == [slice(0, 1)]
    assert octaves_of(6) == [slice(0, 1), slice(1, 2), slice(2, 4), slice(4, 6)]

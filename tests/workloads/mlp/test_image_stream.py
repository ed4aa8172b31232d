"""Batches of images as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mlp_runs import member
from sklearn.datasets import load_digits

from workloads.mlp.stream import EVALUATION_IMAGES, ImageStream, order

CONFIG: dict[str, Any] = dict(member().config)
PIXELS, LABELS = load_digits(return_X_y=True)
TRAIN = np.arange(len(LABELS)) % 5 > 0


def test_members_of_one_seed_see_the_batch_that_their_seed_draws() -> None:
    found = ImageStream(CONFIG, device="cpu").training([4, 9, 4], step=3)
    assert found.inputs.dtype == torch.float32
    for place, seed in enumerate((4, 9, 4)):
        places = order(TRAIN.sum(), seed=seed, step=3, batch_size=16)
        assert np.array_equal(found.inputs[place].numpy(), PIXELS[TRAIN][places] / 16)
        assert np.array_equal(found.targets[place].numpy(), LABELS[TRAIN][places])
    assert not torch.equal(found.inputs[0], found.inputs[1])


def test_an_evaluation_covers_every_held_out_image_once_for_every_member() -> None:
    parts = list(ImageStream(CONFIG, device="cpu").evaluation(2))
    assert all(part.inputs.shape[1] <= EVALUATION_IMAGES for part in parts)
    for member_of_two in (0, 1):
        inputs = torch.cat([part.inputs[member_of_two] for part in parts])
        labels = torch.cat([part.targets[member_of_two] for part in parts])
        assert np.array_equal(inputs.numpy(), PIXELS[~TRAIN] / 16)
        assert np.array_equal(labels.numpy(), LABELS[~TRAIN])


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Returns one block of Philox4x64-10, written from the paper (Salmon et al. 2011)."""
    mask = 2**64 - 1
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        left, right = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = right >> 64 ^ c1 ^ k0, right & mask, left >> 64 ^ c3 ^ k1, left & mask
        k0, k1 = k0 + 0x9E3779B97F4A7C15 & mask, k1 + 0xBB67AE8584CAA73B & mask
    return [c0, c1, c2, c3]


@pytest.mark.parametrize(("seed", "step"), [(0, 0), (1, 2), (2**40, 10**6), (-1, 3)])
def test_batches_are_the_same_on_every_machine_and_version(seed: int, step: int) -> None:
    key = [seed % 2**64, 0x1A6E]
    draws = [value for block in (1, 2) for value in philox([block, 0, step, 0], key)]
    places = order(1437, seed=seed, step=step, batch_size=8)
    assert places.tolist() == [draw % 1437 for draw in draws]


def test_every_image_is_as_likely_as_any_other() -> None:
    drawn = [order(8, seed=0, step=step, batch_size=100) for step in range(80)]
    counts = np.bincount(np.concatenate(drawn), minlength=8)
    assert ((counts - 1000) ** 2 / 1000).sum() < 24.3  # chi-squared, 7 degrees, p = 0.001


def test_the_stream_says_how_many_classes_there_are_and_adds_no_metric() -> None:
    stream = ImageStream(CONFIG, device="cpu")
    assert stream.vocabulary == 10
    assert stream.metrics({"val_loss": 1.0}) == {"val_loss": 1.0}

"""Batches of labelled images as tensors for a pack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workloads.data import IMAGES, Part, drawn, load
from workloads.training import Batch
from workloads.workload import Config

EVALUATION_IMAGES = 1024
"""Images of a member that are evaluated at once, to bound memory; the same in any pack, since
the size of a product may decide its last bits."""


class ImageStream:
    """The training batches of each seed and the fixed evaluation batches.

    Attributes:
        vocabulary: number of classes.
    """

    def __init__(self, config: Config, *, device: str) -> None:
        """Loads the images that a canonical config names, one byte a pixel.

        Raises:
            DataUnavailableError: they are missing, damaged or not those expected.
        """
        images = load(config["data"])
        self.vocabulary = images.sizes.classes
        self._images = images
        self._train = _tensors(images.train, device)
        self._held_out = _tensors(images.held_out, device)
        self._batch_size: int = config["batch_size"]

    def training(self, seeds: Sequence[int], *, step: int) -> Batch:
        """Returns the batch of a step, [E, B, features] and [E, B]; members of one seed see the
        same one."""
        pixels, labels = self._train
        drawn = {
            seed: order(len(labels), seed=seed, step=step, batch_size=self._batch_size)
            for seed in dict.fromkeys(seeds)
        }
        places = torch.from_numpy(np.stack([drawn[seed] for seed in seeds])).to(labels.device)
        return Batch(self._scaled(pixels[places]), labels[places])

    def evaluation(self, members: int) -> Iterator[Batch]:
        """Yields the held-out images in parts, the same for every member and every trial."""
        pixels, labels = (torch.split(each, EVALUATION_IMAGES) for each in self._held_out)
        for some, theirs in zip(pixels, labels, strict=True):
            inputs = self._scaled(some).expand(members, -1, -1)
            yield Batch(inputs, theirs.expand(members, -1))

    def metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        """Returns the means: ``val_loss`` in nats per image and ``val_accuracy``, a share."""
        return dict(means)

    def _scaled(self, pixels: Tensor) -> Tensor:
        """Returns the inputs of the model, (pixel / white - mean) / spread, in float32."""
        images = self._images
        return pixels.float().div_(images.white).sub_(images.mean).div_(images.spread)


def order(number: int, *, seed: int, step: int, batch_size: int) -> NDArray[np.int64]:
    """Returns the places, [B], of a step's examples among ``number``, drawn with replacement;
    they depend on seed and step alone."""
    draws = drawn(batch_size, seed=seed, step=step, use=IMAGES)
    return (draws % np.uint64(number)).astype(np.int64)


def _tensors(part: Part, device: str) -> tuple[Tensor, Tensor]:
    """Returns pixels [n, features], one byte each, and labels [n]."""
    labels = torch.frombuffer(bytearray(part.labels), dtype=torch.uint8)
    pixels = torch.frombuffer(bytearray(part.pixels), dtype=torch.uint8)
    return pixels.view(len(labels), -1).to(device), labels.long().to(device)

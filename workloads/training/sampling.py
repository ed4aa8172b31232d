"""Labels sampled from a model's own guesses, as estimates of its curvature need them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from workloads.data import LABELS, drawn


def uniform(shape: Sequence[int], *, seed: int, step: int) -> Tensor:
    """Returns numbers from 0 up to 1 in float64, on the CPU; they depend on seed and step alone.

    Args:
        shape: of the result.
        seed: seed of the trial, any integer.
        step: number of the step.
    """
    raw = drawn(math.prod(shape), seed=seed, step=step, use=LABELS)
    return torch.from_numpy((raw >> np.uint64(11)) * 2.0**-53).view(*shape)


@torch.no_grad()
def sampled(logits: Tensor, draws: Tensor) -> Tensor:
    """Returns a class for each row of logits, by the inverse of its distribution function.

    Args:
        logits: [..., V].
        draws: uniform numbers from 0 up to 1, [...].

    Returns:
        classes, [...]; any class where a row is not finite.
    """
    reached = logits.double().softmax(-1).cumsum(-1)
    sought = (draws * reached[..., -1])[..., None]  # the last sum is one up to rounding
    classes = torch.searchsorted(reached, sought, right=True)[..., 0]
    return classes.clamp_(max=logits.shape[-1] - 1)

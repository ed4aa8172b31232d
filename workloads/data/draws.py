"""Random numbers that depend on seed and step alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WINDOWS, IMAGES, LABELS = 0x5EED, 0x1A6E, 0x1ABE1
"""What numbers are drawn for: windows of text, places of images, labels that a model guesses. Each
has draws of its own, apart from any other use of a seed."""


def drawn(number: int, *, seed: int, step: int, use: int) -> NDArray[np.uint64]:
    """Returns numbers from 0 up to 2^64, [number].

    A counter-based generator (Philox) under the key ``seed`` at the counter ``step`` draws them,
    so that they depend on nothing that came before: a resumed run sees the same, and so does
    every model of one seed, whatever its width and its pack.

    Args:
        number: how many.
        seed: seed of the trial, any integer.
        step: number of the step.
        use: ``WINDOWS``, ``IMAGES`` or ``LABELS``.
    """
    key = np.array([seed % 2**64, use], dtype=np.uint64)
    counter = np.array([0, 0, step, 0], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(number)

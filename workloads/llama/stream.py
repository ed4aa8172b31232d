"""Batches of tokens for a pack."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from workloads.data import batch, evaluation_windows, read_tokens
from workloads.training import Batch
from workloads.workload import Config

EVALUATION_TOKENS = 8192
"""Tokens of a member that are evaluated at once, to bound memory; the same in any pack, since
the size of a product may decide its last bits."""


_COUNTED = 1 << 20
"""Training tokens, spread evenly, that frequencies are counted over, about."""


class TokenStream:
    """The training batches of each seed and the fixed evaluation batches.

    Attributes:
        vocabulary: number of different tokens.
        bytes_per_token: mean bytes of text a token; None where nobody knows.
    """

    def __init__(self, config: Config, *, device: str) -> None:
        """Loads the corpus that a canonical config names.

        Raises:
            DataUnavailableError: it is missing, altered or too small.
        """
        corpus = read_tokens(config)
        self.vocabulary = corpus.vocabulary
        self.bytes_per_token = corpus.bytes_per_token
        self._train = corpus.train
        self._batch_size, self._context = config["batch_size"], config["context"]
        self._device = device
        windows = evaluation_windows(
            corpus.held_out, eval_tokens=config["eval_tokens"], context=self._context
        )
        self._held_out = torch.from_numpy(windows).to(device)
        self.training([0], step=1)  # a corpus too small for one window is refused here

    def training(self, seeds: Sequence[int], *, step: int) -> Batch:
        """Returns the batch of a step; members of one seed see the same one."""
        drawn = {seed: self._windows(seed, step) for seed in dict.fromkeys(seeds)}
        windows = torch.stack([drawn[seed] for seed in seeds]).to(self._device)
        return Batch(windows[..., :-1], windows[..., 1:])

    def _windows(self, seed: int, step: int) -> Tensor:
        size, context = self._batch_size, self._context
        drawn = batch(self._train, seed=seed, step=step, batch_size=size, context=context)
        return torch.from_numpy(drawn)

    def evaluation(self, members: int) -> Iterator[Batch]:
        """Yields the held-out windows in parts, the same for every member and every trial."""
        for part in torch.split(self._held_out, max(1, EVALUATION_TOKENS // self._context)):
            windows = part.expand(members, -1, -1)
            yield Batch(windows[..., :-1], windows[..., 1:])

    def known(self, targets: Tensor) -> dict[str, Tensor]:
        """Returns of each token, [N], its ``position`` in its sequence, from 0, and its
        ``frequency``, the share of the training tokens that are the same."""
        places = np.arange(0, len(self._train), max(1, len(self._train) // _COUNTED))
        counts = np.bincount(self._train[places], minlength=self.vocabulary) / len(places)
        shares = torch.from_numpy(counts)[targets.flatten().cpu()]
        position = torch.arange(targets.shape[-1]).expand(targets.shape).flatten()
        return {"position": position, "frequency": shares}

    def metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        """Returns the means and ``val_bits_per_byte``, the loss in bits per byte of text, where
        the bytes of a token are known."""
        if self.bytes_per_token is None:
            return dict(means)
        bits = means["val_loss"] / math.log(2) / self.bytes_per_token
        return {**means, "val_bits_per_byte": bits}

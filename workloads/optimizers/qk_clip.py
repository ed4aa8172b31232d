"""QK-clip of MuonClip: heads with exploding attention logits are scaled down (arXiv 2507.20534).

Legend: E members of the pack, N blocks, H heads, K size of a head, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from workloads.optimizers.linalg import raised

Peaks = Callable[[Mapping[str, Tensor], Tensor], Tensor]
"""Parameters and inputs of a batch to the largest attention logit of each head, [E, N, H]."""


class QKClip:
    """W_q <- g^alpha W_q and W_k <- g^(1 - alpha) W_k of each head, g = min(1, tau / S).

    S is the head's largest logit over the training batch under the weights before the update
    (algorithm 1); after the clip that batch's largest logit would have been tau. A look at the
    logits costs a forward pass without the readout.

    Attributes:
        peaks: returns S.
    """

    def __init__(self, peaks: Peaks, *, threshold: float, alpha: float, frequency: int) -> None:
        """Takes the settings.

        Args:
            peaks: returns S of each head.
            threshold: tau.
            alpha: share of the queries.
            frequency: steps from one look at the logits to the next, from step 1 on.
        """
        self.peaks = peaks
        self._threshold, self._alpha, self._frequency = threshold, alpha, frequency

    def reads_logits(self, step: int) -> bool:
        """Returns whether the logits of a step count."""
        return (step - 1) % self._frequency == 0

    @torch.no_grad()
    def scale(self, parameters: Mapping[str, Tensor], peaks: Tensor) -> None:
        """Scales queries and keys, [E, D, D] each, in place.

        Args:
            parameters: by name; ``0.query``, ``0.key`` and so on are scaled.
            peaks: S, [E, N, H].
        """
        excess = peaks > self._threshold
        factors = torch.where(excess, self._threshold / peaks, torch.ones_like(peaks))
        for layer, each in enumerate(factors.unbind(1)):
            _scale(parameters[f"{layer}.query"], raised(each, self._alpha))
            _scale(parameters[f"{layer}.key"], raised(each, 1 - self._alpha))


def _scale(weight: Tensor, factors: Tensor) -> None:
    """Multiplies the rows of each head, [E, H * K, D], by its factor [E, H]; 1 changes no bit."""
    members, heads = factors.shape
    rows = weight.view(members, heads, -1, weight.shape[-1])
    rows.mul_(factors.to(weight.dtype)[..., None, None])

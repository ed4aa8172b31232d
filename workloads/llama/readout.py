"""From the last layer to the loss of each token, without all logits in memory at once.

Legend: E members of the pack, N tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from workloads.training import sampled

Linear = Callable[[Tensor, Tensor], Tensor]
"""Returns x W', [E, N, out], of x [E, N, in] and W [E, out, in]."""


class Readout:
    """Reads out some tokens of every member at a time.

    The number of tokens is the same in any pack, since the size of a product may decide its last
    bits. Where there are several such parts, their logits are computed once more in the backward
    pass rather than kept: one more product of D V N, and no memory that goes with N V.
    """

    def __init__(self, linear: Linear, *, together: int) -> None:
        """Takes the product and the tokens of a member that are read out at once, from 1."""
        self._linear, self._together = linear, together

    def losses(self, x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss of each token, [E, N], nats, in the number format of the weight.

        Args:
            x: normalised residual stream, [E, N, D].
            weight: readout, [E, V, D].
            targets: classes, [E, N].
        """
        pairs = list(zip(self._split(x), self._split(targets), strict=True))
        if len(pairs) == 1:
            return self._losses(x, weight, targets)
        if not torch.is_grad_enabled():
            return torch.cat([self._losses(some, weight, its) for some, its in pairs], 1)
        parts = [
            checkpoint(
                self._losses, some, weight, its, use_reentrant=False, preserve_rng_state=False
            )
            for some, its in pairs
        ]
        return torch.cat(parts, 1)

    @torch.no_grad()
    def sampled(self, x: Tensor, weight: Tensor, draws: Tensor) -> Tensor:
        """Returns classes that the model guesses, [E, N], for draws from 0 up to 1, [E, N]."""
        pairs = zip(self._split(x), self._split(draws), strict=True)
        return torch.cat([sampled(self._linear(some, weight), its) for some, its in pairs], 1)

    def _losses(self, x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        logits = self._linear(x, weight).to(weight.dtype)
        each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return each.view(targets.shape)

    def _split(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return torch.split(tokens, self._together, 1)

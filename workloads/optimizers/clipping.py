"""Clipping of each member's gradient to a largest global norm (arXiv 1211.5063)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

_FLOOR = 1e-6
"""Added to the norm, as torch does, so that a zero gradient stays zero."""


@torch.no_grad()
def clip(gradients: Mapping[str, Tensor], limit: float) -> Tensor:
    """Scales each member's gradient down to a global norm of ``limit``, in place.

    The norm is taken over one member's views at a time, so that the order of the sum, and so
    its bits, do not depend on the pack.

    Args:
        gradients: by name, each [E, ...].
        limit: largest norm; 0 for no clipping.

    Returns:
        the global norm of each member before clipping, [E].
    """
    members = zip(*(gradient.unbind(0) for gradient in gradients.values()), strict=True)
    norms = torch.stack([get_total_norm(list(member)) for member in members])
    if limit:
        factors = (limit / (norms + _FLOOR)).clamp(max=1.0)
        for gradient in gradients.values():
            gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)))
    return norms

"""Newton-Schulz orthogonalisation: the nearest semi-orthogonal matrix, roughly, by products."""

from __future__ import annotations

import torch
from torch import Tensor

from workloads.optimizers.coefficients import Coefficients

CACHED = 1 << 19
"""Numbers that a processor multiplies without waiting for memory, about. Of 512 x 1408 matrices
one at a time took 0.81 times as long as all in bfloat16, of 256 x 704 ones two at a time 0.91
times; in float32 0.95 to 1."""


def newton_schulz(
    matrices: Tensor,
    *,
    coefficients: Coefficients,
    epsilon: Tensor,
    products: torch.dtype | None = None,
) -> Tensor:
    """Returns p_T(...p_1(X)) with X = G / (||G||_F + epsilon) for each matrix G.

    p(X) = a X + b (X X') X + c (X X')^2 X maps each singular value x to a x + b x^3 + c x^5 and
    leaves the singular vectors (optimizers of arXiv 2512.05620, appendix A; K. Jordan's Muon).

    Args:
        matrices: G, [N, m, n]; not changed. Normalised in its own number format.
        coefficients: (a, b, c) of each step.
        epsilon: added to the norm, [N, 1, 1].
        products: number format of the products; None for bfloat16 on CUDA, elsewhere that of
            ``matrices``.
    """
    inner = products or (torch.bfloat16 if matrices.is_cuda else matrices.dtype)
    norms: Tensor = torch.linalg.vector_norm(matrices, dim=(-2, -1), keepdim=True)
    x = (matrices / (norms + epsilon)).to(inner)
    together = len(x) if x.is_cuda else max(1, CACHED // x[0].numel())
    parts = [_iterated(part, coefficients) for part in torch.split(x, together)]
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).to(matrices.dtype)


def _iterated(x: Tensor, coefficients: Coefficients) -> Tensor:
    """Returns p_T(...p_1(X)); X X' X is X (X' X), so the smaller of the two squares will do."""
    tall = x.shape[-2] > x.shape[-1]
    for a, b, c in coefficients:
        gram = torch.bmm(x.mT, x) if tall else torch.bmm(x, x.mT)
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factors = (x, polynomial) if tall else (polynomial, x)
        x = torch.baddbmm(x, *factors, beta=a)
    return x

"""Newton-Schulz orthogonalisation: the nearest semi-orthogonal matrix, roughly, by products."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Coefficients = Sequence[tuple[float, float, float]]
"""(a, b, c) of each step."""


def orthogonalised(
    matrices: Tensor,
    *,
    coefficients: Coefficients,
    epsilon: Tensor | float,
    products: torch.dtype | None = None,
) -> Tensor:
    """Returns :func:`newton_schulz` of matrices of any shape, [N, m, n].

    Tall matrices go through transposed: fewer products. Without ``products`` these are bfloat16
    on CUDA, elsewhere in the matrices' format.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    found = newton_schulz(
        matrices.mT if tall else matrices,
        coefficients=coefficients,
        epsilon=epsilon,
        products=products or (torch.bfloat16 if matrices.is_cuda else None),
    )
    return found.mT if tall else found


def newton_schulz(
    matrices: Tensor,
    *,
    coefficients: Coefficients,
    epsilon: Tensor | float,
    products: torch.dtype | None = None,
) -> Tensor:
    """Returns p_T(...p_1(X)) with X = G / (||G||_F + epsilon) for each matrix G.

    p(X) = a X + b (X X') X + c (X X')^2 X maps each singular value x to a x + b x^3 + c x^5 and
    leaves the singular vectors (optimizers of arXiv 2512.05620, appendix A; K. Jordan's Muon).

    Args:
        matrices: G, [N, m, n] with m <= n (give tall ones transposed: fewer products); not
            changed. Normalised in its own number format.
        coefficients: (a, b, c) of each step.
        epsilon: added to the norm, a number or [N, 1, 1].
        products: number format of the products; None for that of ``matrices``.
    """
    norms: Tensor = torch.linalg.vector_norm(matrices, dim=(-2, -1), keepdim=True)
    x: Tensor = (matrices / (norms + epsilon)).to(products or matrices.dtype)
    for a, b, c in coefficients:
        gram = torch.bmm(x, x.mT)
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.to(matrices.dtype)

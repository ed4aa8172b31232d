"""Muon: momentum, then the orthogonal factor of each matrix (K. Jordan, 2024)."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from workloads.optimizers.algorithm import Matrixwise, State, StepContext, tensor_in
from workloads.optimizers.coefficients import Coefficients

CACHED = 1 << 19
"""Numbers that a processor multiplies without waiting for memory, about. Of 512 x 1408 matrices
one at a time took 0.81 times as long as all in bfloat16, of 256 x 704 ones two at a time 0.91
times; in float32 0.95 to 1."""


class Muon(Matrixwise):
    """U = f newton_schulz(N), N = mu M + (1 - mu) G with Nesterov, else M; M <- mu M + (1 - mu) G.

    Neither is corrected for bias. The factor of shape f is 1 where the shape is in the learning
    rate already (arXiv 2512.05620, appendix A); see :func:`shape_factor`.
    """

    def __init__(
        self,
        *,
        momentum: float,
        nesterov: bool,
        coefficients: Coefficients,
        margin: float = 1.0,
        shape_factor: str = "none",
        products: torch.dtype | None = None,
    ) -> None:
        self._decay = momentum
        self._nesterov = nesterov
        self._coefficients = coefficients
        self._margin = margin
        self._factor = shape_factor
        self._products = products

    def start(self, like: Tensor) -> State:
        """Returns the momentum at zero."""
        return {"first": torch.zeros_like(like)}

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U."""
        ahead = look_ahead(
            gradient, tensor_in(state, "first"), self._decay, nesterov=self._nesterov
        )
        update = newton_schulz(
            ahead,
            coefficients=self._coefficients,
            epsilon=now.epsilon,
            margin=self._margin,
            products=self._products,
        )
        factor = shape_factor(self._factor, *gradient.shape[-2:])
        return update if factor == 1 else update * factor


def look_ahead(gradient: Tensor, momentum: Tensor, decay: float, *, nesterov: bool) -> Tensor:
    """Returns N of :class:`Muon`, and takes the gradient into the momentum; both [N, m, n]."""
    momentum.lerp_(gradient, 1 - decay)
    return gradient.lerp_(momentum, decay) if nesterov else momentum


def newton_schulz(
    matrices: Tensor,
    *,
    coefficients: Coefficients,
    epsilon: Tensor,
    margin: float = 1.0,
    products: torch.dtype | None = None,
) -> Tensor:
    """Returns p_T(...p_1(X)) with X = G / (s ||G||_F + epsilon) for each matrix G.

    p(X) = a X + b (X X') X + c (X X')^2 X maps each singular value x to a x + b x^3 + c x^5 and
    leaves the singular vectors (optimizers of arXiv 2512.05620, appendix A; K. Jordan's Muon).

    Args:
        matrices: G, [N, m, n]; not changed. Normalised in its own number format.
        coefficients: (a, b, c) of each step.
        epsilon: added to the norm, [N, 1, 1].
        margin: s, at least 1; see ``MARGINS``.
        products: number format of the products; None for bfloat16 on CUDA, elsewhere that of
            ``matrices``.
    """
    inner = products or (torch.bfloat16 if matrices.is_cuda else matrices.dtype)
    x = (matrices / (_norms(matrices) * margin + epsilon)).to(inner)
    together = len(x) if x.is_cuda else max(1, CACHED // x[0].numel())
    parts = [_iterated(part, coefficients) for part in torch.split(x, together)]
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).to(matrices.dtype)


def _norms(matrices: Tensor) -> Tensor:
    """Returns Frobenius norms, [N, 1, 1]; of entries whose squares overflow too."""
    norms: Tensor = torch.linalg.vector_norm(matrices, dim=(-2, -1), keepdim=True)
    if norms.is_cuda or norms.isinf().any():
        wide = torch.linalg.vector_norm(matrices, dim=(-2, -1), keepdim=True, dtype=torch.float64)
        norms = torch.where(norms.isinf(), wide.to(norms.dtype), norms)
    return norms


def _iterated(x: Tensor, coefficients: Coefficients) -> Tensor:
    """Returns p_T(...p_1(X)); X X' X is X (X' X), so the smaller of the two squares will do."""
    tall = x.shape[-2] > x.shape[-1]
    for a, b, c in coefficients:
        gram = torch.bmm(x.mT, x) if tall else torch.bmm(x, x.mT)
        # with alpha=0 torch loses beta in bfloat16 on some CPUs
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c) if c else gram * b
        factors = (x, polynomial) if tall else (polynomial, x)
        x = torch.baddbmm(x, *factors, beta=a)
    return x


def shape_factor(name: str, outputs: int, inputs: int) -> float:
    """Returns the factor on an orthogonal update of a matrix with m outputs and n inputs.

    ``keller_jordan`` is sqrt(max(1, m/n)); ``moonlight`` is 0.2 sqrt(max(m, n)), which gives the
    update AdamW's root mean square (arXiv 2502.16982, equation 4); ``mup`` is sqrt(m/n), spectral
    norm in proportion (arXiv 2310.17813); ``none`` is 1.
    """
    factors = {
        "none": 1.0,
        "keller_jordan": sqrt(max(1.0, outputs / inputs)),
        "moonlight": 0.2 * sqrt(max(outputs, inputs)),
        "mup": sqrt(outputs / inputs),
    }
    return factors[name]

"""Muon: momentum, then the orthogonal factor of each matrix (K. Jordan, 2024)."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from workloads.optimizers.algorithm import Matrixwise, State, StepContext, moment
from workloads.optimizers.coefficients import Coefficients
from workloads.optimizers.newton_schulz import newton_schulz


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
        shape_factor: str = "none",
        products: torch.dtype | None = None,
    ) -> None:
        self._decay = momentum
        self._nesterov = nesterov
        self._coefficients = coefficients
        self._factor = shape_factor
        self._products = products

    def start(self, like: Tensor) -> State:
        """Returns the momentum at zero."""
        return {"first": torch.zeros_like(like)}

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U."""
        ahead = look_ahead(gradient, moment(state, "first"), self._decay, nesterov=self._nesterov)
        update = newton_schulz(
            ahead,
            coefficients=self._coefficients,
            epsilon=now.epsilon,
            products=self._products,
        )
        factor = shape_factor(self._factor, *gradient.shape[-2:])
        return update if factor == 1 else update * factor


def look_ahead(gradient: Tensor, momentum: Tensor, decay: float, *, nesterov: bool) -> Tensor:
    """Returns N of :class:`Muon`, and takes the gradient into the momentum; both [N, m, n]."""
    momentum.lerp_(gradient, 1 - decay)
    return gradient.lerp_(momentum, decay) if nesterov else momentum


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

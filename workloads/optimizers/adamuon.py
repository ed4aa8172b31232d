"""AdaMuon: Muon's update over the root of its own second moment (arXiv 2507.11005)."""

from __future__ import annotations

import torch
from torch import Tensor

from workloads.optimizers.algorithm import Matrixwise, State, StepContext, tensor_in
from workloads.optimizers.coefficients import Coefficients
from workloads.optimizers.muon import look_ahead, newton_schulz


class AdaMuon(Matrixwise):
    """U = O / (sqrt(vhat) + eps) with O = newton_schulz(N), v <- b2 v + (1 - b2) O^2.

    N is Muon's, or its sign with ``sign``; with ``rms_align`` U is scaled to a root mean square
    of 0.2: 0.2 sqrt(m n) U / ||U||_F. The plain form is that of arXiv 2512.05620, appendix A; the
    paper that names it has both options.
    """

    def __init__(
        self,
        *,
        momentum: float,
        nesterov: bool,
        coefficients: Coefficients,
        beta2: float,
        sign: bool,
        rms_align: bool,
        margin: float = 1.0,
        products: torch.dtype | None = None,
    ) -> None:
        self._decay = momentum
        self._nesterov = nesterov
        self._coefficients = coefficients
        self._margin = margin
        self._beta2 = beta2
        self._sign = sign
        self._rms_align = rms_align
        self._products = products

    def start(self, like: Tensor) -> State:
        """Returns momentum and second moment at zero."""
        return {"first": torch.zeros_like(like), "second": torch.zeros_like(like)}

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U."""
        first, second = tensor_in(state, "first"), tensor_in(state, "second")
        ahead = look_ahead(gradient, first, self._decay, nesterov=self._nesterov)
        orthogonal = newton_schulz(
            ahead.sign() if self._sign else ahead,
            coefficients=self._coefficients,
            epsilon=now.epsilons["norm_epsilon"],
            margin=self._margin,
            products=self._products,
        )
        second.mul_(self._beta2).addcmul_(orthogonal, orthogonal, value=1 - self._beta2)
        root = (second / (1 - self._beta2**now.step)).sqrt_().add_(now.epsilon)
        return self._aligned(orthogonal / root)

    def _aligned(self, update: Tensor) -> Tensor:
        if not self._rms_align:
            return update
        norms = torch.linalg.vector_norm(update, dim=(-2, -1), keepdim=True)
        size = 0.2 * (update.shape[-2] * update.shape[-1]) ** 0.5
        return update * torch.where(norms > 0, size / norms, 0.0)

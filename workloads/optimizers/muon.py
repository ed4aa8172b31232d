"""Muon over a pack: momentum, then the orthogonal factor of each matrix (K. Jordan, 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from workloads.optimizers.newton_schulz import Coefficients, newton_schulz
from workloads.optimizers.optimizer import Group, Parameters, select


class Muon:
    """W <- W - s(t) * (lr * U + weight_decay * W) with U the orthogonalised momentum.

    M <- mu M + (1 - mu) G; N = mu M + (1 - mu) G with Nesterov, else N = M, neither corrected
    for bias; U = newton_schulz(N). There is no factor of shape: that is in the learning rate
    (arXiv 2512.05620, appendix A).

    Matrices of equal shape, tall ones transposed, are one bucket [E * K, m, n] and go through
    Newton-Schulz together. On CUDA the products are bfloat16, elsewhere in the parameters'
    format: without matrix units bfloat16 is the slower one.
    """

    def __init__(
        self,
        parameters: Parameters,
        group: Group,
        *,
        momentum: float,
        nesterov: bool,
        coefficients: Coefficients,
    ) -> None:
        self._parameters = parameters
        self._group = group
        self._decay = momentum
        self._nesterov = nesterov
        self._coefficients = coefficients
        self._buckets = _buckets(parameters, group.names)
        self._momenta = {
            shape: torch.stack([torch.zeros_like(_wide(parameters[name])) for name in names], 1)
            for shape, names in self._buckets.items()
        }
        self._place_settings()

    def _place_settings(self) -> None:
        """Puts the members' settings on the device, in double precision until they are used."""
        self._rates = self._column(self._group.learning_rates)
        self._decays = self._column(self._group.weight_decays)
        self._epsilons = self._column(self._group.epsilons)

    def _column(self, values: Sequence[float]) -> Tensor:
        """Returns [E, 1, 1]."""
        device = self._parameters[self._group.names[0]].device
        return torch.tensor(values, dtype=torch.float64, device=device)[:, None, None]

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor], *, scale: float, step: int) -> None:
        """Updates the group's tensors in place."""
        for shape, names in self._buckets.items():
            gradient = torch.stack([_wide(gradients[name]) for name in names], 1)
            updates = self._orthogonal(self._look_ahead(shape, gradient))
            for name, update in zip(names, updates.unbind(1), strict=True):
                self._apply(self._parameters[name], update, scale)

    def _look_ahead(self, shape: tuple[int, int], gradient: Tensor) -> Tensor:
        """Returns N, [E, K, m, n], and takes the gradient into the momentum."""
        momentum = self._momenta[shape].lerp_(gradient, 1 - self._decay)
        return gradient.lerp_(momentum, self._decay) if self._nesterov else momentum

    def _orthogonal(self, matrices: Tensor) -> Tensor:
        """Returns U, [E, K, m, n], of N."""
        epsilons = self._epsilons.to(matrices.dtype).repeat_interleave(matrices.shape[1], 0)
        flat = newton_schulz(
            matrices.flatten(0, 1),
            coefficients=self._coefficients,
            epsilon=epsilons,
            dtype=torch.bfloat16 if matrices.is_cuda else None,
        )
        return flat.view_as(matrices)

    def _apply(self, weight: Tensor, update: Tensor, scale: float) -> None:
        if any(self._group.weight_decays):
            weight.mul_((1 - scale * self._decays).to(weight.dtype))
        turned = update if update.shape == weight.shape else update.mT
        weight.addcmul_((scale * self._rates).to(weight.dtype), turned, value=-1)

    def state(self, member: int) -> dict[str, Tensor]:
        """Returns views of one member's momentum, wide as the buckets have it."""
        return {
            f"{name}:momentum": self._momenta[shape][member, place]
            for shape, names in self._buckets.items()
            for place, name in enumerate(names)
        }

    def keep(self, index: Sequence[int]) -> None:
        """Drops all members but those at ``index``."""
        self._group = self._group.keep(index)
        self._momenta = {shape: select(each, index) for shape, each in self._momenta.items()}
        self._place_settings()


def _wide(matrix: Tensor) -> Tensor:
    """Returns [E, m, n] with m <= n: the matrix, or a transposed view of it."""
    return matrix if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT


def _buckets(
    parameters: Parameters, names: Sequence[str]
) -> dict[tuple[int, int], tuple[str, ...]]:
    """Returns the names by the shape (m, n) of their wide form."""
    buckets: dict[tuple[int, int], list[str]] = {}
    for name in names:
        if parameters[name].ndim != 3:
            raise ValueError(
                f"{name} has shape {list(parameters[name].shape)}; Muon takes matrices"
            )
        rows, columns = _wide(parameters[name]).shape[-2:]
        buckets.setdefault((rows, columns), []).append(name)
    return {shape: tuple(members) for shape, members in buckets.items()}

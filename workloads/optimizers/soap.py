"""SOAP: Adam in the eigenbases of Shampoo's preconditioners (arXiv 2409.11321)."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from workloads.optimizers.algorithm import Matrixwise, State, StepContext, tensor_in
from workloads.optimizers.linalg import eigh, one_by_one, product
from workloads.optimizers.sides import AXES, Side, Sides, accumulate, applied, completed


class Soap(Matrixwise):
    """U = QL [M' / (sqrt(V) + eps)] QR' sqrt(1 - b2^t) / (1 - b1^t) (arXiv 2512.05620, app. A).

    L <- b2 L + (1 - b2) G G', R <- b2 R + (1 - b2) G' G; QL and QR are their eigenbases, which
    know the gradient of their step; G' = QL' G QR, M' = QL' M QR;
    M <- b1 M + (1 - b1) G, V <- b2 V + (1 - b2) G'^2. No step is skipped.

    In the first ``eigh_steps`` steps the bases are exact and V is left as it is; afterwards a
    power iteration and QR refine them every ``frequency`` steps, counted from step 1 on, and V
    follows the order of their columns. Both M and M' are kept: M' follows G' as M follows G, and
    is computed from M when a basis changes, which spares two products in all other steps.

    A side that is not among ``sides`` or longer than ``max_dim`` has no basis. The epsilon
    ``basis_epsilon`` is added to the diagonals of L and R.
    """

    def __init__(
        self,
        *,
        beta1: float,
        beta2: float,
        sides: str,
        max_dim: int,
        frequency: int,
        eigh_steps: int,
    ) -> None:
        self._beta1, self._beta2 = beta1, beta2
        self._sides = Sides(sides, max_dim)
        self._frequency = frequency
        self._eigh_steps = eigh_steps

    def start(self, like: Tensor) -> State:
        """Returns moments and statistics at zero, and bases that change nothing."""
        state: State = {name: torch.zeros_like(like) for name in ("first", "rotated", "second")}
        for side in self._sides.of(like):
            size = like.shape[AXES[side]]
            identity = torch.eye(size, dtype=like.dtype, device=like.device)
            state[side] = like.new_zeros(like.shape[0], size, size)
            state[f"{side}_basis"] = identity.repeat(like.shape[0], 1, 1)
        return state

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U."""
        sides = self._sides.of(gradient)
        self._accumulate(gradient, sides, state, now)
        turned, spare = _rotated(gradient, torch.empty_like(gradient), sides, state)
        first = self._rotated_first(turned, sides, state, now)
        second = tensor_in(state, "second").mul_(self._beta2)
        second.addcmul_(turned, turned, value=1 - self._beta2)
        update = torch.div(first, torch.sqrt(second, out=spare).add_(now.epsilon), out=turned)
        update.mul_(sqrt(1 - self._beta2**now.step) / (1 - self._beta1**now.step))
        return _rotated_back(update, spare, sides, state)

    def _renews(self, step: int) -> bool:
        return step <= self._eigh_steps or (step - 1) % self._frequency == 0

    def _accumulate(
        self, gradient: Tensor, sides: tuple[Side, ...], state: State, now: StepContext
    ) -> None:
        """Takes the gradient into M, L and R, and renews the bases when it is time."""
        tensor_in(state, "first").lerp_(gradient, 1 - self._beta1)
        for side in sides:
            accumulate(tensor_in(state, side), gradient, side, self._beta2)
            if self._renews(now.step):
                self._renew(side, state, now)

    def _renew(self, side: Side, state: State, now: StepContext) -> None:
        statistic, name = completed(tensor_in(state, side)), f"{side}_basis"
        epsilon = now.epsilons["basis_epsilon"]
        if now.step <= self._eigh_steps:
            state[name] = exact_basis(statistic, epsilon)
            return
        state[name], order = refined_basis(statistic, tensor_in(state, name), epsilon)
        second = tensor_in(state, "second")
        index = order[:, :, None] if side == "left" else order[:, None, :]
        state["second"] = second.gather(AXES[side], index.expand_as(second))

    def _rotated_first(
        self, turned: Tensor, sides: tuple[Side, ...], state: State, now: StepContext
    ) -> Tensor:
        """Returns M', from the rotated gradient and the last M' unless the bases are new."""
        if not self._renews(now.step):
            return tensor_in(state, "rotated").lerp_(turned, 1 - self._beta1)
        first = tensor_in(state, "first")
        rotated, _ = _rotated(first.clone(), torch.empty_like(first), sides, state)
        state["rotated"] = rotated
        return rotated


def _rotated(
    stack: Tensor, spare: Tensor, sides: tuple[Side, ...], state: State
) -> tuple[Tensor, Tensor]:
    """Returns QL' X QR, and a tensor that is spare now; overwrites X and the spare one."""
    for side in sides:
        rows = tensor_in(state, f"{side}_basis")
        turn = rows if side == "left" else rows.mT
        stack, spare = applied(turn, stack, side, out=spare), stack
    return stack, spare


def _rotated_back(stack: Tensor, spare: Tensor, sides: tuple[Side, ...], state: State) -> Tensor:
    """Returns QL X QR'; overwrites X and the spare tensor."""
    for side in sides:
        rows = tensor_in(state, f"{side}_basis")
        turn = rows.mT if side == "left" else rows
        stack, spare = applied(turn, stack, side, out=spare), stack
    return stack


def exact_basis(matrices: Tensor, epsilon: Tensor) -> Tensor:
    """Returns eigenvectors of A + epsilon I as rows [N, k, k], largest eigenvalue first.

    Args:
        matrices: A, [N, k, k].
        epsilon: [N, 1, 1].
    """
    with_ridge = matrices.clone()
    with_ridge.diagonal(dim1=-2, dim2=-1).add_(epsilon[..., 0])
    _, vectors = eigh(with_ridge)
    return vectors.mT.flip(-2).contiguous()


def refined_basis(matrices: Tensor, basis: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor]:
    """Returns a basis after one power iteration and QR, and the order of its vectors [N, k].

    The vectors q of the basis are first sorted by q' A q, largest first; vector j of the result
    comes from vector order[j] of the basis.

    Args:
        matrices: A, [N, k, k].
        basis: orthonormal rows, [N, k, k].
        epsilon: [N, 1, 1], added to the diagonal of A.
    """
    image = product(basis, matrices)
    order = (basis * image).sum(-1).argsort(stable=True, descending=True)
    image.addcmul_(basis, epsilon)
    sorted_image = image.gather(-2, order[:, :, None].expand_as(image))
    return one_by_one(_orthonormal_rows, sorted_image), order


def _orthonormal_rows(matrix: Tensor) -> Tensor:
    """Returns Q' of the QR decomposition of a matrix's transpose.

    Without the copies of R that torch's own makes, a fifth of its time.
    """
    reflectors, scales = torch.geqrf(matrix.mT)
    factor: Tensor = torch.linalg.householder_product(reflectors, scales)
    return factor.mT.contiguous()

"""Shampoo: mean gradients between inverse roots of their second moments (arXiv 1802.09568)."""

from __future__ import annotations

import torch
from torch import Tensor

from workloads.optimizers.algorithm import Matrixwise, State, StepContext, tensor_in
from workloads.optimizers.linalg import eigh, lengths, one_by_one, product, raised
from workloads.optimizers.sides import AXES, Side, Sides, accumulate, applied, completed

ITERATIONS = 100
TOLERANCE = 1e-6
GROWTH = 1.2
"""An error that grows by this factor is rounding: the iterate before it is kept."""


class Shampoo(Matrixwise):
    """U = (Lhat + ridge I)^-e mhat (Rhat + ridge I)^-e (arXiv 2512.05620, appendix A).

    m <- b1 m + (1 - b1) G; L <- b2 L + (1 - b2) G G'; R <- b2 R + (1 - b2) G' G; mhat = m /
    (1 - b1^t), and Lhat, Rhat likewise. L and R start from zero, which is what the correction of
    their bias is for; the source starts them from epsilon I, whose share would depend on the scale
    of the gradients. Roots are computed anew every ``frequency`` steps from step 1 on and at step
    ``start``, the first in which the update moves anything, and know the gradient of their step. A
    side that is not among ``sides`` or longer than ``max_dim`` has no preconditioner.
    """

    def __init__(
        self,
        *,
        beta1: float,
        beta2: float,
        exponent: float,
        sides: str,
        max_dim: int,
        frequency: int,
        relative: bool,
        root: str,
        start: int = 1,
    ) -> None:
        self._beta1, self._beta2 = beta1, beta2
        self._exponent = exponent
        self._sides = Sides(sides, max_dim)
        self._frequency = frequency
        self._start = start
        self._relative = relative
        self._root = {"eigh": root_by_eigenvalues, "newton": root_by_newton}[root]

    def start(self, like: Tensor) -> State:
        """Returns momentum and statistics at zero, and roots that change nothing."""
        state: State = {"first": torch.zeros_like(like)}
        for side in self._sides.of(like):
            state |= _side_state(like, side)
        return state

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U."""
        sides = self._sides.of(gradient)
        first = tensor_in(state, "first").lerp_(gradient, 1 - self._beta1)
        for side in sides:
            accumulate(tensor_in(state, side), gradient, side, self._beta2)
            if (now.step - 1) % self._frequency == 0 or now.step == self._start:
                state[f"{side}_root"] = self._inverse_root(tensor_in(state, side), now)
        update = torch.div(first, 1 - self._beta1**now.step, out=gradient)
        spare = torch.empty_like(update)
        for side in sides:
            root = tensor_in(state, f"{side}_root")
            update, spare = applied(root, update, side, out=spare), update
        return update

    def _inverse_root(self, statistic: Tensor, now: StepContext) -> Tensor:
        return self._root(
            completed(statistic) / (1 - self._beta2**now.step),
            exponent=self._exponent,
            epsilon=now.epsilon,
            relative=self._relative,
        )


def _side_state(like: Tensor, side: Side) -> State:
    """Returns a side's statistic at zero and its root, [K, k, k] each."""
    size = like.shape[AXES[side]]
    statistic = like.new_zeros(like.shape[0], size, size)
    identity = torch.eye(size, dtype=like.dtype, device=like.device)
    return {side: statistic, f"{side}_root": identity.expand_as(statistic).clone()}


def root_by_eigenvalues(
    matrices: Tensor, *, exponent: float, epsilon: Tensor, relative: bool
) -> Tensor:
    """Returns (A + ridge I)^(-exponent) of each A, by its eigenvalues.

    Eigenvalues below zero, which are rounding, count as zero: none falls below the ridge.

    Args:
        matrices: A, [N, k, k]; the lower triangle is read.
        exponent: above 0.
        epsilon: [N, 1, 1]; the ridge, or with ``relative`` the ridge over the largest eigenvalue.
        relative: see ``epsilon``.
    """
    values, vectors = eigh(matrices)
    values = values[:, None, :].clamp(min=0)  # [N, 1, k], beside the columns of the vectors
    ridge = epsilon * values[..., -1:] if relative else epsilon
    above = values + ridge.clamp(min=torch.finfo(values.dtype).tiny)
    half = vectors * raised(above, -exponent / 2)
    root = product(half, half.mT)
    return _identity_where(root, values[..., -1:] == 0) if relative else root


def _identity_where(matrices: Tensor, where: Tensor) -> Tensor:
    """Returns the matrices, and the identity where they are no use.

    Where there has been no gradient so far, a relative ridge knows no scale, and zero to a
    negative power would throw the weights far off at the first gradient, which a matrix under a
    zero-initialised readout has one step later, with the root still in use.
    """
    identity = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    return torch.where(where, identity, matrices)


def root_by_newton(
    matrices: Tensor, *, exponent: float, epsilon: Tensor, relative: bool
) -> Tensor:
    """Returns the same as :func:`root_by_eigenvalues`, by coupled Newton iterations.

    Each matrix is first divided by its largest entry (or the ridge, if that is larger), so that no
    stop rule sees its scale. A matrix that is not finite has the identity for a root.

    Args:
        matrices, epsilon, relative: see there; both triangles are read.
        exponent: one over a whole number.
    """
    largest = matrices.abs().amax((-2, -1), keepdim=True)
    identity = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    finite = largest.isfinite()
    scale = torch.where(finite, largest, 1.0).clamp(min=torch.finfo(matrices.dtype).tiny)
    if not relative:
        scale = scale.maximum(epsilon)
    unit = torch.where(finite, matrices / scale, identity)
    ridge = epsilon * largest_eigenvalue(unit) if relative else epsilon / scale
    root = inverse_root(unit + ridge * identity, round(1 / exponent)) * raised(scale, -exponent)
    return _identity_where(root, ~finite | (largest == 0) if relative else ~finite)


def inverse_root(matrices: Tensor, power: int) -> Tensor:
    """Returns A^(-1/p) of each A.

    M <- M1^p M, H <- H M1 with M1 = ((p + 1) I - M) / p, from M = z A and H = z^(1/p) I, where
    z = (1 + p) / (2 ||A||_F); M goes to I and H to A^(-1/p). A matrix is done when max |M - I| is
    at most the tolerance, or has grown.

    Args:
        matrices: A, [N, k, k], symmetric positive definite with entries of order one.
        power: p, at least 1.
    """
    scale = (1 + power) / (2 * lengths(matrices))  # [N, 1, 1]
    identity = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    roots: Tensor = identity * raised(scale, 1 / power)
    todo = torch.arange(matrices.shape[0], device=matrices.device)
    coupled, error = matrices * scale, _error(matrices * scale, identity)
    going = error > TOLERANCE  # false for NaN
    for _ in range(ITERATIONS):
        todo, coupled, error = todo[going], coupled[going], error[going]
        if not len(todo):
            break
        factor = ((power + 1) * identity - coupled) / power
        coupled = product(powers(factor, power), coupled)
        before, error = error, _error(coupled, identity)
        better = error < GROWTH * before
        if better.any():
            roots[todo[better]] = product(roots[todo[better]], factor[better])
        going = better & (error > TOLERANCE)
    return roots


def largest_eigenvalue(matrices: Tensor) -> Tensor:
    """Returns the largest eigenvalue [N, 1, 1] of positive semi-definite matrices [N, k, k].

    By power iteration from one fixed vector, until a matrix's estimate x'Ax moves by no more than
    the tolerance, relative to itself.
    """
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(matrices.shape[-1], 1, generator=generator, dtype=torch.float64)
    vector = (start / start.norm()).to(matrices).expand(matrices.shape[0], -1, -1)
    found = matrices.new_zeros(matrices.shape[0])
    todo = torch.arange(matrices.shape[0], device=matrices.device)
    for _ in range(ITERATIONS):
        image = product(matrices[todo], vector)
        estimate = product(vector.mT, image).flatten()
        going = (estimate - found[todo]).abs() > TOLERANCE * estimate
        found[todo] = estimate
        if not going.any():
            break
        todo, image = todo[going], image[going]
        vector = image / lengths(image)
    return found.view(-1, 1, 1)


def powers(matrices: Tensor, power: int) -> Tensor:
    """Returns A^p of each."""
    return one_by_one(lambda each: torch.linalg.matrix_power(each, power), matrices)


def _error(matrices: Tensor, identity: Tensor) -> Tensor:
    """Returns max |M - I| of each, [N]."""
    error: Tensor = (matrices - identity).abs().amax((-2, -1))
    return error

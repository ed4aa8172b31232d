"""Which sides of a matrix have a preconditioner, and the statistic of a side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

Side = Literal["left", "right"]
"""left is that of the outputs, right that of the inputs."""

AXES = {"left": -2, "right": -1}
"""The axis of a stack [N, m, n] that a side's preconditioner works on."""

_SIDES: dict[str, tuple[Side, ...]] = {
    "both": ("left", "right"),
    "output": ("left",),
    "input": ("right",),
}


def active_sides(shape: Sequence[int], *, sides: str, max_dim: int) -> tuple[Side, ...]:
    """Returns the sides with a preconditioner: the chosen ones that are not too long.

    Args:
        shape: [..., m, n].
        sides: ``both``, ``output`` or ``input``.
        max_dim: the longest side that has one.
    """
    return tuple(side for side in _SIDES[sides] if shape[AXES[side]] <= max_dim)


def accumulate(statistic: Tensor, gradient: Tensor, side: Side, decay: float) -> None:
    """L <- b L + (1 - b) G G' on the left, R <- b R + (1 - b) G' G on the right, in place.

    Args:
        statistic: L [N, m, m] or R [N, n, n].
        gradient: G, [N, m, n].
        side: which of them.
        decay: b.
    """
    first, second = (gradient, gradient.mT) if side == "left" else (gradient.mT, gradient)
    statistic.baddbmm_(first, second, beta=decay, alpha=1 - decay)


def applied(matrix: Tensor, to: Tensor, side: Side) -> Tensor:
    """Returns A X on the left, X A on the right; A is [N, k, k], X [N, m, n]."""
    return matrix.bmm(to) if side == "left" else to.bmm(matrix)

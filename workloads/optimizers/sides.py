"""Which sides of a matrix have a preconditioner, and the statistic of a side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from workloads.optimizers.linalg import aligned

Side = Literal["left", "right"]
"""left is that of the outputs, right that of the inputs."""

AXES = {"left": -2, "right": -1}
"""The axis of a stack [N, m, n] that a side's preconditioner works on."""

PANEL = 64
"""Rows of a statistic that are computed together."""

_SIDES: dict[str, tuple[Side, ...]] = {
    "both": ("left", "right"),
    "output": ("left",),
    "input": ("right",),
}


@dataclass(frozen=True)
class Sides:
    """Which sides have a preconditioner: the chosen ones that are not too long.

    Attributes:
        chosen: ``both``, ``output`` or ``input``.
        max_dim: the longest side that has one.
    """

    chosen: str
    max_dim: int

    def of(self, stack: Tensor) -> tuple[Side, ...]:
        """Returns the sides of a stack [N, m, n] that have one."""
        return tuple(s for s in _SIDES[self.chosen] if stack.shape[AXES[s]] <= self.max_dim)


def accumulate(statistic: Tensor, gradient: Tensor, side: Side, decay: float) -> None:
    """L <- b L + (1 - b) G G' on the left, R <- b R + (1 - b) G' G on the right, in place.

    Of a large matrix only the lower triangle is, see :func:`completed`, in panels of rows up to
    the diagonal: 0.65 times the time of the whole product at a side of 512 or 1024, 0.7 at 256
    (one thread of a CPU). On a GPU the whole is a single launch.

    Args:
        statistic: L [N, m, m] or R [N, n, n].
        gradient: G, [N, m, n].
        side: which of them.
        decay: b.
    """
    rows = gradient if side == "left" else gradient.mT
    if statistic.is_cuda or (_even(gradient) and not _in_panels(statistic)):
        statistic.baddbmm_(rows, rows.mT, beta=decay, alpha=1 - decay)
        return
    step = PANEL if _in_panels(statistic) else statistic.shape[-1]
    for whole, own in zip(statistic, map(aligned, rows), strict=True):
        place = aligned(whole)
        for start in range(0, len(own), step):
            stop = start + step
            lower = place[start:stop, :stop]
            lower.addmm_(own[start:stop], own[:stop].mT, beta=decay, alpha=1 - decay)
        if place is not whole:
            whole.copy_(place)


def completed(statistic: Tensor) -> Tensor:
    """Returns a statistic, its upper triangle brought up to date in place."""
    if _in_panels(statistic):
        for start in range(PANEL, statistic.shape[-1], PANEL):
            stop = start + PANEL
            statistic[:, :start, start:stop] = statistic[:, start:stop, :start].mT
    return statistic


def _even(stack: Tensor) -> bool:
    """Returns whether sides are such that products of a whole stack have the bits of those of its
    matrices: wide enough for one kernel, and every matrix aligned."""
    return stack.shape[-2] % 16 == 0 and stack.shape[-1] % 16 == 0


def _in_panels(statistic: Tensor) -> bool:
    return not statistic.is_cuda and statistic.shape[-1] > 2 * PANEL


def applied(matrix: Tensor, to: Tensor, side: Side, out: Tensor) -> Tensor:
    """Returns A X on the left, X A on the right, in ``out``; A is [N, k, k], X [N, m, n].

    On a CPU one matrix after the other unless :func:`_even`, so that its bits do not depend on the
    rest of the stack; see :mod:`linalg`.
    """
    first, second = (matrix, to) if side == "left" else (to, matrix)
    if out.is_cuda or _even(out):
        return torch.bmm(first, second, out=out)
    for one, other, whole in zip(first, second, out, strict=True):
        place = aligned(whole)
        torch.mm(aligned(one), aligned(other), out=place)
        if place is not whole:
            whole.copy_(place)
    return out

"""How the gradient and the step of a matrix align, direction by direction.

The loss that a step dW takes away, to first order, is <G, dW>: the trace of the symmetric matrix
S(G, dW) = (G' dW + dW' G) / 2, [n, n] (arXiv 2512.22768). Its eigenvalues, the largest magnitude
first, say how much of it each of n directions carries; n is the side of the matrix that grows
with the width of the model, so that the same k means the same at all widths.

Legend: m rows, n columns of a matrix once its columns are the side that grows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from workloads.training.model import Model, turned_names

EXACT = 512
"""Columns up to which all eigenvalues are computed; of more, the ``SKETCHED`` largest."""

SKETCHED = 128
"""Eigenvalues of a large matrix that are computed."""

_EXTRA = 16
"""Directions that a sketch looks at beside those that it tells."""

_ITERATIONS = 4
"""Times that a sketch is multiplied by the matrix, to turn it to the large eigenvalues."""

_TOLERANCE = 1e-9
"""Error of a trace, over the norms of gradient and step, beyond which the arithmetic is wrong."""

Side = Literal["rows", "columns"]


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Gradient and step of one matrix, direction by direction; float64.

    Attributes:
        total: <G, dW>, which all n eigenvalues add up to.
        eigenvalues: of S by falling magnitude, [known].
        size: n.
        vectors: the eigenvectors as columns, [n, known]; None where they were not asked for.
        error: bound on the error of each eigenvalue by having looked at a part of the
            directions only (Weyl); 0 where all were looked at.
        left: share of the sum of squared eigenvalues that lies in directions that were not
            looked at.
    """

    total: Tensor
    eigenvalues: Tensor
    size: int
    vectors: Tensor | None = None
    error: float = 0.0
    left: float = 0.0

    def sums(self) -> Tensor:
        """Returns the sums of the first k eigenvalues, k = 1..n, [n].

        Those beyond the known ones lie on a straight line to the total.
        """
        known = self.eigenvalues.cumsum(0)
        rest = self.size - len(known)
        if rest == 0:
            return known
        if self.error == 0.0 and self.left == 0.0:  # the others are zero
            return torch.cat([known, known[-1].expand(rest)])
        steps = torch.arange(1, rest + 1, device=known.device, dtype=known.dtype) / rest
        return torch.cat([known, known[-1] + (self.total - known[-1]) * steps])


def align(
    gradient: Tensor,
    step: Tensor,
    side: Side,
    *,
    vectors: bool = False,
    exact: int = EXACT,
    sketched: int = SKETCHED,
) -> Alignment:
    """Returns how gradient and step of a matrix align.

    Args:
        gradient: G, [out, in].
        step: dW, [out, in].
        side: which side grows with the width: S is G' dW for columns, G dW' for rows, made
            symmetric.
        vectors: True for the eigenvectors too, always of all directions.
        exact: columns up to which all eigenvalues are computed.
        sketched: how many are beyond.

    Raises:
        AssertionError: the eigenvalues do not add up to <G, dW>.
        torch.linalg.LinAlgError: gradient or step is not finite.
    """
    g, d = gradient.double(), step.double()
    if side == "rows":
        g, d = g.mT, d.mT
    rows, size = g.shape
    total = (g * d).sum()
    if 2 * rows < size:
        found = _of_few_rows(g, d, total, vectors=vectors)
    elif size > exact and not vectors:
        return _sketched(g, d, total, min(sketched, size))
    else:
        found = _decomposed(_symmetric(g.mT @ d), total, size, vectors=vectors)
    scale = torch.linalg.vector_norm(g) * torch.linalg.vector_norm(d)
    error = (found.eigenvalues.sum() - total).abs()
    assert bool(error <= _TOLERANCE * scale), (
        f"eigenvalues of S add up to {float(found.eigenvalues.sum())}, <G, dW> is {float(total)}"
    )
    return found


def width_sides(model: Model) -> dict[str, Side]:
    """Returns, for each matrix of a model by name, which of its sides grows with the width.

    The columns, [out, in], are it for hidden matrices, readouts and tables that are looked up;
    the rows for a layer on inputs of a fixed size and for what leads back from the hidden layer
    of an MLP to the width.
    """
    turned = turned_names(model)
    sides: dict[str, Side] = {}
    for name, tensor in model.tensors.items():
        if len(tensor.shape) == 2:
            inputs = tensor.role == "embedding" and name not in turned
            sides[name] = "rows" if inputs or tensor.kind == "hidden.mlp_out" else "columns"
    return sides


def sizes_of(model: Model) -> Mapping[str, int]:
    """Returns n of each matrix of a model by name."""
    places = {"rows": 0, "columns": 1}
    return {
        name: model.tensors[name].shape[places[side]] for name, side in width_sides(model).items()
    }


def _symmetric(product: Tensor) -> Tensor:
    return (product + product.mT) / 2


def _decomposed(matrix: Tensor, total: Tensor, size: int, *, vectors: bool) -> Alignment:
    if not vectors:
        values = torch.linalg.eigvalsh(matrix)
        order = values.abs().argsort(descending=True, stable=True)
        return Alignment(total=total, eigenvalues=values[order], size=size)
    values, columns = torch.linalg.eigh(matrix)
    order = values.abs().argsort(descending=True, stable=True)
    return Alignment(total=total, eigenvalues=values[order], size=size, vectors=columns[:, order])


def _of_few_rows(g: Tensor, d: Tensor, total: Tensor, *, vectors: bool) -> Alignment:
    """Returns the alignment of matrices with fewer than n / 2 rows: S has rank 2 m at most, and
    with [G', dW'] = Q R its nonzero eigenvalues are those of Q' S Q, [2 m, 2 m]."""
    rows, size = g.shape
    q, r = torch.linalg.qr(torch.cat([g.mT, d.mT], 1))
    found = _decomposed(_symmetric(r[:, :rows] @ r[:, rows:].mT), total, size, vectors=vectors)
    if found.vectors is None:
        return found
    return Alignment(
        total=total, eigenvalues=found.eigenvalues, size=size, vectors=q @ found.vectors
    )


def _sketched(g: Tensor, d: Tensor, total: Tensor, known: int) -> Alignment:
    """Returns the largest eigenvalues by randomised subspace iteration (Halko, Martinsson and
    Tropp 2011), with the Rayleigh-Ritz residual as the bound on their error."""
    size = g.shape[1]
    matrix = _symmetric(g.mT @ d)
    generator = torch.Generator().manual_seed(size)
    width = min(size, known + _EXTRA)
    start = torch.randn(size, width, generator=generator, dtype=torch.float64)
    basis = start.to(matrix.device)
    for _ in range(_ITERATIONS):
        basis = torch.linalg.qr(matrix @ basis)[0]
    image = matrix @ basis
    values, inner = torch.linalg.eigh(_symmetric(basis.mT @ image))
    order = values.abs().argsort(descending=True, stable=True)[:known]
    residual = (image @ inner - (basis @ inner) * values)[:, order]
    squares = matrix.square().sum()
    left = 1.0 - float(values[order].square().sum() / squares) if bool(squares > 0) else 0.0
    return Alignment(
        total=total,
        eigenvalues=values[order],
        size=size,
        error=float(torch.linalg.matrix_norm(residual)),
        left=max(0.0, left),
    )

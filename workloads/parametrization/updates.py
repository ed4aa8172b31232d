"""What the rules of the optimizers are made of: how learning rate and epsilons go with a size.

A learning rate is derived from one step on one example (arXiv 2512.05620, section 3.1): the
gradient is the rank-one matrix delta x^T with x of order 1 and delta of order gamma / r_out, and
learning rate times update has to have a spectral norm in proportion to sqrt(r_out / r_in), so
that every output moves by order one. An epsilon stays in proportion to what it is added to. The
rules beside the optimizers are tables 1 and 2 of that paper with its published code's relative
form, where every size is taken over its base; N there is 1 / gamma here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from workloads.parametrization.formula import Monomial, monomial
from workloads.parametrization.roles import TensorKind

STEP = monomial(r_out=0.5, r_in=-0.5)
"""Spectral norm that a step has to have (arXiv 2310.17813, condition 1)."""

ENTRY = monomial(gamma=1, r_out=-1)
"""An entry of the gradient."""

NORM = monomial(gamma=1, r_in=0.5, r_out=-0.5)
"""Norm of the gradient, spectral and Frobenius alike: |delta| |x|."""

SIGNS = monomial(r_in=0.5, r_out=0.5)
"""Norm of a rank-one matrix of entries of order one, such as the gradient's signs."""

GRID = monomial(n_in=0.5, n_out=0.5)
"""Norm of a grid of blocks, each of norm one, over that of one block."""


@dataclass(frozen=True, kw_only=True)
class OptimizerTraits:
    """What the rules read of an optimizer's settings.

    Attributes:
        optimizer: its name.
        per_entry: True for LAMB's rule of entrywise steps under ``spectral``.
        sign: True for AdaMuon on the sign of the momentum.
        sides: both, output or input: the sides that have a preconditioner.
        block_size: side of the blocks of a preconditioner; None for no blocks.
        max_dim: a side longer than this has neither blocks nor preconditioner.
        exponent: Shampoo's.
        relative: True if Shampoo's ridge is relative to the largest eigenvalue.
        graft: Shampoo's graft, or none.
        graft_per: matrix or block.
    """

    optimizer: str
    per_entry: bool = False
    sign: bool = False
    sides: str = "both"
    block_size: int | None = None
    max_dim: int = 10_000
    exponent: float = 0.25
    relative: bool = True
    graft: str = "none"
    graft_per: str = "matrix"

    def input_side(self, tensor: TensorKind) -> bool:
        """Returns whether the inputs of a tensor have a preconditioner."""
        return self.sides != "output" and tensor.fan_in <= self.max_dim

    def output_side(self, tensor: TensorKind) -> bool:
        """Returns whether the outputs of a tensor have a preconditioner."""
        return self.sides != "input" and tensor.fan_out <= self.max_dim

    def total_exponent(self, tensor: TensorKind) -> float:
        """Returns E, the sum of Shampoo's exponents over the sides with a preconditioner."""
        return self.exponent * (self.input_side(tensor) + self.output_side(tensor))


@dataclass(frozen=True, kw_only=True)
class UpdateRule:
    """How one optimizer's learning rate and epsilons go with the size of a tensor.

    Attributes:
        learning_rate: makes learning rate times update move every output by order one.
        epsilons: by name, what keeps each in proportion to what it is added to.
        published: the learning rate of arXiv 2602.20937, where that is another; else None.
    """

    learning_rate: Monomial
    epsilons: Mapping[str, Monomial] = field(default_factory=dict)
    published: Monomial | None = None

"""How each optimizer's learning rate and epsilons go with the size of a tensor: one table.

A learning rate is derived from one step on one example (arXiv 2512.05620, section 3.1): the
gradient is the rank-one matrix delta x^T with x of order 1 and delta of order gamma / r_out, and
learning rate times update has to have a spectral norm in proportion to sqrt(r_out / r_in), so
that every output moves by order one. An epsilon stays in proportion to what it is added to. The
results are tables 1 and 2 of that paper with its published code's relative form, where every size
is taken over its base; N there is 1 / gamma here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from workloads.parametrization.monomial import ONE, Monomial, monomial
from workloads.parametrization.roles import Leaf
from workloads.workload import Config

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
class Method:
    """What the rules read of an optimizer's settings.

    Attributes:
        optimizer: its name.
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
    sign: bool = False
    sides: str = "both"
    block_size: int | None = None
    max_dim: int = 10_000
    exponent: float = 0.25
    relative: bool = True
    graft: str = "none"
    graft_per: str = "matrix"

    def input_side(self, leaf: Leaf) -> bool:
        """Returns whether the inputs of a tensor have a preconditioner."""
        return self.sides != "output" and leaf.fan_in <= self.max_dim

    def output_side(self, leaf: Leaf) -> bool:
        """Returns whether the outputs of a tensor have a preconditioner."""
        return self.sides != "input" and leaf.fan_out <= self.max_dim

    def total_exponent(self, leaf: Leaf) -> float:
        """Returns E, the sum of Shampoo's exponents over the sides with a preconditioner."""
        return self.exponent * (self.input_side(leaf) + self.output_side(leaf))


def method_of(optimizer: str, config: Config) -> Method:
    """Returns what the rules read of an optimizer in a completed config."""
    if optimizer == "adamuon":
        return Method(optimizer=optimizer, sign=config["adamuon_sign"])
    if optimizer not in ("shampoo", "soap"):
        return Method(optimizer=optimizer)
    blocks = Method(
        optimizer=optimizer,
        sides=config["preconditioner_sides"],
        block_size=config.get("block_size"),
        max_dim=config["max_preconditioner_dim"],
    )
    if optimizer == "soap":
        return blocks
    return Method(
        **{
            **vars(blocks),
            "exponent": config["shampoo_exponent"],
            "relative": config["shampoo_ridge"] == "relative",
            "graft": config["graft"],
            "graft_per": config.get("graft_per", "matrix"),
        }
    )


@dataclass(frozen=True, kw_only=True)
class UpdateRule:
    """How one optimizer's learning rate and epsilons go with the size of a tensor.

    Attributes:
        learning_rate: makes learning rate times update move every output by order one.
        epsilons: by name, what keeps each in proportion to what it is added to.
    """

    learning_rate: Monomial
    epsilons: Mapping[str, Monomial] = field(default_factory=dict)


def _sgd(method: Method, leaf: Leaf) -> UpdateRule:
    return UpdateRule(learning_rate=STEP / NORM)


def _adam(method: Method, leaf: Leaf) -> UpdateRule:
    return UpdateRule(learning_rate=STEP / SIGNS, epsilons={"epsilon": ENTRY})


def _sophia(method: Method, leaf: Leaf) -> UpdateRule:
    """Where the update is clipped it is a sign. Epsilon is added to rho B h, and h goes as the
    square of a gradient's entry."""
    return UpdateRule(learning_rate=STEP / SIGNS, epsilons={"epsilon": ENTRY**2})


def _lamb(method: Method, leaf: Leaf) -> UpdateRule:
    """The update has the size of the weights, which is std an entry."""
    return UpdateRule(learning_rate=STEP / (SIGNS * monomial(std=1)), epsilons={"epsilon": ENTRY})


def _orthogonal(method: Method, leaf: Leaf) -> UpdateRule:
    """The update has spectral norm one; epsilon is added to the norm of the gradient."""
    return UpdateRule(learning_rate=STEP, epsilons={"epsilon": NORM})


def _adamuon(method: Method, leaf: Leaf) -> UpdateRule:
    """The update is an orthogonal matrix over its own entries' size, so its entries are of order
    one; epsilon is added to that size."""
    norm = SIGNS if method.sign else NORM
    return UpdateRule(
        learning_rate=STEP / SIGNS, epsilons={"epsilon": ONE / SIGNS, "norm_epsilon": norm}
    )


def _shampoo(method: Method, leaf: Leaf) -> UpdateRule:
    """A block of norm s becomes one of norm s^(1 - 2E)."""
    block = NORM / GRID
    own = block ** (1 - 2 * method.total_exponent(leaf))
    direction = own * GRID
    ridge = ONE if method.relative else block**2
    if method.graft == "none":
        return UpdateRule(learning_rate=STEP / direction, epsilons={"epsilon": ridge})
    graft = NORM if method.graft == "sgd" else SIGNS
    lent = own if method.graft_per == "block" else direction
    return UpdateRule(
        learning_rate=STEP / graft,
        epsilons={"epsilon": ridge, "graft_epsilon": lent}
        | ({} if method.graft == "sgd" else {"adam_epsilon": ENTRY}),
    )


def _soap(method: Method, leaf: Leaf) -> UpdateRule:
    """A rotated side has one entry of a block that is not 0, one that is not rotated all."""
    sides = monomial(
        **{"n_in" if method.input_side(leaf) else "r_in": 0.5},
        **{"n_out" if method.output_side(leaf) else "r_out": 0.5},
    )
    return UpdateRule(
        learning_rate=STEP / sides,
        epsilons={"epsilon": NORM / sides, "basis_epsilon": (NORM / GRID) ** 2},
    )


UPDATES: Mapping[str, Callable[[Method, Leaf], UpdateRule]] = {
    "sgd": _sgd,
    "adamw": _adam,
    "adopt": _adam,
    "lamb": _lamb,
    "sophia": _sophia,
    "muon": _orthogonal,
    "muonclip": _orthogonal,
    "dion": _orthogonal,
    "adamuon": _adamuon,
    "shampoo": _shampoo,
    "soap": _soap,
}
"""Maximal-update rules by optimizer."""

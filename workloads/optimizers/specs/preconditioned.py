"""Shampoo and SOAP, which precondition the sides of a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from workloads.optimizers.spec import OptimizerSpec
from workloads.parametrization import (
    ENTRY,
    GRID,
    NORM,
    ONE,
    SIGNS,
    STEP,
    OptimizerTraits,
    TensorKind,
    UpdateRule,
    monomial,
)
from workloads.settings import choice, count, epsilon, share
from workloads.workload import Condition, Config, Problem, Resolved, Setting

if TYPE_CHECKING:
    from workloads.optimizers.algorithm import Algorithm

_GRAFTS = ("adam", "rmsprop", "sgd")
_GRAFTED: tuple[Condition, ...] = ({"graft": _GRAFTS},)

_SIDES = (
    choice(
        "preconditioner_sides",
        "both",
        ("both", "output", "input"),
        "Sides of a matrix that have a preconditioner; one side is cheaper.",
    ),
    count(
        "block_size",
        None,
        "Matrices are cut into square blocks of this side, ragged at the edges, each with "
        "preconditioners of its own; null for no blocks.",
    ),
    count(
        "max_preconditioner_dim",
        10_000,
        "A side larger than this is neither cut into blocks nor preconditioned.",
    ),
    count(
        "preconditioner_frequency",
        10,
        "Steps from one computation of roots or eigenbases to the next, from step 1 on.",
    ),
)

_SHAMPOO = (
    share("shampoo_beta1", 0.9, "Decay of Shampoo's mean gradient, below 1."),
    share(
        "shampoo_beta2",
        0.95,
        "Decay of Shampoo's preconditioners and of its graft's second moment, below 1.",
    ),
    Setting(
        name="shampoo_exponent",
        kind="float",
        default=0.25,
        low=0.0,
        low_open=True,
        high=1.0,
        doc="Each preconditioner is raised to minus this: 0.25 or 0.5 as a rule.",
    ),
    choice(
        "shampoo_ridge",
        "relative",
        ("relative", "absolute"),
        "Whether shampoo_epsilon is relative to a preconditioner's largest eigenvalue.",
    ),
    epsilon(
        "shampoo_epsilon",
        1e-5,
        "Shampoo's ridge, added to the preconditioners; the base width's if absolute.",
    ),
    choice(
        "shampoo_root",
        "eigh",
        ("eigh", "newton"),
        "How inverse roots are computed: by eigenvalues, or by coupled Newton iterations "
        "(shampoo_exponent one over a whole number).",
    ),
    choice(
        "graft", "none", ("none", *_GRAFTS), "Optimizer whose update lends Shampoo's its size."
    ),
    choice(
        "graft_per",
        "matrix",
        ("matrix", "block"),
        "Whether sizes are lent to whole matrices or to each block.",
        when=_GRAFTED,
    ),
    count(
        "graft_start",
        1,
        "First step with Shampoo's direction, of roots computed in it; before it the graft alone "
        "moves.",
        when=_GRAFTED,
    ),
    epsilon(
        "graft_epsilon",
        1e-8,
        "Added to the norm of Shampoo's direction, at the base width.",
        when=_GRAFTED,
    ),
)

_SOAP = (
    share("soap_beta1", 0.95, "SOAP's first decay, below 1."),
    share("soap_beta2", 0.95, "SOAP's decay of second moment and preconditioners, below 1."),
    epsilon(
        "soap_epsilon",
        1e-8,
        "SOAP's epsilon at the base width, added to the root of the rotated second moment.",
    ),
    epsilon(
        "soap_basis_epsilon",
        1e-10,
        "Added to the diagonal of SOAP's preconditioners before a basis is computed.",
    ),
    count(
        "soap_eigh_steps",
        50,
        "First steps in which SOAP's bases are exact, each step anew; later ones are "
        "refined by a power iteration and QR.",
    ),
)


def _shampoo_rule(traits: OptimizerTraits, tensor: TensorKind) -> UpdateRule:
    """A block of norm s becomes one of norm s^(1 - 2E); published is E = 1/2 without blocks."""
    block = NORM / GRID
    own = block ** (1 - 2 * traits.total_exponent(tensor))
    direction = own * GRID
    ridge = ONE if traits.relative else block**2
    if traits.graft == "none":
        return UpdateRule(
            learning_rate=STEP / direction,
            epsilons={"epsilon": ridge},
            published=STEP if traits.total_exponent(tensor) == 0.5 else None,
        )
    graft = NORM if traits.graft == "sgd" else SIGNS
    lent = own if traits.graft_per == "block" else direction
    return UpdateRule(
        learning_rate=STEP / graft,
        epsilons={"epsilon": ridge, "graft_epsilon": lent}
        | ({} if traits.graft == "sgd" else {"adam_epsilon": ENTRY}),
    )


def _soap_rule(traits: OptimizerTraits, tensor: TensorKind) -> UpdateRule:
    """A rotated side has one entry of a block that is not 0, one that is not rotated all."""
    sides = monomial(
        **{"n_in" if traits.input_side(tensor) else "r_in": 0.5},
        **{"n_out" if traits.output_side(tensor) else "r_out": 0.5},
    )
    return UpdateRule(
        learning_rate=STEP / sides,
        epsilons={"epsilon": NORM / sides, "basis_epsilon": (NORM / GRID) ** 2},
    )


def _shampoo_traits(config: Config) -> OptimizerTraits:
    return replace(
        _traits("shampoo", config),
        exponent=config["shampoo_exponent"],
        relative=config["shampoo_ridge"] == "relative",
        graft=config["graft"],
        graft_per=config.get("graft_per", "matrix"),
    )


def _traits(optimizer: str, config: Config) -> OptimizerTraits:
    """Returns which sides of a matrix and of its blocks have a preconditioner."""
    return OptimizerTraits(
        optimizer=optimizer,
        sides=config["preconditioner_sides"],
        block_size=config.get("block_size"),
        max_dim=config["max_preconditioner_dim"],
    )


def _shampoo_faults(config: Config) -> Iterator[Problem]:
    if config.get("shampoo_root") != "newton":
        return
    exponent = config["shampoo_exponent"]
    whole = round(1 / exponent)
    if abs(exponent * whole - 1) > 1e-9:
        yield Problem(
            keys=("shampoo_exponent", "shampoo_root"),
            message=f"shampoo_root newton computes roots of a whole order, and shampoo_exponent "
            f"{exponent:g} is not one over a whole number; use {1 / whole:.6g}, or shampoo_root "
            "eigh",
        )


def _shampoo(plan: Resolved) -> Algorithm:
    from workloads.optimizers.shampoo import Shampoo

    config = plan.config
    direction = Shampoo(
        beta1=config["shampoo_beta1"],
        beta2=config["shampoo_beta2"],
        exponent=config["shampoo_exponent"],
        sides=config["preconditioner_sides"],
        max_dim=config["max_preconditioner_dim"],
        frequency=config["preconditioner_frequency"],
        relative=config["shampoo_ridge"] == "relative",
        root=config["shampoo_root"],
        start=config.get("graft_start", 1),
    )
    if config["graft"] == "none":
        return _blocked(direction, config)
    if config["graft_per"] == "block":
        return _blocked(_grafted(direction, config), config)
    return _grafted(_blocked(direction, config), config)


def _grafted(direction: Algorithm, config: Config) -> Algorithm:
    from workloads.optimizers.adamw import Adam
    from workloads.optimizers.grafted import Grafted, RMSprop
    from workloads.optimizers.sgd import SGD

    beta1, beta2 = config["shampoo_beta1"], config["shampoo_beta2"]
    grafts: Mapping[str, Algorithm] = {
        "adam": Adam(beta1=beta1, beta2=beta2),
        "rmsprop": RMSprop(beta1=beta1, beta2=beta2),
        "sgd": SGD(momentum=beta1),
    }
    return Grafted(direction, grafts[config["graft"]], start=config["graft_start"])


def _soap(plan: Resolved) -> Algorithm:
    from workloads.optimizers.soap import Soap

    config = plan.config
    algorithm = Soap(
        beta1=config["soap_beta1"],
        beta2=config["soap_beta2"],
        sides=config["preconditioner_sides"],
        max_dim=config["max_preconditioner_dim"],
        frequency=config["preconditioner_frequency"],
        eigh_steps=config["soap_eigh_steps"],
    )
    return _blocked(algorithm, config)


def _blocked(algorithm: Algorithm, config: Config) -> Algorithm:
    from workloads.optimizers.blocked import Blocked

    size = config.get("block_size")
    if size is None:
        return algorithm
    return Blocked(algorithm, size=size, max_dim=config["max_preconditioner_dim"])


SPECS = (
    OptimizerSpec(
        name="shampoo",
        kind="matrix",
        doc="The gradient between inverse roots of its covariances (arXiv 1802.09568).",
        settings=(*_SIDES, *_SHAMPOO),
        borrowed={"epsilon": {"graft": ("adam", "rmsprop")}},
        epsilons={
            "epsilon": "shampoo_epsilon",
            "graft_epsilon": "graft_epsilon",  # with a graft only
            "adam_epsilon": "epsilon",  # with adam or rmsprop as the graft only
        },
        rule=_shampoo_rule,
        traits=_shampoo_traits,
        faults=_shampoo_faults,
        norm_one={"graft": ("none",)},
        build=_shampoo,
    ),
    OptimizerSpec(
        name="soap",
        kind="matrix",
        doc="Adam in the eigenbases of Shampoo's preconditioners (arXiv 2409.11321).",
        settings=(*_SIDES, *_SOAP),
        epsilons={"epsilon": "soap_epsilon", "basis_epsilon": "soap_basis_epsilon"},
        rule=_soap_rule,
        traits=partial(_traits, "soap"),
        build=_soap,
    ),
)

"""The settings of Shampoo and SOAP, which precondition the sides of a matrix."""

from __future__ import annotations

from workloads.optimizers.names import GRAFTS, used
from workloads.settings import epsilon, share
from workloads.workload import Condition, Setting


def preconditioner_settings(vectors: Condition) -> tuple[Setting, ...]:
    """Returns the settings of Shampoo and SOAP.

    Args:
        vectors: the condition under which the model has vectors.
    """
    shampoo, soap, both = (
        used(*names, vectors=vectors) for names in (("shampoo",), ("soap",), ("shampoo", "soap"))
    )
    grafted: tuple[Condition, ...] = ({"graft": GRAFTS},)
    return (
        Setting(
            name="preconditioner_sides",
            kind="choice",
            default="both",
            choices=("both", "output", "input"),
            when=both,
            doc="Sides of a matrix that have a preconditioner; one side is cheaper.",
        ),
        Setting(
            name="block_size",
            kind="int",
            optional=True,
            low=1,
            when=both,
            doc="Matrices are cut into square blocks of this side, ragged at the edges, each with "
            "preconditioners of its own; null for no blocks.",
        ),
        Setting(
            name="max_preconditioner_dim",
            kind="int",
            default=10_000,
            low=1,
            when=both,
            doc="A side larger than this is neither cut into blocks nor preconditioned.",
        ),
        Setting(
            name="preconditioner_frequency",
            kind="int",
            default=10,
            low=1,
            when=both,
            doc="Steps from one computation of roots or eigenbases to the next, from step 1 on.",
        ),
        share("shampoo_beta1", 0.9, shampoo, "Decay of Shampoo's mean gradient, below 1."),
        share(
            "shampoo_beta2",
            0.95,
            shampoo,
            "Decay of Shampoo's preconditioners and of its graft's second moment, below 1.",
        ),
        Setting(
            name="shampoo_exponent",
            kind="float",
            default=0.25,
            low=0.0,
            low_open=True,
            high=1.0,
            when=shampoo,
            doc="Each preconditioner is raised to minus this: 0.25 or 0.5 as a rule.",
        ),
        Setting(
            name="shampoo_ridge",
            kind="choice",
            default="relative",
            choices=("relative", "absolute"),
            when=shampoo,
            doc="Whether shampoo_epsilon is relative to a preconditioner's largest eigenvalue.",
        ),
        epsilon(
            "shampoo_epsilon",
            1e-5,
            shampoo,
            "Shampoo's ridge, added to the preconditioners; the base width's if absolute.",
        ),
        Setting(
            name="shampoo_root",
            kind="choice",
            default="eigh",
            choices=("eigh", "newton"),
            when=shampoo,
            doc="How inverse roots are computed: by eigenvalues, or by coupled Newton iterations "
            "(shampoo_exponent one over a whole number).",
        ),
        Setting(
            name="graft",
            kind="choice",
            default="none",
            choices=("none", *GRAFTS),
            when=shampoo,
            doc="Optimizer whose update lends Shampoo's its size.",
        ),
        Setting(
            name="graft_per",
            kind="choice",
            default="matrix",
            choices=("matrix", "block"),
            when=grafted,
            doc="Whether sizes are lent to whole matrices or to each block.",
        ),
        Setting(
            name="graft_start",
            kind="int",
            default=1,
            low=1,
            when=grafted,
            doc="First step with Shampoo's direction; before it the graft alone moves.",
        ),
        epsilon(
            "graft_epsilon",
            1e-8,
            grafted,
            "Added to the norm of Shampoo's direction, at the base width.",
        ),
        share("soap_beta1", 0.95, soap, "SOAP's first decay, below 1."),
        share(
            "soap_beta2", 0.95, soap, "SOAP's decay of second moment and preconditioners, below 1."
        ),
        epsilon(
            "soap_epsilon",
            1e-8,
            soap,
            "SOAP's epsilon at the base width, added to the root of the rotated second moment.",
        ),
        epsilon(
            "soap_basis_epsilon",
            1e-10,
            soap,
            "Added to the diagonal of SOAP's preconditioners before a basis is computed.",
        ),
        Setting(
            name="soap_eigh_steps",
            kind="int",
            default=50,
            low=1,
            when=soap,
            doc="First steps in which SOAP's bases are exact, each step anew; later ones are "
            "refined by a power iteration and QR.",
        ),
    )

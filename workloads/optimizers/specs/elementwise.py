"""Optimizers whose update of a number depends on that number's gradients (lamb: and on norms)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.optimizers.spec import OptimizerSpec
from workloads.parametrization import (
    ENTRY,
    NORM,
    ONE,
    SIGNS,
    STEP,
    OptimizerTraits,
    TensorKind,
    UpdateRule,
    monomial,
)
from workloads.settings import choice, count, epsilon, positive, share
from workloads.workload import Config, Resolved

if TYPE_CHECKING:
    from workloads.optimizers.adamw import FusedAdamW
    from workloads.optimizers.algorithm import Algorithm
    from workloads.optimizers.layout import Parameters
    from workloads.optimizers.optimizer import Group

_ADAMW = (
    share("beta1", 0.9, "AdamW's first decay, below 1."),
    share("beta2", 0.95, "AdamW's second decay, below 1."),
    epsilon(
        "epsilon",
        1e-8,
        "AdamW's epsilon (and that of an Adam or RMSprop graft) at the base width, added to "
        "the root of the second moment.",
    ),
)

_SGD = (share("sgd_momentum", 0.9, "Decay of SGD's mean gradient, below 1; 0 for none."),)

_ADOPT = (
    share("adopt_beta1", 0.9, "ADOPT's first decay, below 1."),
    share("adopt_beta2", 0.9999, "ADOPT's second decay, below 1."),
    epsilon("adopt_epsilon", 1e-6, "ADOPT's epsilon at the base width, the least divisor."),
)

_LAMB = (
    share("lamb_beta1", 0.9, "LAMB's first decay, below 1."),
    share("lamb_beta2", 0.999, "LAMB's second decay, below 1."),
    epsilon(
        "lamb_epsilon",
        1e-6,
        "LAMB's epsilon at the base width, added to the root of the second moment.",
    ),
)

_LAMB_RULE = choice(
    "lamb_rule",
    "published",
    ("published", "per_entry"),
    "LAMB's learning rate under spectral: 1 as published, or in proportion to "
    "fan_in^(-1/2), which keeps the spectral norm of its entrywise steps.",
    when={"parametrization": ("spectral",)},
)

_SOPHIA = (
    share("sophia_beta1", 0.965, "Sophia-G's first decay, below 1."),
    share("sophia_beta2", 0.99, "Sophia-G's decay of the Hessian's diagonal, below 1."),
    positive(
        "sophia_rho", 0.04, "Sophia-G's rho: the larger, the fewer entries are clipped to a sign."
    ),
    count(
        "sophia_frequency",
        10,
        "Steps from one estimate of the Hessian's diagonal to the next; each costs a "
        "forward and backward pass on labels sampled from the model.",
    ),
    epsilon(
        "sophia_epsilon",
        1e-15,
        "Sophia-G's epsilon at the base width, added to the scaled diagonal.",
    ),
)


def _sgd_rule(traits: OptimizerTraits, tensor: TensorKind) -> UpdateRule:
    return UpdateRule(learning_rate=STEP / NORM)


def _adam_rule(traits: OptimizerTraits, tensor: TensorKind) -> UpdateRule:
    return UpdateRule(learning_rate=STEP / SIGNS, epsilons={"epsilon": ENTRY})


def _lamb_rule(traits: OptimizerTraits, tensor: TensorKind) -> UpdateRule:
    """The update has the size of the weights, which is std an entry."""
    return UpdateRule(
        learning_rate=STEP / (SIGNS * monomial(std=1)),
        epsilons={"epsilon": ENTRY},
        published=monomial(r_in=-0.5) if traits.per_entry else ONE,
    )


def _lamb_traits(config: Config) -> OptimizerTraits:
    return OptimizerTraits(optimizer="lamb", per_entry=config.get("lamb_rule") == "per_entry")


def _sophia_rule(traits: OptimizerTraits, tensor: TensorKind) -> UpdateRule:
    """Where the update is clipped it is a sign. Epsilon is added to rho B h, and h goes as the
    square of a gradient's entry."""
    return UpdateRule(learning_rate=STEP / SIGNS, epsilons={"epsilon": ENTRY**2})


def _sgd(plan: Resolved) -> Algorithm:
    from workloads.optimizers.sgd import SGD

    return SGD(momentum=plan.config["sgd_momentum"])


def _adamw(plan: Resolved) -> Algorithm:
    from workloads.optimizers.adamw import Adam

    return Adam(beta1=plan.config["beta1"], beta2=plan.config["beta2"])


def _fused_adamw(parameters: Parameters, group: Group, config: Config) -> FusedAdamW:
    from workloads.optimizers.adamw import FusedAdamW

    return FusedAdamW(parameters, group, beta1=config["beta1"], beta2=config["beta2"])


def _adopt(plan: Resolved) -> Algorithm:
    from workloads.optimizers.adopt import Adopt

    return Adopt(beta1=plan.config["adopt_beta1"], beta2=plan.config["adopt_beta2"])


def _lamb(plan: Resolved) -> Algorithm:
    from workloads.optimizers.lamb import Lamb

    return Lamb(beta1=plan.config["lamb_beta1"], beta2=plan.config["lamb_beta2"])


def _sophia(plan: Resolved) -> Algorithm:
    from workloads.optimizers.sophia import Sophia

    return Sophia(
        beta1=plan.config["sophia_beta1"],
        beta2=plan.config["sophia_beta2"],
        rho=plan.config["sophia_rho"],
        frequency=plan.config["sophia_frequency"],
        batch_tokens=plan.derived["tokens"] // plan.derived["steps"],
    )


SPECS = (
    OptimizerSpec(
        name="sgd",
        kind="elementwise",
        doc="The mean of the gradients so far.",
        settings=_SGD,
        rule=_sgd_rule,
        build=_sgd,
    ),
    OptimizerSpec(
        name="adamw",
        kind="elementwise",
        doc="Adam with decoupled weight decay (arXiv 1711.05101).",
        settings=_ADAMW,
        epsilons={"epsilon": "epsilon"},
        rule=_adam_rule,
        build=_adamw,
        fused=_fused_adamw,
    ),
    OptimizerSpec(
        name="adopt",
        kind="elementwise",
        doc="Adam that divides before it averages (arXiv 2411.02853).",
        settings=_ADOPT,
        epsilons={"epsilon": "adopt_epsilon"},
        rule=_adam_rule,
        build=_adopt,
    ),
    OptimizerSpec(
        name="lamb",
        kind="elementwise",
        doc="Adam's direction at the size of the weights (arXiv 1904.00962).",
        settings=_LAMB,
        epsilons={"epsilon": "lamb_epsilon"},
        rule=_lamb_rule,
        traits=_lamb_traits,
        rule_settings=(_LAMB_RULE,),
        moves_by_size=True,
        build=_lamb,
    ),
    OptimizerSpec(
        name="sophia",
        kind="elementwise",
        doc="Momentum over a diagonal of the Hessian, clipped (arXiv 2305.14342).",
        settings=_SOPHIA,
        epsilons={"epsilon": "sophia_epsilon"},
        rule=_sophia_rule,
        build=_sophia,
    ),
)

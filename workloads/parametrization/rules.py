"""Scaling rules as pure numbers: how hyperparameters go from the base model to a larger one.

The rules are those of arXiv 2512.05620: learning rates from table 1 (``eta``) and epsilons from
table 1 (``eps``), in the relative form of its published code, where every size is taken over its
base. For a width ratio m they come to:

    ===========  ==========  ===========  =========  =======  ======
                 learning rate                       epsilon
    -----------  ----------------------------------  ---------------
    optimizer    embedding   hidden       readout    hidden   others
    ===========  ==========  ===========  =========  =======  ======
    adamw        1           1/m          1/m        1/(m N)  1/m, readout 1
    muon         m^(1/2)     1            m^(-1/2)   1/N      m^(-1/2), readout m^(1/2)
    ===========  ==========  ===========  =========  =======  ======

A vector fits the same formulas with one input: a gain under AdamW keeps its learning rate.
A rule of another optimizer is one more value in ``UPDATES``; one of another parametrization is
one more in ``PARAMETRIZATIONS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

from workloads.parametrization.roles import ROLES, Growth, Role, growth


@dataclass(frozen=True, kw_only=True)
class Multipliers:
    """Factors on the hyperparameters of the base model for one tensor of a larger one.

    Attributes:
        learning_rate: on the learning rate.
        epsilon: on the optimizer's epsilon.
        weight_decay: on the independent weight decay; 0 for vectors, which are never decayed.
        init_std: on the standard deviation of the initial values.
    """

    learning_rate: float
    epsilon: float
    weight_decay: float
    init_std: float


@dataclass(frozen=True)
class UpdateRule:
    """How one optimizer's learning rate and epsilon go with the size of a tensor.

    Attributes:
        learning_rate: makes learning rate times update move every output by order one.
        epsilon: keeps epsilon in proportion to what it is added to.
    """

    learning_rate: Callable[[Growth], float]
    epsilon: Callable[[Growth], float]


@dataclass(frozen=True)
class Parametrization:
    """How a model is scaled.

    Attributes:
        updates: rule by optimizer.
        readout_std: exponent of r_in in the initial readout; all else has r_in^(-1/2).
        depth: True if residual branches are divided by the depth ratio.
    """

    updates: Mapping[str, UpdateRule]
    readout_std: float
    depth: bool


UPDATES: Mapping[str, UpdateRule] = {
    "adamw": UpdateRule(lambda r: 1 / r.fan_in, lambda r: 1 / (r.fan_out * r.depth)),
    "muon": UpdateRule(
        lambda r: sqrt(r.fan_out / r.fan_in), lambda r: sqrt(r.fan_in / r.fan_out) / r.depth
    ),
}
"""Maximal-update rules: tables 1 and 2 of arXiv 2512.05620; eps of muon is on ||G||_F."""

_CONSTANT = UpdateRule(lambda _: 1.0, lambda _: 1.0)

PARAMETRIZATIONS: Mapping[str, Parametrization] = {
    "sp": Parametrization(dict.fromkeys(UPDATES, _CONSTANT), readout_std=-0.5, depth=False),
    "mup": Parametrization(UPDATES, readout_std=-1.0, depth=True),
}

WEIGHT_DECAY_RULES: Mapping[str, Callable[[float], float]] = {
    "none": lambda _: 1.0,
    "inverse_width": lambda width_ratio: 1 / width_ratio,
}
"""Factor on independent weight decay by width ratio (arXiv 2512.05620, sections 3.4 and 4)."""


@lru_cache(maxsize=4096)
def multipliers(
    parametrization: str,
    *,
    optimizer: str,
    role: Role,
    width_ratio: float,
    depth_ratio: float = 1.0,
) -> Multipliers:
    """Returns the factors for one role, relative to the base model.

    Args:
        parametrization: a key of ``PARAMETRIZATIONS``.
        optimizer: the optimizer that drives tensors of this role, a key of ``UPDATES``.
        role: what the tensor is.
        width_ratio: width over base width, m.
        depth_ratio: depth over base depth; has no effect under ``sp``.

    Raises:
        ValueError: a name is unknown or a ratio is not a positive number.
    """
    _check(parametrization, optimizer, role, width_ratio, depth_ratio)
    rule = PARAMETRIZATIONS[parametrization]
    sizes = growth(role, width_ratio=width_ratio, depth_ratio=depth_ratio)
    update = rule.updates[optimizer]
    return Multipliers(
        learning_rate=update.learning_rate(sizes),
        epsilon=update.epsilon(sizes),
        weight_decay=0.0 if role == "vector" else 1.0,
        init_std=sizes.fan_in ** (rule.readout_std if role == "readout" else -0.5),
    )


def branch_multiplier(parametrization: str, *, depth_ratio: float) -> float:
    """Returns the factor on every residual branch: 1/N if the rule scales depth, else 1.

    x <- x + branch_multiplier * F(norm(x)) (arXiv 2512.05620, section 3.3; 2505.01618 with
    alpha = 1).
    """
    return 1 / depth_ratio if PARAMETRIZATIONS[parametrization].depth else 1.0


def _check(
    parametrization: str, optimizer: str, role: str, width_ratio: float, depth_ratio: float
) -> None:
    for kind, name, known in (
        ("parametrization", parametrization, tuple(PARAMETRIZATIONS)),
        ("optimizer", optimizer, tuple(UPDATES)),
        ("role", role, ROLES),
    ):
        if name not in known:
            raise ValueError(f"no {kind} named {name!r}; known: {', '.join(known)}")
    for kind, ratio in (("width_ratio", width_ratio), ("depth_ratio", depth_ratio)):
        if not 0 < ratio < float("inf"):
            raise ValueError(f"{kind} is {ratio!r}; it has to be positive and finite")

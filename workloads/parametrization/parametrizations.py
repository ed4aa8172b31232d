"""Parametrizations as values: which rules each has, and how much larger than its base a model
is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from workloads.parametrization.formula import Monomial, monomial
from workloads.parametrization.roles import Role
from workloads.workload import Config


@dataclass(frozen=True, kw_only=True)
class Parametrization:
    """How a model is scaled.

    Attributes:
        source: where the rule is from.
        rates: learning rates: constant; maximal, of the table of maximal updates; spectral, as
            published where that differs; moonlight; custom.
        epsilons: constant; maximal; depth, the part of maximal that does not go with the width;
            custom.
        readout_std: exponent of r_in in the initial readout; all else has -1/2.
        gradient: exponent of the width in gamma everywhere but in the readout: 1/2 where the
            readout, and so what flows back from it, is sqrt(width) larger than under mup.
        depth: True if residual branches are divided by a power of the depth.
    """

    source: str
    rates: Literal["constant", "maximal", "spectral", "moonlight", "custom"]
    epsilons: Literal["constant", "maximal", "depth", "custom"]
    readout_std: float = -0.5
    gradient: float = 0.0
    depth: bool = False


PARAMETRIZATIONS: Mapping[str, Parametrization] = {
    "sp": Parametrization(
        source="standard: fan_in^(-1/2) initial values, nothing else scales",
        rates="constant",
        epsilons="constant",
    ),
    "mup": Parametrization(
        source="maximal updates, arXiv 2512.05620, tables 1 and 2",
        rates="maximal",
        epsilons="maximal",
        readout_std=-1.0,
        depth=True,
    ),
    "spectral": Parametrization(
        source="spectral condition, arXiv 2602.20937; optimizers that it does not treat have "
        "what the same condition gives, which is mup's",
        rates="spectral",
        epsilons="depth",
        readout_std=-1.0,
        depth=True,
    ),
    "normalized": Parametrization(
        source="every update brought to its spectral norm, arXiv 2512.05620, appendix F",
        rates="constant",
        epsilons="maximal",
        readout_std=-1.0,
        depth=True,
    ),
    "moonlight": Parametrization(
        source="updates of AdamW's root mean square, arXiv 2502.16982, equation 4",
        rates="moonlight",
        epsilons="constant",
    ),
    "completep": Parametrization(
        source="maximal updates with branches divided by N^alpha, arXiv 2505.01618",
        rates="maximal",
        epsilons="maximal",
        readout_std=-1.0,
        depth=True,
    ),
    "ntk": Parametrization(
        source="NTK parametrization with full alignment, arXiv 2407.05872, table 1, its forward "
        "multipliers moved into initial values, learning rates and epsilons",
        rates="maximal",
        epsilons="maximal",
        gradient=0.5,
    ),
    "mean_field": Parametrization(
        source="mean-field parametrization with full alignment, arXiv 2407.05872, table 1, its "
        "forward multipliers moved into initial values, learning rates and epsilons; in this "
        "form it is mup without a depth rule",
        rates="maximal",
        epsilons="maximal",
        readout_std=-1.0,
    ),
    "custom": Parametrization(
        source="powers of the width, as the settings custom.ROLE.QUANTITY say",
        rates="custom",
        epsilons="custom",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """A parametrization with its settings, and how much larger than its base a model is.

    Attributes:
        parametrization: a key of ``PARAMETRIZATIONS``.
        width_ratio: width over base width, m.
        depth_ratio: depth over base depth, N; 1 where the rule does not go with the depth.
        depth_alpha: branches are divided by N to this power.
        custom: exponents of m by setting, for example ``hidden.learning_rate``.
    """

    parametrization: str
    width_ratio: float = 1.0
    depth_ratio: float = 1.0
    depth_alpha: float = 1.0
    custom: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.parametrization not in PARAMETRIZATIONS:
            known = ", ".join(PARAMETRIZATIONS)
            raise ValueError(f"no parametrization named {self.parametrization!r}; known: {known}")
        for name in ("width_ratio", "depth_ratio"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; it has to be positive and finite"
                )

    @property
    def rule(self) -> Parametrization:
        """The parametrization."""
        return PARAMETRIZATIONS[self.parametrization]

    @property
    def branch_multiplier(self) -> float:
        """The factor on every residual branch: x <- x + N^(-alpha) F(norm(x)) (arXiv 2512.05620,
        section 3.3, and 2505.01618)."""
        return float(self.depth_ratio**-self.depth_alpha) if self.rule.depth else 1.0

    def exponent(self, role: Role, quantity: str) -> Monomial:
        """Returns the power of m that ``custom`` has for a quantity."""
        return monomial(m=dict(self.custom).get(f"{role}.{quantity}", 0.0))


def ratios(config: Config) -> tuple[float, float]:
    """Returns width and depth of a config over those of its base model; 1 where it names none, and
    for the depth of a model that has none to set."""
    base_width = config.get("base_width") or config["width"]
    base_depth = config.get("base_depth") or config.get("depth", 1)
    return config["width"] / base_width, config.get("depth", 1) / base_depth


def scaling_of(config: Config) -> Scaling:
    """Returns the scaling of a completed config."""
    width_ratio, depth_ratio = ratios(config)
    return Scaling(
        parametrization=config["parametrization"],
        width_ratio=width_ratio,
        depth_ratio=depth_ratio,
        depth_alpha=config.get("depth_alpha", 1.0),
        custom=tuple(
            (name.removeprefix("custom."), value)
            for name, value in config.items()
            if name.startswith("custom.")
        ),
    )

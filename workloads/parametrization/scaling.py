"""How much larger than its base a model is, and under which parametrization."""

from __future__ import annotations

from dataclasses import dataclass

from workloads.parametrization.formula import Monomial, monomial
from workloads.parametrization.parametrizations import PARAMETRIZATIONS, Parametrization
from workloads.parametrization.roles import Role
from workloads.workload import Config


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """A parametrization with its settings, and how much larger than its base a model is.

    Attributes:
        parametrization: a key of ``PARAMETRIZATIONS``.
        width_ratio: width over base width, m.
        depth_ratio: depth over base depth, N; 1 where the rule does not go with the depth.
        depth_alpha: branches are divided by N to this power.
        lamb_per_entry: True if LAMB's rule under ``spectral`` is that of its entrywise steps.
        custom: exponents of m by setting, for example ``hidden.learning_rate``.
    """

    parametrization: str
    width_ratio: float = 1.0
    depth_ratio: float = 1.0
    depth_alpha: float = 1.0
    lamb_per_entry: bool = False
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
    """Returns width and depth of a config over those of its base model; 1 where it names none."""
    base_width = config.get("base_width") or config["width"]
    base_depth = config.get("base_depth") or config["depth"]
    return config["width"] / base_width, config["depth"] / base_depth


def scaling_of(config: Config) -> Scaling:
    """Returns the scaling of a completed config."""
    width_ratio, depth_ratio = ratios(config)
    return Scaling(
        parametrization=config["parametrization"],
        width_ratio=width_ratio,
        depth_ratio=depth_ratio,
        depth_alpha=config.get("depth_alpha", 1.0),
        lamb_per_entry=config.get("lamb_rule") == "per_entry",
        custom=tuple(
            (name.removeprefix("custom."), value)
            for name, value in config.items()
            if name.startswith("custom.")
        ),
    )

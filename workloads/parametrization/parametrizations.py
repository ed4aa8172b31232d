"""Parametrizations as values: which rules each of them has, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from workloads.optimizers import ORTHOGONAL


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

MOONLIGHT = (*ORTHOGONAL, "adamuon")
"""Optimizers of hidden matrices for which moonlight is defined."""

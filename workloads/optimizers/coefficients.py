"""Coefficient sets of the Newton-Schulz iteration by name; free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Coefficients = Sequence[tuple[float, float, float]]
"""(a, b, c) of each step of X <- a X + (b A + c A^2) X with A = X X^T."""

_KELLER_JORDAN = (3.4445, -4.7750, 2.0315)

NEWTON_SCHULZ: Mapping[str, Coefficients] = {
    "keller_jordan": [_KELLER_JORDAN] * 5,
    "quintic": [
        (4.0848, -6.8946, 2.9270),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ],
    "polar_express": [
        (8.28721201814563, -23.595886519098837, 17.300387312530933),
        (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
        (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
        (3.3184196573706015, -2.488488024314874, 0.51004894012372),
        (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
        (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
        (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
        (1.875, -1.25, 0.375),
    ],
    "polar_express_safe": [
        (8.156554524902461, -22.48329292557795, 15.878769915207462),
        (4.042929935166739, -2.808917465908714, 0.5000178451051316),
        (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
        (3.285753657755655, -2.3681294933425376, 0.46449024233303106),
        (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
    ],
    "cans": [
        (8.4703, -25.1081, 18.6293),
        (4.1828, -3.1087, 0.5806),
        (3.9619, -2.9541, 0.5630),
        (3.2866, -2.4647, 0.5074),
        (2.2737, -1.6447, 0.4162),
    ],
    "modula": [
        (3955 / 1024, -8306 / 1024, 5008 / 1024),
        (3735 / 1024, -6681 / 1024, 3463 / 1024),
        (3799 / 1024, -6499 / 1024, 3211 / 1024),
        (4019 / 1024, -6385 / 1024, 2906 / 1024),
        (2677 / 1024, -3029 / 1024, 1162 / 1024),
        (2172 / 1024, -1833 / 1024, 682 / 1024),
    ],
    "deepseek": [_KELLER_JORDAN] * 8 + [(2.0, -1.5, 0.5)] * 2,
    "cubic": [
        (3.3656576, -3.3420992, 0.0),
        (2.5744352, -1.4957376, 0.0),
        (2.5368962, -1.4312570, 0.0),
        (2.4418906, -1.2764040, 0.0),
        (2.2230472, -0.9630650, 0.0),
    ],
}
"""Coefficient sets by name: K. Jordan's Muon; the quintic of dion, timm and optax; Polar Express
(arXiv 2505.16932) with all eight steps, and with its safety factor as dion has it; CANS (arXiv
2506.10935); modula; DeepSeek's ten steps; a cubic without the square of A. Names mean these very
numbers, and a trial stores them, because sets that share a name elsewhere differ."""

MARGINS: Mapping[str, float] = {
    "polar_express": 1.01,
    "polar_express_safe": 1.02,
    "cans": 1.01,
    "cubic": 1.01,
}
"""Of the sets that are made for singular values up to 1 and no further, what norms are multiplied
by before matrices are divided by them: rounded to bfloat16, a matrix of rank one has a singular
value of up to 1.004, which these sets send off by orders of magnitude, or to the other side of
zero. The other sets keep what is a little above 1."""

_MARGIN_WITHIN = frozenset({"polar_express_safe"})
"""Sets whose numbers are divided by the margin's powers as they stand."""


def newton_schulz_coefficients(
    name: str, steps: int | None, margin: float = 1.0
) -> list[list[float]]:
    """Returns (a, b, c) of each step of a set.

    Args:
        name: a key of ``NEWTON_SCHULZ``.
        steps: number of steps; None for as many as the set has (polar_express: 5). Steps beyond
            the set repeat its last one.
        margin: s; a, b and c are divided by s, s^3 and s^5, which leaves s itself inside the
            interval of each step. Not the eighth step of polar_express, which leads to 1.
    """
    full = NEWTON_SCHULZ[name]
    number = default_steps(name) if steps is None else steps
    chosen = [full[min(i, len(full) - 1)] for i in range(number)]
    s = 1.0 if name in _MARGIN_WITHIN else margin
    return [
        [a, b, c] if _leads_to_one(a, b, c) else [a / s, b / s**3, c / s**5] for a, b, c in chosen
    ]


def default_steps(name: str) -> int:
    """Returns the number of steps that a set is meant for."""
    return 5 if name == "polar_express" else len(NEWTON_SCHULZ[name])


def _leads_to_one(a: float, b: float, c: float) -> bool:
    """Returns whether a step keeps 1 and all that is near it: p(1) = 1 and p'(1) = 0."""
    return a + b + c == 1 and a + 3 * b + 5 * c == 0

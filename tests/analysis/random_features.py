"""Random-features ridge regression: the exact risk curves of arXiv 2512.22768, section 4.

Features tanh, target ReLU, both centred and of unit norm, psi1 = samples / dimension = 4, label
noise 1/4; the width is psi2 = features / dimension, the hyperparameter is the ridge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

PSI1 = 4.0
NOISE2 = 1 / 16


def _linear_part_of_tanh() -> float:
    """Returns mu1^2: E[z tanh z]^2 / E[tanh^2 z] for a standard normal z."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    tanh, share = np.tanh(nodes), weights / weights.sum()
    return float((share @ (nodes * tanh)) ** 2 / (share @ tanh**2))


MU1 = _linear_part_of_tanh()
MU2 = 1 - MU1
STAR1 = 0.25 / (0.5 - 1 / (2 * math.pi))  # E[z relu z] = 1/2, Var[relu z] = 1/2 - 1/(2 pi)
STAR2 = 1 - STAR1


@dataclass(frozen=True)
class Width:
    """Risk against ridge at one width; eta = psi1 / psi2, 0 for the infinite width."""

    eta: float

    def state(self, t: complex) -> tuple[complex, complex, complex]:
        """Returns ridge, m1 and m2 with m1 / m2 = t: the self-consistent equations, solved.

        With Q = mu2^2 m1 + mu1^2 m2 they are lam m1 - 1 + Q (1 + eta (lam m1 - 1)) = 0 and
        mu1^2 psi1 m1 m2 = (m1 - m2) (1 + eta Q); the second is linear in m1 for given t, and
        the first then in the ridge.
        """
        mixed = MU2 + MU1 / t
        m1 = (t - 1) / (MU1 * PSI1 - (t - 1) * self.eta * mixed)
        q = m1 * mixed
        return (1 - q / (1 + self.eta * q)) / m1, m1, m1 / t

    def ridge(self, t: float) -> float:
        return self.state(t)[0].real

    def risk(self, t: float) -> float:
        """Returns -(mu2*^2 + s^2) m1' / m1^2 - mu1*^2 m2' / m1^2, derivatives by the ridge."""
        step = 1e-30
        ridge, m1, m2 = self.state(complex(t, step))
        slopes = (STAR2 + NOISE2) * m1.imag + STAR1 * m2.imag
        return float(-slopes / ridge.imag / m1.real**2)

    def at(self, ridge: float) -> float:
        """Returns the risk at a ridge."""
        return self.risk(float(brentq(lambda t: self.ridge(t) - ridge, 2, 15, xtol=1e-14)))

    def best(self) -> tuple[float, float]:
        """Returns the best ridge, and the risk there: the zero of the risk's slope."""
        step = 1e-3
        t = brentq(lambda t: self.risk(t + step) - self.risk(t - step), 4, 12, xtol=1e-13)
        return self.ridge(t), self.risk(t)

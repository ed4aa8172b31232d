"""Ridge regression on random features, whose best ridge is known at every width in closed form.

The target is y = s(x . b) + noise * z with x from N(0, I_d) and |b| = 1; the model is a linear
readout of ``width`` features tanh(W x) with entries of W from N(0, 1/d), fitted to ``samples``
examples with the penalty ``width * ridge`` on its squared weights. s is a ReLU; both functions
are centred and scaled to unit variance. The loss is the risk, with the noise of the labels.

With samples / dim and width / dim held, its limit for large dim solves two equations
(arXiv 2512.22768, section on random features). From it a = 0.1145 / psi, b = 0.818 / psi in the
ridge and c = 0.0448 / psi^2, where psi = width / dim grows and samples = 4 dim, noise = 1/4: the
best ridge settles twice as fast as fast transfer asks for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from workloads.answers import AnswerCard
from workloads.settings import choice, count, positive
from workloads.workload import Config, Setting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SETTINGS = (
    Setting(name="width", kind="int", doc="Number of features.", required=True, low=1),
    Setting(
        name="ridge",
        kind="float",
        doc="Penalty on the squared weights of the readout, over the width.",
        required=True,
        low=0,
        low_open=True,
        packable=True,
    ),
    count("dim", 100, "Numbers of an input."),
    count("samples", 400, "Training examples."),
    positive("noise", 0.25, "Standard deviation of the labels' noise."),
    choice(
        "form",
        "limit",
        ("limit", "sampled"),
        "limit: the risk of infinitely many dimensions in the same ratios, nothing of it random; "
        "sampled: that of a model that is drawn from the seed and fitted.",
    ),
    count("held_out", 4000, "Examples that measure the risk.", {"form": ("sampled",)}),
)


class RandomFeaturesCard(AnswerCard):
    """Card of the ``random_features`` workload."""

    name = "random_features"
    version = "1.0.0"
    doc = "Ridge regression on random features; its best ridge is known at every width."
    theory = (
        "loss and best ridge settle as width^-1 and what transfer costs as width^-2, which is "
        "proved to be fast (arXiv 2512.22768)"
    )
    settings = SETTINGS
    metrics: Mapping[str, str] = {"val_loss": "Mean squared error with the labels' noise."}

    def costs(self, config: Config) -> Mapping[str, float]:
        """Returns the costs; FLOPs are those of the features and of the fit."""
        width, samples = config["width"], config["samples"]
        flops = 2.0 * width * samples * (config["dim"] + samples) + samples**3 / 3
        return {"params": width, "tokens": samples, "flops": flops}

    def loss_of(self, config: Config, seed: int) -> float:
        """Returns the risk; the seed counts in the form ``sampled`` alone."""
        if config["form"] == "sampled":
            return sampled_risk(config, seed)
        psi, samples = config["width"] / config["dim"], config["samples"] / config["dim"]
        return limit_risk(config["ridge"], psi, samples, config["noise"])


@lru_cache(maxsize=1)
def hermite() -> tuple[float, float]:
    """Returns the squared first Hermite coefficients of tanh and ReLU, both centred and of unit
    variance under a standard normal; the rest of each variance is 1 less it."""
    import numpy as np

    points, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    curved = np.tanh(points)
    feature = (weights @ (points * curved)) ** 2 / (weights @ curved**2)
    return float(feature), 0.25 / (0.5 - 0.5 / math.pi)


def limit_risk(ridge: float, psi: float, samples: float, noise: float = 0.25) -> float:
    """Returns the risk for infinitely many dimensions.

    The two equations of the source, with m1 and m2 for its unknowns, u and v for the squared
    first coefficient of the feature and the rest of its variance, are

        (m1 - m2) (v m1 + u m2) = psi (u m1 m2 + (m2 - m1) / samples)
        ridge m1 = 1 - (m1 - m2) (v m1 + u m2) / (samples u m1 m2)

    so that m2 is the positive root of a quadratic in m1 and the ridge a falling function of m1,
    which is inverted. The risk is made of the derivatives of m1 and m2 by the ridge.

    Args:
        ridge: penalty over the width.
        psi: width over dimensions; infinite is allowed.
        samples: examples over dimensions.
        noise: standard deviation of the labels' noise.
    """
    from scipy.optimize import brentq

    u, target = hermite()

    def ridge_at(log_m1: float) -> float:
        m1 = math.exp(log_m1)
        return _ridge(m1, _second(m1, psi, samples, u), samples, u)

    low, high = -1.0, 0.0
    while ridge_at(low) < ridge:
        low -= 2.0
    while ridge_at(high) > ridge:
        high += 2.0
    m1 = math.exp(brentq(lambda x: ridge_at(x) - ridge, low, high, xtol=1e-14, rtol=1e-14))
    m2 = _second(m1, psi, samples, u)
    d1, d2 = _slopes(m1, m2, psi, samples, u)
    return float((-(1 - target + noise**2) * d1 - target * d2) / m1**2)


def limit_optimum(psi: float, samples: float = 4.0, noise: float = 0.25) -> tuple[float, float]:
    """Returns the best ridge and its risk; see :func:`limit_risk`."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda x: limit_risk(math.exp(x), psi, samples, noise),
        bounds=(math.log(1e-3), math.log(1e2)),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return math.exp(found.x), float(found.fun)


def _second(m1: float, psi: float, samples: float, u: float) -> float:
    """Returns m2, the positive root of u m2^2 + linear m2 - constant."""
    if math.isinf(psi):
        return m1 / (1 + u * samples * m1)
    linear = psi * (u * m1 + 1 / samples) + (1 - 2 * u) * m1
    constant = (1 - u) * m1**2 + psi * m1 / samples
    return 2 * constant / (linear + math.sqrt(linear**2 + 4 * u * constant))


def _ridge(m1: float, m2: float, samples: float, u: float) -> float:
    return (1 - (m1 - m2) * ((1 - u) * m1 + u * m2) / (samples * u * m1 * m2)) / m1


def _slopes(m1: float, m2: float, psi: float, samples: float, u: float) -> tuple[float, float]:
    """Returns the derivatives of m1 and m2 by the ridge."""
    v = 1 - u
    by1 = 2 * v * m1 + (u - v) * m2  # of (m1 - m2) (v m1 + u m2)
    by2 = (u - v) * m1 - 2 * u * m2
    if math.isinf(psi):
        second = 1 / (1 + u * samples * m1) ** 2
    else:
        second = -(by1 - psi * (u * m2 - 1 / samples)) / (by2 - psi * (u * m1 + 1 / samples))
    product = (m1 - m2) * (v * m1 + u * m2)
    whole = by1 + by2 * second
    share = product / (samples * u * m1 * m2)
    change = whole / (samples * u * m1 * m2) - share * (1 / m1 + second / m2)
    ridge = (1 - share) / m1
    first = 1 / (-change / m1 - ridge / m1)
    return first, first * second


def sampled_risk(config: Config, seed: int) -> float:
    """Returns the risk of a model that is drawn and fitted, on examples of its own. Widths of one
    seed share the examples and, as far as they go, the features."""
    import numpy as np

    dim, samples, width = config["dim"], config["samples"], config["width"]
    draws = [np.random.default_rng([seed, use]) for use in range(3)]
    train = draws[0].standard_normal((samples, dim))
    test = draws[1].standard_normal((config["held_out"], dim))
    labels = _target(train) + config["noise"] * draws[0].standard_normal(samples)
    weights = draws[2].standard_normal((width, dim)) / math.sqrt(dim)
    features = _features(train, weights)
    kernel = features @ features.T / width
    dual = np.linalg.solve(kernel + config["ridge"] * np.eye(samples), labels)
    found = _features(test, weights) @ (features.T @ dual) / width
    return float(np.mean((found - _target(test)) ** 2) + config["noise"] ** 2)


def _target(inputs: Floats) -> Floats:
    """Returns the ReLU of the first number, centred and of unit variance, [examples]."""
    import numpy as np

    values = np.maximum(inputs[:, 0], 0.0) - 1 / math.sqrt(2 * math.pi)
    scaled: Floats = values / math.sqrt(0.5 - 0.5 / math.pi)
    return scaled


def _features(inputs: Floats, weights: Floats) -> Floats:
    """Returns the features, [examples, width], of unit variance."""
    import numpy as np

    points, mass = np.polynomial.hermite_e.hermegauss(200)
    size = math.sqrt(mass @ np.tanh(points) ** 2 / mass.sum())
    scaled: Floats = np.tanh(inputs @ weights.T) / size
    return scaled


RANDOM_FEATURES = RandomFeaturesCard()

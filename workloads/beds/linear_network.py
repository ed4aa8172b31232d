"""A shallow linear network under gradient descent, whose loss is known in closed form.

f(x) = v . W1 W0 x, of which W1 alone is trained, on ``samples`` examples in full batches; entries
of W0 are from N(0, 1/dim), of W1 from N(0, 1/width), of v from N(0, 1/width^2). With the errors
e0 = f - y at the start and A = |v|^2 H H^T, H = X W0^T, the loss after T steps is

    loss(rate) = |(I - rate A / samples)^T e0|^2 / (2 samples)

and A goes to X X^T / dim and e0 to -y as the width grows. At a fixed T, gaps a and b close as
width^-1/2 and c as width^-1: fast. Where all examples are orthogonal, there is one eigenvalue; a
and c close as width^-T both and b as width^-1/2 still: not fast (from a follow-up of arXiv
2512.22768 on shallow linear networks at growing horizons).

These are rates of a typical draw. Draws of different widths that do not know of each other would
bury them under their own scatter; so by default they are coupled: A and e0 have exactly the
distribution that networks of that width have, and are made from the same uniform and normal
numbers at every width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from workloads.answers import AnswerCard
from workloads.settings import choice, count
from workloads.workload import Config, Problem, Setting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SETTINGS = (
    Setting(name="width", kind="int", doc="Hidden units.", required=True, low=1),
    Setting(
        name="learning_rate",
        kind="float",
        doc="Learning rate of gradient descent.",
        required=True,
        low=0,
        low_open=True,
        packable=True,
    ),
    count("steps", 2, "Steps of gradient descent."),
    count("dim", 16, "Numbers of an input."),
    count("samples", 8, "Training examples."),
    choice(
        "inputs",
        "gaussian",
        ("gaussian", "orthogonal"),
        "gaussian: drawn from N(0, I), with as many eigenvalues as samples; orthogonal: one "
        "eigenvalue, which asks for no more samples than dim.",
    ),
    choice(
        "draws",
        "coupled",
        ("coupled", "independent"),
        "coupled: networks of all widths of a seed are made from the same numbers; independent: "
        "each is drawn by itself, matrix by matrix.",
    ),
)


class LinearNetworkCard(AnswerCard):
    """Card of the ``linear_network`` workload."""

    name = "linear_network"
    version = "1.0.0"
    doc = "A shallow linear network under gradient descent; its loss is known in closed form."
    theory = (
        "with inputs gaussian loss and best learning_rate settle as width^-1/2, which is fast; "
        "with inputs orthogonal there is one eigenvalue, and the loss settles as width^-steps and "
        "the rate as width^-1/2, which is slow from 2 steps on"
    )
    settings = SETTINGS
    metrics: Mapping[str, str] = {"val_loss": "Half the mean squared error on the examples."}

    def faults(self, config: Config) -> Iterator[Problem]:
        """Yields more orthogonal examples than dimensions, and too narrow coupled draws."""
        if config["inputs"] == "orthogonal" and config["samples"] > config["dim"]:
            yield Problem(
                keys=("samples", "dim"),
                message=f"{config['samples']} orthogonal examples need as many dimensions, and "
                f"dim is {config['dim']}; raise dim or take fewer samples",
            )
        if config["draws"] == "coupled" and config["width"] < config["samples"]:
            yield Problem(
                keys=("width", "samples"),
                message=f"coupled draws need a width of at least the {config['samples']} "
                f"samples, and it is {config['width']}; take draws: independent or fewer samples",
            )

    def costs(self, config: Config) -> Mapping[str, float]:
        """Returns the costs; FLOPs are those of training the matrices."""
        width, samples = config["width"], config["samples"]
        flops = 6.0 * config["steps"] * samples * width * width
        return {"params": width * (width + config["dim"] + 1), "tokens": samples, "flops": flops}

    def loss_of(self, config: Config, seed: int) -> float:
        """Returns the loss of a canonical config after its steps; infinite where it blows up."""
        inputs, labels = examples(config)
        make = coupled if config["draws"] == "coupled" else independent
        matrix, errors = make(inputs, labels, config["width"], seed)
        return after_steps(matrix, errors, rate=config["learning_rate"], steps=config["steps"])


def examples(config: Config) -> tuple[Floats, Floats]:
    """Returns inputs [samples, dim] and labels [samples]: the same for every width and seed."""
    import numpy as np

    samples, dim = config["samples"], config["dim"]
    draw = np.random.default_rng([samples, dim])
    inputs = draw.standard_normal((samples, dim))
    if config["inputs"] == "orthogonal":
        inputs = np.linalg.qr(inputs.T)[0].T * math.sqrt(dim)
    return inputs, draw.standard_normal((samples,))


def limit(inputs: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """Returns A and e0 of infinite width, [samples, samples] and [samples]."""
    return inputs @ inputs.T / inputs.shape[1], -labels


def coupled(inputs: Floats, labels: Floats, width: int, seed: int) -> tuple[Floats, Floats]:
    """Returns A and e0 of one network, made from numbers that all widths of a seed share.

    H H^T has the Wishart distribution of ``width`` degrees of freedom, whose Cholesky factor has
    normal numbers below roots of chi-square ones (Bartlett 1933); |v|^2 width^2 is chi-square; and
    f at the start, given v and H, is normal with the covariance |v|^2 H H^T / width.
    """
    import numpy as np
    from scipy.linalg import cholesky
    from scipy.stats import chi2

    count = len(labels)
    draw = np.random.default_rng([seed, 0])
    levels, outer, normal = draw.random(count), draw.random(), draw.standard_normal(count)
    factor = np.tril(draw.standard_normal((count, count)), -1)
    factor += np.diag(np.sqrt(chi2.ppf(levels, width - np.arange(count))))
    root = cholesky(inputs @ inputs.T / inputs.shape[1], lower=True) @ factor
    length = chi2.ppf(outer, width) / width**2
    start: Floats = math.sqrt(length / width) * root @ normal - labels
    return length * root @ root.T, start


def independent(inputs: Floats, labels: Floats, width: int, seed: int) -> tuple[Floats, Floats]:
    """Returns A and e0 of a network whose matrices are drawn."""
    import numpy as np

    draw = np.random.default_rng([seed, width])
    first = draw.standard_normal((width, inputs.shape[1])) / math.sqrt(inputs.shape[1])
    hidden = inputs @ first.T
    middle = draw.standard_normal((width, width)) / math.sqrt(width)
    last = draw.standard_normal(width) / width
    return last @ last * (hidden @ hidden.T), hidden @ middle.T @ last - labels


def after_steps(matrix: Floats, errors: Floats, *, rate: float, steps: int) -> float:
    """Returns |(I - rate A / samples)^steps e0|^2 / (2 samples)."""
    import numpy as np

    values, vectors = np.linalg.eigh(matrix)
    with np.errstate(over="ignore", invalid="ignore"):
        left = (1 - rate * values / len(errors)) ** steps * (vectors.T @ errors)
        return float(left @ left) / (2 * len(errors))


LINEAR_NETWORK = LinearNetworkCard()

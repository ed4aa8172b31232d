"""The settings of the ``mlp`` workload."""

from __future__ import annotations

from workloads.optimizers import algorithm_settings, choice_settings, power_settings
from workloads.parametrization import rule_settings
from workloads.settings import choice, count, flag, positive
from workloads.training import RUN
from workloads.workload import Condition, Setting

SHAPE = (
    Setting(
        name="width",
        kind="int",
        required=True,
        low=1,
        doc="Size D of the hidden layers.",
    ),
    count("depth", 2, "Number of hidden matrices, D x D each, besides input layer and readout."),
    choice(
        "activation",
        "relu",
        ("relu", "gelu", "tanh"),
        "Activation after every layer but the readout.",
    ),
    flag(
        "biases",
        True,
        "Whether every layer, the readout included, adds a trainable bias, which starts at 0.",
    ),
    flag(
        "residual",
        False,
        "Whether a hidden layer is a residual branch, x + f(W norm(x) + b) with RMSNorm; "
        "rules over depth need it.",
    ),
    positive(
        "init_gain",
        None,
        "Standard deviation of the initial input and hidden matrices over fan_in^(-1/2), at "
        "every width; null is sqrt(2) for relu and gelu and 1 for tanh. That of the readout is 1.",
    ),
    flag(
        "zero_init",
        False,
        "Whether the readout starts at zero; no layer before it has a gradient in the first "
        "step then.",
    ),
    count("batch_size", 64, "Examples a step."),
)

HORIZON = (
    Setting(
        name="data",
        kind="text",
        default="digits",
        doc="Labelled images: digits (8 x 8, 1,797 of them, of scikit-learn), fashion-mnist "
        "(28 x 28, 70,000 of them, of Debian's dataset-fashion-mnist) or fashion-mnist:FOLDER of "
        "its four idx files (those of MNIST and KMNIST fit too).",
    ),
    count(
        "steps", None, "Optimizer steps of the whole run; give exactly one of steps and epochs."
    ),
    positive(
        "epochs",
        None,
        "Examples of the whole run over the number of training images, rounded down to whole "
        "batches, at least one; examples are drawn with replacement.",
    ),
)

_BIASES: Condition = {"biases": (True,)}

RULE = (*choice_settings(), *rule_settings(_BIASES))

OPTIMIZER = (
    *algorithm_settings(_BIASES, attention=False),
    *power_settings(),
)

SETTINGS = SHAPE + HORIZON + RULE + OPTIMIZER + RUN
"""All settings in the order of the documentation."""

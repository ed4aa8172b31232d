"""A convolutional network on scikit-learn's digits under muP, as a workload of sweeper."""

import torch
from sklearn.datasets import load_digits
from torch import nn

from workloads.settings import count
from workloads.torch_workload import TorchWorkload


class DigitsCnn(TorchWorkload):
    name = "digits_cnn"
    version = "1.0.0"
    doc = "Two convolutions and a readout on 8 x 8 digits."
    own_settings = (count("kernel", 3, "Side of a convolution's kernel."),)
    guess = 2.3026  # nats: ten classes

    def module(self, config):
        width, kernel = config["width"], config["kernel"]
        return nn.Sequential(
            nn.Conv2d(1, width, kernel, padding="same"),
            nn.ReLU(),
            nn.Conv2d(width, width, kernel, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, 10),
        )

    def examples(self, config):
        images, labels = (torch.from_numpy(each) for each in load_digits(return_X_y=True))
        images = images.float().view(-1, 1, 8, 8) / 16
        held_out = torch.arange(len(labels)) % 5 == 0
        return images[~held_out], labels[~held_out], images[held_out], labels[held_out]


CNN = DigitsCnn()

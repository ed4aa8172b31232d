"""Made-up measurements with known slopes, and tiny studies that are quick to check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.check import Measured, Model
from sweeper.study import Study
from workloads.workload import Layer

SIZES = (32.0, 64.0, 128.0, 256.0)

SOUND: Mapping[str, float] = {
    "initial_rms.hidden": -0.5,
    "update_rms.hidden": -1.0,
    "update_norm.hidden": 0.0,
    "update_alignment.hidden": 0.0,
    "initial_rms.readout": -1.0,
    "update_rms.readout": -1.0,
    "update_norm.readout": -0.5,
    "update_alignment.readout": 0.0,
    "activation_moved.logits": 0.0,
    "activation_rms.logits": 0.0,
}
"""Slopes of a sound rule, by column; a tensor is called like its role."""


def measured(
    slopes: Mapping[str, float] | None = None,
    *,
    later: Mapping[str, float] | None = None,
    kept: Mapping[str, Sequence[float]] | None = None,
    rates: Mapping[str, float] | None = None,
    seeds: int = 4,
    spread: float = 0.01,
) -> Measured:
    """Returns models whose columns go with the width as powers.

    Args:
        slopes: that differ from those of a sound rule.
        later: slopes that differ after the last step alone.
        kept: by tensor, the share of the update that its epsilon leaves at each size.
        rates: by tensor, the slope of its learning rate.
        seeds: of each size.
        spread: of the slopes over the seeds.
    """
    models = []
    for place, size in enumerate(SIZES):
        values = {}
        for step, changed in ((2, {}), (10, later or {})):
            own = {**SOUND, **(slopes or {}), **changed}
            values[step] = {
                column: tuple(
                    (size / 32) ** (slope + spread * (seed - (seeds - 1) / 2))
                    for seed in range(seeds)
                )
                for column, slope in own.items()
            } | {
                f"epsilon_share.{name}": tuple([1 - each[place]] * seeds)
                for name, each in (kept or {}).items()
            }
        width = int(size)
        layers = {
            "hidden": Layer(kind="hidden", inputs=width, outputs=width),
            "readout": Layer(kind="readout", inputs=width, outputs=10),
        }
        each = {name: (size / 32) ** slope for name, slope in (rates or {}).items()}
        models.append(Model(size=size, layers=layers, values=values, rates=each))
    return Measured(variant="made", scale="width", models=tuple(models))


def study(**sections: Any) -> Study:
    """Returns a study of a tiny perceptron, with a sound and an unruled variant."""
    return Study.from_document(
        {
            "name": "tiny",
            "workload": "mlp",
            "scale": "width",
            "fixed": {"steps": 40, "base_width": 16, "batch_size": 16, "clip": 0.0},
            "variants": {"sp": {"parametrization": "sp"}, "mup": {"parametrization": "mup"}},
            "sweep": {"width": [16, 64], "learning_rate": [2.0**-9, 2.0**-7]},
            **sections,
        }
    )

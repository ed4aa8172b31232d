"""A planted loss surface with a known optimum and drift: for trying sweeper out, for tests and
for measuring what orchestration costs. It trains nothing, and can misbehave on purpose.

loss(x, n) = floor + n^-1/2 + curvature / 2 * (x - optimum - drift * log2(n / 32))^2 + noise * z

with x = log2(learning_rate), n = width, and z standard normal, drawn from the trial's seed, width
and learning rate. Beyond ``cliff`` octaves above the optimum a trial diverges.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.settings import completed, missing
from workloads.workload import Config, Measurement, Member, Problem, Resolved, Setting

if TYPE_CHECKING:
    from workloads.workload import TrainerFactory

REFERENCE_WIDTH = 32

SETTINGS = (
    Setting(name="width", kind="int", doc="Scale of the surface.", required=True, low=1),
    Setting(
        name="learning_rate",
        kind="float",
        doc="The hyperparameter with a planted optimum.",
        required=True,
        low=0,
        low_open=True,
        packable=True,
    ),
    Setting(name="steps", kind="int", doc="Steps of a trial.", default=1, low=1),
    Setting(name="optimum", kind="float", doc="log2 of the best rate at width 32.", default=-5.0),
    Setting(name="drift", kind="float", doc="Octaves of drift per doubling.", default=-0.5),
    Setting(
        name="curvature",
        kind="float",
        doc="Second derivative of the loss, nats per octave squared.",
        default=0.05,
        low=0,
        low_open=True,
    ),
    Setting(name="noise", kind="float", doc="Noise of the loss, nats.", default=0.01, low=0),
    Setting(name="floor", kind="float", doc="Loss at infinite width, nats.", default=1.0),
    Setting(
        name="cliff",
        kind="float",
        doc="Octaves above the optimum at which trials diverge; null for never.",
        default=None,
        optional=True,
        low=0,
        low_open=True,
    ),
    Setting(
        name="step_seconds",
        kind="float",
        doc="Seconds of one step, spent computing.",
        default=0.0,
        low=0,
    ),
    Setting(
        name="misbehave",
        kind="choice",
        doc="What goes wrong half way: bug raises, memory runs out of it, die kills the process, "
        "die_once kills it unless there is a checkpoint.",
        default="never",
        choices=("never", "bug", "memory", "die", "die_once"),
        packable=True,
    ),
)


class PlantedCard:
    """Card of the ``planted`` workload."""

    name = "planted"
    version = "1.0.0"
    doc = "A loss surface with a known optimum and drift; trains nothing."
    settings = SETTINGS
    metrics: Mapping[str, str] = {"val_loss": "Loss of the surface, nats."}
    units: Mapping[str, str] = {"val_loss": "nats"}

    def problems(self, config: Config) -> list[Problem]:
        """Returns what is missing; every combination of given settings is fine."""
        return [
            Problem(keys=(name,), message=f"{name} is required")
            for name in missing(SETTINGS, config)
        ]

    def resolve(self, config: Config) -> Resolved:
        """Returns the completed config; a step counts as one token and width^2 FLOPs."""
        full = completed(SETTINGS, config)
        steps, width = full["steps"], full["width"]
        return Resolved(
            config=full,
            derived={
                "params": width * width,
                "steps": steps,
                "tokens": steps,
                "flops": float(steps * width * width),
            },
        )

    def data_fingerprint(self, config: Config) -> str:
        """Returns ``none``: there is no data."""
        return "none"

    def pack_size(self, config: Config, device: str) -> int:
        """Returns 1: nothing is gained side by side."""
        return 1

    def trainer(self) -> TrainerFactory:
        """Returns the factory of the pretended trainer."""
        return PlantedTrainer


class PlantedTrainer:
    """Walks through the steps of a pack; the loss falls towards the surface.

    Raises:
        ValueError: a checkpoint is unreadable or of another trial.
    """

    def __init__(self, members: Sequence[Member], *, threads: int, device: str) -> None:
        self._members = list(members)
        states = [_load(member) for member in members]
        self._step = states[0]["step"] if states else 0
        self._sums = [state["sum"] for state in states]
        self._ended = [False] * len(members)

    def run(self) -> Iterator[Sequence[Measurement]]:
        """Yields once a step."""
        while not all(self._ended):
            self._step += 1
            _compute(max(float(member.config["step_seconds"]) for member in self._members))
            yield [self._measure(index) for index, ended in enumerate(self._ended) if not ended]

    def save(self, member: int, path: Path) -> None:
        """Writes step and running sum as JSON."""
        state = {
            "step": self._step,
            "sum": self._sums[member],
            "trial": _name(self._members[member]),
        }
        path.write_text(json.dumps(state), encoding="utf-8")

    def device_name(self) -> str:
        """Returns ``cpu``: nothing else is used."""
        return "cpu"

    def _measure(self, index: int) -> Measurement:
        member = self._members[index]
        steps = int(member.config["steps"])
        _misbehave(member, self._step, steps)
        final = surface(member.config, member.seed)
        # A sum over steps makes the end depend on every step, as training does.
        self._sums[index] = 0.9 * self._sums[index] + math.sin(self._step + member.seed)
        loss = final + (1 - self._step / steps) * (1 + 0.01 * self._sums[index])
        if math.isinf(final):
            return self._last(index, "diverged", {})
        if self._step < steps:
            return Measurement(
                member=index, step=self._step, tokens=self._step, metrics={"train_loss": loss}
            )
        value = final + 1e-12 * self._sums[index]
        return self._last(index, "completed", {"val_loss": value})

    def _last(self, index: int, status: Any, metrics: dict[str, float]) -> Measurement:
        self._ended[index] = True
        return Measurement(
            member=index,
            step=self._step,
            tokens=self._step,
            metrics=metrics,
            mark=bool(metrics),
            status=status,
        )


def surface(config: Config, seed: int) -> float:
    """Returns the final loss of a trial in nats; infinite beyond the cliff."""
    import numpy as np

    width, rate = int(config["width"]), float(config["learning_rate"])
    best = config["optimum"] + config["drift"] * math.log2(width / REFERENCE_WIDTH)
    off = math.log2(rate) - best
    if config["cliff"] is not None and off > config["cliff"]:
        return math.inf
    draw = np.random.default_rng([seed, width, int(math.log2(rate) * 4096) % 2**32])
    noise = float(draw.standard_normal()) * config["noise"]
    return float(config["floor"] + width**-0.5 + config["curvature"] / 2 * off**2 + noise)


def _name(member: Member) -> str:
    return json.dumps([dict(member.config), member.seed], sort_keys=True)


def _load(member: Member) -> dict[str, Any]:
    if member.checkpoint is None:
        return {"step": 0, "sum": 0.0}
    state: dict[str, Any] = json.loads(member.checkpoint.read_text(encoding="utf-8"))
    if state.get("trial") != _name(member):
        raise ValueError(f"{member.checkpoint} is a checkpoint of another trial")
    if not isinstance(state["step"], int) or not isinstance(state["sum"], float):
        raise ValueError(f"{member.checkpoint} holds values of another kind")
    return state


def _compute(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def _misbehave(member: Member, step: int, steps: int) -> None:
    kind = member.config["misbehave"]
    if kind == "never" or step < (steps + 1) // 2:
        return
    if kind == "bug":
        raise RuntimeError("planted bug")
    if kind == "memory":
        raise MemoryError("planted shortage of memory")
    if kind == "die" or member.checkpoint is None:
        os.kill(os.getpid(), signal.SIGKILL)


PLANTED = PlantedCard()

"""A multilayer perceptron with a leading ensemble axis, and its trainer.

Legend: E members of the pack, B examples, F features, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from workloads.mlp.images import ImageStream
from workloads.mlp.shape import shape_of
from workloads.optimizers import Unit
from workloads.training import CACHED, Training, compute_dtype, sampled
from workloads.workload import Card, Member, Resolved

RMS_EPSILON = 1e-6
"""Added to the mean square in the norm before each residual branch and before the readout."""

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
}

Observe = Callable[[str, Tensor], None]
"""Is told the name and the value of an activation, [E, B, ...]."""


class _Spec(NamedTuple):
    """One tensor of the model: its group, its shape without E, and the spread of its start."""

    group: str
    shape: tuple[int, ...]
    std: float


class Mlp:
    """The model as functions of stacked parameters; it holds none itself.

    x <- phi(W x + b) for the input layer and for each hidden one, then logits = R x + c. With
    ``residual``, x <- W x + b for the input layer, x <- x + beta phi(W norm(x) + b) for each
    hidden one, logits = R norm(x) + c, with RMSNorm and beta the depth multiplier (one layer a
    branch, as in arXiv 2310.02244). A matrix is [E, out, in]; members never meet.

    Attributes:
        units: what the parameters make up for an optimizer, by the name of their group.
    """

    def __init__(self, plan: Resolved, *, compute: torch.dtype = torch.float32) -> None:
        """Reads the shape off a resolved config.

        Args:
            plan: the resolved config of any member of the pack.
            compute: number format of matrix products and activations; parameters, residual
                stream and loss keep their own.
        """
        self._config = plan.config
        self._groups: Mapping[str, Mapping[str, float]] = plan.derived["groups"]
        self._beta: float = plan.derived["branch_multiplier"]
        self._shape = shape_of(plan.config)
        self._activation = ACTIVATIONS[plan.config["activation"]]
        self._compute = compute
        self._specs = self._tensors()
        self.units: Mapping[str, Sequence[Unit]] = self._units()

    def _units(self) -> dict[str, list[Unit]]:
        """Returns every tensor as a unit of its group."""
        units: dict[str, list[Unit]] = {}
        for name, spec in self._specs.items():
            units.setdefault(spec.group, []).append(Unit(names=(name,)))
        return units

    def _tensors(self) -> dict[str, _Spec]:
        """Returns every tensor in the order in which members draw their initial values."""
        shape = self._shape
        layers = ["embedding", *map(str, range(shape.depth)), "readout"]
        specs = {}
        for name in layers:
            role = name if name in ("embedding", "readout") else "hidden"
            inputs = shape.features if role == "embedding" else shape.width
            outputs = shape.classes if role == "readout" else shape.width
            specs[name] = _Spec(role, (outputs, inputs), self._groups[role]["init_std"])
            if shape.biases:
                leaf = f"vector.{role}"
                group = leaf if leaf in self._groups else "vector"
                specs[f"{name}.bias"] = _Spec(group, (outputs,), 0.0)
        return specs

    def initial(self, seeds: Sequence[int]) -> dict[str, Tensor]:
        """Returns the parameters at the start, [E, ...], on the CPU in float32.

        One generator a member draws its tensors in a fixed order, so that a member starts the
        same in any pack. Biases start at 0.
        """
        members = [self._initial_member(seed) for seed in seeds]
        return {name: torch.stack([each[name] for each in members]) for name in self._specs}

    def _initial_member(self, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {
            name: torch.randn(spec.shape, generator=generator) * spec.std
            if spec.std
            else torch.zeros(spec.shape)
            for name, spec in self._specs.items()
        }

    def losses(self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss of each example, [E, B], nats.

        Args:
            parameters: by name, each [E, ...].
            inputs: [E, B, F].
            targets: labels, [E, B].
        """
        return _losses(self.logits(parameters, inputs), targets)

    def sampled_losses(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, draws: Tensor
    ) -> Tensor:
        """Returns the losses, [E, B], on labels that the model guesses; see ``Model``."""
        logits = self.logits(parameters, inputs)
        return _losses(logits, sampled(logits.detach(), draws))

    def evaluated(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> dict[str, Tensor]:
        """Returns of each example, [E, B], ``val_loss`` and ``val_accuracy`` (0 or 1)."""
        logits = self.logits(parameters, inputs)
        right = logits.argmax(-1) == targets
        return {"val_loss": _losses(logits, targets), "val_accuracy": right.to(logits.dtype)}

    def logits(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, observe: Observe | None = None
    ) -> Tensor:
        """Returns the logits, [E, B, C], in the number format of the parameters.

        Args:
            parameters: by name, each [E, ...].
            inputs: [E, B, F].
            observe: is told the value after the input layer and after each hidden one, and the
                logits.
        """
        tell = observe or _tell_nobody
        x = self._layer(parameters, "embedding", inputs)
        x = x.to(inputs.dtype) if self._config["residual"] else self._activation(x)
        tell("embedding", x)
        for layer in range(self._shape.depth):
            x = self._hidden(parameters, str(layer), x)
            tell(f"layer {layer}", x)
        logits = self._layer(parameters, "readout", self._normed(x))
        tell("logits", logits)
        return logits.to(parameters["readout"].dtype)

    def _hidden(self, parameters: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
        """Returns the value [E, B, D] after one hidden layer."""
        after = self._activation(self._layer(parameters, name, self._normed(x)))
        return torch.add(x, after, alpha=self._beta) if self._config["residual"] else after

    def _layer(self, parameters: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
        """Returns W x + b, [E, B, out], in the number format of the computation."""
        x, weight = x.to(self._compute), parameters[name].to(self._compute).mT
        bias = parameters.get(f"{name}.bias")
        if bias is None:
            return torch.bmm(x, weight)
        return torch.baddbmm(bias.to(self._compute)[:, None], x, weight)

    def _normed(self, x: Tensor) -> Tensor:
        if not self._config["residual"]:
            return x
        return F.rms_norm(x, x.shape[-1:], eps=RMS_EPSILON)


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the cross-entropy [E, B], nats, of logits [E, B, C] with labels [E, B]."""
    each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return each.view(labels.shape)


def _tell_nobody(name: str, value: Tensor) -> None:
    pass


class MlpTrainer(Training):
    """Trains a pack of ``mlp`` trials."""

    def __init__(
        self, card: Card, members: Sequence[Member], *, threads: int, device: str
    ) -> None:
        """Makes model, data and optimizers; see :class:`TrainerFactory`."""
        plans = [card.resolve(member.config) for member in members]
        compute = compute_dtype(plans[0].config["dtype"], device)
        super().__init__(
            members,
            plans,
            card=card,
            model=Mlp(plans[0], compute=compute),
            stream=ImageStream(plans[0].config, device=device),
            together=members_together(plans[0], len(members), device),
            threads=threads,
            device=device,
        )


def members_together(plan: Resolved, members: int, device: str) -> int:
    """Returns how many members go through the model at once: on a GPU all of them, on a CPU as
    many as keep one activation of the pack within ``CACHED`` numbers."""
    if device == "cuda":
        return members
    shape = shape_of(plan.config)
    examples: int = shape.batch_size // plan.config["accumulation"]  # a pass
    return max(1, min(members, CACHED // (examples * shape.width)))

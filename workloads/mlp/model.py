"""A multilayer perceptron with a leading ensemble axis, and its trainer.

Legend: E members of the pack, B examples, F features, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from workloads.mlp.shape import shape_of
from workloads.mlp.stream import ImageStream
from workloads.optimizers import Unit
from workloads.training import (
    RMS_EPSILON,
    InitialTensor,
    Observe,
    Training,
    compute_dtype,
    grouped,
    sampled,
    tell_nobody,
)
from workloads.workload import Card, Member, Record, Resolved

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
}


class Mlp:
    """The model as functions of stacked parameters; it holds none itself.

    x <- phi(W x + b) for the input layer and for each hidden one, then logits = R x + c. With
    ``residual``, x <- W x + b for the input layer, x <- x + beta phi(W norm(x) + b) for each
    hidden one, logits = R norm(x) + c, with RMSNorm and beta the depth multiplier (one layer a
    branch, as in arXiv 2310.02244). A matrix is [E, out, in]; members never meet.

    Attributes:
        tensors: every tensor and how it starts, by name.
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
        self._beta: float = plan.derived["branch_multiplier"]
        self._shape = shape_of(plan.config)
        self._activation = ACTIVATIONS[plan.config["activation"]]
        self._compute = compute
        self.tensors = _tensors(plan)
        self.units: Mapping[str, Sequence[Unit]] = grouped(
            ((each.kind, Unit(names=(name,))) for name, each in self.tensors.items()), plan
        )

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
            observe: is told the value after the input layer and after each hidden one, the
                logits, and what goes into each matrix (``input 0``).
        """
        tell = observe or tell_nobody
        tell("input embedding", inputs)
        x = self._layer(parameters, "embedding", inputs)
        x = x.to(inputs.dtype) if self._config["residual"] else self._activation(x)
        tell("embedding", x)
        for layer in range(self._shape.depth):
            x = self._hidden(parameters, str(layer), x, tell)
            tell(f"layer {layer}", x)
        last = self._normed(x)
        tell("input readout", last)
        logits = self._layer(parameters, "readout", last)
        tell("logits", logits)
        return logits.to(parameters["readout"].dtype)

    def _hidden(
        self, parameters: Mapping[str, Tensor], name: str, x: Tensor, tell: Observe
    ) -> Tensor:
        """Returns the value [E, B, D] after one hidden layer."""
        normed = self._normed(x)
        tell(f"input {name}", normed)
        after = self._activation(self._layer(parameters, name, normed))
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


def _tensors(plan: Resolved) -> dict[str, InitialTensor]:
    """Returns every tensor by name, in the order in which members draw their initial values."""
    shape, groups = shape_of(plan.config), plan.derived["groups"]
    tensors = {}
    for name in ("embedding", *map(str, range(shape.depth)), "readout"):
        role = name if name in ("embedding", "readout") else "hidden"
        inputs = shape.features if role == "embedding" else shape.width
        outputs = shape.classes if role == "readout" else shape.width
        tensors[name] = InitialTensor(role, (outputs, inputs), groups[role]["init_std"])
        if shape.biases:
            tensors[f"{name}.bias"] = InitialTensor(f"vector.{role}", (outputs,), 0.0)
    return tensors


class MlpTrainer(Training):
    """Trains a pack of ``mlp`` trials."""

    def __init__(
        self,
        card: Card,
        members: Sequence[Member],
        *,
        threads: int,
        device: str,
        record: Record | None = None,
    ) -> None:
        """Makes model, data and optimizers; see :class:`TrainerFactory`."""
        plan = card.resolve(members[0].config)
        shape = shape_of(plan.config)
        examples: int = shape.batch_size // plan.config["accumulation"]  # a pass
        super().__init__(
            card,
            members,
            model=Mlp(plan, compute=compute_dtype(plan.config["dtype"], device)),
            stream=ImageStream(plan.config, device=device),
            activation=examples * shape.width,
            record=record,
            threads=threads,
            device=device,
        )

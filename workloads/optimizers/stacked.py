"""The core of every optimizer: buckets, each member's settings, state, decay and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from workloads.optimizers.algorithm import Algorithm, Now, State
from workloads.optimizers.layout import Bucket, buckets
from workloads.optimizers.optimizer import Group, Parameters, select


class Stacked:
    """Drives the tensors of a group by an algorithm; an :class:`Optimizer`.

    W <- W - s(t) * (learning_rate * U + weight_decay * W), where U is the algorithm's and
    learning rate and weight decay are those of the group. With ``constant_decay`` the second term
    is not multiplied by s(t).

    Half-precision parameters have their gradients, state and update in float32.
    """

    def __init__(self, parameters: Parameters, group: Group, algorithm: Algorithm) -> None:
        """Makes buckets and state.

        Raises:
            ValueError: the algorithm takes matrices, and a tensor is none.
        """
        self._parameters = parameters
        self._group = group
        self._algorithm = algorithm
        self._buckets = buckets(group.units, parameters, elementwise=algorithm.elementwise)
        self._states = [self._start(bucket) for bucket in self._buckets]
        self._place_settings()

    @property
    def _members(self) -> int:
        return len(self._group.learning_rates)

    def _start(self, bucket: Bucket) -> State:
        """Returns the state of a bucket: that of one member, once for each of them."""
        one = {name: self._parameters[name][:1] for unit in bucket.units for name in unit.names}
        state = self._algorithm.start(_working(torch.zeros_like(bucket.gather(one))))
        return _mapped(state, lambda each: each.repeat(self._members, *[1] * (each.ndim - 1)))

    def _place_settings(self) -> None:
        """Puts the members' settings on the device, in double precision until they are used."""
        self._rates = self._column(self._group.learning_rates)
        self._decays = self._column(self._group.weight_decays)
        self._epsilons = {
            name: self._column(values) for name, values in self._group.epsilons.items()
        }

    def _column(self, values: Sequence[float]) -> Tensor:
        """Returns [E]."""
        device = self._parameters[self._group.names[0]].device
        return torch.tensor(values, dtype=torch.float64, device=device)

    @torch.no_grad()
    def step(
        self,
        gradients: Mapping[str, Tensor],
        *,
        scale: float,
        step: int,
        curvature: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Updates the group's tensors in place."""
        for bucket, state in zip(self._buckets, self._states, strict=True):
            gradient = _working(bucket.gather(gradients))
            now = self._now(bucket, gradient, step, curvature)
            update = self._algorithm.update(gradient, state, now)
            for name, each in bucket.scatter(update, self._members).items():
                self._apply(self._parameters[name], each, scale)

    def wants_curvature(self, step: int) -> bool:
        """Returns whether the update of a step reads ``curvature``."""
        return self._algorithm.wants_curvature(step)

    def _now(
        self,
        bucket: Bucket,
        gradient: Tensor,
        step: int,
        curvature: Mapping[str, Tensor] | None,
    ) -> Now:
        repeats = gradient.shape[0] // self._members
        shape = (-1, *[1] * (gradient.ndim - 1))
        wanted = curvature is not None and self.wants_curvature(step)
        return Now(
            step=step,
            epsilons={
                name: each.to(gradient.dtype).repeat_interleave(repeats).view(shape)
                for name, each in self._epsilons.items()
            },
            weights=lambda: _working(bucket.gather(self._parameters)),
            curvature=_working(bucket.gather(curvature)) if curvature and wanted else None,
        )

    def _apply(self, weight: Tensor, update: Tensor, scale: float) -> None:
        shape = (-1, *[1] * (weight.ndim - 1))
        exact = weight if weight.dtype == update.dtype else weight.to(update.dtype)
        if any(self._group.weight_decays):
            share = 1.0 if self._group.constant_decay else scale
            exact.mul_((1 - share * self._decays).to(exact.dtype).view(shape))
        exact.addcmul_((scale * self._rates).to(exact.dtype).view(shape), update, value=-1)
        if exact is not weight:
            weight.copy_(exact)

    def state(self, member: int) -> dict[str, Tensor]:
        """Returns views of one member's state, [K, ...] each, by bucket and name."""
        views: dict[str, Tensor] = {}
        for bucket, state in zip(self._buckets, self._states, strict=True):
            for name, each in _named(state):
                views[f"{bucket.key}:{name}"] = each.unflatten(0, (self._members, -1))[member]
        return views

    def keep(self, index: Sequence[int]) -> None:
        """Drops all members but those at ``index``."""
        members = self._members

        def kept(each: Tensor) -> Tensor:
            return select(each.unflatten(0, (members, -1)), index).flatten(0, 1)

        self._states = [_mapped(state, kept) for state in self._states]
        self._group = self._group.keep(index)
        self._place_settings()


def _working(tensor: Tensor) -> Tensor:
    """Returns a tensor in the number format of the optimizer: float32 for half precision."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _mapped(state: State, change: Callable[[Tensor], Tensor]) -> State:
    return {
        name: _mapped(each, change) if isinstance(each, dict) else change(each)
        for name, each in state.items()
    }


def _named(state: State, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    for name, each in state.items():
        if isinstance(each, dict):
            yield from _named(each, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", each

"""The core of every optimizer: buckets, each member's settings, state, decay and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from workloads.optimizers.algorithm import Algorithm, State, StepContext
from workloads.optimizers.layout import Bucket, Parameters, Unit, buckets, by_member, select


@dataclass(frozen=True, kw_only=True)
class Group:
    """Tensors that one optimizer drives with the same settings, and each member's settings.

    Attributes:
        units: the matrices (or vectors) that the tensors make up.
        learning_rates: peak learning rate of each member, used as it is.
        weight_decays: independent weight decay of each member: the share of a weight that one
            update takes away at the peak of the schedule.
        epsilons: by name, the epsilon of each member; ``epsilon`` is the optimizer's first.
        constant_decay: True if weight decay does not follow the schedule.
    """

    units: tuple[Unit, ...]
    learning_rates: tuple[float, ...]
    weight_decays: tuple[float, ...]
    epsilons: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    constant_decay: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors."""
        return tuple(name for unit in self.units for name in unit.names)

    def keep(self, index: Sequence[int]) -> Group:
        """Returns the group of the chosen members."""
        return Group(
            units=self.units,
            learning_rates=tuple(self.learning_rates[i] for i in index),
            weight_decays=tuple(self.weight_decays[i] for i in index),
            epsilons={
                name: tuple(values[i] for i in index) for name, values in self.epsilons.items()
            },
            constant_decay=self.constant_decay,
        )


class _Settings(NamedTuple):
    """What the members of a bucket's stack have been given.

    Attributes:
        rates: learning rates, [E, 1, ...], in double precision until they are used.
        decays: weight decays, likewise.
        epsilons: by name, [E * K, 1, ...], in the number format of the stack.
    """

    rates: Tensor
    decays: Tensor
    epsilons: dict[str, Tensor]


class Optimizer:
    """Drives the tensors of a group by an algorithm.

    W <- W - s(t) * (learning_rate * U + weight_decay * W), where U is the algorithm's and
    learning rate and weight decay are those of the group. With ``constant_decay`` the second term
    is not multiplied by s(t). Members never meet: what one of them holds, NaN included, leaves
    the bits of the others.

    Half-precision parameters have their gradients, state and update in float32.
    """

    def __init__(self, parameters: Parameters, group: Group, algorithm: Algorithm) -> None:
        """Makes buckets and state.

        Raises:
            ValueError: the units cannot be laid out, see :func:`buckets`.
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
        one = {name: self._parameters[name][:1] for name in bucket.names}
        state = self._algorithm.start(_working(torch.zeros_like(bucket.gather(one))))
        return _mapped(state, lambda each: each.repeat(self._members, *[1] * (each.ndim - 1)))

    def _place_settings(self) -> None:
        """Puts the members' settings beside each bucket."""
        self._settings = [self._settings_of(bucket) for bucket in self._buckets]

    def _settings_of(self, bucket: Bucket) -> _Settings:
        weight = self._parameters[bucket.names[0]]
        shape = (-1, *[1] * (weight.ndim - 1))
        dtype = _working(weight[:0]).dtype

        def column(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float64, device=weight.device)

        return _Settings(
            rates=column(self._group.learning_rates).view(shape),
            decays=column(self._group.weight_decays).view(shape),
            epsilons={
                name: column(values).to(dtype).repeat_interleave(bucket.matrices).view(shape)
                for name, values in self._group.epsilons.items()
            },
        )

    @torch.no_grad()
    def step(
        self,
        gradients: Mapping[str, Tensor],
        *,
        scale: float,
        step: int,
        curvature: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Updates the group's tensors in place; may overwrite the gradients.

        Args:
            gradients: by name, shaped like the parameters, contiguous.
            scale: s(t).
            step: number of this update, t, from 1.
            curvature: where :meth:`wants_curvature`, the gradients of the mean loss of this
                batch on labels sampled from the model.
        """
        curvature = curvature if self.wants_curvature(step) else None
        for bucket, state, settings in zip(
            self._buckets, self._states, self._settings, strict=True
        ):
            gradient = _working(bucket.gather(gradients))
            now = self._now(bucket, settings, step, curvature)
            update = self._algorithm.update(gradient, state, now)
            _lay_out(state)
            self._apply(bucket, settings, update, scale)

    def wants_curvature(self, step: int) -> bool:
        """Returns whether the update of a step reads ``curvature``."""
        return self._algorithm.wants_curvature(step)

    def _now(
        self,
        bucket: Bucket,
        settings: _Settings,
        step: int,
        curvature: Mapping[str, Tensor] | None,
    ) -> StepContext:
        return StepContext(
            step=step,
            epsilons=settings.epsilons,
            weights=lambda: _working(bucket.gather(self._parameters)),
            curvature=None if curvature is None else _working(bucket.gather(curvature)),
        )

    def _apply(self, bucket: Bucket, settings: _Settings, update: Tensor, scale: float) -> None:
        """Decays and moves the bucket's weights; rounds those in half precision once."""
        share = 1.0 if self._group.constant_decay else scale
        decaying = share > 0 and any(self._group.weight_decays)
        kept = (1 - share * settings.decays).to(update.dtype) if decaying else None
        rates = (scale * settings.rates).to(update.dtype)
        for name, each in bucket.scatter(update, self._members).items():
            weight = self._parameters[name]
            exact = _working(weight)
            if kept is not None:
                exact.mul_(kept)
            exact.addcmul_(rates, each, value=-1)
            if exact is not weight:
                weight.copy_(exact)

    def set_weight_decay(self, *decays: float) -> None:
        """Takes other weight decays, one for each member."""
        if decays != self._group.weight_decays:
            self._group = replace(self._group, weight_decays=decays)
            self._place_settings()

    def state(self, member: int) -> dict[str, Tensor]:
        """Returns views of one member's state, [K, ...] each, by bucket and name."""
        views: dict[str, Tensor] = {}
        for bucket, state in zip(self._buckets, self._states, strict=True):
            for name, each in _named(state):
                views[f"{bucket.key}:{name}"] = by_member(each, self._members)[member]
        return views

    def scale_epsilons(self, factor: float) -> None:
        """Makes every epsilon so many times as large, from the next update on."""
        scaled = {
            name: tuple(factor * each for each in values)
            for name, values in self._group.epsilons.items()
        }
        self._group = replace(self._group, epsilons=scaled)
        self._place_settings()

    def keep(self, index: Sequence[int]) -> None:
        """Drops all members but those at ``index``; the parameters are compacted elsewhere."""
        members = self._members

        def kept(each: Tensor) -> Tensor:
            return select(by_member(each, members), index).flatten(0, 1)

        self._states = [_mapped(state, kept) for state in self._states]
        self._group = self._group.keep(index)
        self._place_settings()


def _working(tensor: Tensor) -> Tensor:
    """Returns a tensor in the number format of the optimizer: float32 for half precision."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _lay_out(state: State) -> None:
    """Makes every tensor contiguous, as it comes back from a checkpoint: the bits of a product
    depend on how its factors lie in memory."""
    for name, each in state.items():
        if isinstance(each, dict):
            _lay_out(each)
        else:
            state[name] = each.contiguous()


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

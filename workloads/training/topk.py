"""The top-k decomposition of a training (arXiv 2512.22768), one member by itself.

Between points of the averaged path, phi = sum over them of <g_t, dW_t>, gradient of the held-out
loss times step, is the change of that loss to first order; the eigenvalues of S(g_t, dW_t) of
every matrix split it into directions, and phi^k sums the k largest of each. Vectors (gains,
biases) count in every phi^k with their whole product.

The source takes the gradient at the start of a step. Here g_t is the mean of those at its start
and its end, which costs nothing, since the end is the next start: the error of phi goes with the
square of the length of a step, and short runs of few points can be decomposed as well. Lengths of
the path are shares of the run, those of the source's run of 7,185 steps.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from workloads.training.alignment import EXACT, SKETCHED, Alignment, Side, align, width_sides
from workloads.training.model import Model, Stream
from workloads.workload import Record

WARMUP = 2000 / 7185
"""Share of the run over which average and spacing widen."""

FIRST_WINDOW = 50 / 7185
"""Window of the average at the start, as a share of the run."""

LAST_WINDOW = 2000 / 7185
"""Window of the average from the end of its warmup on."""

WIDENING = 5
"""Times as far apart as at the start points lie from the end of the warmup on."""

POINTS = 100
"""Points after the start, at most one a step."""

HELD = 1024
"""Examples (or tokens) that the loss of a path is read on, at least where there are so many: else
as many as a training batch has."""

Each = Callable[[Mapping[str, Tensor]], Tensor]
"""Losses of the single examples, [N], of one member's parameters, without the ensemble axis."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """The fixed held-out examples that a path is read on.

    Attributes:
        each: their losses, [N].
        known: what is known of each of them, by name, [N]: ``label`` and whatever else.
    """

    each: Each
    known: Mapping[str, Tensor]


@runtime_checkable
class LossesOfTokens(Protocol):
    """A model whose examples are the tokens of sequences."""

    def token_losses(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> Tensor:
        """Returns the loss of each token, [E, B * T]."""
        ...


@runtime_checkable
class KnowsExamples(Protocol):
    """A stream that knows more of a target than its class."""

    def known(self, targets: Tensor) -> Mapping[str, Tensor]:
        """Returns what is known of each target, in their order, by name, [N] each."""
        ...


class TopK:
    """Follows one member; everything that it holds is in :attr:`state`."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        held: Held,
        sides: Mapping[str, Side],
        *,
        steps: int,
        places: Sequence[int] | None = None,
        per_example: bool = False,
        exact: int = EXACT,
        sketched: int = SKETCHED,
    ) -> None:
        """Takes the start of the path.

        Args:
            weights: by name, without the ensemble axis.
            held: what the loss is read on.
            sides: of each matrix, which side grows with the width, from :func:`width_sides`.
            steps: of the run.
            places: steps after which the average is a point of the path, rising, the last one
                that of the run; None is :func:`points`.
            per_example: True to split the change of every example's loss too.
            exact, sketched: of :func:`align`.
        """
        self._held, self._sides, self._steps = held, sides, steps
        self._points = tuple(places or points(steps))
        self._limits = {"exact": exact, "sketched": sketched}
        self._per_example = per_example
        self._dtype = {name: each.dtype for name, each in weights.items()}
        start = {name: each.double().clone() for name, each in weights.items()}
        count = len(self._points)
        device = next(iter(start.values())).device
        self.state: dict[str, Tensor] = {
            **{f"average.{name}": each for name, each in start.items()},
            **{f"last.{name}": each.clone() for name, each in start.items()},
            **{f"gradient.{name}": torch.zeros_like(each) for name, each in weights.items()},
            **{f"phi.{n}": zeros(self._size(each, n), device) for n, each in start.items()},
            "loss": zeros(count + 1, device),
            "linear": zeros(count, device),
            "late": zeros(count, device),
            "sketch": zeros(2, device),
            "lost": zeros(1, device),
        }
        if per_example:
            _load_forward_mode()
            octaves = max(map(len, (octaves_of(n) for n in self._sizes(start))), default=1)
            examples = len(next(iter(held.known.values())))
            self.state |= {
                "start": zeros(examples, device),
                "end": zeros(examples, device),
                "psi": zeros((examples, octaves + 1), device),
            }

    @torch.no_grad()
    def take(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Takes the weights after a step, from 1, into the average, and adds up where it is a
        point of the path.

        Args:
            step: updates done.
            weights: by name, without the ensemble axis.

        Raises:
            AssertionError: the eigenvalues of a matrix do not add up to <G, dW>.
        """
        if step == 1:
            self._begin()
        share = 1.0 / window(step, self._steps)
        for name, each in weights.items():
            self.state[f"average.{name}"].lerp_(each.double(), share)
        if step in self._points and not self.lost:
            self._add(self._points.index(step))

    @property
    def lost(self) -> bool:
        """True once the path left the finite, from where on it is not followed."""
        return bool(self.state["lost"] > 0)

    def arrays(self) -> dict[str, Tensor]:
        """Returns what the path has added up to, by name, float64 on the CPU; nothing of a path
        that left the finite.

        ``topk.phi.NAME`` of a matrix: phi^k, k = 1..n; of a vector: its whole share, [1].
        ``topk.step``, ``topk.loss``: steps of the points, the start included, and held-out loss
        at each. ``topk.linear``: <g, dW_t> of all tensors with the gradient at the start of each
        step, by point after the start; ``topk.late``: with that at its end; phi is their mean.
        ``topk.sketch``: bound on the error of an eigenvalue,
        added up over points and matrices, and mean share of squares left out. Per example:
        ``examples.start``, ``examples.end``: losses, nats; ``examples.psi``: changes to first
        order from the start of each step, [N, 1 + octaves], those of vectors first, then of the
        directions 1, 2, 3 to 4, 5 to 8...; ``examples.NAME``: what is known of each.
        """
        if self.lost:
            return {}
        steps = torch.tensor((0, *self._points), dtype=torch.float64)
        found = {"topk.step": steps}
        for name in ("loss", "linear", "late", "sketch"):
            found[f"topk.{name}"] = self.state[name]
        found |= {f"topk.{k}": v for k, v in self.state.items() if k.startswith("phi.")}
        if self._per_example:
            found |= {f"examples.{name}": self.state[name] for name in ("start", "end", "psi")}
            found |= {f"examples.{name}": each for name, each in self._held.known.items()}
        return {name: each.double().cpu() for name, each in found.items()}

    def _begin(self) -> None:
        losses, gradient = self._gradient({n: self.state[f"last.{n}"] for n in self._dtype})
        self.state["loss"][0] = losses.mean()
        for name, each in gradient.items():
            self.state[f"gradient.{name}"].copy_(each)
        if self._per_example:
            self.state["start"].copy_(losses)

    def _add(self, place: int) -> None:
        """Adds the piece of the path that ends at a point."""
        new = {name: self.state[f"average.{name}"] for name in self._dtype}
        losses, gradient = self._gradient(new)
        if not all(bool(each.isfinite().all()) for each in (losses, *gradient.values())):
            self.state["lost"].fill_(1.0)
            return
        tangents: list[dict[str, Tensor]] = []
        for name, average in new.items():
            last, old = self.state[f"last.{name}"], self.state[f"gradient.{name}"]
            step = average - last
            self.state["linear"][place] += (old.double() * step).sum()
            self.state["late"][place] += (gradient[name].double() * step).sum()
            self._split(name, (old.double() + gradient[name].double()) / 2, step, tangents)
        if self._per_example:
            self._add_examples(tangents)
            self.state["end"].copy_(losses)
        self.state["loss"][place + 1] = losses.mean()
        for name, average in new.items():
            self.state[f"last.{name}"].copy_(average)
            self.state[f"gradient.{name}"].copy_(gradient[name])

    def _split(
        self, name: str, gradient: Tensor, step: Tensor, tangents: list[dict[str, Tensor]]
    ) -> None:
        """Adds a tensor's phi^k; collects the parts of its step by octave of the direction."""
        if name not in self._sides:
            self.state[f"phi.{name}"] += (gradient.double() * step).sum()
            if self._per_example:
                _collect(tangents, 0, name, step)
            return
        found = align(gradient, step, self._sides[name], vectors=self._per_example, **self._limits)
        self.state[f"phi.{name}"] += found.sums()
        matrices = len(self._sides) * len(self._points)
        sketch = torch.tensor([found.error, found.left / matrices], dtype=torch.float64)
        self.state["sketch"] += sketch.to(step.device)
        if self._per_example:
            for octave, part in enumerate(parts_of(step, found, self._sides[name]), 1):
                _collect(tangents, octave, name, part)

    def _add_examples(self, tangents: list[dict[str, Tensor]]) -> None:
        """Adds the changes of each example's loss along the parts of the step."""
        weights = {
            name: self.state[f"last.{name}"].to(dtype) for name, dtype in self._dtype.items()
        }
        for place, part in enumerate(tangents):
            if part:
                along = {
                    name: part[name].to(each.dtype) if name in part else torch.zeros_like(each)
                    for name, each in weights.items()
                }
                with sdpa_kernel(SDPBackend.MATH):  # others have no derivative along a direction
                    change = torch.func.jvp(self._held.each, (weights,), (along,))[1]
                self.state["psi"][:, place] += change.double()

    @torch.enable_grad()
    def _gradient(self, weights: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the losses of the examples, float64, and the gradient of their mean."""
        leaves = {
            name: each.detach().to(self._dtype[name], copy=True).requires_grad_()
            for name, each in weights.items()
        }
        losses = self._held.each(leaves)
        gradients = torch.autograd.grad(losses.mean(), list(leaves.values()))
        return losses.detach().double(), dict(zip(leaves, gradients, strict=True))

    def _size(self, tensor: Tensor, name: str) -> int:
        return tensor.shape[self._sides[name] == "columns"] if name in self._sides else 1

    def _sizes(self, weights: Mapping[str, Tensor]) -> list[int]:
        return [self._size(weights[name], name) for name in self._sides]


def follower(
    record: Record | None, model: Model, stream: Stream, *, steps: int, examples: int
) -> Callable[[Mapping[str, Tensor]], TopK] | None:
    """Returns what follows a member from its first weights on; None where nobody asks for it.

    Args:
        record: what is recorded.
        model: of the pack.
        stream: its batches.
        steps: of the run.
        examples: of a training batch, or tokens.
    """
    if record is None or not {"topk", "examples"} & {*record.quantities}:
        return None
    held = _held(model, stream, max(HELD, examples))
    told = record.every is not None or record.steps
    places = sorted(record.at(steps) | {steps}) if told else None
    sides = width_sides(model)
    per_example = "examples" in record.quantities
    return lambda weights: TopK(
        weights, held, sides, steps=steps, places=places, per_example=per_example
    )


def _held(model: Model, stream: Stream, number: int) -> Held:
    """Returns about so many of the first held-out examples, or tokens."""
    whole = next(iter(stream.evaluation(1)))
    rows = max(1, number // max(1, whole.targets[0, 0].numel()))
    inputs, targets = whole.inputs[:, :rows], whole.targets[:, :rows]
    losses = model.token_losses if isinstance(model, LossesOfTokens) else model.losses

    def each(weights: Mapping[str, Tensor]) -> Tensor:
        return losses({name: value[None] for name, value in weights.items()}, inputs, targets)[0]

    known = stream.known(targets) if isinstance(stream, KnowsExamples) else {}
    return Held(each=each, known={"label": targets.flatten(), **known})


def window(step: int, steps: int) -> float:
    """Returns the window 1 / (1 - decay) of the moving average at a step, from 1, in steps: at
    least 1, where the average is the iterate itself."""
    share = min(1.0, step / (WARMUP * steps))
    return max(1.0, steps * (FIRST_WINDOW + (LAST_WINDOW - FIRST_WINDOW) * share))


def points(steps: int, number: int = POINTS) -> tuple[int, ...]:
    """Returns the steps after which the average is a point of the path, the last one included.

    Their spacing grows linearly, to ``WIDENING`` times that of the start, over the warmup, and
    stays.

    Args:
        steps: of the run.
        number: of points, fewer where that is more than one a step.
    """
    return tuple(sorted({max(1, round(steps * _share(i / number))) for i in range(1, number + 1)}))


def _share(part: float) -> float:
    """Returns the share of the run at which a part of the points has been taken."""
    slope = (WIDENING - 1) / WARMUP  # spacing at share u: 1 + slope u, then WIDENING
    early = math.log(WIDENING) / slope
    whole = early + (1 - WARMUP) / WIDENING
    sought = part * whole
    if sought <= early:
        return math.expm1(slope * sought) / slope
    return min(1.0, WARMUP + (sought - early) * WIDENING)


def octaves_of(size: int) -> list[slice]:
    """Returns the directions 1, 2, 3 to 4, 5 to 8... up to ``size`` as places from 0."""
    ends = [1]
    while ends[-1] < size:
        ends.append(min(2 * ends[-1], size))
    return [slice(first, last) for first, last in zip([0, *ends], ends, strict=False)]


def parts_of(step: Tensor, found: Alignment, side: Side) -> list[Tensor]:
    """Returns a step split by octave of the direction; the parts add up to it but for what lies
    in no direction that the gradient sees."""
    assert found.vectors is not None
    parts = []
    for octave in octaves_of(found.size):
        some = found.vectors[:, octave]
        parts.append((step @ some) @ some.mT if side == "columns" else some @ (some.mT @ step))
    return parts


def _load_forward_mode() -> None:
    """Loads what torch takes for derivatives along a direction, whose import warns of torch's own
    use of what it has deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import_module("torch._decomp.decompositions_for_jvp")


def zeros(shape: int | tuple[int, ...], device: torch.device) -> Tensor:
    """Returns zeros in float64."""
    return torch.zeros(shape, dtype=torch.float64, device=device)


def _collect(tangents: list[dict[str, Tensor]], place: int, name: str, part: Tensor) -> None:
    while len(tangents) <= place:
        tangents.append({})
    tangents[place][name] = part

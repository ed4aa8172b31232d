"""The top-k decomposition of a training (arXiv 2512.22768), one member by itself.

Between points of the averaged path, phi = sum over them of <g_t, dW_t>, gradient of the held-out
loss times step, is the change of that loss to first order; the eigenvalues of S(g_t, dW_t) of
every matrix split it into directions, and phi^k sums the k largest of each. Vectors (gains,
biases) and <G, dW> of matrices that no width makes larger count in every phi^k.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor

from workloads.training.alignment import EXACT, SKETCHED, Alignment, Side, align
from workloads.training.trajectory import POINTS, points, window

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


class TopK:
    """Follows one member; everything that it holds is in :attr:`state`."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        held: Held,
        sides: Mapping[str, Side],
        *,
        steps: int,
        number: int = POINTS,
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
            number: points of the path.
            per_example: True to split the change of every example's loss too.
            exact, sketched: of :func:`align`.
        """
        self._held, self._sides, self._steps = held, sides, steps
        self._points = points(steps, number)
        self._limits = {"exact": exact, "sketched": sketched}
        self._per_example = per_example
        self._dtype = {name: each.dtype for name, each in weights.items()}
        start = {name: each.double().clone() for name, each in weights.items()}
        losses, gradient = self._gradient(start)
        count = len(self._points)
        device = losses.device
        self.state: dict[str, Tensor] = {
            **{f"average.{name}": each for name, each in start.items()},
            **{f"last.{name}": each.clone() for name, each in start.items()},
            **{f"gradient.{name}": each for name, each in gradient.items()},
            **{f"phi.{name}": zeros(self._size(each, name), device) for name, each in start.items()},
            "loss": zeros(count + 1, device),
            "linear": zeros(count, device),
            "late": zeros(count, device),
            "sketch": zeros(2, device),
        }
        self.state["loss"][0] = losses.mean()
        if per_example:
            _load_forward_mode()
            octaves = max(map(len, (octaves_of(n) for n in self._sizes(start))), default=1)
            self.state |= {
                "start": losses.clone(),
                "end": losses.clone(),
                "psi": zeros((len(losses), octaves + 1), device),
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
            torch.linalg.LinAlgError: weights or gradients are not finite.
        """
        share = 1.0 / window(step, self._steps)
        for name, each in weights.items():
            self.state[f"average.{name}"].lerp_(each.double(), share)
        if step in self._points:
            self._add(self._points.index(step))

    def arrays(self) -> dict[str, Tensor]:
        """Returns what the path has added up to, by name, float64 on the CPU.

        ``topk.phi.NAME`` of a matrix: phi^k, k = 1..n; of a vector: its whole share, [1].
        ``topk.step``, ``topk.loss``: steps of the points, the start included, and held-out loss
        at each. ``topk.linear``: <g_t, dW_t> of all tensors, by point after the start;
        ``topk.late``: <g_{t+1}, dW_t>. ``topk.sketch``: bound on the error of an eigenvalue,
        added up over points and matrices, and mean share of squares left out. Per example:
        ``examples.start``, ``examples.end``: losses, nats; ``examples.psi``: changes to first
        order, [N, 1 + octaves], those of vectors first, then of the directions 1, 2, 3 to 4, 5 to
        8...; ``examples.NAME``: what is known of each.
        """
        steps = torch.tensor((0, *self._points), dtype=torch.float64)
        found = {"topk.step": steps}
        for name in ("loss", "linear", "late", "sketch"):
            found[f"topk.{name}"] = self.state[name]
        found |= {f"topk.{k}": v for k, v in self.state.items() if k.startswith("phi.")}
        if self._per_example:
            found |= {f"examples.{name}": self.state[name] for name in ("start", "end", "psi")}
            found |= {f"examples.{name}": each for name, each in self._held.known.items()}
        return {name: each.double().cpu() for name, each in found.items()}

    def _add(self, place: int) -> None:
        """Adds the piece of the path that ends at a point."""
        new = {name: self.state[f"average.{name}"] for name in self._dtype}
        losses, gradient = self._gradient(new)
        tangents: list[dict[str, Tensor]] = []
        for name, average in new.items():
            last, old = self.state[f"last.{name}"], self.state[f"gradient.{name}"]
            step = average - last
            self.state["linear"][place] += (old.double() * step).sum()
            self.state["late"][place] += (gradient[name].double() * step).sum()
            self._split(name, old, step, tangents)
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
        found = align(
            gradient, step, self._sides[name], vectors=self._per_example, **self._limits
        )
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

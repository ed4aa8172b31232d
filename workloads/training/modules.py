"""The measurements of a coordinate check on any torch model, by hooks on its modules.

A tensor is the parameter of a module, by its full name; what goes into a module's weight and what
comes out of the module are seen by hooks. An optimizer is any that steps over ``param_groups``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workloads.training.diagnostics import NEARLY_NONE
from workloads.training.quantities import alignment, rms, spectral_norm, stable_rank
from workloads.workload import Layer

Batch = Any
Loss = Callable[[nn.Module, Batch], Tensor]

EPSILON = "eps"
"""What the optimizers of torch call their epsilon."""


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    """Returns the mean cross-entropy of a model on (inputs, classes)."""
    inputs, targets = batch
    logits = model(inputs)
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten())


def measured_steps(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Batch],
    *,
    loss: Loss | None,
    steps: int,
    at: Iterable[int],
) -> tuple[dict[int, dict[str, float]], dict[str, Layer], dict[str, float]]:
    """Trains a model for some steps, and returns what was measured after those in ``at``, by
    column, the layers, whose kinds are left empty, and the learning rate of each tensor.

    Args:
        model: a model at its start; it is trained.
        optimizer: over its parameters.
        batches: one a step; the first one is also what activations are looked at on.
        loss: mean loss of a model on a batch; None is the cross-entropy of (inputs, classes).
        steps: updates to make.
        at: steps to measure after.

    Raises:
        ValueError: there are fewer batches than steps, or the loss is not finite.
    """
    loss = loss or cross_entropy
    source = iter(batches)
    tensors = {name: each for name, each in model.named_parameters() if each.requires_grad}
    start = {name: each.detach().clone() for name, each in tensors.items()}
    rates = _rates(optimizer, tensors)
    found: dict[int, dict[str, float]] = {}
    first: dict[str, Tensor] = {}
    probe: Batch = None
    wanted = set(at)
    for step in range(1, steps + 1):
        batch = next(source, None)
        if batch is None:
            raise ValueError(f"the batches ended before step {step} of {steps}; give one a step")
        if step == 1:
            probe, first = batch, _seen(model, batch, loss)
        optimizer.zero_grad()
        value = loss(model, batch)
        if not torch.isfinite(value):
            raise ValueError(
                f"the loss is {value.item()} at step {step}; use a smaller learning rate"
            )
        value.backward()  # type: ignore[no-untyped-call]
        if step not in wanted:
            optimizer.step()
            continue
        seen, other = _seen(model, probe, loss), _alternative(model, optimizer)
        before = {name: each.detach().clone() for name, each in tensors.items()}
        optimizer.step()
        updates = {name: each.detach() - before[name] for name, each in tensors.items()}
        found[step] = {
            **_of_tensors(updates, start, seen, other),
            **_of_activations(first, seen, _seen(model, probe, loss)),
        }
    layers = {name: _layer(model, name, each) for name, each in tensors.items()}
    return found, layers, rates


def _of_tensors(
    updates: Mapping[str, Tensor],
    start: Mapping[str, Tensor],
    seen: Mapping[str, Tensor],
    other: Mapping[str, Tensor],
) -> dict[str, float]:
    found: dict[str, Tensor] = {}
    for name, update in updates.items():
        matrix = update.flatten(1)[None] if update.ndim > 1 else update[None]
        norm = spectral_norm(matrix)
        found[f"initial_rms.{name}"] = rms(start[name][None])
        found[f"update_rms.{name}"] = rms(matrix)
        found[f"update_norm.{name}"] = norm
        if name in other:
            found[f"epsilon_share.{name}"] = 1 - rms(matrix) / rms(other[name][None])
        if update.ndim > 1:
            found[f"update_stable_rank.{name}"] = stable_rank(matrix, norm)
        inputs = seen.get(f"input {name}")
        if inputs is not None and update.ndim == 2:
            found[f"update_alignment.{name}"] = alignment(matrix, inputs, norm)
    return {name: value.item() for name, value in found.items()}


def _of_activations(
    first: Mapping[str, Tensor], before: Mapping[str, Tensor], now: Mapping[str, Tensor]
) -> dict[str, float]:
    found: dict[str, Tensor] = {}
    for name, value in now.items():
        if not name.startswith("input "):
            found[f"activation_rms.{name}"] = rms(value)
            found[f"activation_change.{name}"] = rms(value - before[name])
            found[f"activation_moved.{name}"] = rms(value - first[name])
    return {name: value.item() for name, value in found.items()}


@torch.no_grad()
def _seen(model: nn.Module, batch: Batch, loss: Loss) -> dict[str, Tensor]:
    """Returns what comes out of every module that has a weight, [1, ...], and what goes into
    it, [1, N, in] or tokens [1, N]; the model is left in the mode that it was in."""
    found: dict[str, Tensor] = {}
    with hooked(model, found):
        loss(model, batch)
    return found


@contextmanager
def hooked(model: nn.Module, found: dict[str, Tensor]) -> Iterator[None]:
    """Puts into ``found`` what comes out of every module that has a weight, by its name, and what
    goes into the weight of a linear layer or a table, as ``input NAME.weight``; [1, ...] each."""

    def watch(name: str, module: nn.Module) -> Any:
        def hook(_: nn.Module, given: tuple[Any, ...], made: Any) -> None:
            if isinstance(made, Tensor):
                found[name] = made.detach()[None]
            if given and isinstance(given[0], Tensor):
                if isinstance(module, nn.Linear):
                    found[f"input {name}.weight"] = given[0].detach().flatten(0, -2)[None]
                if isinstance(module, nn.Embedding):
                    found[f"input {name}.weight"] = given[0].detach().flatten()[None]

        return module.register_forward_hook(hook)

    named = [(n, m) for n, m in model.named_modules() if n and "weight" in m._parameters]
    handles = [watch(name, module) for name, module in named]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _alternative(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Returns what the next update would add if there were nearly no epsilon; empty of an
    optimizer that has none, or cannot be copied."""
    if not any(group.get(EPSILON) for group in optimizer.param_groups):
        return {}
    try:
        twin, other = copy.deepcopy((model, optimizer))
    except Exception:  # the user's classes may hold what cannot be copied; then this is not known
        return {}
    pairs = dict(zip(model.parameters(), twin.parameters(), strict=True))
    for old, new in pairs.items():
        new.grad = None if old.grad is None else old.grad.clone()
    for group in other.param_groups:
        if group.get(EPSILON):
            group[EPSILON] = NEARLY_NONE * group[EPSILON]
    before = {name: each.detach().clone() for name, each in twin.named_parameters()}
    other.step()
    now = dict(twin.named_parameters())
    return {name: now[name].detach() - each for name, each in before.items()}


def _rates(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> dict[str, float]:
    of = {id(each): float(g["lr"]) for g in optimizer.param_groups for each in g["params"]}
    return {name: of[id(each)] for name, each in tensors.items() if id(each) in of}


def _layer(model: nn.Module, name: str, tensor: Tensor) -> Layer:
    """Returns the sizes of a tensor; roles follow from several models."""
    if tensor.ndim < 2:
        return Layer(kind="vector", inputs=1, outputs=tensor.numel())
    module = model.get_submodule(name.rpartition(".")[0])
    sizes = (tensor.shape[0], tensor[0].numel())
    outputs, inputs = sizes[::-1] if isinstance(module, nn.Embedding) else sizes
    return Layer(kind="", inputs=inputs, outputs=outputs)

"""The matrices of a group in stacks of one shape, and the way back to the tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Parameters = dict[str, Tensor]
"""Stacked parameters by name, each [E, ...]; shared with the trainer, which may compact it."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What an algorithm takes for one matrix: a tensor, several of them, or parts of one.

    Attributes:
        names: tensors [E, out, in] that lie on top of each other along their outputs; one name
            for most.
        parts: number of equal parts, along the outputs, that are a matrix each; 1 for the whole.
        turned: True if the tensor is stored as [E, in, out], as tables of embeddings are.
    """

    names: tuple[str, ...]
    parts: int = 1
    turned: bool = False


class Bucket:
    """Units of equal shape: their matrices are one stack [E * K, m, n], members first.

    Attributes:
        units: the units, in the order of their matrices.
        matrices: number K of matrices of a member.
    """

    def __init__(self, units: Sequence[Unit], *, whole: bool) -> None:
        """Takes the units.

        Args:
            units: of equal shape, see :func:`buckets`.
            whole: True if the stack is a single tensor as it is stored, so that nothing has to
                be copied.
        """
        self.units = tuple(units)
        self.matrices = 1 if whole else sum(unit.parts for unit in units)
        self._whole = whole

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors."""
        return tuple(name for unit in self.units for name in unit.names)

    @property
    def key(self) -> str:
        """A name for the bucket in checkpoints; no other has it, as no tensor is in two."""
        return "+".join(self.names)

    def gather(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Returns the stack [E * K, m, n] of the units' matrices; a view where there is one."""
        if self._whole:
            return tensors[self.units[0].names[0]]
        parts = [_matrices(unit, tensors) for unit in self.units]  # [E, parts, m, n] each
        return torch.cat(parts, 1).flatten(0, 1)

    def scatter(self, stack: Tensor, members: int) -> dict[str, Tensor]:
        """Returns the tensors, shaped as they are stored, of a stack [E * K, m, n]; views."""
        if self._whole:
            return {self.units[0].names[0]: stack}
        found: dict[str, Tensor] = {}
        sizes = [unit.parts for unit in self.units]
        parts = torch.split(by_member(stack, members), sizes, 1)
        for unit, part in zip(self.units, parts, strict=True):
            found |= _tensors(unit, part)
        return found


def by_member(stack: Tensor, members: int) -> Tensor:
    """Returns a view [E, K, ...] of a stack [E * K, ...]."""
    return stack.view(members, -1, *stack.shape[1:])


def select(tensor: Tensor, index: Sequence[int]) -> Tensor:
    """Returns a copy of the chosen members of a stacked tensor [E, ...]."""
    return tensor.index_select(0, torch.tensor(index, dtype=torch.int64, device=tensor.device))


def buckets(
    units: Sequence[Unit], parameters: Parameters, *, elementwise: bool
) -> tuple[Bucket, ...]:
    """Returns the units by the shape of their matrices; one bucket a tensor if elementwise.

    Raises:
        ValueError: a tensor is in two places, a unit is no matrix and has to be, its tensors
            differ in shape, or its outputs do not divide into its parts.
    """
    _check_once([name for unit in units for name in unit.names])
    if elementwise:
        names = [name for unit in units for name in unit.names]
        return tuple(Bucket([Unit(names=(name,))], whole=True) for name in names)
    by_shape: dict[tuple[int, int], list[Unit]] = {}
    for unit in units:
        by_shape.setdefault(_shape(unit, parameters), []).append(unit)
    return tuple(
        Bucket(alike, whole=len(alike) == 1 and _is_plain(alike[0])) for alike in by_shape.values()
    )


def _check_once(names: Sequence[str]) -> None:
    twice = sorted(name for name, number in Counter(names).items() if number > 1)
    if twice:
        raise ValueError(f"{', '.join(twice)} would be updated twice; name a tensor in one unit")


def _is_plain(unit: Unit) -> bool:
    return len(unit.names) == 1 and unit.parts == 1 and not unit.turned


def _shape(unit: Unit, parameters: Parameters) -> tuple[int, int]:
    """Returns outputs and inputs of each matrix of a unit."""
    shapes = {name: list(parameters[name].shape) for name in unit.names}
    for name, shape in shapes.items():
        if len(shape) != 3:
            raise ValueError(f"{name} has shape {shape}; the optimizer takes matrices")
    first = next(iter(shapes.values()))
    if any(shape != first for shape in shapes.values()):
        raise ValueError(f"the tensors of one unit have to be of one shape, not {shapes}")
    outputs, inputs = (first[2], first[1]) if unit.turned else (first[1], first[2])
    rows = outputs * len(shapes)
    if rows % unit.parts:
        raise ValueError(f"{rows} rows of {'+'.join(unit.names)} are no {unit.parts} equal parts")
    return rows // unit.parts, inputs


def _matrices(unit: Unit, tensors: Mapping[str, Tensor]) -> Tensor:
    """Returns the matrices of a unit, [E, parts, m, n]."""
    each = [tensors[name].mT if unit.turned else tensors[name] for name in unit.names]
    whole = each[0] if len(each) == 1 else torch.cat(each, 1)
    return whole.view(whole.shape[0], unit.parts, -1, whole.shape[2])


def _tensors(unit: Unit, matrices: Tensor) -> dict[str, Tensor]:
    """Returns the tensors of a unit, by name, from its matrices [E, parts, m, n]."""
    each = matrices.flatten(1, 2).chunk(len(unit.names), 1)
    return {
        name: one.mT if unit.turned else one for name, one in zip(unit.names, each, strict=True)
    }

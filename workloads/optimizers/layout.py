"""The matrices of a group in stacks of one shape, and the way back to the tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from workloads.optimizers.optimizer import Parameters, Unit


class Bucket:
    """Units of equal shape: their matrices are one stack [E * K, m, n], members first."""

    def __init__(self, units: Sequence[Unit], *, whole: bool) -> None:
        """Takes the units.

        Args:
            units: of equal shape, see :func:`buckets`.
            whole: True if the stack is a single tensor as it is stored, so that nothing has to
                be copied.
        """
        self.units = tuple(units)
        self._whole = whole

    @property
    def key(self) -> str:
        """A name for the bucket in checkpoints."""
        return "+".join(name for unit in self.units for name in unit.names)

    def gather(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Returns the stack [E * K, m, n] of the units' matrices; a view where there is one."""
        if self._whole:
            return tensors[self.units[0].names[0]]
        parts = [_matrices(unit, tensors) for unit in self.units]  # [E, parts, m, n] each
        return torch.cat(parts, 1).flatten(0, 1)

    def scatter(self, stack: Tensor, members: int) -> dict[str, Tensor]:
        """Returns the tensors, shaped as they are stored, of a stack [E * K, m, n]."""
        if self._whole:
            return {self.units[0].names[0]: stack}
        found: dict[str, Tensor] = {}
        whole = stack.unflatten(0, (members, -1))
        sizes = [unit.parts for unit in self.units]
        for unit, part in zip(self.units, whole.split(sizes, 1), strict=True):
            found |= _tensors(unit, part)
        return found


def buckets(
    units: Sequence[Unit], parameters: Parameters, *, elementwise: bool
) -> tuple[Bucket, ...]:
    """Returns the units by the shape of their matrices; one bucket a tensor if elementwise.

    Raises:
        ValueError: a unit is no matrix and has to be, or its outputs do not divide into its parts.
    """
    if elementwise:
        names = [name for unit in units for name in unit.names]
        return tuple(Bucket([Unit(names=(name,))], whole=True) for name in names)
    by_shape: dict[tuple[int, int], list[Unit]] = {}
    for unit in units:
        by_shape.setdefault(_shape(unit, parameters), []).append(unit)
    return tuple(
        Bucket(members, whole=len(members) == 1 and _is_plain(members[0]))
        for members in by_shape.values()
    )


def _is_plain(unit: Unit) -> bool:
    return len(unit.names) == 1 and unit.parts == 1 and not unit.turned


def _shape(unit: Unit, parameters: Parameters) -> tuple[int, int]:
    rows, columns = 0, 0
    for name in unit.names:
        shape = list(parameters[name].shape)
        if len(shape) != 3:
            raise ValueError(f"{name} has shape {shape}; the optimizer takes matrices")
        out, columns = (shape[2], shape[1]) if unit.turned else (shape[1], shape[2])
        rows += out
    if rows % unit.parts:
        raise ValueError(f"{rows} rows of {'+'.join(unit.names)} are no {unit.parts} equal parts")
    return rows // unit.parts, columns


def _matrices(unit: Unit, tensors: Mapping[str, Tensor]) -> Tensor:
    """Returns the matrices of a unit, [E, parts, m, n]."""
    each = [tensors[name].mT if unit.turned else tensors[name] for name in unit.names]
    whole = each[0] if len(each) == 1 else torch.cat(each, 1)
    return whole.unflatten(1, (unit.parts, -1))


def _tensors(unit: Unit, matrices: Tensor) -> dict[str, Tensor]:
    """Returns the tensors of a unit, by name, from its matrices [E, parts, m, n]."""
    whole = matrices.flatten(1, 2)
    each = whole.chunk(len(unit.names), 1)
    return {
        name: one.mT if unit.turned else one for name, one in zip(unit.names, each, strict=True)
    }

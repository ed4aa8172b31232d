"""Blocks: a matrix cut into square tiles, each a matrix of its own to an algorithm."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from workloads.optimizers.algorithm import Algorithm, Matrixwise, State, StepContext, state_in


@dataclass(frozen=True)
class Run:
    """Equal slices of one side, next to each other: ``count`` of ``length`` from ``start`` on."""

    start: int
    length: int
    count: int

    @property
    def stop(self) -> int:
        """End of the last slice."""
        return self.start + self.length * self.count


@dataclass(frozen=True)
class Region:
    """Tiles of one shape, a grid of them: runs of rows by runs of columns."""

    rows: Run
    columns: Run

    @property
    def key(self) -> str:
        """The shape of a tile; no two regions of a matrix share it."""
        return f"{self.rows.length}x{self.columns.length}"

    @property
    def tiles(self) -> int:
        """Number of tiles of a matrix."""
        return self.rows.count * self.columns.count

    def cut(self, stack: Tensor) -> Tensor:
        """Returns the tiles [N * tiles, h, w] of a stack [N, m, n], those of a matrix together.

        Contiguous however many there are: products of a view with gaps have other bits.
        """
        return self._grid(stack).transpose(2, 3).flatten(0, 2).contiguous()

    def paste(self, tiles: Tensor, stack: Tensor) -> None:
        """Puts tiles [N * tiles, h, w] back into their places of a stack [N, m, n]."""
        grid = self._grid(stack).transpose(2, 3)
        grid.copy_(tiles.reshape(grid.shape))

    def _grid(self, stack: Tensor) -> Tensor:
        """Returns a view [N, rows, h, columns, w]."""
        rows, columns = self.rows, self.columns
        part = stack[:, rows.start : rows.stop, columns.start : columns.stop]
        return part.view(-1, rows.count, rows.length, columns.count, columns.length)


class Blocked(Matrixwise):
    """U = the algorithm's, tile by tile (arXiv 2512.05620, blocking).

    Tiles are square with ``size`` rows and columns, ragged at the far edges: a tile there is its
    own smaller matrix, nothing is padded. A side longer than ``max_dim`` is not cut.
    """

    def __init__(self, algorithm: Algorithm, *, size: int, max_dim: int) -> None:
        self._algorithm = algorithm
        self._size = size
        self._max_dim = max_dim

    def wants_curvature(self, step: int) -> bool:
        """Returns whether the update of a step reads ``now.curvature``."""
        return self._algorithm.wants_curvature(step)

    def start(self, like: Tensor) -> State:
        """Returns the algorithm's state of the tiles, by their shape."""
        return {each.key: self._algorithm.start(each.cut(like)) for each in self._regions(like)}

    def update(self, gradient: Tensor, state: State, now: StepContext) -> Tensor:
        """Returns U."""
        regions = self._regions(gradient)
        if len(regions) == 1 and regions[0].tiles == 1:
            return self._algorithm.update(gradient, state_in(state, regions[0].key), now)
        update = torch.empty_like(gradient)
        for each in regions:
            within = _of_tiles(now, each)
            tiles = self._algorithm.update(each.cut(gradient), state_in(state, each.key), within)
            each.paste(tiles, update)
        return update

    def _regions(self, stack: Tensor) -> list[Region]:
        rows, columns = (self._runs(side) for side in stack.shape[-2:])
        return [Region(row, column) for row in rows for column in columns]

    def _runs(self, side: int) -> list[Run]:
        if side > self._max_dim:
            return [Run(0, side, 1)]
        count, rest = divmod(side, self._size)
        runs = [Run(0, self._size, count), Run(side - rest, rest, 1)]
        return [run for run in runs if run.length * run.count]


def _of_tiles(now: StepContext, region: Region) -> StepContext:
    epsilons = {
        name: each.repeat_interleave(region.tiles, 0) for name, each in now.epsilons.items()
    }
    return replace(now.mapped(region.cut), epsilons=epsilons)

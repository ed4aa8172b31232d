"""How long a step of each optimizer takes, beside its peer and beside what it cannot do without.

The tensors are the hidden matrices of a llama with four blocks. An optimizer and its peer take
turns in one process on one thread, so that whatever else the machine does hits them alike; a
turn is a whole number of periods of roots and bases, timed in processor seconds without the
copying of gradients, and the median over the turns counts. Peers are torch.optim and
pytorch-optimizer (p-o) at their own update rules, with the same momentum and frequencies.

``floor`` is the time of the optimizer's products at the rate of one large product, plus that of
its reads and writes at the rate of one large addition, both measured in the same run.

    python benchmarks/optimizers.py                      # a table
    python benchmarks/optimizers.py --widths 128 --only muon soap --json
    python benchmarks/optimizers.py --quick              # does it run at all
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import torch
from optimizer_cases import CASES, Case
from torch import Tensor
from torch.nn import Parameter

from workloads.llama import LLAMA, Llama
from workloads.optimizers import build
from workloads.training import initial_parameters
from workloads.workload import Resolved

WIDTHS = (128, 256, 512, 1024)
DEPTH = 4
MLP_RATIO = 2.75
"""Near the usual 8/3, and a whole number of units at every width."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement.

    Attributes:
        optimizer: name of the case.
        width: of the llama.
        members: members of the pack; the peer has an optimizer for each.
        ms: median milliseconds of a step.
        least_ms: those of the fastest turn.
        peer: name of the peer, empty without one.
        peer_ms: median milliseconds of the peer's step.
        ratio: the peer's over ours; above 1 ours is faster.
        floor_ms: the least that the work takes, see the head of this file.
        over_floor: ours over the floor.
    """

    optimizer: str
    width: int
    members: int
    ms: float
    least_ms: float
    peer: str
    peer_ms: float | None
    ratio: float | None
    floor_ms: float
    over_floor: float


class Contestant(Protocol):
    """Something that makes steps."""

    def prepare(self) -> None:
        """Puts fresh gradients in place."""
        ...

    def step(self) -> None:
        """Makes one step."""
        ...


class Ours:
    """An optimizer of this project, built as a trial builds it."""

    def __init__(self, case: Case, plan: Resolved) -> None:
        model = Llama(plan)
        units = {name: each for name, each in model.units.items() if name.startswith("hidden")}
        names = {name for each in units.values() for unit in each for name in unit.names}
        start = initial_parameters(model.tensors, range(case.members))
        self.parameters = {name: start[name] for name in names}
        self._optimizers = build(self.parameters, units, [plan] * case.members)
        self._sets = [normal(self.parameters, seed) for seed in range(2)]
        self._step = 0

    def prepare(self) -> None:
        """Copies the next gradients: a step may overwrite them."""
        self._step += 1
        chosen = self._sets[self._step % 2]
        self._gradients = {name: each.clone() for name, each in chosen.items()}

    def step(self) -> None:
        """Makes one step."""
        for each in self._optimizers:
            curvature = self._sets[0] if each.wants_curvature(self._step) else None
            each.step(self._gradients, scale=1.0, step=self._step, curvature=curvature)


class Peers:
    """The peer's optimizer, one for each member."""

    def __init__(self, case: Case, parameters: Mapping[str, Tensor]) -> None:
        assert case.peer is not None
        columns = zip(*(each.clone().unbind() for each in parameters.values()), strict=True)
        self._weights = [[Parameter(each) for each in member] for member in columns]
        self._optimizers = [case.peer(member) for member in self._weights]
        self._sets = [normal(parameters, seed) for seed in range(2)]
        self._period = case.period if case.curvature else 0
        self._step = 0

    def prepare(self) -> None:
        """Copies the next gradients."""
        self._step += 1
        chosen = self._sets[self._step % 2]
        columns = zip(*(each.clone().unbind() for each in chosen.values()), strict=True)
        for weights, gradients in zip(self._weights, columns, strict=True):
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient
        if self._period and (self._step - 1) % self._period == 0:
            self._hessian = [each[0].square() for each in self._sets[0].values()]

    def step(self) -> None:
        """Makes one step of each; Sophia is given its Hessian's diagonal, as ours is."""
        for each in self._optimizers:
            if self._period and (self._step - 1) % self._period == 0:
                each.step(hessian=self._hessian)
            else:
                each.step()


def normal(like: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Returns normal tensors of the same shapes."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(each.shape, generator=generator) for name, each in like.items()}


def plan_of(case: Case, width: int, depth: int) -> Resolved:
    """Returns the resolved config of a case; the run is longer than any benchmark."""
    shape = {"width": width, "depth": depth, "mlp_ratio": MLP_RATIO, "steps": 1_000_000}
    return LLAMA.resolve({**shape, "learning_rate": 2.0**-10, "evals": 1, **case.config})


def turns_of(
    contestants: Mapping[str, Contestant], *, steps: int, turns: int
) -> dict[str, list[float]]:
    """Returns seconds a step of each contestant in each turn."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(turns + 1):
        order = list(contestants)[:: -1 if turn % 2 else 1]  # nobody always goes first
        for name in order:
            spent = sum(_timed(contestants[name]) for _ in range(steps))
            if turn:  # the first one warms up
                found[name].append(spent / steps)
    return found


def _timed(contestant: Contestant) -> float:
    contestant.prepare()
    start = time.process_time()
    contestant.step()
    return time.process_time() - start


class Machine:
    """What one thread of this machine can do at most, measured once a number format."""

    def __init__(self, *, size: int) -> None:
        """Takes the side of the matrices that are multiplied."""
        self._size = size
        self._rates: dict[torch.dtype, float] = {}

    def flops_per_second(self, dtype: torch.dtype) -> float:
        """Returns the rate of one large product."""
        if dtype not in self._rates:
            matrix = torch.randn(self._size, self._size, generator=torch.Generator()).to(dtype)
            out = torch.empty_like(matrix)
            least = _least(lambda: torch.mm(matrix, matrix, out=out))
            self._rates[dtype] = 2 * self._size**3 / least
        return self._rates[dtype]

    def numbers_per_second(self, number: int) -> float:
        """Returns how many float32 of tensors of a size are read or written in a second."""
        first, second, out = (torch.zeros(number) for _ in range(3))
        return 3 * number / _least(lambda: torch.add(first, second, out=out))


def _least(call: Callable[[], object]) -> float:
    """Returns the least seconds of a call that is repeated for long enough to be timed."""
    times = []
    for _ in range(5):
        number, start = 0, time.process_time()
        while time.process_time() - start < 0.02:
            call()
            number += 1
        times.append((time.process_time() - start) / number)
    return min(times)


def floor_seconds(case: Case, tensors: Mapping[str, Tensor], machine: Machine) -> float:
    """Returns the least seconds that a step's work takes."""
    shapes = [each.shape[1:] for each in tensors.values() for _ in range(each.shape[0])]
    numbers = sum(m * n for m, n in shapes)
    flops = sum(case.work(m, n).flops for m, n in shapes)
    passes = sum(case.work(m, n).passes * m * n for m, n in shapes)
    moving = passes / machine.numbers_per_second(numbers)
    return moving + (flops / machine.flops_per_second(case.products) if flops else 0.0)


def measured(case: Case, width: int, options: argparse.Namespace, machine: Machine) -> Row:
    """Returns the row of one case at one width."""
    ours = Ours(case, plan_of(case, width, options.depth))
    contestants: dict[str, Contestant] = {"ours": ours}
    if case.peer is not None:
        contestants["peer"] = Peers(case, ours.parameters)
    steps = -(-options.steps // case.period) * case.period
    found = turns_of(contestants, steps=steps, turns=options.turns)
    medians = {name: 1e3 * statistics.median(each) for name, each in found.items()}
    floor = 1e3 * floor_seconds(case, ours.parameters, machine)
    return Row(
        optimizer=case.name,
        width=width,
        members=case.members,
        ms=medians["ours"],
        least_ms=1e3 * min(found["ours"]),
        peer=case.peer_name,
        peer_ms=medians.get("peer"),
        ratio=medians["peer"] / medians["ours"] if "peer" in medians else None,
        floor_ms=floor,
        over_floor=medians["ours"] / floor,
    )


def line(row: Row) -> str:
    """Returns a row of the table."""
    beside = f"{row.peer:24}" if row.peer else " " * 24
    if row.peer_ms is not None and row.ratio is not None:
        beside += f" {row.peer_ms:9.2f} {row.ratio:6.2f}"
    else:
        beside += " " * 17
    ours = f"{row.optimizer:20} {row.width:5} {row.ms:9.2f} {row.least_ms:9.2f}"
    return f"{ours}  {beside} {row.floor_ms:9.2f} {row.over_floor:7.2f}"


HEAD = (
    f"{'optimizer':20} {'width':>5} {'ms':>9} {'least':>9}  {'peer':24} {'ms':>9} {'ratio':>6}"
    f" {'floor ms':>9} {'/ floor':>7}"
)


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Returns the options; ``--quick`` is one turn of one small block."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    names = [case.name for case in CASES]
    parser.add_argument("--json", action="store_true", help="print a list of rows")
    parser.add_argument("--quick", action="store_true", help="one turn of one block of width 32")
    parser.add_argument("--widths", type=int, nargs="*", default=WIDTHS, help="only these widths")
    parser.add_argument("--only", nargs="*", default=names, choices=names, metavar="NAME")
    parser.add_argument("--depth", type=int, default=DEPTH, help=f"blocks (default {DEPTH})")
    parser.add_argument("--turns", type=int, default=5, help="turns a contestant (default 5)")
    parser.add_argument("--steps", type=int, default=4, help="least steps a turn (default 4)")
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default 1)")
    options = parser.parse_args(arguments)
    if options.quick:
        options.widths, options.depth, options.turns, options.steps = (32,), 1, 1, 1
    return options


def main() -> None:
    """Measures and prints."""
    options = parsed()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)  # as the trainer does
    machine = Machine(size=256 if options.quick else 1024)
    rows = []
    if not options.json:
        print(HEAD)
    for width in options.widths:
        for case in (case for case in CASES if case.name in options.only):
            rows.append(measured(case, width, options, machine))
            if not options.json:
                print(line(rows[-1]), flush=True)
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))


if __name__ == "__main__":
    main()

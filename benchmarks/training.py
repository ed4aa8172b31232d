"""How fast the packed llama trains: against a bare torch loop, packed against one by one, and in
two processes against one.

The bare loop is the same model without the ensemble axis, written with ``F.linear`` and
``torch.optim.AdamW(fused=True)``, on the same batches. All contestants of a row take turns of a
few steps in one process on one thread, so that whatever else the machine does hits them alike;
a turn is timed in processor seconds and the median over the turns counts. Two processes, with
gloo between them, are timed in wall seconds: their row tells something on an idle machine alone.

    python benchmarks/training.py            # a table
    python benchmarks/training.py --json     # the same as a list of rows
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from workloads.data import batch, read_tokens
from workloads.llama import LLAMA, Llama
from workloads.training import RMS_EPSILON, ParallelTraining, Schedule, initial_parameters
from workloads.workload import Member, Resolved

BARE_WIDTHS = (64, 128, 256)
PACK_WIDTHS = (32, 64, 128)
PARALLEL_WIDTHS = (64, 256, 512)
PACK = 8


def plan(width: int, *, steps: int = 1_000_000, **settings: Any) -> Resolved:
    """Returns a resolved config of a width; the run is longer than any benchmark."""
    config = {"width": width, "learning_rate": 2.0**-7, "steps": steps, "evals": 1}
    return LLAMA.resolve(config | settings)


class BareLoop:
    """The model without the ensemble axis, in plain torch.

    Attributes:
        parameters: by the names of ``workloads.llama.model``, without the ensemble axis.
    """

    def __init__(self, resolved: Resolved, seed: int) -> None:
        self._config, self._derived, self._seed = resolved.config, resolved.derived, seed
        start = initial_parameters(Llama(resolved).tensors, [seed])
        self.parameters = {name: value[0].requires_grad_() for name, value in start.items()}
        group = resolved.derived["groups"]["hidden"]
        self._peak = group["learning_rate"]
        self._optimizer = torch.optim.AdamW(
            self.parameters.values(),
            lr=self._peak,
            betas=(self._config["beta1"], self._config["beta2"]),
            eps=group["epsilon"],
            weight_decay=0.0,
            fused=True,
        )
        self._schedule = Schedule(
            steps=self._config["steps"],
            warmup_steps=self._derived["warmup_steps"],
            shape=self._config["schedule"],
            final_ratio=self._config["final_ratio"],
        )
        self._train = read_tokens(self._config).train
        self._rotation = self._angles()

    def run(self) -> Iterator[float]:
        """Yields the training loss of every step, nats per token."""
        for step in range(1, self._config["steps"] + 1):
            windows = torch.from_numpy(
                batch(
                    self._train,
                    seed=self._seed,
                    step=step,
                    batch_size=self._config["batch_size"],
                    context=self._config["context"],
                )
            )
            loss = self.loss(windows[:, :-1], windows[:, 1:])
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), self._config["clip"])
            self._optimizer.param_groups[0]["lr"] = self._peak * self._schedule(step)
            self._optimizer.step()
            self._optimizer.zero_grad()
            yield loss.item()

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss of tokens [B, T], nats per token."""
        x = F.embedding(inputs, self.parameters["embedding"])
        for layer in range(self._config["depth"]):
            x = x + self._attention(layer, F.rms_norm(x, x.shape[-1:], eps=RMS_EPSILON))
            x = x + self._mlp(layer, F.rms_norm(x, x.shape[-1:], eps=RMS_EPSILON))
        x = F.rms_norm(x, x.shape[-1:], eps=RMS_EPSILON)
        logits = F.linear(x, self.parameters["readout"])
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def _attention(self, layer: int, x: Tensor) -> Tensor:
        heads = (*x.shape[:2], -1, self._config["head_dim"])
        q, k, v = (
            F.linear(x, self.parameters[f"{layer}.{name}"]).view(heads)
            for name in ("query", "key", "value")
        )
        q, k = (self._rotate(F.rms_norm(z, z.shape[-1:], eps=RMS_EPSILON)) for z in (q, k))
        q, k, v = (z.transpose(1, 2) for z in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        joined = mixed.transpose(1, 2).reshape(x.shape)
        return F.linear(joined, self.parameters[f"{layer}.output"])

    def _mlp(self, layer: int, x: Tensor) -> Tensor:
        up = F.linear(x, self.parameters[f"{layer}.up"])
        if self._config["mlp"] == "gelu":
            return F.linear(F.gelu(up), self.parameters[f"{layer}.down"])
        gate = F.linear(x, self.parameters[f"{layer}.gate"])
        return F.linear(F.silu(gate) * up, self.parameters[f"{layer}.down"])

    def _angles(self) -> tuple[Tensor, Tensor]:
        half = self._config["head_dim"] // 2
        exponents = torch.arange(half, dtype=torch.float64) / half
        times = torch.arange(self._config["context"], dtype=torch.float64)
        angles = torch.outer(times, self._config["rope_base"] ** -exponents)[:, None]
        return angles.cos().float(), angles.sin().float()

    def _rotate(self, x: Tensor) -> Tensor:
        cosine, sine = self._rotation
        first, second = x.chunk(2, dim=-1)
        return torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1)


def seconds(
    contestants: Mapping[str, Callable[[], None]],
    *,
    turns: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Returns the median seconds, by default of the processor, of a call of each contestant,
    taking turns."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(turns + 1):
        order = list(contestants)[:: -1 if turn % 2 else 1]  # nobody always goes first
        for name in order:
            start = clock()
            contestants[name]()
            if turn:  # the first one warms up
                found[name].append(clock() - start)
    return {name: statistics.median(times) for name, times in found.items()}


def steps_of(runs: Sequence[Iterator[Any]], number: int) -> Callable[[], None]:
    """Returns a call that advances every run by a number of steps."""

    def advance() -> None:
        for run in runs:
            for _ in range(number):
                next(run)

    return advance


def trainer(resolved: Resolved, seeds: Sequence[int]) -> Iterator[Any]:
    """Returns the steps of a pack with one member a seed."""
    members = [Member(config=resolved.config, seed=seed) for seed in seeds]
    return LLAMA.trainer()(members, threads=1, device="cpu").run()


def against_bare(width: int, *, turns: int, steps: int) -> dict[str, Any]:
    """Returns tokens a second of the packed model with one member and of the bare loop."""
    resolved = plan(width)
    contestants = {
        "ours": steps_of([trainer(resolved, [0])], steps),
        "reference": steps_of([BareLoop(resolved, 0).run()], steps),
    }
    return _row("one trial against a bare loop", width, resolved, contestants, turns, steps)


def packed(width: int, *, turns: int, steps: int) -> dict[str, Any]:
    """Returns tokens a second of a pack and of its members one by one."""
    resolved = plan(width)
    seeds = range(PACK)
    contestants = {
        "ours": steps_of([trainer(resolved, seeds)], steps),
        "reference": steps_of([trainer(resolved, [seed]) for seed in seeds], steps),
    }
    title = f"a pack of {PACK} against {PACK} single trials"
    return _row(title, width, resolved, contestants, turns, steps * PACK)


def in_two_processes(width: int, *, turns: int, steps: int) -> dict[str, Any]:
    """Returns tokens a second of a trial in two processes and in one, each of one thread."""
    resolved = plan(width)
    members = [Member(config=resolved.config, seed=0)]
    both = ParallelTraining(LLAMA, members, processes=2, threads=1, device="cpu")
    contestants = {
        "ours": steps_of([both.run()], steps),
        "reference": steps_of([trainer(resolved, [0])], steps),
    }
    title = "one trial in 2 processes against 1"
    row = _row(title, width, resolved, contestants, turns, steps, clock=time.perf_counter)
    both.close()
    return row


def _row(
    title: str,
    width: int,
    resolved: Resolved,
    contestants: Mapping[str, Callable[[], None]],
    turns: int,
    steps: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, Any]:
    tokens_a_turn = steps * resolved.derived["tokens"] / resolved.derived["steps"]
    timed = seconds(contestants, turns=turns, clock=clock)
    rates = {name: tokens_a_turn / s for name, s in timed.items()}
    return {
        "case": title,
        "width": width,
        "tokens_per_second": rates["ours"],
        "reference_tokens_per_second": rates["reference"],
        "ratio": rates["ours"] / rates["reference"],
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print a list of rows")
    parser.add_argument("--widths", type=int, nargs="*", help="only these widths")
    parser.add_argument("--turns", type=int, default=11, help="turns a contestant (default 11)")
    parser.add_argument("--steps", type=int, default=4, help="steps a turn (default 4)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = {"turns": options.turns, "steps": options.steps}
    rows = [against_bare(width, **sizes) for width in options.widths or BARE_WIDTHS]
    rows += [packed(width, **sizes) for width in options.widths or PACK_WIDTHS]
    rows += [in_two_processes(width, **sizes) for width in options.widths or PARALLEL_WIDTHS]
    if options.json:
        print(json.dumps(rows))
        return
    print(f"{'case':40} {'width':>5} {'tokens/s':>10} {'reference':>10} {'ratio':>6}")
    for row in rows:
        rates = f"{row['tokens_per_second']:10.0f} {row['reference_tokens_per_second']:10.0f}"
        print(f"{row['case']:40} {row['width']:5} {rates} {row['ratio']:6.3f}")


if __name__ == "__main__":
    main()

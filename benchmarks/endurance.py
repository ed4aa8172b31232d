"""What ten thousand trivial trials in one study do to the controller: its memory, its pace and the
state that it leaves on disk, at the first thousand and at the last.

The run is a process of its own that is looked at twice a second from outside; when each trial was
accepted is read from the store afterwards, so that nothing disturbs it. Processor seconds are the
controller's own: on a busy machine they say more than the clock.

    python benchmarks/endurance.py                     # 10,000 trials, inline and on Ray
    python benchmarks/endurance.py --trials 2000 --executors inline
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.store import Store

TRIALS = 10_000
GROUP = 1_000
EXECUTORS = ("inline", "ray")
SAMPLE_SECONDS = 0.5
WIDTHS = (32, 64, 128, 256, 512)
RATES = tuple(2.0 ** -np.arange(1, 11))

MIB = 2**20
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What was seen at one moment.

    Attributes:
        moment: seconds since the epoch.
        memory: resident memory of the controller, MiB.
        processor: processor seconds that the controller has used.
        state: what Ray and Tune keep on disk for the session, their logs included, MiB.
    """

    moment: float
    memory: float
    processor: float
    state: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """How one executor bore it; lists have one entry a group of trials.

    Attributes:
        executor: ``inline`` or ``ray``.
        trials: trials of the study.
        seconds: wall seconds of each group.
        processor: processor seconds of the controller in each group.
        memory: its memory at the end of each group, MiB.
        state: the session's files at the end of each group, MiB.
    """

    executor: str
    trials: int
    seconds: tuple[float, ...]
    processor: tuple[float, ...]
    memory: tuple[float, ...]
    state: tuple[float, ...]

    @property
    def growth(self) -> float:
        """Slope of the memory over the groups after the first, least squares, MiB a group."""
        later = self.memory[1:]
        return float(np.polyfit(np.arange(len(later)), later, 1)[0]) if len(later) > 1 else 0.0


def study(trials: int) -> dict[str, Any]:
    """Returns the document of a study of so many trials, a multiple of the cells of its grid."""
    cells = len(WIDTHS) * len(RATES)
    if trials % cells:
        raise SystemExit(f"--trials {trials} is no multiple of {cells}")
    return {
        "name": "endurance",
        "workload": "planted",
        "scale": "width",
        "sweep": {
            "width": list(WIDTHS),
            "learning_rate": list(RATES),
            "seed": list(range(trials // cells)),
        },
        "resources": {"pack": 1},
    }


def measure(executor: str, trials: int, *, group: int = GROUP) -> Row:
    """Runs a study in a process of its own and returns how the controller bore it."""
    with tempfile.TemporaryDirectory(prefix="sweeper-bench-") as name:
        folder = Path(name)
        file, store = folder / "study.yaml", folder / "store"
        file.write_text(json.dumps(study(trials)), encoding="utf-8")
        scratch = folder / "scratch"
        scratch.mkdir()
        command = [sys.executable, "-m", "sweeper", "run", str(file), "--store", str(store)]
        with (folder / "said").open("w+") as said:
            child = subprocess.Popen(
                [*command, "--executor", executor, "--json"],
                env={**os.environ, "TMPDIR": str(scratch)},
                stdout=subprocess.DEVNULL,
                stderr=said,
            )
            samples = watch(child, scratch)
            if child.returncode:
                said.seek(0)
                raise RuntimeError(f"the run ended with {child.returncode}:\n{said.read()}")
        return row(executor, accepted(store), samples, group=group)


def watch(child: subprocess.Popen[bytes], scratch: Path) -> list[Sample]:
    """Returns what was seen of a process until it ended."""
    samples = []
    while child.poll() is None:
        try:
            samples.append(look(child.pid, scratch))
        except (OSError, IndexError):
            break  # it has just ended
        time.sleep(SAMPLE_SECONDS)
    child.wait()
    return samples


def look(pid: int, scratch: Path) -> Sample:
    """Returns what is to be seen of a process now."""
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text(encoding="ascii").split()[1])
    fields = (process / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
    user, system = fields.split()[11:13]
    return Sample(
        moment=time.time(),
        memory=pages * os.sysconf("SC_PAGE_SIZE") / MIB,
        processor=(int(user) + int(system)) / TICKS,
        state=size_of(scratch) / MIB,
    )


def size_of(folder: Path) -> int:
    """Returns the bytes of all files below a folder, whatever comes and goes meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                continue
    return total


def accepted(store: Path) -> list[float]:
    """Returns the moments at which the results of a store were accepted, in order."""
    with Store.open(store, create=False, read_only=True) as opened:
        rows = opened.query("select accepted_at from results order by accepted_at").rows
    return [datetime.fromisoformat(f"{text}+00:00").timestamp() for (text,) in rows]


def row(executor: str, moments: Sequence[float], samples: Sequence[Sample], *, group: int) -> Row:
    """Returns the measurement that samples and moments of acceptance add up to.

    Args:
        executor: what ran the trials.
        moments: when each result was accepted, in order, seconds since the epoch.
        samples: what was seen, in order.
        group: trials of a group.
    """
    ends = [moments[index] for index in range(group - 1, len(moments), group)]
    starts = [moments[0], *ends[:-1]]
    seen = [sample.moment for sample in samples]
    at = [samples[max(0, bisect_right(seen, end) - 1)] for end in ends]
    begun = [samples[max(0, bisect_right(seen, start) - 1)] for start in starts]
    return Row(
        executor=executor,
        trials=len(moments),
        seconds=tuple(end - start for start, end in zip(starts, ends, strict=True)),
        processor=tuple(
            end.processor - start.processor for start, end in zip(begun, at, strict=True)
        ),
        memory=tuple(sample.memory for sample in at),
        state=tuple(sample.state for sample in at),
    )


def table(rows: Sequence[Row]) -> str:
    """Returns the measurements as text."""
    three = f"{'first':>5} {'mid':>5} {'last':>5}"
    kinds = f"{'seconds':>17}  {'processor':>17}  {'MiB':>17}"
    lines = [
        f"{'':15}  {kinds}  {'MiB':>6}  {'state, MiB':>11}",
        f"{'executor':8} {'trials':>6}  {three}  {three}  {three}  /group  first  last",
    ]
    for item in rows:
        columns = (item.seconds, item.processor, item.memory)
        shown = "  ".join(
            f"{values[0]:5.1f} {float(np.median(values)):5.1f} {values[-1]:5.1f}"
            for values in columns
        )
        lines.append(
            f"{item.executor:8} {item.trials:>6}  {shown}  {item.growth:6.2f}"
            f"  {item.state[0]:5.2f} {item.state[-1]:5.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--executors", nargs="+", choices=EXECUTORS, default=list(EXECUTORS))
    parser.add_argument("--json", action="store_true", help="print all groups as JSON")
    asked = parser.parse_args()
    group = min(GROUP, asked.trials // 2)
    rows = [measure(executor, asked.trials, group=group) for executor in asked.executors]
    if asked.json:
        print(json.dumps([asdict(item) | {"growth": item.growth} for item in rows], indent=2))
    else:
        print(table(rows))


if __name__ == "__main__":
    main()

"""What it costs that a trial is a process: sweeper beside a bare loop of subprocesses.

A script that says one number, at once and after half a second, run by ``subprocess.run`` one after
the other (its last line read as JSON, and nothing kept), and as a study of the workload
``command``, inline; then both with two at a time, sweeper on Ray. At last a store of a thousand
such trials: its size, and how long answers take.

    .venv/bin/python benchmarks/command.py [--json] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweeper.engine import Run
from sweeper.store import Store
from sweeper.study import Study

SCRIPT = """
import json, sys, time
time.sleep(float(sys.argv[2]))
print(json.dumps({"step": 1, "val_loss": abs(float(sys.argv[1]) - 0.1)}))
"""

EMPTY, HALF, MANY = 200, 20, 1000
"""Trials that end at once, that take half a second, and of the large store."""

HALF_SECONDS = 0.5
ANSWERS = (("status",), ("drift", "--allow-holes"), ("logs",), ("verify",))


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        case: what was run.
        trials: how many.
        loop: seconds a trial of the bare loop.
        sweeper: seconds a trial of sweeper.
    """

    case: str
    trials: int
    loop: float
    sweeper: float

    @property
    def ratio(self) -> float:
        """Sweeper over the loop."""
        return self.sweeper / self.loop


def rates(trials: int) -> list[float]:
    """Returns a value of the setting for each trial."""
    return [round(0.0001 * (at + 1), 7) for at in range(trials)]


def loop(script: Path, trials: int, seconds: float, slots: int) -> float:
    """Runs the script so often by subprocess.run; returns the seconds."""

    def trial(rate: float) -> float:
        words = [sys.executable, str(script), str(rate), str(seconds)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return float(json.loads(done.stdout.splitlines()[-1])["val_loss"])

    began = time.perf_counter()
    with ThreadPoolExecutor(slots) as pool:
        losses = list(pool.map(trial, rates(trials)))
    assert min(losses) >= 0
    return time.perf_counter() - began


def study_of(script: Path, trials: int, seconds: float) -> Study:
    """Returns the same trials as a study."""
    return Study.from_document(
        {
            "name": "benchmark",
            "workload": "command",
            "command": ["{python}", str(script), "{rate}", str(seconds)],
            "version": "1",
            "scale": "width",
            "fixed": {},
            "sweep": {"width": [1], "rate": rates(trials)},
        }
    )


def swept(script: Path, trials: int, seconds: float, store: Path, executor: str) -> float:
    """Runs the script as a study; returns the seconds from the first trial's start to the end."""
    with Store.open(store, create=True) as opened:
        run = Run(study_of(script, trials, seconds), opened, executor=executor)
        summary = run.execute()
        assert summary.finished == trials, summary
        return summary.working_seconds


def measure(case: str, trials: int, ours: Callable[[], float], theirs: Callable[[], float]) -> Row:
    """Returns a comparison, the loop before and after."""
    before, mine, after = theirs(), ours(), theirs()
    return Row(case=case, trials=trials, loop=(before + after) / 2 / trials, sweeper=mine / trials)


def large_store(script: Path, folder: Path, trials: int) -> dict[str, Any]:
    """Makes a store of so many trials and asks it; returns sizes in bytes and seconds."""
    store = folder / "large"
    seconds = swept(script, trials, 0.0, store, "inline")
    sizes = {
        part: sum(file.stat().st_size for file in (store / part).rglob("*") if file.is_file())
        for part in ("curves", "logs")
    }
    sizes["database"] = (store / "sweeper.db").stat().st_size
    found: dict[str, Any] = {"trials": trials, "seconds_a_trial": seconds / trials, "bytes": sizes}
    found["answers"] = {}
    for command, *options in ANSWERS:
        words = [sys.executable, "-m", "sweeper", command, "benchmark", *options]
        began = time.perf_counter()
        subprocess.run([*words, "--store", str(store)], capture_output=True, check=True)
        found["answers"][command] = time.perf_counter() - began
    return found


def tell(rows: Sequence[Row], store: dict[str, Any]) -> None:
    """Prints the measurements as a table."""
    print(f"{'case':34} {'trials':>6} {'loop s':>8} {'sweeper s':>10} {'ratio':>6}  more")
    for row in rows:
        more = 1000 * (row.sweeper - row.loop)
        print(
            f"{row.case:34} {row.trials:6} {row.loop:8.4f} {row.sweeper:10.4f} {row.ratio:6.2f}"
            f"  {more:.1f} ms"
        )
    sizes = ", ".join(f"{part} {size / 1e6:.2f} MB" for part, size in store["bytes"].items())
    print(
        f"a store of {store['trials']} trials: {store['seconds_a_trial']:.4f} s a trial; {sizes}"
    )
    answers = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in store["answers"].items())
    print(f"its answers: {answers}")


def main() -> None:
    """Runs everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="few trials, without Ray")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    share = 20 if arguments.quick else 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "script.py"
        script.write_text(SCRIPT, encoding="utf-8")

        def case(name: str, trials: int, seconds: float, slots: int) -> Row:
            executor = "inline" if slots == 1 else "ray"
            return measure(
                name,
                trials,
                lambda: swept(script, trials, seconds, folder / name.replace(" ", "-"), executor),
                lambda: loop(script, trials, seconds, slots),
            )

        swept(script, 2, 0.0, folder / "warm", "inline")  # what a run loads, it loads once
        rows = [
            case("at once, one at a time", EMPTY // share, 0.0, 1),
            case("half a second, one at a time", HALF // share, HALF_SECONDS, 1),
        ]
        if not arguments.quick:
            rows += [
                case("at once, two at a time on Ray", EMPTY, 0.0, 2),
                case("half a second, two on Ray", 5 * HALF, HALF_SECONDS, 2),
            ]
        store = large_store(script, folder, MANY // share)
    if arguments.json:
        rows_ = [{**asdict(row), "ratio": row.ratio} for row in rows]
        print(json.dumps({"rows": rows_, "store": store}, indent=2))
    else:
        tell(rows, store)


if __name__ == "__main__":
    main()

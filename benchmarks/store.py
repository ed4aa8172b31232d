"""How the store and its answers bear a large study: import, status, drift, fit and report.

A synthetic sweep (variants x weight decays x widths x learning rates x seeds, one steep side,
noise, some divergence) with a loss curve a trial goes through `sweeper import`; then every command
runs as a process of its own, so that seconds and peak memory hold its start and its imports too.
The answers find their files in the system's cache. Beside them, in the same run: pandas reading
and grouping the plain results, which is less than a drift does, and Optuna listing the trials of a
study of its own in SQLite.

    python benchmarks/store.py                       # 100,000 trials, 10 million curve rows
    python benchmarks/store.py --trials 5000 --points 10
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

VARIANTS = ("adam/mup", "adam/sp", "muon/mup", "muon/sp")
DECAYS = (0.0, 0.01, 0.1)
WIDTHS = (32, 64, 128, 256, 512, 1024, 2048)
RATES = 2.0 ** np.arange(-11.0, -1.0, 0.5)
CELLS = len(VARIANTS) * len(DECAYS) * len(WIDTHS) * len(RATES)
"""Trials a seed: 1,680. Seeds fill the study up; 100,000 trials have 60 each."""

MIB = 1024.0 if sys.platform != "darwin" else 1024.0**2
"""What a process's peak memory is counted in, per MiB."""

LAUNCHER = """
import json, os, sys, time
report, *command = sys.argv[1:]
began = time.perf_counter()
child = os.posix_spawn(command[0], command, os.environ)
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - began
with open(report, "w") as out:
    json.dump([seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss], out)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Starts a command and measures it. On Linux the peak memory of a process begins at that of the
one that started it, so this has to be a small one, which the benchmark with its tables is not."""


COLUMNS = (
    *("--variant", "variant", "--fixed", "weight_decay", "--seed", "seed"),
    *("--scale", "width", "--hp", "learning_rate", "--claim", "learning_rate=0+-0.15"),
    *("--objective", "loss", "--outcome", "state", "--params", "params"),
)
"""What the columns of the table are."""

ANSWERS = ("status", "drift", "fit", "report")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What one command took.

    Attributes:
        command: what was run.
        rows: trials, or rows of curves, that it went through.
        seconds: from its start to its end.
        processor: seconds of processor time, which other programs on the machine move less.
        mib: peak memory of its process; None where it is a part of this one.
    """

    command: str
    rows: int
    seconds: float
    processor: float
    mib: float | None


def results_table(trials: int, *, seed: int = 0) -> pd.DataFrame:
    """Returns one row a trial of a sweep with so many trials, in a random order.

    The best rate falls by half an octave a doubling of the width under sp, and stays under mup;
    three and a half octaves above it, runs diverge.
    """
    rng = np.random.default_rng(seed)
    cell = np.arange(trials) % CELLS
    sizes = (len(VARIANTS), len(DECAYS), len(WIDTHS), len(RATES))
    variant, decay, width, rate = np.unravel_index(cell, sizes)
    doublings = np.log2(np.array(WIDTHS))[width] - 5
    best = -5.0 - 0.5 * doublings * (variant % 2) + 0.3 * (decay - 1)
    t = np.log2(RATES)[rate] - best
    loss = 4 - 0.2 * doublings + 0.1 * (np.exp(0.6 * t) - 0.6 * t - 1)
    loss += 0.01 * rng.standard_normal(trials)
    diverged = t > 3.5
    table = pd.DataFrame(
        {
            "variant": np.array(VARIANTS)[variant],
            "weight_decay": np.array(DECAYS)[decay],
            "width": np.array(WIDTHS)[width],
            "learning_rate": RATES[rate],
            "seed": np.arange(trials) // CELLS,
            "params": 12 * np.array(WIDTHS)[width] ** 2 * 4,
            "loss": np.where(diverged, np.nan, loss),
            "state": np.where(diverged, "diverged", "finished"),
        }
    )
    return table.sample(frac=1.0, random_state=seed).reset_index(drop=True)


def write_curve_table(table: pd.DataFrame, points: int, path: Path) -> None:
    """Writes a Parquet file with a row a trial and step; the last step has the result."""
    import pyarrow as pa
    from pyarrow import parquet

    writer = None
    share = np.arange(1, points + 1) / points
    for start in range(0, len(table), 10_000):
        part = table.iloc[start : start + 10_000]
        rows = part.loc[part.index.repeat(points)]
        step = np.tile(10 * np.arange(1, points + 1), len(part))
        falling = np.tile(2.0 * (share**-0.3 - 1), len(part))
        rows = rows.assign(step=step, loss=rows["loss"] + falling)
        batch = pa.Table.from_pandas(rows, preserve_index=False)
        writer = writer or parquet.ParquetWriter(path, batch.schema)
        writer.write_table(batch)
    if writer is not None:
        writer.close()


def run_command(name: str, rows: int, *arguments: str) -> tuple[Measure, str]:
    """Returns what a command of sweeper took, and its standard output.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-m", "sweeper", name, *arguments]
    with tempfile.NamedTemporaryFile("r") as report:
        launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, report.name, *command]
        done = subprocess.run(launcher, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"sweeper {name} failed with {done.returncode}")
        seconds, processor, peak = json.load(report)
    measure = Measure(
        command=f"sweeper {name}", rows=rows, seconds=seconds, processor=processor, mib=peak / MIB
    )
    return measure, done.stdout


def measure_import(table: pd.DataFrame, folder: Path, *, points: int) -> Measure:
    """Imports a table into a store in a folder, and returns what it took."""
    source = folder / "results.parquet"
    if points > 1:
        write_curve_table(table, points, source)
    else:
        table.to_parquet(source, index=False)
    step = ["--step", "step"] if points > 1 else []
    place = ["--study", "big", "--store", str(folder / "store"), "--json"]
    rows = len(table) * points
    return run_command("import", rows, str(source), *COLUMNS, *step, *place)[0]


def measure_answer(name: str, folder: Path, *, trials: int, turns: int) -> Measure:
    """Returns what an answer about the imported study took, the fastest of several.

    Raises:
        RuntimeError: it failed, or does not answer about all trials.
    """
    page = folder / "page"
    form = ["--out", str(page)] if name == "report" else ["--json"]
    place = ["big", "--store", str(folder / "store")]
    runs = [run_command(name, trials, *place, *form) for _ in range(turns)]
    measure, text = min(runs, key=lambda run: run[0].seconds)
    if name == "report":
        right = any(page.glob("*.html")) and any(page.rglob("*.png"))
    elif name == "status":
        document = json.loads(text)
        right = document["declared"] == document["done"] + document["diverged"] == trials
    else:
        right = len(json.loads(text)["groups"]) == len(VARIANTS) * len(DECAYS)
    if not right:
        raise RuntimeError(f"sweeper {name} does not answer about all {trials} trials")
    return measure


def timed(name: str, rows: int, call: Callable[[], Any], turns: int = 1) -> Measure:
    """Returns what a call in this process took, the fastest of several."""
    found = []
    for _ in range(turns):
        began, processor = time.perf_counter(), time.process_time()
        call()
        found.append((time.perf_counter() - began, time.process_time() - processor))
    seconds, processor = min(found)
    return Measure(command=name, rows=rows, seconds=seconds, processor=processor, mib=None)


def measure_pandas(table: pd.DataFrame, folder: Path, *, turns: int) -> Measure:
    """Returns what reading the plain results and averaging seeds take in pandas."""
    path = folder / "plain.parquet"
    table.to_parquet(path, index=False)
    point = ["variant", "weight_decay", "width", "learning_rate"]

    def means() -> object:
        return pd.read_parquet(path).groupby(point)["loss"].mean()

    return timed("pandas groupby", len(table), means, turns)


def measure_optuna(table: pd.DataFrame, folder: Path, *, turns: int) -> list[Measure]:
    """Returns what filling a study of Optuna in SQLite and listing its trials take."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = f"sqlite:///{folder / 'optuna.db'}"
    floats = optuna.distributions.FloatDistribution
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "learning_rate": floats(1e-5, 1.0),
        "weight_decay": floats(0.0, 1.0),
    }
    trials = [
        optuna.trial.create_trial(
            params={name: float(row[name]) for name in space},
            distributions=space,
            value=float(row["loss"]) if row["state"] == "finished" else 1e9,
        )
        for row in table.to_dict("records")
    ]
    study = optuna.create_study(storage=url, study_name="big")

    def listing() -> object:
        return optuna.load_study(storage=url, study_name="big").trials_dataframe()

    return [
        timed("optuna add_trials", len(trials), lambda: study.add_trials(trials)),
        timed("optuna list trials", len(trials), listing, turns),
    ]


def line(row: Measure) -> str:
    """Returns a row of the table."""
    memory = "" if row.mib is None else f"{row.mib:.0f}"
    per_row = 1e6 * row.processor / row.rows
    times = f"{row.seconds:9.2f} {row.processor:9.2f} {per_row:9.2f}"
    return f"{row.command:20} {row.rows:10} {times} {memory:>9}"


HEAD = (
    f"{'command':20} {'rows':>10} {'seconds':>9} {'processor':>9} {'us / row':>9} {'peak MiB':>9}"
)


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--points", type=int, default=100, help="of a curve; 1: none is kept")
    parser.add_argument("--turns", type=int, default=3, help="runs of each answer, best counts")
    parser.add_argument("--answers", nargs="+", choices=ANSWERS, default=ANSWERS)
    parser.add_argument("--peer-trials", type=int, default=2000, help="of Optuna; 0 for none")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary one)")
    parser.add_argument("--json", action="store_true", help="print a list of rows")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace, folder: Path) -> list[Measure]:
    """Returns all measures."""
    table = results_table(options.trials)
    found = [measure_import(table, folder, points=options.points)]
    for name in options.answers:
        found.append(measure_answer(name, folder, trials=len(table), turns=options.turns))
    found.append(measure_pandas(table, folder, turns=options.turns))
    if options.peer_trials:
        found += measure_optuna(table.iloc[: options.peer_trials], folder, turns=options.turns)
    return found


def main() -> None:
    """Measures and prints."""
    options = parsed()
    with tempfile.TemporaryDirectory(prefix="sweeper-bench-", dir=options.folder) as name:
        rows = measure(options, Path(name))
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    print("\n".join([HEAD, *map(line, rows)]))


if __name__ == "__main__":
    main()

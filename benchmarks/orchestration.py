"""What orchestration costs: seconds per trial of sweeper, Ray Tune and Optuna, side by side.

All run on two processors in one go: empty trials, and trials of half a second of computing. The
start of workers is reported apart. ``ideal`` is trials x seconds / slots.

    .venv/bin/python benchmarks/orchestration.py [--json] [--quick]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

SLOTS = 2
EMPTY = 400
HALF = 100
HALF_SECONDS = 0.5
TUNE_EMPTY = 40
"""Plain Tune starts a process per trial: 40 empty trials are enough to know its price."""


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        tool: what ran the trials.
        trials: how many.
        trial_seconds: seconds of computing in each.
        startup: seconds until the first trial began.
        working: seconds from the first trial's beginning to the last one's end.
        workers: distinct processes that ran trials.
        largest_gap: longest time that a worker was idle between two of its trials.
    """

    tool: str
    trials: int
    trial_seconds: float
    startup: float
    working: float
    workers: int
    largest_gap: float

    @property
    def per_trial(self) -> float:
        """Seconds of working time per trial."""
        return self.working / self.trials

    @property
    def ideal(self) -> float | None:
        """Working time over its ideal; None for empty trials, whose ideal is 0."""
        total = self.trials * self.trial_seconds / SLOTS
        return self.working / total if total else None


def compute(seconds: float) -> None:
    """Keeps one processor busy."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


class Log:
    """Begin, end and process of every trial, appended to one file by all workers."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def trial(self, seconds: float) -> None:
        """Computes, and writes one line."""
        begin = time.time()
        compute(seconds)
        line = f"{begin} {time.time()} {os.getpid()}\n".encode()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line)
        os.close(descriptor)

    def row(self, tool: str, trials: int, seconds: float, asked: float) -> Row:
        """Returns the measurement that the lines add up to."""
        lines = [line.split() for line in self.path.read_text().splitlines()]
        spans = sorted((float(begin), float(end), pid) for begin, end, pid in lines)
        assert len(spans) == trials, f"{tool}: {len(spans)} trials ran, not {trials}"
        gaps, last = [0.0], {}
        for begin, end, pid in spans:
            if pid in last:
                gaps.append(begin - last[pid])
            last[pid] = end
        return Row(
            tool=tool,
            trials=trials,
            trial_seconds=seconds,
            startup=spans[0][0] - asked,
            working=max(end for _, end, _ in spans) - spans[0][0],
            workers=len(last),
            largest_gap=max(gaps),
        )


def sweeper_run(log: Log, trials: int, seconds: float) -> None:
    """The same trials as a study through the Ray engine and a store on disk."""
    from sweeper.engine import Run
    from sweeper.store import Store
    from sweeper.study import Study

    os.environ["BENCHMARK_LOG"] = str(log.path)
    study = Study.from_document(
        {
            "name": "benchmark",
            "workload": "benchmarks.logged:LOGGED",
            "scale": "width",
            "fixed": {"step_seconds": seconds},
            "sweep": {"width": [32], "learning_rate": [0.1], "seed": list(range(trials))},
        }
    )
    with Store.open(log.path.parent / "store", create=True) as store:
        summary = Run(study, store).execute()
    assert summary.finished == trials and len(summary.slots) == SLOTS


def tune_plain(log: Log, trials: int, seconds: float) -> None:
    """Ray Tune as its guides show it: a function and grid_search."""
    from ray import tune

    path = log.path

    def trainable(config: dict[str, int]) -> None:
        Log(path).trial(seconds)
        tune.report({"loss": 1.0})

    _tune(trainable, trials, path.parent, reuse=False)


def tune_reused(log: Log, trials: int, seconds: float) -> None:
    """Ray Tune with a class trainable, reused actors and its loggers off."""
    from ray import tune

    path = log.path

    class Trainable(tune.Trainable):
        def step(self) -> dict[str, object]:
            Log(path).trial(seconds)
            return {"loss": 1.0, "done": True}

        def reset_config(self, new_config: dict[str, object]) -> bool:
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            return None

        def load_checkpoint(self, checkpoint: object) -> None:
            return None

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "3600"
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = "8"
    _tune(Trainable, trials, path.parent, reuse=True)


def _tune(trainable: object, trials: int, folder: Path, *, reuse: bool) -> None:
    import ray
    from ray import tune

    ray.init(num_cpus=SLOTS, include_dashboard=False, logging_level="error", log_to_driver=False)
    tuner = tune.Tuner(
        trainable,
        param_space={"i": tune.grid_search(list(range(trials)))},
        tune_config=tune.TuneConfig(reuse_actors=reuse),
        run_config=tune.RunConfig(storage_path=str(folder), name="tune", verbose=0),
    )
    tuner.fit()
    ray.shutdown()


def optuna_rdb(log: Log, trials: int, seconds: float) -> None:
    """Optuna with a database and two processes, a grid of its own."""
    import optuna

    url = f"sqlite:///{log.path.parent}/optuna.db"
    optuna.create_study(study_name="benchmark", storage=url)
    workers = [
        multiprocessing.get_context("spawn").Process(
            target=_optuna_worker, args=(url, str(log.path), trials // SLOTS, seconds)
        )
        for _ in range(SLOTS)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _optuna_worker(url: str, path: str, trials: int, seconds: float) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(
        study_name="benchmark",
        storage=url,
        sampler=optuna.samplers.RandomSampler(seed=os.getpid()),
    )

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
        Log(Path(path)).trial(seconds)
        return 1.0

    study.optimize(objective, n_trials=trials)


TOOLS: dict[str, Callable[[Log, int, float], None]] = {
    "sweeper": sweeper_run,
    "tune, function and grid_search": tune_plain,
    "tune, class and reuse_actors": tune_reused,
    "optuna, RDB, 2 processes": optuna_rdb,
}


def measure(tool: str, trials: int, seconds: float) -> Row:
    """Runs one tool in a process of its own and returns its measurement."""
    with tempfile.TemporaryDirectory(prefix="sweeper-bench-") as folder:
        log = Log(Path(folder) / "trials.log")
        asked = time.time()
        command = [sys.executable, __file__, "--tool", tool, str(log.path), str(trials)]
        root = str(Path(__file__).resolve().parents[1])
        environment = {**os.environ, "PYTHONPATH": root, "SWEEPER_TRUST": "1"}
        done = subprocess.run(
            [*command, str(seconds)], capture_output=True, text=True, env=environment, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{tool} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return log.row(tool, trials, seconds, asked)


def table(rows: list[Row]) -> str:
    """Returns the measurements as text."""
    lines = [
        f"{'tool':32} {'trials':>6} {'each':>6} {'startup':>8} {'working':>8} {'s/trial':>8}"
        f" {'/ideal':>7} {'workers':>7} {'largest gap':>11}"
    ]
    for row in rows:
        ideal = "" if row.ideal is None else f"{row.ideal:.3f}"
        lines.append(
            f"{row.tool:32} {row.trials:>6} {row.trial_seconds:>6g} {row.startup:>8.2f}"
            f" {row.working:>8.2f} {row.per_trial:>8.4f} {ideal:>7} {row.workers:>7}"
            f" {row.largest_gap:>11.3f}"
        )
    ours = next(row for row in rows if row.tool == "sweeper" and not row.trial_seconds)
    for row in rows:
        if row.tool != "sweeper" and not row.trial_seconds:
            lines.append(
                f"empty trials: {row.tool} / sweeper = {row.per_trial / ours.per_trial:.1f}"
            )
    return "\n".join(lines)


def main() -> None:
    """Measures everything and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the measurements as JSON")
    parser.add_argument("--quick", action="store_true", help="a tenth of the trials")
    parser.add_argument("--tool", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.tool:
        tool, path, trials, seconds = asked.tool
        TOOLS[tool](Log(Path(path)), int(trials), float(seconds))
        return
    part = 10 if asked.quick else 1
    rows = []
    for tool in TOOLS:
        empty = TUNE_EMPTY if tool.startswith("tune, function") else EMPTY
        rows.append(measure(tool, max(4, empty // part), 0.0))
    for tool in TOOLS:
        rows.append(measure(tool, max(4, HALF // part), HALF_SECONDS))
    if asked.json:
        print(json.dumps([{**asdict(row), "per_trial": row.per_trial} for row in rows], indent=2))
    else:
        print(table(rows))


if __name__ == "__main__":
    main()

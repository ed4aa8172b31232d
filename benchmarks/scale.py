"""What a hundred thousand trials on a thousand slots cost the controller.

A thousand worker processes need some 114 GB, so the slots are coroutines of a few actors: they
speak to the mailbox as slots do (one pull a trial, and what happened twice a second), sleep as
long as a trial takes, and write no files. All else is real: the study, the store, claims, the
mailbox, the exchange, the recorder. What a real slot costs is measured with as many as fit.

Beside it, in the same run: the same sleeps handed to the same coroutines by a bare Ray driver with
``ray.wait``, and single rows inserted into SQLite with the settings of the store. Processor
seconds are those of one process: on a busy machine they say more than the clock.

    python benchmarks/scale.py                                # 1,000 slots, 100,000 trials
    python benchmarks/scale.py --slots 100 --trials 2000 --seconds 0.5
    python benchmarks/scale.py --real 16                      # besides, with 16 worker processes
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.sleeping import PROCESSES, sleepers

SLOTS = 1_000
TRIALS = 100_000
SECONDS = 4.0
WIDTHS = (32, 64, 128, 256, 512)
RATES = tuple(2.0**-power for power in range(1, 11))
CELLS = len(WIDTHS) * len(RATES)

MARK = "BENCHMARK_MARK"
"""Variable by which the processes of a run are told."""

MIB = 2**20
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one way to run the trials cost.

    Attributes:
        what: which way.
        slots: trials that run at a time.
        trials: trials in all.
        trial_seconds: what each sleeps.
        startup: seconds until the first trial could run.
        startup_processor: processor seconds of that.
        seconds: from then until the last has ended.
        processor: processor seconds of the controller (or driver) in that time.
        courier: those of the mailbox.
        memory: the controller's at the end, MiB.
        growth: of that, what came after the start, MiB.
    """

    what: str
    slots: int
    trials: int
    trial_seconds: float
    startup: float
    startup_processor: float
    seconds: float
    processor: float
    courier: float = 0.0
    memory: float = 0.0
    growth: float = 0.0

    @property
    def occupancy(self) -> float:
        """Share of the slots' time in which they slept for a trial."""
        return self.trials * self.trial_seconds / self.slots / self.seconds


def study(trials: int, slots: int, seconds: float) -> dict[str, Any]:
    """Returns the document of a study of so many trials that leaves room for so many slots."""
    from sweeper.engine import local_processors

    if trials % CELLS:
        raise SystemExit(f"--trials {trials} is no multiple of {CELLS}")
    return {
        "name": "scale",
        "workload": "benchmarks.sleeping:SLEEPING",
        "scale": "width",
        "fixed": {"step_seconds": seconds},
        "sweep": {
            "width": list(WIDTHS),
            "learning_rate": list(RATES),
            "seed": list(range(trials // CELLS)),
        },
        "resources": {"pack": 1, "cpus": local_processors() / slots},
    }


def processor_seconds(pid: int) -> float:
    """Returns the processor seconds that a process has used."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS


def memory() -> float:
    """Returns the resident memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="sweeper-bench-")


# Ways to run the trials -------------------------------------------------------------------------


def sweeper_run(slots: int, trials: int, seconds: float) -> Row:
    """The controller of a run, whose slots are coroutines."""
    import ray

    from sweeper.engine import Exchange, Mailbox, Run, cluster
    from sweeper.store import Store
    from sweeper.study import Study

    asked = Study.from_document(study(trials, slots, seconds))
    began, used = time.monotonic(), time.process_time()
    with (
        tempfile.TemporaryDirectory(prefix="sweeper-bench-") as folder,
        Store.open(folder, create=True) as store,
    ):
        run = Run(asked, store)
        startup, planning = time.monotonic() - began, time.process_time() - used
        with cluster(None) as pulse, sleepers() as actors:
            mailbox = ray.remote(Mailbox).options(num_cpus=0, max_concurrency=10_000).remote()
            courier = ray.get(mailbox.__ray_call__.remote(lambda box: os.getpid()))
            (shape,) = run.dispatcher.shapes()
            before = memory()
            began, used = time.monotonic(), time.process_time()
            carried = processor_seconds(courier)
            with (
                run.lease_keeper,
                run.recorder,
                Exchange(run.dispatcher, mailbox, lambda: False, pulse=pulse) as exchange,
            ):
                names = [f"slot{number}" for number in range(slots)]
                served = [
                    actor.serve.remote(mailbox, shape, names[start::PROCESSES], seconds)
                    for start, actor in enumerate(actors)
                ]
                while not exchange.over:
                    time.sleep(0.1)
                took, worked = time.monotonic() - began, time.process_time() - used
                carried = processor_seconds(courier) - carried
                ended = memory()
            assert sum(ray.get(served)) == trials
        accepted = store.account(asked.name).done
        assert accepted == trials, f"{accepted} of {trials}"
    return Row(
        what="sweeper",
        slots=slots,
        trials=trials,
        trial_seconds=seconds,
        startup=startup,
        startup_processor=planning,
        seconds=took,
        processor=worked,
        courier=carried,
        memory=ended,
        growth=ended - before,
    )


def bare_ray(slots: int, trials: int, seconds: float) -> Row:
    """A driver that hands out the same sleeps and waits for them; it remembers nothing."""
    import ray

    began, used = time.monotonic(), time.process_time()
    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
    with sleepers() as actors:
        startup, planning = time.monotonic() - began, time.process_time() - used
        before = memory()
        began, used = time.monotonic(), time.process_time()
        flying = {actors[n % PROCESSES].sleep.remote(seconds): n for n in range(slots)}
        left = trials - slots
        while flying:
            done, _ = ray.wait(list(flying), num_returns=1, fetch_local=False)
            for each in done:
                number = flying.pop(each)
                if left > 0:
                    left -= 1
                    flying[actors[number % PROCESSES].sleep.remote(seconds)] = number
        took, worked = time.monotonic() - began, time.process_time() - used
        ended = memory()
    ray.shutdown()
    return Row(
        what="bare Ray driver",
        slots=slots,
        trials=trials,
        trial_seconds=seconds,
        startup=startup,
        startup_processor=planning,
        seconds=took,
        processor=worked,
        memory=ended,
        growth=ended - before,
    )


WAYS: dict[str, Callable[[int, int, float], Row]] = {"sweeper": sweeper_run, "bare": bare_ray}


def measured(way: str, slots: int, trials: int, seconds: float) -> Row:
    """Runs the trials one way in a process of its own."""
    root = Path(__file__).resolve().parents[1]
    code = (
        "import json, sys; from dataclasses import asdict; from benchmarks.scale import WAYS;"
        f"print(json.dumps(asdict(WAYS[{way!r}]({slots}, {trials}, {seconds}))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(root), "SWEEPER_TRUST": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{way} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return Row(**json.loads(done.stdout.splitlines()[-1]))


# The database -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Commits:
    """Transactions, or trials, a second on this machine's disk.

    Attributes:
        bare: single rows that SQLite commits, with the settings of the store.
        single: trials that the store claims and records one by one, two transactions each.
        grouped: the same, as many at a time as a busy run has.
    """

    bare: float
    single: float
    grouped: float


GROUP = 256
"""Outcomes that the recorder commits in one transaction when they queue up."""


def commits(trials: int) -> Commits:
    """Returns how fast so many trials are claimed and recorded."""
    from sweeper.engine import Run
    from sweeper.outcome import Outcome
    from sweeper.store import Owner, Store
    from sweeper.study import Study

    with _folder() as folder:
        bare = _bare_commits(Path(folder) / "bare.db", trials)
        with Store.open(Path(folder) / "store", create=True) as store:
            run = Run(Study.from_document(study(2 * trials, 1, 0.0)), store, executor="inline")
            keys = [item.trial.key for item in run.proposals.planned]
            owner, paces = Owner.here(), []
            for size, mine in ((1, keys[:trials]), (GROUP, keys[trials:])):
                began = time.perf_counter()
                for start in range(0, len(mine), size):
                    claims = store.claim(mine[start : start + size], owner=owner, lease_s=120.0)
                    ended = [
                        Outcome(key=each.key, attempt=each.attempt, kind="completed")
                        for each in claims
                    ]
                    store.record_many([(outcome, 1.0) for outcome in ended])
                paces.append(trials / (time.perf_counter() - began))
    return Commits(bare=bare, single=paces[0], grouped=paces[1])


def _bare_commits(file: Path, rows: int) -> float:
    with closing(sqlite3.connect(file, isolation_level=None)) as link:
        link.execute("pragma journal_mode = wal")
        link.execute("pragma synchronous = full")
        link.execute("create table results (key text primary key, loss real)")
        began = time.perf_counter()
        for row in range(rows):
            link.execute("begin immediate")
            link.execute("insert into results values (?, ?)", (f"{row:064d}", 1.0))
            link.execute("commit")
        return rows / (time.perf_counter() - began)


# Real slots -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RealSlots:
    """What worker processes cost.

    Attributes:
        slots: how many.
        seconds: from the start of the program until the last of them is up.
        memory: of one of them, pages that several have counted in parts, MiB.
    """

    slots: int
    seconds: float
    memory: float


def real_slots(slots: int) -> RealSlots:
    """Starts a run on so many worker processes, each of a part of a processor, and ends it once
    all of them have been seen."""
    root, mark = Path(__file__).resolve().parents[1], uuid.uuid4().hex
    trials = -(-2 * slots // CELLS) * CELLS
    with _folder() as name:
        file, store = Path(name) / "study.yaml", Path(name) / "store"
        file.write_text(json.dumps(study(trials, slots, 600.0)), encoding="utf-8")
        began, words = time.monotonic(), ["run", str(file), "--store", str(store)]
        child = subprocess.Popen(
            [sys.executable, "-m", "sweeper", *words, "--executor", "ray"],
            env={**os.environ, "PYTHONPATH": str(root), "SWEEPER_TRUST": "1", MARK: mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        found: list[float] = []
        while child.poll() is None and len(found) < slots:
            time.sleep(1.0)
            found = [share for pid in _slots_of(mark) if (share := _share(pid))]
        seconds = time.monotonic() - began
        child.terminate()
        child.wait()
    assert len(found) == slots, f"{len(found)} of {slots} slots were seen"
    return RealSlots(slots=slots, seconds=seconds, memory=sum(found) / slots)


def _slots_of(mark: str) -> list[int]:
    """The worker processes of a run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            named = (folder / "cmdline").read_bytes().startswith(b"ray::Slot")
            if named and mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue  # it has just ended
    return found


def _share(pid: int) -> float:
    """The memory of a process, MiB; pages that several have count in parts."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


# What is said -----------------------------------------------------------------------------------


def table(rows: Sequence[Row], pace: Commits | None, real: RealSlots | None) -> str:
    """Returns the measurements as text."""
    lines = [
        f"{'':16} {'slots':>5} {'trials':>7} {'each':>5} {'start-up':>13} {'trials':>7}"
        f" {'slots':>6}"
        f" {'ms of processor/trial':>21} {'MiB':>5} {'KiB':>7}",
        f"{'':16} {'':>5} {'':>7} {'s':>5} {'s':>6} {'cpu s':>6} {'/s':>7} {'busy':>6}"
        f" {'controller':>11} {'mailbox':>9} {'':>5} {'/trial':>7}",
    ]
    for row in rows:
        lines.append(
            f"{row.what:16} {row.slots:>5} {row.trials:>7} {row.trial_seconds:>5g}"
            f" {row.startup:>6.1f} {row.startup_processor:>6.1f} {row.trials / row.seconds:>7.1f}"
            f" {row.occupancy:>6.0%} {1e3 * row.processor / row.trials:>11.2f}"
            f" {1e3 * row.courier / row.trials:>9.2f} {row.memory:>5.0f}"
            f" {1024 * row.growth / row.trials:>7.2f}"
        )
    if len(rows) == 2:
        ratio = rows[0].processor / rows[1].processor
        lines.append(f"processor of the controller / bare Ray driver = {ratio:.2f}")
    if pace is not None:
        lines.append(
            f"commits: {pace.bare:.0f} rows/s by bare SQLite, {pace.single:.0f} trials/s one by "
            f"one, {pace.grouped:.0f} trials/s by {GROUP}"
        )
        lines.append(
            f"trials one by one / bare rows = {pace.single / pace.bare:.2f}, "
            f"by {GROUP} / bare rows = {pace.grouped / pace.bare:.1f}"
        )
    if real is not None:
        lines.append(
            f"{real.slots} worker processes: {real.seconds:.0f} s until the last is up, "
            f"{real.memory:.0f} MiB each"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--slots", type=int, default=SLOTS)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="what a trial sleeps")
    parser.add_argument("--commits", type=int, default=1_000, help="trials; 0 leaves it out")
    parser.add_argument("--real", type=int, default=0, help="worker processes; 0 leaves it out")
    parser.add_argument("--ways", nargs="+", choices=[*WAYS], default=[*WAYS])
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    pace = commits(asked.commits) if asked.commits else None
    rows = [measured(way, asked.slots, asked.trials, asked.seconds) for way in asked.ways]
    real = real_slots(asked.real) if asked.real else None
    if asked.json:
        parts = {"rows": rows, "commits": [pace] if pace else [], "real": [real] if real else []}
        print(json.dumps({name: list(map(asdict, each)) for name, each in parts.items()}))
    else:
        print(table(rows, pace, real))


if __name__ == "__main__":
    main()

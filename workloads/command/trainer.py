"""The trainer of a trial that is a process: it runs the program, and says what that says."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from workloads.command.folder import CheckpointFolder
from workloads.command.guard import guard
from workloads.command.process import Process, words_of
from workloads.command.program import Program
from workloads.command.results import Row
from workloads.command.sources import sources_of
from workloads.programs import OutOfMemoryError, TrialFailedError
from workloads.workload import Measurement, Member, ProcessLostError

LOOK_SECONDS = 0.2
"""How often what the program has said is told."""

GRACE_SECONDS = 2.0
"""What a program has for its end that cannot go on from a checkpoint anyway."""

_MEMORY = re.compile(
    r"out of memory|OutOfMemoryError|\bMemoryError\b|RESOURCE_EXHAUSTED|can't allocate memory"
    r"|cannot allocate memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|bad_alloc",
    re.IGNORECASE,
)
"""Words of a shortage of memory, of a device or of the machine."""

_CAUSE = re.compile(r"(?!.*ChildFailedError)(\[rank\d+\]: ?)?[\w.]*(Error|Exception|Interrupt)\b")
"""The line of a traceback that says what was raised, and not what a launcher made of it."""

_ROOT = re.compile(r"Root Cause.*?\brank *: (\d+)", re.DOTALL)
"""Where torchrun says which process failed first: the others fail for want of it."""

_FROM_OUTSIDE = frozenset(code for number in (1, 2, 9, 15) for code in (-number, 128 + number))
"""Ends by SIGHUP, SIGINT, SIGKILL and SIGTERM, as the system and as a shell tells them: somebody,
or the system, has ended it."""

LARGEST = 2**53
"""Steps and tokens up to which every whole number is one of JSON and of a database."""


class CommandTrainer:
    """Runs the program of one trial; satisfies :class:`Trainer` and :class:`RunsProgram`."""

    def __init__(
        self, members: Sequence[Member], *, threads: int, device: str, processes: int = 1
    ) -> None:
        """Makes the folder of the trial, with its checkpoint; see :class:`TrainerFactory`.

        Args:
            members: the one trial.
            threads: processor threads of each process.
            device: ``cpu``, or ``cuda``.
            processes: devices that the program uses: GPUs, or processes on a CPU.
        """
        (member,) = members
        self._member = member
        self._device = device
        self._processes = processes
        self._threads = threads
        self._program = Program.of(member.config["program"])
        self._process: Process | None = None
        self._steps = _Steps(self._program, anew=member.checkpoint is not None)
        self._over = False
        self._folder = Path(tempfile.mkdtemp(prefix="sweeper-trial-"))
        guard().hold(self._folder)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        program, settings = self._program, self._settings()
        self._checkpoints: CheckpointFolder | None = None
        if program.resumable:
            self._checkpoints = CheckpointFolder(self._folder / "checkpoint")
            if self._member.checkpoint is not None:
                self._steps.take_up(self._checkpoints.unpack(self._member.checkpoint))
        values = settings | {
            "gpus": self._processes if self._device == "cuda" else 0,
            "processes": self._processes,
            "cpus": self._threads * self._processes,
            "threads": self._threads,
            "checkpoint": str(self._checkpoints.path) if self._checkpoints else "",
            "config": "",
            "folder": str(self._folder),
            "key": self._member.key,
        }
        rendered = program.config_file(values)
        if rendered is not None:
            path = self._folder / rendered[0]
            path.write_text(rendered[1], encoding="utf-8")
            values["config"] = str(path)
        self._values = values
        self._results = program.results(values)

    def _settings(self) -> dict[str, Any]:
        given = {name: value for name, value in self._member.config.items() if name != "program"}
        return given | {"seed": self._member.seed}

    def _environment(self) -> dict[str, str]:
        """That of this process, what the study adds, and what a trial is told."""
        config = self._folder / "sweeper-settings.json"
        report = self._folder / "sweeper-report.jsonl"
        config.write_text(json.dumps(self._settings()), encoding="utf-8")
        told = {
            "SWEEPER_KEY": self._member.key,
            "SWEEPER_CONFIG": str(config),
            "SWEEPER_REPORT": str(report),
            "OMP_NUM_THREADS": str(self._threads),
            "CUDA_VISIBLE_DEVICES": self._devices(),
        }
        if self._checkpoints is not None:
            told["SWEEPER_CHECKPOINT"] = str(self._checkpoints.path)
        elif "SWEEPER_CHECKPOINT" in os.environ:
            told["SWEEPER_CHECKPOINT"] = ""
        unbuffered = {"PYTHONUNBUFFERED": "1"}
        return {**unbuffered, **os.environ, **told, **self._program.environment(self._values)}

    def _devices(self) -> str:
        """The GPUs of the trial: of those that this process was given, as many as are asked for;
        on a CPU none, so that what runs side by side does not meet on one."""
        if self._device != "cuda":
            return ""
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = given.split(",") if given else [str(at) for at in range(self._processes)]
        return ",".join(names[: self._processes])

    def run(self) -> Iterator[Sequence[Measurement]]:
        """Starts the program, and yields what it has said since the last time."""
        environment = self._environment()
        self._sources = sources_of(self._results, Path(environment["SWEEPER_REPORT"]))
        self._row_of = self._results.reader_of_lines()
        arguments = self._program.arguments(self._values)
        root = self._program.root
        self._process = Process(arguments, environment=environment, folder=self._folder, root=root)
        while not self._over:
            lines = self._process.read(LOOK_SECONDS)
            yield self._said(lines, last=self._process.code is not None)

    def _said(self, lines: Sequence[str], *, last: bool) -> list[Measurement]:
        """What lines and files say, and at the end how it ended.

        Raises:
            TrialFailedError: it has failed.
            ProcessLostError: somebody has ended it.
        """
        rows: list[Row] = [row for line in lines if (row := self._row_of(line))]
        for source in self._sources:
            rows += source.rows(last=last)
        found = self._steps.measurements(self._results.renamed(rows))
        if self._results.says_diverged(lines) and not self._steps.diverged:
            found.append(self._steps.end("diverged"))
        if self._steps.diverged:
            self._over = True
        elif last:
            self._over = True
            found.append(self._ended())
        return found

    def _ended(self) -> Measurement:
        assert self._process is not None and self._process.code is not None
        code, metric = self._process.code, self._program.metric
        if code in _FROM_OUTSIDE:
            raise ProcessLostError(f"the process of the trial was {words_of(-abs(code) % -128)}")
        if code != 0:
            raise self._failure(code)
        if metric not in self._steps.latest:
            raise TrialFailedError(
                f"the program ended with exit code 0 and without {metric!r}, the study's metric; "
                f"measured: {', '.join(sorted(self._steps.latest)) or 'nothing'}, in "
                f"{self._results.where}; `results` of the study says where its results are read, "
                f"and `results.names` what it calls them\n\n{self._last_lines()}"
            )
        return self._steps.end("completed")

    def _failure(self, code: int) -> TrialFailedError:
        assert self._process is not None
        lines = [line for line in self._process.stderr if line.strip()]
        causes = [line for line in lines if _CAUSE.match(line)]
        if root := _ROOT.search("\n".join(lines)):
            causes = [line for line in causes if line.startswith(f"[rank{root[1]}]")] or causes
        said = (causes or [line for line in lines if re.search(r"\w", line)] or [""])[-1].strip()
        what = words_of(code)
        if code in (126, 127):
            what += ", which is that of a program that cannot be started"
        kind = OutOfMemoryError if any(map(_MEMORY.search, lines)) else TrialFailedError
        head = f"{what}: {said}" if said else what
        return kind(f"{head}\n\n{self._last_lines()}")

    def _last_lines(self) -> str:
        assert self._process is not None
        lines = list(self._process.stderr)
        if not lines:
            return "nothing was printed on its error stream"
        return "\n".join(["the end of its error stream:", *lines])

    def save(self, member: int, path: Path) -> None:
        """Packs the folder of the program's checkpoints."""
        assert self._checkpoints is not None
        self._checkpoints.pack(path, self._steps.state(), running=self._running)

    @property
    def _running(self) -> bool:
        return self._process is not None and self._process.code is None

    def has_checkpoint(self) -> bool:
        """Returns whether the program has written a checkpoint that was not packed before, and
        may be packed now."""
        folder, killed = self._checkpoints, self._process is not None and self._process.killed
        return folder is not None and folder.is_ready(running=self._running or killed)

    def wind_up(self) -> Sequence[Measurement]:
        """Asks the program to end, and ends it after the grace."""
        process = self._process
        if process is None or self._over:
            return []
        lines = process.read(0.0)
        if process.code is not None:
            return self._said(lines, last=True)
        grace = self._program.grace if self._program.resumable else GRACE_SECONDS
        lines += process.end(grace)
        found = self._said(lines, last=False)
        self._over = True
        return found

    def output(self) -> str:
        """Returns what the program has printed."""
        return "" if self._process is None else self._process.output.text()

    def device_name(self) -> str:
        """Returns how many of what it trains on."""
        name = _accelerator(self._devices()) if self._device == "cuda" else self._device
        return name if self._processes == 1 else f"{self._processes} x {name}"

    def close(self) -> None:
        """Ends the program with all that it started, and removes the folder of the trial."""
        self._over = True
        if self._process is not None:
            self._process.end(GRACE_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)
        guard().release(self._folder)


class _Steps:
    """Turns rows into measurements: finds their steps, and what goes back.

    Attributes:
        latest: the last finite number of each name.
        diverged: True once one says so.
    """

    def __init__(self, program: Program, *, anew: bool) -> None:
        self.latest: dict[str, float] = {}
        self.diverged = False
        self._program = program
        self._anew = anew  # whatever comes first counts from there on
        self._step = self._tokens = self._count = 0
        self._counted = True
        self._reached: dict[str, int] = {}

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Takes up what was known where a checkpoint was packed."""
        self.latest = {str(name): float(value) for name, value in state["latest"].items()}
        self._step, self._tokens = int(state["step"]), int(state["tokens"])

    def state(self) -> dict[str, Any]:
        """Returns what is to be known by whoever goes on from here."""
        return {"latest": self.latest, "step": self._step, "tokens": self._tokens}

    def end(self, status: Any) -> Measurement:
        """Returns the last measurement."""
        self.diverged = status == "diverged"
        metrics = dict(self.latest) if status == "completed" else {}
        return Measurement(
            member=0, step=self._step, tokens=self._tokens, metrics=metrics, status=status
        )

    def measurements(self, rows: Sequence[Row]) -> list[Measurement]:
        """Returns what rows say, up to the one that tells of a divergence."""
        found: list[Measurement] = []
        for row in rows:
            numbers = self._numbers(row)
            if numbers:
                found += self._measurement(numbers)
            if any(_is_a_loss(name, self._program.metric) for name in row.keys() - numbers.keys()):
                found.append(self.end("diverged"))
                return found
        return found

    def _numbers(self, row: Row) -> Row:
        """The finite numbers of a row, once its step and tokens are known."""
        row = {**row}
        step, tokens = row.pop("step", math.nan), row.pop("tokens", math.nan)
        if 0 <= step <= LARGEST:
            self._counted, self._step = False, int(step)
        elif self._counted:
            self._count += 1
            self._step = self._count
        if 0 <= tokens <= LARGEST:
            self._tokens = int(tokens)
        else:
            self._tokens = self._program.tokens_at(self._step)
        return {name: value for name, value in row.items() if math.isfinite(value)}

    def _measurement(self, numbers: Row) -> list[Measurement]:
        anew = self._anew or any(self._reached.get(name, -1) > self._step for name in numbers)
        if anew:
            self._reached = {n: at for n, at in self._reached.items() if at < self._step}
        self._anew = False
        self._reached.update(dict.fromkeys(numbers, self._step))
        self.latest.update(numbers)
        said = Measurement(
            member=0, step=self._step, tokens=self._tokens, metrics=numbers, anew=anew
        )
        metric = self._program.metric
        if metric not in numbers:
            return [said]
        return [said, replace(said, metrics={metric: numbers[metric]}, mark=True, anew=False)]


def _is_a_loss(name: str, metric: str) -> bool:
    """Whether a number that is not finite tells of a divergence: a norm of gradients may be
    infinite for a step, and a rate before there is one."""
    return name not in ("step", "tokens") and (name == metric or "loss" in name.lower())


@cache
def _accelerator(devices: str) -> str:
    """The name of the first of some GPUs, or of their kind where nothing tells."""
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    asked += ["-i", devices.partition(",")[0]]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "cuda"
    return found.stdout.strip().splitlines()[0] if found.stdout.strip() else "cuda"

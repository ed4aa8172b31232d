"""What every test of violence shares: how much of it, a study to be disturbed, and the
comparison of what is left with an undisturbed run."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from engine_program import Program
from engine_studies import adds_up
from long_form import LONG, ROUNDS
from on_disk import on_disk

from sweeper.engine.run import Run
from sweeper.store.files.curves import read_curves
from sweeper.store.files.local import LocalFiles
from sweeper.store.files.paths import Paths
from sweeper.store.files.protocol import TEMPORARY_PREFIX
from sweeper.store.store import Store
from sweeper.study.study import Study

SEED = int(os.environ.get("SWEEPER_TORTURE_SEED") or int.from_bytes(os.urandom(4), "big"))
"""Of the random instants; printed with a failure, and given again it draws the same ones."""

STEPS = 400 if LONG else 40
"""Steps of a trial of :func:`small_study`."""

TRIAL_SECONDS = 0.5
"""About what a trial of :func:`small_study` takes in a program on an idle processor."""

PAUSE_SECONDS = 0.0 if LONG else TRIAL_SECONDS / STEPS
"""What a step idles in a program: the short form does not train in earnest."""

Bits = dict[str, tuple[Any, ...]]
"""All of a trial that must not depend on how it was run, by key."""


class Answer(NamedTuple):
    """What a command left behind: its exit code, what it answered, and what it said besides."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The answer, from JSON."""
        return json.loads(self.out)


def write(study: Study, file: Path) -> None:
    """Writes a study as a file that it can be read from."""
    file.write_text(json.dumps(study.document), encoding="utf-8")


def allowed(command: list[str]) -> bool:
    """Returns whether this machine lets a command make its namespaces."""
    if shutil.which(command[0]) is None or os.getuid() != 0:
        return False
    return subprocess.run([*command, "true"], capture_output=True, timeout=30).returncode == 0


def needs(*command: str) -> pytest.MarkDecorator:
    """Skips a test where namespaces may not be made."""
    reason = f"`{' '.join(command)}` is not allowed here"
    return pytest.mark.skipif(not allowed(list(command)), reason=reason)


def share(part: int) -> int:
    """Returns a part of the rounds, at least one: for what takes longer to be killed."""
    return max(1, ROUNDS // part)


def instants(name: str) -> random.Random:
    """Returns the source of a test's random instants, and prints what repeats it."""
    print(f"{name}: SWEEPER_TORTURE_ROUNDS={ROUNDS} SWEEPER_TORTURE_SEED={SEED}")
    return random.Random(f"{SEED} {name}")


def small_study(trials: int, *, times: int = 1) -> Study:
    """Returns a study of so many small trials, or up to three more, each of ``times`` as many
    steps: in the long form perceptrons that learn digits."""
    real = {"data": "digits", "batch_size": 32, "evals": 4}
    return Study.from_document(
        {
            "name": "small",
            "workload": f"witnessed_card:{'PERCEPTRON' if LONG else 'SURFACE'}",
            "scale": "width",
            "fixed": {"steps": STEPS * times} | (real if LONG else {}),
            "sweep": {
                "width": [16, 32],
                "learning_rate": [0.0078125, 0.03125],
                "seed": list(range(-(-trials // 4))),
            },
            "resources": {"pack": 1},
        }
    )


def undisturbed(folder: Path, study: Study) -> Bits:
    """Returns the bits of a study, trained in this process in one go."""
    with Store.open(folder, create=True) as store:
        Run(study, store, executor="inline").execute()
        return bits_of(store, study.name)


def bits_of(store: Store, name: str) -> Bits:
    """Returns outcome, metrics, marks and curve of every result of a study, to the last bit."""
    keys = {row["key"] for row in store.frame(name).to_dict("records")}
    found = "select trial_key, step, tokens, metric, value from marks order by step, metric"
    marks: dict[str, list[Any]] = {}
    for key, *mark in store.query(found).rows:
        marks.setdefault(key, []).append(mark)
    columns = "trial_key, metrics, curve, outcome, objective, step, tokens, flops"
    return {
        key: (_plain(metrics), _curve(store, curve), marks.get(key), *numbers)
        for key, metrics, curve, *numbers in store.query(f"select {columns} from results").rows
        if key in keys
    }


def settled(store: Store, study: Study, calm: Bits, *, true_times: bool = True) -> None:
    """Asserts that a study ended as if nothing had happened.

    Every declared trial has exactly one accepted result, equal to the undisturbed one to the last
    bit; the account adds up; two attempts at a trial never ran at the same time; and no file is
    left that is unfinished or that nobody needs any more. Without ``true_times`` the clock lied.
    """
    account = store.account(study.name)
    assert adds_up(store, study.name)
    assert (account.running, account.pending, account.failed) == (0, 0, 0), account
    bits = bits_of(store, study.name)
    assert len(bits) == account.declared
    assert bits == {key: calm[key] for key in bits}
    accepted = store.query("select trial_key from attempts where accepted").rows
    assert sorted(key for (key,) in accepted) == sorted(bits)
    assert not store.query("select id from attempts where state = 'running'").rows
    assert not true_times or overlaps(store) == []
    local = isinstance(store.paths.files, LocalFiles)
    left = leftovers(on_disk(store.paths).root) if local else unneeded(store.paths)
    assert left == []


def overlaps(store: Store) -> list[str]:
    """Returns the trials of which an attempt began before the one before it had ended."""
    text = "select trial_key, started_at, ended_at from attempts order by trial_key, fence"
    attempts = store.query(text).rows
    return [
        f"{key[:12]}: began {start}, the one before ended {end}"
        for (before, _, end), (key, start, _) in itertools.pairwise(attempts)
        if key == before and start < end
    ]


def leftovers(root: Path) -> list[str]:
    """Returns files that a finished study has no use for."""
    unfinished = root.rglob(f"{TEMPORARY_PREFIX}*")
    checkpoints = (path for path in (root / "checkpoints").rglob("*") if path.is_file())
    return sorted(str(path.relative_to(root)) for path in {*unfinished, *checkpoints})


def unneeded(paths: Paths) -> list[str]:
    """Returns files in a bucket that a finished study has no use for."""
    checkpoints = [
        name for _, folder in paths.checkpoint_folders() for name in paths.files.infos(folder)
    ]
    return sorted([*checkpoints, *(name for _, name in paths.unfinished_files())])


def lost_pids(store: Store) -> set[int]:
    """Returns the processes whose attempts were given up."""
    text = "select pid from attempts where state like 'lost%'"
    return {pid for (pid,) in store.query(text).rows}


def curves(program: Program) -> int:
    """Returns the number of trials of a program's store that were trained to their end."""
    return len(program.files.curve_paths())


def await_curves(program: Program, count: int, *, seconds: float = 90) -> None:
    """Returns once so many trials were trained to their end, or the program has ended."""
    until = time.monotonic() + seconds
    while program.alive and curves(program) < count:
        assert time.monotonic() < until, program.said
        time.sleep(0.01)


def sound(program: Program, codes: Iterable[int]) -> None:
    """Asserts that a program that has ended did so with one of some exit codes, in words."""
    assert "Traceback" not in program.said, program.said
    assert program.process.returncode in codes, program.said


def _plain(value: Any) -> str:
    """JSON as one text, whether the database keeps it as text or as values."""
    return json.dumps(json.loads(value) if isinstance(value, str) else value, sort_keys=True)


def _curve(store: Store, relative: str | None) -> tuple[Any, ...]:
    if relative is None:
        return ()
    frame, warnings = read_curves(store.paths.files, {"": relative})
    assert not warnings, warnings
    return tuple((name, frame[name].to_numpy().tobytes()) for name in sorted(frame.columns[1:]))

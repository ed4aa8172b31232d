"""The world in the way of a run: a locked database, a stopped server, a full disk, a clock that
jumps."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from engine_program import Program
from long_form import LONG
from sqlalchemy import Connection
from torture_program import (
    PAUSE_SECONDS,
    Bits,
    await_curves,
    curves,
    lost_pids,
    needs,
    settled,
    small_study,
    sound,
)
from witnessed_card import PAUSE, VARIABLE, Witness, trained_twice_at_once

from sweeper.engine.run import Run
from sweeper.store.database import shared_clock
from sweeper.store.store import Store
from sweeper.study.study import Study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STUDY = small_study(12)

HELD_SECONDS = 40.0 if LONG else 3.0
"""How long another program holds the database; a writer's own patience is 30 s."""

DOWN_SECONDS = 60.0 if LONG else 4.0
"""How long the server is away."""

DISK = 32 * 1024**2
"""Bytes of the small disk: enough for the study, until it is filled up."""


def finished(run: Program, calm: Callable[[Study], Bits]) -> None:
    """Asserts that a run ended well, with everything where it should be."""
    assert run.wait(180) == 0, run.said
    sound(run, {0})
    with Store.open(run.store, create=False) as store:
        settled(store, STUDY, calm(STUDY))


def test_a_reader_who_never_ends_hinders_nobody_and_a_writer_is_waited_for(
    program: Callable[..., Program], calm: Callable[[Study], Bits]
) -> None:
    run = program(STUDY)
    run.start()
    await_curves(run, 1)
    file = run.files.database
    with (
        contextlib.closing(sqlite3.connect(file, isolation_level=None)) as reader,
        contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=30)) as writer,
    ):
        reader.execute("begin")
        seen = reader.execute("select count(*) from attempts").fetchone()
        writer.execute("begin immediate")
        count = len(run.results())
        time.sleep(HELD_SECONDS)
        assert len(run.results()) == count < 12
        writer.execute("rollback")
        assert run.wait(180) == 0, run.said
        assert reader.execute("select count(*) from attempts").fetchone() == seen
    finished(run, calm)


@pytest.mark.postgres
def test_a_server_that_is_stopped_and_started_again_is_waited_for(
    lone_postgres: Any, program: Callable[..., Program], calm: Callable[[Study], Bits]
) -> None:
    run = program(STUDY, store=lone_postgres.get_uri())
    run.start()
    await_curves(run, 1)
    os.kill(lone_postgres.get_pid(), signal.SIGQUIT)  # as pg_ctl stop -m immediate does
    time.sleep(DOWN_SECONDS)
    assert run.alive, run.said
    lone_postgres.ensure_postgres_running()
    finished(run, calm)
    assert "waiting for the store" in run.said
    assert "the store is back" in run.said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yields a disk of a few megabytes."""
    if os.name == "nt" or os.geteuid() != 0:
        pytest.skip("only root may mount a disk")
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> None:
    """Takes all of a disk that is free now."""
    with (disk / "filler").open("ab", buffering=0) as filler:
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    filler.write(bytes(size))


@pytest.mark.parametrize("executor", ["inline", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_full_disk_stops_a_run_which_goes_on_once_there_is_space(
    executor: str,
    small_disk: Path,
    program: Callable[..., Program],
    calm: Callable[[Study], Bits],
) -> None:
    run = program(STUDY, executor, store=small_disk / "store")
    run.start()
    await_curves(run, 2)
    until = time.monotonic() + 90
    while run.alive:
        fill(small_disk)
        assert time.monotonic() < until, run.said
        time.sleep(0.05)
    sound(run, {4})
    message = run.said.strip().splitlines()[-1]
    assert message.startswith("sweeper: ")
    assert "space" in message
    run.await_silence()
    assert 2 <= curves(run) < 12
    (small_disk / "filler").unlink()
    rest = program(STUDY, store=small_disk / "store")  # Ray going on is tested with kills
    rest.start()
    finished(rest, calm)


def test_a_clock_that_jumps_makes_nobody_take_what_another_is_at(
    monkeypatch: pytest.MonkeyPatch,
    program: Callable[..., Program],
    calm: Callable[[Study], Bits],
    witness: Witness,
) -> None:
    """One of two controllers has a clock that is an hour late, then early, and so on: its leases
    look as if they had lapsed long ago, and so do the other's to it."""
    other = program(STUDY)
    other.start()
    await_curves(other, 1)
    jumps = itertools.cycle([-1.0, 0.0, 1.0])

    def clock(connection: Connection) -> datetime:
        return shared_clock(connection) + timedelta(hours=next(jumps))

    monkeypatch.setenv(VARIABLE, str(witness.file))
    monkeypatch.setenv(PAUSE, str(PAUSE_SECONDS))
    with Store.open(other.store) as store:
        store.database.clock = clock
        run = Run(STUDY, store, executor="inline", checkpoint_seconds=0.1)
        run.execute()
        assert run.progress.finished, "it had a share"
        assert other.wait(180) == 0, other.said
        sound(other, {0})
        trained = witness.stretches()
        assert len({part.pid for part in trained}) == 2
        assert not trained_twice_at_once(trained)
        assert not lost_pids(store)
        settled(store, STUDY, calm(STUDY), true_times=False)


ELSEWHERE = (
    "unshare",
    "--mount",
    "--uts",
    "sh",
    "-c",
    'hostname elsewhere && mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"',
)
"""What another machine's name and boot are simulated with; a file with the boot follows."""


@needs(*ELSEWHERE, "/dev/null")
def test_two_machines_whose_clocks_are_ten_minutes_apart_train_nothing_twice(
    tmp_path: Path,
    program: Callable[..., Program],
    calm: Callable[[Study], Bits],
    witness: Witness,
) -> None:
    """On SQLite, where leases go by the clock of each: to the one that is ahead, every lease of
    the other has lapsed long ago."""
    boot = tmp_path / "boot"
    boot.write_text("another-boot\n")
    study = small_study(24)  # not done before the other has loaded, even on a busy machine
    here = program(study)
    ahead = program(study, prefix=[*ELSEWHERE, str(boot)], module="ahead_of_time")
    here.start()
    await_curves(here, 1)
    ahead.start()
    assert here.wait(180) == 0, here.said
    assert ahead.wait(180) == 0, ahead.said
    sound(here, {0})
    sound(ahead, {0})
    trained = witness.stretches()
    assert len({part.pid for part in trained}) == 2, "each had a share"
    assert not trained_twice_at_once(trained)
    assert "has claims in this SQLite database" in ahead.said
    with Store.open(here.store, create=False) as store:
        assert not lost_pids(store)
        settled(store, study, calm(study), true_times=False)

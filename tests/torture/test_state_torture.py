"""Every file of a store truncated, emptied of its bytes or deleted, between two runs."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torture_program
import witnessed_card
from engine_program import Program
from long_form import LONG
from torture_program import PAUSE_SECONDS, Bits, await_curves, settled, small_study
from witnessed_card import Witness

from sweeper.store.store import Store
from sweeper.study.study import Study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("state")]

STUDY = small_study(4, times=3)
"""Four trials of about a second and a half."""

FILES = {
    "database": "sweeper.db",
    "log": "sweeper.db-wal",
    "index": "sweeper.db-shm",
    "curve": "curves/*/[0-9a-f]*.parquet",
    "checkpoint": "checkpoints/*/*/step-*.pt",
    "journal": "checkpoints/*/*/step-*.json",
}
"""Every kind of file that an interrupted run leaves."""


def truncate(file: Path) -> None:
    """Cuts a file to half its length."""
    os.truncate(file, file.stat().st_size // 2)


def zero(file: Path) -> None:
    """Puts zeros in place of all bytes."""
    file.write_bytes(bytes(file.stat().st_size))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": truncate,
    "zeroed": zero,
    "deleted": Path.unlink,
}


PAIRS = [
    (kind, damage)
    for place, kind in enumerate(FILES)
    for number, damage in enumerate(DAMAGES)
    # In short each kind once and each damage twice, and a database that is there and of no use.
    if LONG or (place + number) % len(DAMAGES) == 0 or (kind, damage) == ("database", "zeroed")
]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yields a store as a killed controller left it: two results, one trial with two checkpoints,
    one that was not begun."""
    folder = tmp_path_factory.mktemp("interrupted")
    paths = [str(Path(witnessed_card.__file__).parent), os.environ.get("PYTHONPATH", "")]
    environ = {
        "PYTHONPATH": os.pathsep.join(paths),
        witnessed_card.PAUSE: str(PAUSE_SECONDS),
    }
    run = Program(folder, STUDY, "inline", environ=environ)
    run.start()
    await_curves(run, 2)
    while not stands_so(run):
        assert run.alive, f"the study is too short: {run.said}"
        time.sleep(0.02)
    run.kill()
    assert len(run.results()) == 2
    yield run.files.root


def stands_so(run: Program) -> bool:
    """Stops a program in its tracks and returns whether its files are those that are wanted; if
    not, it goes on."""
    run.process.send_signal(signal.SIGSTOP)
    found = {name: len(list(run.files.root.glob(pattern))) for name, pattern in FILES.items()}
    wanted = {"curve": 2, "checkpoint": 2, "journal": 2, "database": 1, "log": 1, "index": 1}
    results = run.results()
    # Those of a trial that has just ended are not gone yet.
    left = {path.parent.name for path in run.files.root.glob(FILES["checkpoint"])} & {*results}
    if found == wanted and len(results) == 2 and not left:
        return True
    run.process.send_signal(signal.SIGCONT)
    return False


@pytest.mark.parametrize(("kind", "damage"), PAIRS)
def test_a_damaged_file_is_made_good_or_refused_and_nothing_restarts_silently(
    kind: str,
    damage: str,
    interrupted: Path,
    sweeper: Callable[..., torture_program.Answer],
    calm: Callable[[Study], Bits],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = sorted(path.relative_to(interrupted) for path in interrupted.glob(FILES[kind]))
    # Nobody reads an older checkpoint while the newest one is whole.
    told = names[-1] if kind in ("checkpoint", "journal") else None
    for number, name in enumerate(names if LONG else names[-1:]):
        store = tmp_path / f"store-{number}"
        witness = Witness(tmp_path / f"witness-{number}")
        monkeypatch.setenv(witnessed_card.VARIABLE, str(witness.file))
        shutil.copytree(interrupted, store)
        DAMAGES[damage](store / name)
        run_on(store, kind, sweeper, tmp_path / "study.yaml", told=name == told)
        begun = [part for part in witness.stretches() if part.first == 1]
        assert len(begun) == (2 if kind == "curve" else 1), "all else was done, or resumed"
        with Store.open(store, create=False) as opened:
            settled(opened, STUDY, calm(STUDY))


def run_on(store: Path, kind: str, sweeper: Callable[..., Any], file: Path, *, told: bool) -> None:
    """Runs the study until it is done, as the messages say, and asserts that they say it; that a
    checkpoint is skipped where it is ``told``."""
    torture_program.write(STUDY, file)
    command = ["run", file, "--executor", "inline", "--checkpoint-seconds", "0.1"]
    command += ["--store", store]
    said = sweeper(*command)
    if said.code == 4:
        assert kind in ("database", "log")
        (message,) = [line for line in said.err.splitlines() if line.startswith("sweeper: ")]
        assert "move" in message
        for old in store.glob("sweeper.db*"):
            old.rename(store.parent / f"aside-{store.name}-{old.name}")
        said = sweeper(*command)
        assert "taken over" in said.err
    assert said.code == 0, said.err
    if told:
        assert "skipped" in said.err or "missing" in said.err
    checked = sweeper("verify", "--repair", "--store", store, "--json")
    assert checked.code == (1 if kind == "curve" else 0), checked.out
    for finding in checked.json["findings"]:
        if not finding["repaired"]:
            assert "sweeper retry STUDY --key" in finding["remedy"]
            retry = ["retry", STUDY.name, "--key", finding["key"]]
            assert sweeper(*retry, "--store", store).code == 0
            assert sweeper(*command).code == 0
            assert sweeper("prune", "--withdrawn", "--store", store).code == 0
    assert sweeper("verify", "--store", store).code == 0

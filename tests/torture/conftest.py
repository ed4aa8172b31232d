"""Undisturbed results to compare with, and programs that are ended with their test."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import witnessed_card
from engine_program import Program
from torture_nodes import Nodes
from torture_program import PAUSE_SECONDS, Answer, Bits, undisturbed
from witnessed_card import Witness

from sweeper.cli import main
from sweeper.study.study import Study


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Study], Bits]:
    """Returns what trains a study undisturbed, each trial once in the whole session, and returns
    its bits."""
    folder = tmp_path_factory.mktemp("calm")
    return lambda study: undisturbed(folder, study)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    """Returns what the programs of a test tell of their training."""
    return Witness(tmp_path / "witness")


@pytest.fixture
def program(tmp_path: Path, witness: Witness) -> Iterator[Callable[..., Program]]:
    """Yields what makes programs on one store, each with a folder of its own; ends what a failed
    test leaves of them."""
    made: list[Program] = []
    numbers = itertools.count()
    paths = [str(Path(witnessed_card.__file__).parent), os.environ.get("PYTHONPATH", "")]
    environ = {
        "PYTHONPATH": os.pathsep.join(paths),
        witnessed_card.VARIABLE: str(witness.file),
    }

    def make(
        study: Study, executor: str = "inline", *, pause: float = PAUSE_SECONDS, **options: Any
    ) -> Program:
        folder = tmp_path / f"program-{next(numbers)}"
        folder.mkdir()
        own = environ | {witnessed_card.PAUSE: str(pause)}
        options = {"store": tmp_path / "store", "environ": own} | options
        made.append(Program(folder, study, executor, **options))
        return made[-1]

    yield make
    for each in made:
        if each.alive:
            each.kill()


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch, witness: Witness) -> Iterator[Nodes]:
    """Yields a cluster whose workers find the workload and write down what they train."""
    monkeypatch.setenv("PYTHONPATH", str(Path(witnessed_card.__file__).parent))
    monkeypatch.setenv(witnessed_card.VARIABLE, str(witness.file))
    pause = os.environ.get(witnessed_card.PAUSE, str(PAUSE_SECONDS))
    monkeypatch.setenv(witnessed_card.PAUSE, pause)
    made = Nodes()
    try:
        yield made
    finally:
        made.shutdown()


@pytest.fixture
def locate(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Returns what names a new store: a folder for ``sqlite``, a server's URL for ``postgres``."""

    def place(database: str) -> str:
        if database == "postgres":
            return str(request.getfixturevalue("postgres"))
        return str(tmp_path / "store")

    return place


@pytest.fixture
def sweeper(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Returns what runs a command in this process."""

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["sweeper", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Answer(int(end.value.code or 0), said.out, said.err)

    return call

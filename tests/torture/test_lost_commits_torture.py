"""Connections that are cut after the server has committed and before its answer has come: whoever
writes does not know whether it has written."""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from engine_studies import adds_up, attempts_of, planted, trials_of
from long_form import LONG
from sample_store import dump, members, outcome, study, trials

from sweeper.engine.run import Run
from sweeper.errors import StoreAway
from sweeper.outcome import Outcome
from sweeper.store.owner import Owner
from sweeper.store.store import Store

pytestmark = pytest.mark.postgres

SOCKET = ".s.PGSQL.5432"
COMMIT = b"COMMIT\0"


class Proxy:
    """Stands between a program and a server; loses the answers to some commits.

    Args:
        server: the server's socket.
        folder: where its own is made.

    Attributes:
        commits: how many it has seen.
        lose: the commits whose answer is lost, by number from 1.
    """

    def __init__(self, server: Path, folder: Path) -> None:
        self.commits = 0
        self.lose: set[int] = set()
        self._server = server
        self._lock = threading.Lock()
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(folder / SOCKET))
        self._door.listen(16)
        threading.Thread(target=self._open, daemon=True).start()

    def close(self) -> None:
        """Lets nobody in any more."""
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def _open(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._door.accept()
                threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        """Hands on what both sides say, until one has ended or an answer is lost."""
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(str(self._server))
            while True:
                for source in select.select([client, server], [], [])[0]:
                    said = source.recv(1 << 16)
                    if not said:
                        return
                    (server if source is client else client).sendall(said)
                    if source is client and said.endswith(COMMIT) and self._is_lost():
                        server.recv(1 << 16)  # it has committed
                        return

    def _is_lost(self) -> bool:
        with self._lock:
            self.commits += 1
            return self.commits in self.lose


@pytest.fixture
def proxy(postgres: str) -> Iterator[tuple[Proxy, str]]:
    """Yields a proxy, and the URL under which a store is reached through it."""
    folder = Path(tempfile.mkdtemp(prefix="sweeper-proxy-"))
    host = parse_qs(urlsplit(postgres).query)["host"][0]
    proxy = Proxy(Path(host) / SOCKET, folder)
    yield proxy, postgres.replace(f"host={host}", f"host={quote(str(folder), safe='/')}")
    proxy.close()
    shutil.rmtree(folder)


WRITES: dict[str, Callable[[Store, list[str], Owner], Any]] = {
    "save_study": lambda store, keys, owner: store.save_study(study(), members(trials(5))),
    "add_trials": lambda store, keys, owner: store.add_trials(
        "widths", members(trials(6))[4:], first=4
    ),
    "claim": lambda store, keys, owner: store.claim(keys, owner=owner, lease_s=60),
    "heartbeat": lambda store, keys, owner: store.heartbeat(owner, 60),
    "record_many": lambda store, keys, owner: store.record(
        outcome(keys[0], device_seconds=3.5), objective=2.5
    ),
    "an extra attempt": lambda store, keys, owner: store.record(
        outcome(keys[3], "bug", attempt=1, device_seconds=4.5), objective=None
    ),
    "release": lambda store, keys, owner: store.release(owner),
    "forgive": lambda store, keys, owner: store.forgive(keys[1:2]),
    "retry": lambda store, keys, owner: store.retry("widths", keys=keys[2:3]),
}
"""What writes to the store: each is done again by the one who did not hear of it."""


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_is_done_again_because_its_answer_was_lost_counts_once(
    proxy: tuple[Proxy, str], name: str
) -> None:
    middle, location = proxy
    owner = Owner.here()
    with Store.open(location, create=True) as store:
        store.save_study(study(), members(trials(4)))
        keys = [item.key for item in trials(4)]
        store.claim(keys[:1], owner=owner, lease_s=60)
        store.record(outcome(keys[1], "bug"), objective=None)
        store.record(outcome(keys[2]), objective=2.5)
        store.record(outcome(keys[3], "bug"), objective=None)
        middle.lose = {middle.commits + 1}
        with pytest.raises(StoreAway):
            WRITES[name](store, keys, owner)
        once = _timeless(dump(store))

        WRITES[name](store, keys, owner)

        assert _timeless(dump(store)) == once


def _timeless(tables: Any) -> Any:
    """What a store holds, but for when leases end and studies were saved."""
    columns = {"attempts": 14, "studies": 99}
    return {
        name: [[cell for cell in row if not _is_moment(cell)] for row in rows]
        for name, rows in tables.items()
        if name in tables or name in columns
    }


def _is_moment(cell: Any) -> bool:
    return isinstance(cell, str) and cell[:3] == "202" and cell[4:5] == "-"


def _losing(middle: Proxy, location: str, lose: Callable[[int], bool]) -> None:
    """Runs a study, loses the answers to some of its commits, and looks at what is left."""
    asked = planted()
    with Store.open(location, create=True) as store:
        run = Run(asked, store, executor="inline")
        begun = middle.commits
        middle.lose = {begun + number for number in range(1, 60) if lose(number)}
        summary = run.execute()
        middle.lose = set()
        assert (summary.finished, summary.failed, summary.elsewhere) == (6, 0, 0)
        assert attempts_of(store) == [("completed",)] * 6, "each was trained once"
        assert adds_up(store, asked.name)
        assert not store.query("select id from attempts where state = 'running'").rows


@pytest.mark.parametrize("number", range(1, 16) if LONG else [2, 3])
def test_a_run_whose_nth_commit_goes_unheard_trains_nothing_twice(
    proxy: tuple[Proxy, str], number: int
) -> None:
    _losing(*proxy, lambda commit: commit == number)


def test_a_run_whose_start_goes_unheard_goes_on_when_it_is_run_again(
    proxy: tuple[Proxy, str],
) -> None:
    middle, location = proxy
    with Store.open(location, create=True) as store:
        # The first two end the looks at what people want and at what the study has.
        middle.lose = {middle.commits + 3}
        with pytest.raises(StoreAway):
            Run(planted(), store, executor="inline")
        keys = [trial.key for trial in trials_of(planted())]
        store.record(Outcome(key=keys[0], attempt=1, kind="completed"), objective=1.0)
    _losing_none(location)


def _losing_none(location: str) -> None:
    with Store.open(location) as store:
        summary = Run(planted(), store, executor="inline").execute()
        assert (summary.finished, summary.reused) == (5, 1)

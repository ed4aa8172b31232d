"""A store moves from a folder to a server and a bucket and back, whole or not at all."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ended_trials import checkpoint, end, put
from sample_store import ELSEWHERE, dump, save
from sqlalchemy import text
from store_places import written

from sweeper.errors import RequestError, StoreError
from sweeper.store.files.protocol import FileStore, open_files
from sweeper.store.store import Store
from sweeper.store.upkeep import copies

pytestmark = pytest.mark.postgres


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Returns a store in a folder: results, a failure, a checkpoint, estimates to be."""
    place = str(tmp_path / "old")
    with Store.open(place, create=True) as store:
        keys = save(store, 5)
        store.claim(keys[:3], owner=ELSEWHERE, lease_s=-1)
        for key in keys[:3]:
            end(store, key)
        store.claim(keys[3:4], owner=ELSEWHERE, lease_s=-1)
        end(store, keys[3], "bug")
        checkpoint(store, keys[4], 10)
        put(store, store.paths.output(keys[3], 1), b"printed")
    return place


def contents(files: FileStore) -> dict[str, bytes]:
    found = {}
    for name in files.infos(""):
        if name.startswith(copies.FOLDERS):
            with files.open(name) as source:
                found[name] = source.read()
    return found


def everything(place: str) -> Any:
    with Store.open(place) as store:
        return dump(store), contents(store.paths.files)


def test_a_folder_moves_to_a_server_and_a_bucket_and_back(
    folder: str, postgres: str, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(folder)

    done, _, at = Store.move(folder, postgres, s3)

    assert at == f"{s3}/".removesuffix("/")
    assert done.copied_rows == sum(done.rows.values()) > 20
    assert done.copied_files == done.files == len(before[1]) > 4
    assert done.size == sum(map(len, before[1].values()))
    monkeypatch.setenv("SWEEPER_FILES", s3)
    assert everything(postgres) == before
    assert everything(folder) == before, "nothing is removed"
    with Store.open(postgres) as store:
        assert store.verify().left == 0
        claimed = store.claim(save(store, 6)[5:], owner=ELSEWHERE, lease_s=-1)
        assert claimed, "the next attempt has a number of its own"

    back = str(tmp_path / "back")
    Store.move(postgres, back, None)
    assert everything(back) == everything(postgres)


def test_rows_move_alone_and_files_move_alone(
    folder: str, postgres: str, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(folder)

    done, _, at = Store.move(folder, postgres, None)
    assert (done.files, at) == (0, folder)
    monkeypatch.setenv("SWEEPER_FILES", folder)
    assert everything(postgres) == before

    done, _, at = Store.move(postgres, None, s3)
    assert done.copied_rows == 0 and done.copied_files == len(before[1])
    assert contents(open_files(s3)) == before[1]


def test_a_dry_run_tells_what_would_move_and_makes_nothing(folder: str, tmp_path: Path) -> None:
    there = tmp_path / "new"

    done, _, _ = Store.move(folder, str(there), None, dry_run=True)

    assert done.files > 4 and done.rows["attempts"] == 4
    assert (done.copied_rows, done.copied_files) == (0, 0)
    assert not there.exists()


def test_a_move_goes_on_where_it_was_and_mends_what_is_not_the_same(
    folder: str, tmp_path: Path
) -> None:
    there = str(tmp_path / "new")
    Store.move(folder, there, None)
    done, _, _ = Store.move(folder, there, None)
    assert (done.copied_rows, done.copied_files) == (0, 0)

    curve = next((tmp_path / "new" / "curves").rglob("*.parquet"))
    size = curve.stat().st_size
    curve.write_bytes(bytes(size))
    next((tmp_path / "new" / "checkpoints").rglob("*.pt")).unlink()
    with written(there) as connection:
        connection.execute(text("delete from marks"))
        connection.execute(text("update studies set question = 'another one'"))
    done, _, _ = Store.move(folder, there, None)

    assert done.copied_files == 2
    assert done.copied_rows == done.rows["marks"] + done.rows["studies"]
    assert everything(there) == everything(folder)


def test_a_move_counts_the_curves_that_are_not_where_files_are_looked_for(
    folder: str, tmp_path: Path
) -> None:
    next((Path(folder) / "curves").rglob("*.parquet")).unlink()
    for dry_run in (True, False):
        done, _, _ = Store.move(folder, str(tmp_path / "new"), None, dry_run=dry_run)
        assert done.missing_curves == 1


@pytest.mark.parametrize("moment", [0, 1, 3])
def test_a_move_that_is_killed_goes_on(folder: str, tmp_path: Path, moment: int) -> None:
    there = tmp_path / "new"
    script = (
        "import os, signal, sys\n"
        "from sweeper.store.store import Store\n"
        "moments = []\n"
        "def note(text):\n"
        "    moments.append(text)\n"
        f"    if len(moments) > {moment}:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "Store.move(sys.argv[1], sys.argv[2], None, note=note)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, folder, str(there)])
    assert killed.returncode == -signal.SIGKILL

    Store.move(folder, str(there), None)

    assert everything(str(there)) == everything(folder)


def test_a_store_whose_trials_run_is_not_moved(folder: str, tmp_path: Path) -> None:
    with Store.open(folder) as store:
        store.claim(save(store, 7)[6:], owner=ELSEWHERE, lease_s=3600)

    with pytest.raises(RequestError, match=r"1 trial is running \(process .* on .*end those"):
        Store.move(folder, str(tmp_path / "new"), None)
    assert not (tmp_path / "new" / "curves").exists()


def test_a_store_is_not_moved_from_under_a_run_that_is_paused(folder: str, tmp_path: Path) -> None:
    said: dict[str, Any] = {"executor": "ray", "doing": "paused", "slots": 0, "trials": {}}
    said["left_seconds"] = None
    with Store.open(folder) as store:
        save(store, 5)
        store.report(ELSEWHERE, "widths", lease_s=3600, **said)
    with pytest.raises(RequestError, match=r"a run of widths has not ended \(process 1 on anoth"):
        Store.move(folder, str(tmp_path / "new"), None)

    with Store.open(folder) as store:
        store.release(ELSEWHERE)
    Store.move(folder, str(tmp_path / "new"), None)


@pytest.mark.parametrize("what", ["row", "file"])
def test_a_place_that_holds_something_else_is_refused(
    folder: str, tmp_path: Path, what: str
) -> None:
    there = tmp_path / "new"
    with Store.open(there, create=True) as store:
        if what == "row":
            save(store, 9, "others")
    if what == "file":
        shutil.copytree(Path(folder) / "curves", there / "curves")
        (there / "curves" / "zz").mkdir()
        (there / "curves" / "zz" / "foreign.parquet").write_bytes(b"")
    before = everything(str(there))

    with pytest.raises(RequestError, match=r"another one|files that the store does not have"):
        Store.move(folder, str(there), None)
    assert everything(str(there)) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder, new: _write(new), "rows of studies are not those of"),
        (lambda folder, new: next((new / "curves").rglob("*.parquet")).unlink(), None),
        (lambda folder, new: _claim(folder), "trial is running"),
    ],
    ids=["row", "file", "claim"],
)
def test_what_changes_while_it_is_copied_is_noticed(
    folder: str, tmp_path: Path, change: Callable[[str, Path], None], said: str | None
) -> None:
    new, moments = tmp_path / "new", []

    def note(words: str) -> None:
        moments.append(words)
        if words.startswith("comparing every row" if said else "comparing every file"):
            change(folder, new)

    with pytest.raises((StoreError, RequestError), match=said or "changed meanwhile"):
        Store.move(folder, str(new), None, note=note)
    assert moments


def _write(new: Path) -> None:
    with written(str(new)) as connection:
        connection.execute(text("update studies set question = 'another one'"))


def _claim(folder: str) -> None:
    with Store.open(folder) as store:
        store.claim(save(store, 7)[6:], owner=ELSEWHERE, lease_s=3600)


def test_what_moves_nothing_or_means_two_places_is_refused(folder: str, tmp_path: Path) -> None:
    for to, to_files in ((None, None), (folder, None), (None, folder)):
        with pytest.raises(RequestError, match="nothing would move"):
            Store.move(folder, to, to_files)
    with pytest.raises(RequestError, match="holds its own files"):
        Store.move(folder, str(tmp_path / "new"), "s3://bucket/x")
    with pytest.raises(RequestError, match="the place is empty"):
        Store.move(folder, None, " ")

"""What nothing needs is removed, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from ended_trials import aged, checkpoint, content_of, end, put, there
from fault_proxy import FaultProxy
from sample_store import ELSEWHERE, members, save, study, trials

from sweeper.errors import UnknownNameError
from sweeper.store.store import Store
from sweeper.store.upkeep.prune import remove


def unfinished(store: Store, name: str) -> str:
    folder, _, last = name.rpartition("/")
    return put(store, f"{folder}/.tmp-0123456789ab-{last}".lstrip("/"), b"begun")


def folder_of(name: str) -> str:
    return name[: name.rindex("/") + 1]


def test_checkpoints_go_with_the_result_and_of_others_the_newest_good_one_stays(
    store: Store,
) -> None:
    keys = save(store, 3)
    needless = folder_of(checkpoint(store, keys[0], 10))
    end(store, keys[0])
    old, good, bad = (checkpoint(store, keys[1], step) for step in (10, 20, 30))
    put(store, bad, b"half")
    alone = checkpoint(store, keys[2], 10)

    found = store.prune()

    assert {item.name for item in found} == {
        needless,
        *(path for each in (old, bad) for path in (each, store.paths.journal(each))),
    }
    assert there(store, needless, alone) == [False, True]
    assert store.paths.checkpoints_of(keys[1]) == [good]
    assert all(there(store, store.paths.journal(good), store.paths.journal(alone)))
    assert store.prune() == []


def test_a_bucket_is_listed_once_however_many_files_it_has(
    s3: str, s3_server: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = FaultProxy(*s3_server)
    place = f"sqlite:///{tmp_path}/database.db"
    monkeypatch.setenv("SWEEPER_FILES", s3)
    with Store.open(place, create=True) as store:
        for key in save(store, 12):
            checkpoint(store, key, 10)
            end(store, key)
    monkeypatch.setenv("SWEEPER_FILES", f"{s3}?endpoint_override=http://127.0.0.1:{proxy.port}")
    with Store.open(place) as store:
        assert len(store.prune(dry_run=True)) == 12
        listings = [request for request in proxy.requests if "list-type" in request.path]
        # The curves, the checkpoints, the output of programs, and what lies beside them.
        assert len(listings) <= 4 and len(proxy.requests) <= 7, proxy.requests
        assert len(store.prune()) == 12
        assert store.paths.files.infos("checkpoints/") == {}
    proxy.close()


def test_damaged_checkpoints_stay_where_no_good_one_is(store: Store) -> None:
    keys = save(store, 1)
    for step in (10, 20):
        put(store, checkpoint(store, keys[0], step), b"half")

    assert store.prune() == []


def test_files_of_running_trials_are_never_touched(store: Store) -> None:
    keys = save(store, 1)
    for step in (10, 20):
        checkpoint(store, keys[0], step)
    aged(store, unfinished(store, store.paths.checkpoint(keys[0], 30)))
    store.claim(keys, owner=ELSEWHERE, lease_s=60)

    assert store.prune() == []


def test_a_trial_that_was_claimed_meanwhile_keeps_its_files(store: Store) -> None:
    keys = save(store, 1)
    for step in (10, 20):
        checkpoint(store, keys[0], step)
    planned = store.prune(dry_run=True)
    store.claim(keys, owner=ELSEWHERE, lease_s=60)

    assert len(planned) == 2
    assert remove(store.database, planned) == []
    assert len(store.paths.checkpoints_of(keys[0])) == 2


def test_unfinished_files_go_when_their_writer_is_dead_or_they_are_a_day_old(
    store: Store,
) -> None:
    keys = save(store, 1)
    dead = unfinished(store, store.paths.curve(keys[0], 1))
    old = aged(store, unfinished(store, store.paths.curve("f" * 64, 1)))
    young = unfinished(store, store.paths.curve("e" * 64, 1))
    database = unfinished(store, "sweeper.db")

    assert {item.name for item in store.prune()} == {dead, old}

    assert there(store, dead, old, young, database) == [False, False, True, True]
    aged(store, database)
    assert [item.name for item in store.prune()] == [database]


def test_checkpoints_of_trials_that_are_not_known_go_after_a_day(store: Store) -> None:
    save(store, 1)
    young, old = checkpoint(store, "f" * 64, 10), checkpoint(store, "e" * 64, 10)
    aged(store, folder_of(old))

    assert [item.name for item in store.prune()] == [folder_of(old)]
    assert there(store, young) == [True]


def test_checkpoints_of_hidden_trials_go_only_when_asked_for(store: Store) -> None:
    keys = save(store, 2)
    store.save_study(study(), members(trials(1)))
    kept, hidden = (checkpoint(store, key, 10) for key in keys)

    assert store.prune() == []
    assert [item.name for item in store.prune(hidden=True)] == [folder_of(hidden)]
    assert there(store, kept) == [True]


def test_a_trial_that_another_study_declares_is_not_hidden(store: Store) -> None:
    keys = save(store, 1)
    store.save_study(study("other"), members(trials(1)))
    store.save_study(study(), [])
    checkpoint(store, keys[0], 10)

    assert store.prune(hidden=True) == []


def test_withdrawn_curves_go_only_when_asked_for_and_are_counted(store: Store) -> None:
    keys = save(store, 1)
    curve = end(store, keys[0])
    size = len(content_of(store, curve))
    store.retry("widths", keys=[keys[0]])

    assert store.prune() == []
    (item,) = store.prune(withdrawn=True, dry_run=True)
    assert (item.kind, item.files, item.size) == ("withdrawn", 1, size)
    assert there(store, item.name) == [True]
    store.prune(withdrawn=True)
    assert there(store, item.name) == [False]


def test_a_study_limits_what_is_looked_at(store: Store) -> None:
    keys = save(store, 2)
    store.save_study(study("other"), members(trials(2)[1:]))
    for key in keys:
        checkpoint(store, key, 10)
        end(store, key)

    assert [item.key for item in store.prune("other")] == [keys[1]]
    with pytest.raises(UnknownNameError, match="'nothing'"):
        store.prune("nothing")
    assert len(store.prune("widths")) == 1


def test_output_goes_with_its_trial_and_of_others_where_it_is_asked_for(store: Store) -> None:
    keys = save(store, 3)
    end(store, keys[0])
    store.claim(keys[2:], owner=ELSEWHERE, lease_s=60)
    done, waiting, running, young, old = (
        put(store, store.paths.output(key, 1), b"printed") for key in (*keys, "e" * 64, "f" * 64)
    )
    aged(store, old)

    assert [(item.kind, item.name) for item in store.prune()] == [("output", old)]
    assert [item.name for item in store.prune(logs=True)] == [done]
    store.save_study(study(), members(trials(1)))
    assert [item.name for item in store.prune(hidden=True)] == [waiting]
    assert there(store, running, young) == [True, True]
    begun = unfinished(store, store.paths.output(keys[0], 2))
    assert [item.name for item in store.prune()] == [begun]

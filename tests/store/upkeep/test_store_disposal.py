"""A study is called otherwise or taken away; what others share stays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ended_trials import checkpoint, end, put, there
from sample_store import ELSEWHERE, dump, members, save, study, trials

from sweeper.errors import RequestError, StoreError, UnknownNameError
from sweeper.store.records import Estimate
from sweeper.store.store import Store


@pytest.fixture
def store(location: str) -> Iterator[Store]:
    """Yields a store with two studies that share their second trial; all three have ended."""
    with Store.open(location, create=True) as opened:
        keys = save(opened, 2)
        opened.save_study(study("others"), members(trials(3)[1:]))
        every = [*keys, trials(3)[2].key]
        opened.claim(every, owner=ELSEWHERE, lease_s=-1)
        for key in every:
            end(opened, key)
        checkpoint(opened, keys[0], 10)
        put(opened, "checks/widths/0123.json", b"{}")
        opened.save_estimates("widths", "learning_rate", [Estimate(kind="optimum", variant="v")])
        opened.make_wish("widths", "pause", keys=[keys[0]], by="me")
        yield opened


def keys() -> list[str]:
    return [trial.key for trial in trials(3)]


def test_a_study_has_another_name_and_all_that_it_had(store: Store) -> None:
    before = dump(store)
    store.rename("widths", "breadths")

    after = dump(store)
    for table in ("study_trials", "estimates", "wishes"):
        names = [row[1] if table != "study_trials" else row[0] for row in after[table]]
        assert "widths" not in names and "breadths" in names, table
    for table in ("trials", "attempts", "results", "marks"):
        assert after[table] == before[table]
    record = store.study("breadths")
    assert (record.document["name"], record.question) == ("breadths", "Does it transfer?")
    assert store.account("breadths").done == 2
    assert there(store, "checks/breadths/0123.json", "checks/widths/0123.json") == [True, False]


def test_a_name_that_is_taken_or_the_same_is_refused(store: Store) -> None:
    before = dump(store)
    with pytest.raises(RequestError, match="there is a study others in the store already"):
        store.rename("widths", "others")
    with pytest.raises(RequestError, match="called so already"):
        store.rename("widths", "widths")
    with pytest.raises(UnknownNameError):
        store.rename("width", "x")
    assert dump(store) == before


def test_a_study_goes_with_its_files_and_shared_trials_stay(store: Store) -> None:
    lone, shared, theirs = keys()
    own = [*store.paths.files.infos("curves/"), *store.paths.files.infos("checkpoints/")]
    said = store.disposal_of("widths")
    done = store.delete("widths")

    assert done == said
    assert (done.trials, done.results, done.shared) == (1, 1, 1)
    assert done.files == sum(lone in name for name in own) >= 3
    after = dump(store)
    assert [row[0] for row in after["studies"]] == ["others"]
    assert {row[0] for row in after["trials"]} == {shared, theirs}
    assert {row[0] for row in after["results"]} == {shared, theirs}
    assert {row[1] for row in after["attempts"]} == {shared, theirs}
    assert after["wishes"] == after["estimates"] == []
    paths = store.paths
    names = [paths.curve(key, 1) for key in (lone, shared, theirs)]
    assert there(store, *names) == [False, True, True]
    assert there(store, paths.checkpoint_folder(lone), "checks/widths/") == [False, False]
    assert store.verify().findings == ()


def test_a_trial_that_another_study_only_hides_stays(store: Store) -> None:
    store.save_study(study("others"), members(trials(3)[2:]))
    store.delete("widths")
    assert keys()[1] in {row[0] for row in dump(store)["results"]}


@pytest.mark.parametrize("verb", ["rename", "delete"])
def test_a_study_at_work_is_left_alone(store: Store, verb: str) -> None:
    said: dict[str, Any] = {"executor": "ray", "doing": "paused", "slots": 0, "trials": {}}
    said["left_seconds"] = None
    store.report(ELSEWHERE, "widths", lease_s=3600, **said)
    before = dump(store)
    with pytest.raises(RequestError, match=rf"is being run \(process 1 on.*then {verb} it"):
        store.rename("widths", "x") if verb == "rename" else store.delete("widths")
    assert dump(store) == before
    store.release(ELSEWHERE)
    store.rename("widths", "x") if verb == "rename" else store.delete("widths")


def test_a_trial_in_hand_keeps_a_study_but_not_one_that_shares_it(store: Store) -> None:
    lone, shared, _ = keys()
    for key in (lone, shared):
        store.retry("widths", keys=[key])
    store.claim([shared], owner=ELSEWHERE, lease_s=3600)
    store.claim([lone], owner=ELSEWHERE, lease_s=3600)
    with pytest.raises(RequestError, match="is being run"):
        store.delete("widths")
    store.release(ELSEWHERE)


def test_a_deletion_that_was_cut_short_goes_on_and_nobody_runs_it_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = []
    kind = type(store.paths.files)
    remove = kind.remove

    def fail(files: Any, name: str) -> None:
        if len(removed) == 1:
            raise StoreError("the disk is away")
        removed.append(name)
        remove(files, name)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "remove", fail)
        with pytest.raises(StoreError, match="the disk is away"):
            store.delete("widths")
    (wish,) = store.wishes_of("widths")
    assert (wish.kind, wish.whole) == ("stop", True)

    assert store.delete("widths").trials == 1
    assert store.verify().findings == ()

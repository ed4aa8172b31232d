"""Another store's studies and results come in by the keys of their trials, each once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ended_trials import checkpoint, content_of, end, finish, put, there
from sample_store import ELSEWHERE, dump, members, save, study, trials
from store_places import location

from sweeper.errors import RequestError, UnknownNameError
from sweeper.store.owner import Owner
from sweeper.store.store import Store

__all__ = ["location"]
"""On both databases, with files in a folder; buckets have a test of their own."""

OURS = Owner(id="ours-1", host="this.machine", pid=2, started="boot/ns:2")


@pytest.fixture
def store(location: str) -> Iterator[Store]:
    """Yields the store that takes in."""
    with Store.open(location, create=True) as opened:
        yield opened


@pytest.fixture
def other(tmp_path: Path) -> str:
    """Returns the folder of another store: a done trial, a failed one, one with a checkpoint, one
    in hand and one to be run."""
    place = str(tmp_path / "other")
    with Store.open(place, create=True) as made:
        keys = save(made, 5)
        made.claim(keys[:2], owner=ELSEWHERE, lease_s=-1)
        end(made, keys[0])
        end(made, keys[1], "bug")
        checkpoint(made, keys[2], 10)
        checkpoint(made, keys[2], 20)
        made.claim([keys[3]], owner=ELSEWHERE, lease_s=3600)
        put(made, made.paths.table("ab" * 32), b"loss\n1\n")
        put(made, "checks/widths/0123.json", b"{}")
    return place


def keys_of(place: str) -> list[str]:
    with Store.open(place, read_only=True) as made:
        return [member.trial.key for member in made.members_of("widths")]


def done_here(store: Store, key: str, **fields: Any) -> None:
    """Ends a trial of this store in an attempt of its own."""
    (claimed,) = store.claim([key], owner=OURS, lease_s=-1)
    report = finish(store, key, attempt=claimed.attempt, **fields)
    store.record(report, objective=report.metrics["val_loss"])


def test_an_empty_store_has_all_of_the_other_after_it(store: Store, other: str) -> None:
    with Store.open(other, read_only=True) as theirs:
        before = dump(theirs)
        keys = keys_of(other)

        done = store.merge(other)

        assert dump(theirs) == before, "nothing of the other store is changed"
        assert (done.studies, done.trials, done.results, done.attempts) == (["widths"], 5, 1, 2)
        assert (done.checkpoints, done.files, done.differing) == (1, 3, [])
        assert store.verify().findings == ()
        account = store.account("widths")
        assert (account.done, account.failed, account.running, account.pending) == (1, 1, 0, 3)
        for table in ("studies", "trials", "study_trials"):
            assert dump(store)[table] == before[table], table
        for name in (store.paths.curve(keys[0], 1), "checks/widths/0123.json"):
            assert content_of(store, name) == content_of(theirs, name)
        assert store.paths.kept_step(keys[2]) == 20
        assert there(store, store.paths.table("ab" * 32)) == [True]
        claimed = store.claim(keys, owner=OURS, lease_s=-1)
        assert [item.key for item in claimed] == keys[1:], "the next attempts have free numbers"


def test_the_same_merge_again_changes_nothing(store: Store, other: str) -> None:
    store.merge(other)
    before = dump(store), store.paths.files.infos("curves/")
    done = store.merge(other)
    assert (done.studies, done.extended, done.trials, done.results) == ([], [], 0, 0)
    assert (done.attempts, done.same) == (0, 1)
    assert (dump(store), store.paths.files.infos("curves/")) == before


def test_results_of_one_study_come_together_and_the_same_one_counts_once(
    store: Store, other: str
) -> None:
    keys = save(store, 5)
    done_here(store, keys[0])
    done_here(store, keys[4])

    done = store.merge(other)

    assert (done.studies, done.extended, done.results, done.same) == ([], [], 0, 1)
    assert done.attempts == 2
    numbers = store.query(
        f"select number, owner, accepted from attempts where trial_key = '{keys[0]}' order by 1"
    ).rows
    assert [(n, who, bool(yes)) for n, who, yes in numbers] == [
        (1, "ours-1", True),
        (2, "elsewhere-1", False),
    ]
    assert store.verify().findings == ()
    assert store.account("widths").done == 2


def test_a_result_comes_with_its_curve_under_a_number_that_is_free(
    store: Store, other: str
) -> None:
    keys = save(store, 5)
    store.claim(keys[:1], owner=OURS, lease_s=-1)
    end(store, keys[0], "bug")

    assert store.merge(other).results == 1

    assert store.curve_files("widths") == {keys[0]: store.paths.curve(keys[0], 2)}
    assert store.verify().findings == ()


def test_the_output_of_attempts_comes_under_the_numbers_that_they_have_here(
    store: Store, other: str
) -> None:
    keys = save(store, 5)
    store.claim(keys[:1], owner=OURS, lease_s=-1)
    end(store, keys[0], "bug")
    put(store, store.paths.output(keys[0], 1), b"ours")
    with Store.open(other) as made:
        for key in keys[:2]:
            put(made, made.paths.output(key, 1), b"theirs")
    for _ in range(2):
        store.merge(other)
        kept = [store.paths.outputs_of(key) for key in keys[:2]]
        assert [[*each] for each in kept] == [[1, 2], [1]]
        texts = [content_of(store, name) for each in kept for name in each.values()]
        assert texts == [b"ours", b"theirs", b"theirs"]


def test_differing_results_are_told_and_one_of_them_counts_when_asked(
    store: Store, other: str
) -> None:
    keys = save(store, 5)
    done_here(store, keys[0], loss=3.25)
    before = dump(store), store.paths.files.infos("curves/").keys()
    with pytest.raises(RequestError, match=rf"{keys[0][:12]} is 3.25 here and 2.5 there.*--keep"):
        store.merge(other)
    assert (dump(store), store.paths.files.infos("curves/").keys()) == before
    told = store.merge(other, dry_run=True)
    assert [each.key for each in told.differing] == [keys[0]]
    assert dump(store) == before[0]

    def losses() -> Any:
        frame = store.frame("widths")
        return frame.loc[frame["key"] == keys[0], ["loss", "attempts"]].values.tolist()

    for keep, loss in (("here", 3.25), ("there", 2.5), (None, 2.5)):
        store.merge(other, keep=keep)
        assert losses() == [[loss, 2]], "both are kept, and one counts"
        assert store.verify().findings == ()
    marks = store.marks("widths")
    assert marks.loc[marks["key"] == keys[0], "value"].tolist() == [3.5]


def test_a_result_that_was_withdrawn_here_stays_so(store: Store, other: str) -> None:
    store.merge(other)
    key = keys_of(other)[0]
    store.retry("widths", keys=[key])
    done = store.merge(other)
    assert (done.results, done.withdrawn) == (0, 1)
    assert store.account("widths").done == 0


def test_what_is_at_work_here_goes_on_and_the_first_result_counts(
    store: Store, other: str
) -> None:
    keys = save(store, 5)
    (claimed,) = store.claim([keys[0]], owner=OURS, lease_s=3600)

    store.merge(other)

    assert not store.record(finish(store, keys[0], attempt=claimed.attempt), objective=2.5)
    assert store.verify().findings == ()
    rows = store.query(f"select count(*) from attempts where trial_key = '{keys[0]}'").rows
    assert rows == [(2,)]


def test_one_name_for_two_questions_is_refused_and_a_longer_study_is_not(
    store: Store, other: str
) -> None:
    store.save_study(study(metric="train_loss"), members(trials(2)))
    with pytest.raises(RequestError, match=r"study widths, with another metric.*sweeper rename"):
        store.merge(other)
    with pytest.raises(UnknownNameError, match="no study of the other store named 'width'"):
        store.merge(other, studies=["width"])

    store.rename("widths", "mine")
    save(store, 2)
    done = store.merge(other)
    assert (done.studies, done.extended, done.trials) == ([], ["widths"], 3)
    assert [member.trial.key for member in store.members_of("widths")] == keys_of(other)


def test_studies_are_taken_one_by_one(store: Store, other: str) -> None:
    with Store.open(other) as theirs:
        theirs.save_study(study("lone"), members(trials(7)[5:]))
    done = store.merge(other, studies=["lone"])
    assert (done.studies, done.trials) == (["lone"], 2)
    assert [record.name for record in store.studies()] == ["lone"]


def test_the_store_itself_is_refused(location: str, store: Store) -> None:
    with pytest.raises(RequestError, match="is the store itself"):
        store.merge(location)


def test_a_run_that_begins_while_files_are_copied_gets_another_number(
    store: Store, other: str, location: str
) -> None:
    keys = save(store, 5)
    moments = []

    def claim(words: str) -> None:
        moments.append(words)
        if len(moments) == 1:
            with Store.open(location) as again:
                again.claim([keys[0]], owner=OURS, lease_s=3600)

    assert store.merge(other, note=claim).results == 1
    assert store.curve_files("widths") == {keys[0]: store.paths.curve(keys[0], 2)}
    assert len(moments) == 3


def test_a_curve_that_the_other_store_lacks_is_counted(
    store: Store, other: str, tmp_path: Path
) -> None:
    next((tmp_path / "other" / "curves").rglob("*.parquet")).unlink()
    done = store.merge(other)
    assert (done.results, done.missing_curves) == (1, 1)


@pytest.mark.postgres
def test_a_store_comes_from_a_server_and_a_bucket_and_goes_into_one(
    other: str, postgres: str, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(other) as theirs:
        theirs.release(ELSEWHERE)
    Store.move(other, postgres, s3)
    with Store.open(tmp_path / "mine", create=True) as store:
        done = store.merge(postgres, s3)
        assert (done.results, done.missing_curves) == (1, 0)
        assert store.verify().findings == ()
        assert store.paths.kept_step(keys_of(other)[2]) == 20

    monkeypatch.setenv("SWEEPER_FILES", f"{s3}-too")
    with Store.open(f"sqlite:///{tmp_path}/third.db", create=True) as store:
        assert store.merge(str(tmp_path / "mine")).missing_curves == 0
        assert store.verify().findings == ()
        assert store.paths.kept_step(keys_of(other)[2]) == 20

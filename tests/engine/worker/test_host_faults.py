"""What is no fault of a trial: it stops the order and leaves the trial to be run again."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import altered_card
import pytest
from engine_studies import order_of, outcomes_in
from hosts import RATES, advance_to, facts, finish, llama, planted

from sweeper.engine.messages import Order
from sweeper.engine.worker.host import Host
from sweeper.errors import StoreError
from sweeper.store.files.paths import Paths


@pytest.fixture
def card() -> Iterator[altered_card.AlteredCard]:
    """Yields the altered card, put right again after the test."""
    altered_card.CARD.__dict__.clear()
    yield altered_card.CARD
    altered_card.CARD.__dict__.clear()


def test_an_allocation_that_fails_in_torch_is_a_shortage_of_memory(
    card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**16)
    card.save_fault = caught.value
    order = order_of(tmp_path, [planted()], workload=altered_card.NAME, checkpoint_seconds=0.0)
    (outcome,) = outcomes_in(finish(Host(order)))
    assert outcome.kind == "out_of_memory"


def test_a_trainer_that_stops_early_is_a_bug(
    card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    card.last_step = 4
    configs = [planted(learning_rate=rate) for rate in RATES]
    outcomes = outcomes_in(finish(Host(order_of(tmp_path, configs, workload=altered_card.NAME))))
    assert [outcome.kind for outcome in outcomes] == ["bug"] * 3
    assert all("stopped before" in (outcome.error or "") for outcome in outcomes)


@pytest.mark.parametrize("members", [1, 3])
def test_altered_data_stop_the_order_and_name_both_fingerprints(
    members: int, card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    configs = [planted(learning_rate=rate) for rate in RATES[:members]]
    order = order_of(tmp_path, configs, workload=altered_card.NAME)
    card.fingerprint = "altered since"
    outcomes = outcomes_in(finish(Host(order)))
    assert [outcome.kind for outcome in outcomes] == ["stopped"] * members
    for outcome in outcomes:
        assert "as planned" in (outcome.error or "")
        assert "altered since" in (outcome.error or "")


def test_missing_data_stop_the_order(card: altered_card.AlteredCard, tmp_path: Path) -> None:
    configs = [planted(learning_rate=rate) for rate in RATES]
    order = order_of(tmp_path, configs, workload=altered_card.NAME)
    card.fingerprint = None
    outcomes = outcomes_in(finish(Host(order)))
    assert [(outcome.kind, outcome.error) for outcome in outcomes] == [
        ("stopped", "the corpus is gone")
    ] * 3


def test_the_data_are_looked_at_once_an_order(
    card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    configs = [planted(learning_rate=rate, misbehave="bug") for rate in RATES]
    order = order_of(tmp_path, configs, workload=altered_card.NAME)
    before = card.looked
    assert len(outcomes_in(finish(Host(order)))) == 3
    assert card.looked == before + 1


def test_a_workload_that_is_not_installed_here_stops_the_order(tmp_path: Path) -> None:
    order = order_of(tmp_path, [planted(), planted(learning_rate=0.5)])
    elsewhere = Order(**{**vars(order), "workload": "no_such_package.cards:CARD"})
    outcomes = outcomes_in(finish(Host(elsewhere)))
    assert [outcome.kind for outcome in outcomes] == ["stopped", "stopped"]
    assert all("no module no_such_package" in (outcome.error or "") for outcome in outcomes)


def test_a_full_disk_stops_the_order_and_loses_no_result(
    card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    card.save_fault = StoreError("no space left")
    configs = [planted(steps=3), planted(steps=3, learning_rate=0.01)]
    order = order_of(tmp_path, configs, workload=altered_card.NAME, checkpoint_seconds=0.0)
    outcomes = outcomes_in(finish(Host(order)))
    assert [(outcome.kind, outcome.error) for outcome in outcomes] == [
        ("stopped", "no space left")
    ] * 2


def test_a_member_that_ends_in_the_step_of_a_failure_is_not_lost(
    card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    card.save_fault = StoreError("no space left")
    configs = [planted(cliff=1.0), planted(learning_rate=0.9, cliff=1.0)]
    order = order_of(tmp_path, configs, workload=altered_card.NAME, checkpoint_seconds=0.0)
    outcomes = outcomes_in(finish(Host(order)))
    assert {outcome.key: outcome.kind for outcome in outcomes} == {
        order.tasks[0].key: "stopped",
        order.tasks[1].key: "diverged",
    }


def test_a_curve_that_cannot_be_written_stops_the_trial(tmp_path: Path) -> None:
    (tmp_path / "curves").write_bytes(b"a file in the place of the folder")
    (outcome,) = outcomes_in(finish(Host(order_of(tmp_path, [planted()]))))
    assert outcome.kind == "stopped"
    assert "curves" in (outcome.error or "")


def test_a_checkpoint_folder_that_cannot_be_read_stops_the_order(tmp_path: Path) -> None:
    order = order_of(tmp_path, [planted()])
    folder = tmp_path / Paths.checkpoint_folder(order.tasks[0].key)
    folder.parent.mkdir(parents=True)
    folder.write_bytes(b"a file in the place of the folder")
    (outcome,) = outcomes_in(finish(Host(order)))
    assert outcome.kind == "stopped"
    assert str(folder) in (outcome.error or "")


def test_a_stop_that_cannot_save_says_so(card: altered_card.AlteredCard, tmp_path: Path) -> None:
    card.save_fault = StoreError("no space left")
    host = Host(order_of(tmp_path, [planted()], workload=altered_card.NAME))
    advance_to(host, 3)
    (outcome,) = outcomes_in(host.stop())
    assert (outcome.kind, outcome.error) == ("stopped", "no space left")
    assert host.done


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
    ],
)
@pytest.mark.parametrize("members", [1, 3])
def test_a_disk_that_fails_under_the_trainer_is_no_fault_of_the_trial(
    members: int, fault: Exception, card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    card.save_fault = fault
    configs = [planted(learning_rate=rate) for rate in RATES[:members]]
    order = order_of(tmp_path, configs, workload=altered_card.NAME, checkpoint_seconds=0.0)
    outcomes = outcomes_in(finish(Host(order)))
    assert [outcome.kind for outcome in outcomes] == ["stopped"] * members
    for outcome in outcomes:
        assert "step-000000001.pt: " in (outcome.error or "")
        assert "check that the disk has space" in (outcome.error or "")
    assert not list(tmp_path.rglob("*.*"))


def test_a_disk_that_fails_outside_of_a_checkpoint_is_no_fault_of_the_trial(
    card: altered_card.AlteredCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: object, **options: object) -> None:
        try:
            raise OSError(errno.EIO, "Input/output error")
        except OSError as fault:
            raise ValueError("the corpus cannot be read") from fault

    monkeypatch.setattr(altered_card.AlteredCard, "trainer", lambda card: failing)
    order = order_of(tmp_path, [planted()], workload=altered_card.NAME)
    (outcome,) = outcomes_in(finish(Host(order)))
    assert outcome.kind == "stopped"
    assert "a disk of" in (outcome.error or "")
    assert "Input/output error" in (outcome.error or "")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yields a folder on a disk of its own, of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a disk can be mounted by the superuser only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("room", [8, 60, 200, 500])
def test_on_a_disk_that_is_full_nothing_is_lost_and_it_goes_on_with_the_same_bits(
    room: int, small_disk: Path, tmp_path: Path
) -> None:
    configs = [llama(learning_rate=rate) for rate in RATES[:2]]
    expected = facts(
        outcomes_in(finish(Host(order_of(tmp_path / "calm", configs, workload="llama"))))
    )
    filler = small_disk / "filler"  # leaves room KiB: less than one checkpoint, one, or three
    with filler.open("wb") as file:
        file.write(b"0" * (1024 - room) * 1024)
    order = order_of(small_disk, configs, workload="llama")
    outcomes = outcomes_in(finish(Host(order)))
    assert [outcome.kind for outcome in outcomes] == ["stopped"] * 2
    assert all("check that" in (outcome.error or "") for outcome in outcomes)
    assert not list(small_disk.rglob(".tmp-*"))
    filler.unlink()
    again = outcomes_in(finish(Host(order)))
    assert facts(again) == expected

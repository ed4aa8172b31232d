"""Whether the process that holds a lease is still there."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.store.owner import Owner, System, signature, signer_has_ended

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def test_each_run_of_a_process_is_another_owner() -> None:
    assert Owner.here().id != Owner.here().id
    assert Owner.here().started == Owner.here().started


def test_a_living_process_is_not_gone() -> None:
    assert Owner.here().is_alive() is not False


@linux
def test_a_process_that_ended_is_gone_even_before_its_parent_noticed() -> None:
    code = (
        "from sweeper.store.owner import Owner; print(Owner.here().started, flush=True); input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None and child.stdout is not None
    started = child.stdout.readline().strip()
    owner = dataclasses.replace(Owner.here(), pid=child.pid, started=started)
    assert owner.is_alive()

    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet waited for
    zombie = owner.is_alive()
    child.communicate(timeout=30)

    assert zombie is False
    assert owner.is_alive() is False


@linux
def test_a_number_given_to_another_process_does_not_bring_its_owner_back() -> None:
    here = Owner.here()

    assert dataclasses.replace(here, started=here.started + "1").is_alive() is False


@linux
@pytest.mark.parametrize(
    "change",
    [
        {"host": "another.machine"},
        {"started": "another-boot/pid:[1]:12"},
        {"started": ""},
        {"pid": None},
    ],
)
def test_nothing_is_claimed_about_a_process_that_cannot_be_seen(change: dict[str, str]) -> None:
    far = dataclasses.replace(Owner.here(), pid=2**22 + 1)
    assert far.is_alive() is False

    assert dataclasses.replace(far, **change).is_alive() is None


@linux
def test_an_owner_that_retired_is_done_although_its_process_lives() -> None:
    here = Owner.here()
    assert here.is_alive()

    here.retire()

    assert here.is_alive() is False
    assert Owner.here().is_alive()


@linux
def test_a_signature_tells_whether_its_process_has_ended() -> None:
    assert signature() != signature()
    assert not signer_has_ended(signature())
    code = "from sweeper.store.owner import signature; print(signature())"
    command = [sys.executable, "-c", code]
    signed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert signer_has_ended(signed)
    assert not signer_has_ended(f"elsewhe{signed[7:]}"), "of other machines nothing is known"
    assert not signer_has_ended("0123456789ab"), "nor of other names"


def a_proc(root: Path, *, me: int | None = None, pid: str = "pid:[1]", time: str = "") -> Path:
    """Makes a file system of processes that holds one process, by default this one."""
    number = os.getpid() if me is None else me
    (root / "sys/kernel/random").mkdir(parents=True)
    (root / "sys/kernel/random/boot_id").write_text("a-boot\n", encoding="ascii")
    (root / "self").symlink_to(str(number))
    (root / str(number) / "ns").mkdir(parents=True)
    (root / str(number) / "ns/pid").symlink_to(pid)
    if time:
        (root / str(number) / "ns/time").symlink_to(time)
    starts(root, number, 500)
    return root


def starts(root: Path, pid: int, start: int, *, state: str = "S", threads: int = 1) -> None:
    """Enters a process of this start into a file system of processes."""
    (root / str(pid)).mkdir(exist_ok=True)
    fields = f"{pid} (a (strange) name) {state}{' 0' * 16} {threads} 0 {start} 0 0\n"
    (root / str(pid) / "stat").write_text(fields, encoding="ascii")


def there(pid: int, number: int) -> None:
    """A signal that arrives."""


def of_another_user(pid: int, number: int) -> None:
    """A signal to a process that is there and that we may not signal."""
    raise PermissionError


def nobody(pid: int, number: int) -> None:
    """A signal to a process that is not there."""
    raise ProcessLookupError


def test_a_process_is_alive_if_its_start_is_still_the_same(tmp_path: Path) -> None:
    system = System(a_proc(tmp_path), there)
    owner = Owner.here(system)

    assert owner.is_alive(system) is True
    assert owner.is_alive(System(tmp_path, of_another_user)) is True
    starts(tmp_path, os.getpid(), 501)
    assert owner.is_alive(system) is False


@pytest.mark.parametrize("signal", [there, of_another_user])
def test_a_process_that_is_there_and_hidden_is_not_called_gone(
    tmp_path: Path, signal: Callable[[int, int], None]
) -> None:
    """As hidepid=2 hides the processes of other users."""
    system = System(a_proc(tmp_path), signal)
    hidden = dataclasses.replace(Owner.here(system), pid=os.getpid() + 1)

    assert hidden.is_alive(system) is None
    assert hidden.is_alive(System(tmp_path, nobody)) is False


def test_a_process_whose_start_may_not_be_read_is_not_called_gone(tmp_path: Path) -> None:
    """As hidepid=1 closes the folders of other users' processes."""
    system = System(a_proc(tmp_path), of_another_user)
    owner = Owner.here(system)
    stat = tmp_path / str(os.getpid()) / "stat"
    stat.unlink()
    stat.mkdir()  # not even root reads this

    assert owner.is_alive(system) is None
    assert not signer_has_ended(f"{signature(system)}", system)


@pytest.mark.parametrize(
    ("there_is", "here_is"),
    [
        ({"pid": "pid:[1]"}, {"pid": "pid:[2]"}),
        ({"time": "time:[1]"}, {"time": "time:[2]"}),
        ({"time": "time:[1]"}, {}),
    ],
)
def test_nothing_is_claimed_across_namespaces(
    tmp_path: Path, there_is: dict[str, str], here_is: dict[str, str]
) -> None:
    """A namespace of time shifts what the start of a process reads as."""
    owner = Owner.here(System(a_proc(tmp_path / "there", **there_is), there))
    signed = signature(System(tmp_path / "there", there))
    system = System(a_proc(tmp_path / "here", **here_is), nobody)

    assert owner.is_alive(system) is None
    assert not signer_has_ended(signed, system)


def test_a_proc_that_calls_us_by_another_number_is_not_asked(tmp_path: Path) -> None:
    """As the host's, seen in a namespace of processes: the numbers in it are not ours."""
    system = System(a_proc(tmp_path, me=os.getpid() + 1), nobody)

    assert Owner.here(system).started == ""
    assert Owner.here(system).is_alive(system) is None
    assert not signer_has_ended(signature(system), system)


def test_a_dead_process_of_which_threads_still_end_is_not_gone_yet(tmp_path: Path) -> None:
    system = System(a_proc(tmp_path), there)
    owner = Owner.here(system)

    starts(tmp_path, os.getpid(), 500, state="Z", threads=3)
    assert owner.is_alive(system) is True
    starts(tmp_path, os.getpid(), 500, state="Z")
    assert owner.is_alive(system) is False


@pytest.mark.parametrize("stat", [b"", b"1 (x", b"1 (x) S 0", b"\xff\xfe"])
def test_what_cannot_be_made_out_is_unknown(tmp_path: Path, stat: bytes) -> None:
    system = System(a_proc(tmp_path), there)
    owner = Owner.here(system)
    (tmp_path / str(os.getpid()) / "stat").write_bytes(stat)

    assert owner.is_alive(system) is None

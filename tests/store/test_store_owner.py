"""Whether the process that holds a lease is still there."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.store.owner import Owner, signature, signer_has_ended

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

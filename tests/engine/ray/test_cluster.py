"""What is asked of a cluster before trials are given to it; Ray itself is not started."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.engine.ray.cluster import SESSION, _mark_session, cluster, guard_token
from sweeper.engine.signals import WARNINGS
from sweeper.errors import ClusterError


def test_a_handler_of_sigterm_survives_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def ours(number: int, frame: object) -> None:
        raise AssertionError("never sent")

    def init(**options: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    before = signal.signal(signal.SIGTERM, ours)
    try:
        with cluster(None):
            assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "127.0.0.1:99999"])
def test_an_address_where_nothing_listens_is_told_before_ray_tries_for_minutes(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.init", lambda **options: pytest.fail("Ray was asked"))
    with pytest.raises(ClusterError, match="no Ray cluster answers"), cluster(address):
        raise AssertionError("there is no such cluster")


def test_auto_is_refused_at_once_where_the_last_cluster_is_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ray.init", lambda **options: pytest.fail("Ray was asked"))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ClusterError, match=r"no Ray cluster answers at .*:1'"), cluster("auto"):
        raise AssertionError("there is no such cluster")


def test_what_ray_starts_does_not_receive_the_warnings_of_a_scheduler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[set[int]] = []
    monkeypatch.setattr(
        "ray.init", lambda **options: seen.append({*signal.pthread_sigmask(signal.SIG_BLOCK, [])})
    )
    monkeypatch.setattr("ray.shutdown", lambda: None)
    with cluster(None):
        assert not WARNINGS & {*signal.pthread_sigmask(signal.SIG_BLOCK, [])}
    assert seen[0] >= WARNINGS


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns where Ray looks for its token."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / ".ray" / "auth_token"


def test_a_new_token_is_for_its_owner_alone_and_is_kept(token: Path) -> None:
    notes: list[str] = []
    guard_token(create=True, note=notes.append)
    made = token.read_text()
    assert (token.stat().st_mode & 0o777, len(made)) == (0o600, 64)
    guard_token(create=True, note=notes.append)
    assert token.read_text() == made
    assert [each.name for each in token.parent.iterdir()] == ["auth_token"]
    assert not notes


def test_a_token_that_others_can_read_is_withdrawn_from_them(token: Path) -> None:
    token.parent.mkdir()
    token.write_text("secret")
    token.chmod(0o644)
    notes: list[str] = []
    guard_token(create=False, note=notes.append)
    assert token.stat().st_mode & 0o777 == 0o600
    assert len(notes) == 1
    assert "could be read by others" in notes[0]


@pytest.mark.parametrize(
    ("variable", "value"),
    [("RAY_AUTH_MODE", "disabled"), ("RAY_AUTH_TOKEN", "x"), ("RAY_AUTH_TOKEN_PATH", "/x")],
)
def test_no_token_is_made_where_ray_is_told_of_another_or_of_none(
    variable: str, value: str, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    guard_token(create=True, note=pytest.fail)
    assert not token.exists()


@pytest.mark.parametrize(("authentic", "notes"), [(True, 0), (False, 1)])
def test_a_cluster_that_asks_for_no_token_is_warned_of(
    authentic: bool, notes: int, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.init", lambda **options: None)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.setattr("sweeper.engine.ray.cluster.is_token_auth_enabled", lambda: authentic)
    said: list[str] = []
    with cluster(None, note=said.append):
        assert len(said) == notes
    assert all("authentication is off: every user of this machine" in text for text in said)


KILLED_WHILE_RAY_STARTS = """\
import os
from datetime import datetime
from sweeper.engine.ray.cluster import _mark_session
sessions = _mark_session().parent
for name in (f"{datetime.now():%Y-%m-%d_%H-%M-%S_%f}", "2020-01-01_00-00-00_000000"):
    (sessions / f"session_{name}_{os.getpid()}" / "logs").mkdir(parents=True)
os._exit(9)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells that a process has ended")
def test_the_folder_of_a_process_that_was_killed_while_ray_started_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_RAY_STARTS], check=False)
    assert killed.returncode == 9
    (tmp_path / "ray" / "session_2099-01-01_00-00-00_000000_1").mkdir()
    assert len([*(tmp_path / "ray").glob("session_*")]) == 3
    mark = _mark_session()
    left = sorted(each.name.rpartition("_")[0] for each in (tmp_path / "ray").glob("session_*"))
    assert left == ["session_2020-01-01_00-00-00_000000", "session_2099-01-01_00-00-00_000000"]
    assert [*(tmp_path / "ray").glob(f"{SESSION}*")] == [mark]

"""What is asked of a cluster before trials are given to it; Ray itself is not started."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from sweeper.engine.messages import Shape
from sweeper.engine.ray.cluster import Capacity, check_shapes, cluster, guard_token
from sweeper.engine.signals import WARNINGS
from sweeper.errors import ClusterError


@pytest.fixture(autouse=True)
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    resources = {"CPU": 2.0, "GPU": 1.0, "memory": 1e9}
    nodes = [{"Alive": True, "Resources": resources}, {"Alive": False, "Resources": resources}]
    monkeypatch.setattr("ray.cluster_resources", lambda: resources)
    monkeypatch.setattr("ray.nodes", lambda: nodes)


@pytest.mark.parametrize(
    ("shape", "slots"),
    [
        (Shape(cpus=1), 2),
        (Shape(cpus=0.5), 4),
        (Shape(cpus=0.1), 20),
        (Shape(cpus=0.1, gpus=0.3), 3),
        (Shape(cpus=2), 1),
        (Shape(cpus=3), 0),
        (Shape(cpus=1, gpus=2), 0),
    ],
    ids=str,
)
def test_slots_are_what_fits(shape: Shape, slots: int) -> None:
    assert Capacity().fitting(shape) == slots
    assert Capacity().slots(shape) == max(1, slots), "what does not fit waits for nodes"


def test_trials_that_fit_nowhere_are_refused_where_no_node_can_join() -> None:
    shapes = [Shape(cpus=1), Shape(cpus=1, gpus=2)]
    with pytest.raises(ClusterError, match=r"need 1 CPUs and 2 GPUs each.*2 CPUs and 1 GPUs"):
        check_shapes(shapes, may_grow=False, note=lambda text: None)


def test_trials_that_fit_nowhere_yet_are_told_where_nodes_can_join() -> None:
    notes: list[str] = []
    check_shapes([Shape(cpus=1), Shape(cpus=64)], may_grow=True, note=notes.append)
    assert len(notes) == 1
    assert "64 CPUs" in notes[0]
    assert "wait for nodes" in notes[0]


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


@pytest.mark.parametrize(
    ("shape", "bundle"),
    [
        (Shape(cpus=0.5), {"CPU": 0.5}),
        (Shape(cpus=1, gpus=0.3), {"CPU": 1, "GPU": 0.3}),
        (Shape(cpus=1, gpus=0.3, alone=True), {"CPU": 1, "GPU": 1.0}),
        (Shape(cpus=1, gpus=1.5, alone=True), {"CPU": 1, "GPU": 2.0}),
        (Shape(cpus=1, alone=True), {"CPU": 2.0}),
        (Shape(cpus=3, alone=True), {"CPU": 3}),
    ],
)
def test_a_trial_that_wants_to_be_alone_asks_for_whole_devices(
    shape: Shape, bundle: dict[str, float]
) -> None:
    assert Capacity().bundle(shape) == bundle


def test_trials_that_want_to_be_alone_come_one_after_the_other() -> None:
    assert Capacity().fitting(Shape(cpus=0.5, alone=True)) == 1
    assert Capacity().fitting(Shape(cpus=3, alone=True)) == 0


def test_nodes_that_are_gone_are_not_counted() -> None:
    assert Capacity().nodes() == 1

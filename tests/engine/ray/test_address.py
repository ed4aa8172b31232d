"""What an address means, and how soon it is told that no cluster is there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.exceptions import AuthenticationError

from sweeper.engine.ray import address as addresses
from sweeper.engine.ray.address import advice, head_address, job_server
from sweeper.errors import ClusterError, RequestError


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADDRESS", "API_SERVER_ADDRESS", "AUTH_MODE", "AUTH_TOKEN", "AUTH_TOKEN_PATH"):
        monkeypatch.delenv(f"RAY_{name}", raising=False)


@pytest.fixture
def silent() -> Iterator[str]:
    """Yields the address of something that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def ray_like() -> Iterator[str]:
    """Yields the address of something that opens HTTP/2, as Ray's processes do, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            link, _ = server.accept()
            with link:
                link.recv(100)
                link.sendall(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("ray://127.0.0.1:10001", "cannot be driven"),
        ("http://127.0.0.1:8265", "takes jobs"),
        ("https://user:secret@head", "takes jobs"),
        ("spark://head:7077", "is not the head"),
        ("head", "neither auto nor HOST:PORT"),
        ("head:", "neither auto nor HOST:PORT"),
        (":6379", "neither auto nor HOST:PORT"),
    ],
)
def test_what_is_no_head_is_refused_at_once_with_what_to_give(given: str, why: str) -> None:
    with pytest.raises(RequestError, match=why) as caught:
        head_address(given)
    assert "secret" not in str(caught.value)


def test_what_auto_is_told_by_the_environment_is_named_as_such(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:10001")
    with pytest.raises(RequestError, match="RAY_ADDRESS=ray://"):
        head_address("auto")


def test_what_accepts_and_says_nothing_is_given_up(
    silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.engine.ray.pulse.KNOCK_SECONDS", 0.1)
    with pytest.raises(ClusterError, match="does not answer as Ray does"):
        head_address(silent)


@pytest.mark.parametrize(
    ("environ", "remedy"),
    [
        ({}, "RAY_AUTH_MODE is not set: RAY_AUTH_MODE=token sends"),
        ({"RAY_AUTH_MODE": "disabled"}, "RAY_AUTH_MODE is disabled"),
        (
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "hidden"},
            "the token of RAY_AUTH_TOKEN is not that of the cluster",
        ),
        (
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": __file__},
            f"the token in {__file__} is not that of the cluster",
        ),
    ],
)
def test_a_head_that_takes_no_token_of_ours_is_told_from_one_that_is_away(
    environ: dict[str, str], remedy: str, ray_like: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*, address: str) -> None:
        raise AuthenticationError("Authentication token is missing or incorrect")

    monkeypatch.setattr(addresses, "GcsClient", refuse)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ClusterError, match="asks for Ray's token") as caught:
        head_address(ray_like)
    assert remedy in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("content", [None, "", " \n"], ids=["missing", "empty", "blank"])
@pytest.mark.parametrize("of", ["head", "auto", "dashboard"])
def test_a_token_that_is_not_there_is_said_before_ray_ends_the_process(
    ray_like: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str, content: str | None
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    monkeypatch.setenv("RAY_ADDRESS", ray_like)
    if of != "auto":
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(ClusterError, match=r"looked for in .*token, which (is empty|cannot be)"):
        if of == "dashboard":
            job_server(f"http://{ray_like}")
        else:
            head_address(ray_like if of == "head" else "auto")


@pytest.mark.parametrize(
    "given",
    ["head:6379", "ray://head:10001", "ftp://head", "http://user:secret@head:8265", "http://"],
)
def test_jobs_go_to_a_dashboard_alone(given: str) -> None:
    with pytest.raises(RequestError, match=r"http://(head|HOST):8265") as caught:
        job_server(given)
    assert "secret" not in str(caught.value)


def test_a_dashboard_that_is_not_there_is_told_in_seconds_and_how_to_reach_one() -> None:
    with pytest.raises(ClusterError, match=r"no dashboard of Ray answers.*ssh -L"):
        job_server("http://127.0.0.1:1/")


def test_the_dashboard_of_the_environment_is_taken_for_auto(
    silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", f"http://{silent}/")
    assert job_server("auto") == f"http://{silent}"


def test_both_versions_are_named_where_they_differ() -> None:
    fault = RuntimeError(
        "Version mismatch: The cluster was started with:\n  Ray: 2.1\n  Python: 3"
    )
    assert "started with: Ray: 2.1 Python: 3" in advice("head:6379", fault)

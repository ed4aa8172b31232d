"""Servers that are busy, out of order, or not what they are taken for."""

from __future__ import annotations

from typing import Any

import pytest
import tracked

from sweeper.errors import EnvironmentFault, RequestError
from sweeper.imports.trackers.web import Site


def asked(site: tracked.Site, **more: Any) -> Site:
    return Site(f"{site.address}/api/", refused="set THE_KEY", rest=0.001, **more)


def test_a_busy_server_is_asked_again(site: tracked.Site) -> None:
    replies = iter([(429, b"", {"Retry-After": "0"}), (503, b"", {}), (200, b'{"a": 1}', {})])
    site.answer = lambda path, sent: next(replies)
    with asked(site) as found:
        assert found.post("/x", {"y": 2}) == {"a": 1}
    assert site.asked == [("/api/x", {"y": 2})] * 3


@pytest.mark.parametrize(
    ("status", "body", "error", "says"),
    [
        (
            500,
            b"",
            EnvironmentFault,
            r"/api/x: the server is out of order \(HTTP 500, asked 6 times\)",
        ),
        (403, b"", RequestError, r"refuses \(HTTP 403\): set THE_KEY"),
        (404, b'{"message": "nothing here"}', RequestError, "HTTP 404: nothing here"),
        (200, b"<html>", RequestError, "answers with HTTP 200 and no JSON"),
    ],
)
def test_what_goes_wrong_is_one_message(
    site: tracked.Site, status: int, body: bytes, error: type[Exception], says: str
) -> None:
    site.answer = lambda path, sent: (status, body, {})
    with asked(site) as found, pytest.raises(error, match=says):
        found.get("/x", {})


def test_an_answer_that_breaks_off_and_one_without_end_are_said(
    site: tracked.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.answer = lambda path, sent: (
        200,
        b'{"a": 1}',
        {"Content-Length": "100", "Connection": "close"},
    )
    with asked(site) as found, pytest.raises(EnvironmentFault, match="broke off"):
        found.get("/x", {})
    monkeypatch.setattr("sweeper.imports.trackers.web.ANSWER_BYTES", 5)
    site.answer = lambda path, sent: {"a": "long"}
    with asked(site) as found, pytest.raises(RequestError, match="more than 5 bytes"):
        found.get("/x", {})


def test_a_login_is_sent_to_no_other_host(site: tracked.Site) -> None:
    with tracked.Site() as other:
        other.answer = lambda path, sent: {"a": 1}
        # localhost and 127.0.0.1 are two hosts.
        there = other.address.replace("127.0.0.1", "localhost") + "/y"
        site.answer = lambda path, sent: (302, b"", {"Location": there})
        with asked(site, login=("api", "secret-key")) as found:
            assert found.get("/x", {}) == {"a": 1}
        assert "Authorization" in site.headers[0] and "Authorization" not in other.headers[0]


def test_an_address_that_is_none_is_refused() -> None:
    for address in ("ftp://host", "https://"):
        with pytest.raises(RequestError, match="is no address such as"):
            Site(address, refused="")

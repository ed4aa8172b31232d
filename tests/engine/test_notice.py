"""Notices that a machine will be taken away: from files, and from metadata servers that really
listen."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sweeper.engine.notice import FILE_VARIABLE, URL_VARIABLE, Notices, NoticeWatch
from sweeper.errors import RequestError

GOOGLE = "/computeMetadata/v1/instance/preempted"
AMAZON = "/latest/meta-data/spot/instance-action"
AZURE = "/metadata/scheduledevents"


class Cloud:
    """A metadata server: what it says at each path, and which requests it has seen.

    Attributes:
        says: (status, body) by path.
        token: what it hands out at Amazon's address of tokens, and then asks for; None is a
            server without.
        asked: (method, path) in order.
    """

    def __init__(self) -> None:
        self.says: dict[str, tuple[int, str]] = {}
        self.token: str | None = None
        self.asked: list[tuple[str, str]] = []
        self.url = ""

    def answer(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        self.asked.append((method, path))
        if path == "/latest/api/token" and self.token is not None:
            asks = method == "PUT" and "X-Aws-Ec2-Metadata-Token-Ttl-Seconds" in headers
            return (200, self.token) if asks else (400, "")
        if path == AMAZON and self.token != headers.get("X-Aws-Ec2-Metadata-Token"):
            return 401, ""
        if path == GOOGLE and headers.get("Metadata-Flavor") != "Google":
            return 403, ""
        if path == AZURE and headers.get("Metadata") != "true":
            return 400, ""
        return self.says.get(path, (404, "not found"))


@contextmanager
def listening() -> Iterator[Cloud]:
    cloud = Cloud()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            headers = {name.title(): value for name, value in self.headers.items()}
            status, body = cloud.answer(self.command, self.path, headers)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_PUT = _reply

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    cloud.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield cloud
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with listening() as one:
        yield one


def test_a_file_is_a_notice_as_long_as_it_is_there(tmp_path: Path) -> None:
    file = tmp_path / "preempted"
    notices = Notices(file=str(file))
    assert notices.ask() is None
    file.touch()
    assert notices.ask() == f"{file} has appeared"
    file.unlink()
    assert notices.ask() is None


@pytest.mark.parametrize(
    ("says", "notice"),
    [("FALSE", False), ("TRUE", True), ("NONE", False), ("TERMINATE_ON_HOST_MAINTENANCE", True)],
)
def test_google_says_true_or_what_will_happen(cloud: Cloud, says: str, notice: bool) -> None:
    cloud.says[GOOGLE] = (200, f"{says}\n")
    assert (Notices(url=cloud.url + GOOGLE).ask() is not None) is notice


@pytest.mark.parametrize("token", ["secret", None], ids=["IMDSv2", "IMDSv1"])
def test_amazon_has_nothing_there_until_it_says_what_will_happen(
    cloud: Cloud, token: str | None
) -> None:
    cloud.token = token
    notices = Notices(url=cloud.url + AMAZON)
    assert notices.ask() is None
    cloud.says[AMAZON] = (200, json.dumps({"action": "terminate", "time": "2030-01-01T00:00Z"}))
    said = notices.ask()
    assert said is not None
    assert "terminate" in said
    assert token is None or token not in said


@pytest.mark.parametrize(
    ("events", "notice"), [([], False), (["Freeze"], False), (["Freeze", "Preempt"], True)]
)
def test_azure_lists_events_and_only_those_that_end_a_machine_count(
    cloud: Cloud, events: list[str], notice: bool
) -> None:
    listed = [{"EventType": kind, "Resources": ["us"]} for kind in events]
    cloud.says[AZURE] = (200, json.dumps({"DocumentIncarnation": 1, "Events": listed}))
    assert (Notices(url=cloud.url + AZURE).ask() is not None) is notice


def test_a_proxy_of_the_environment_is_not_asked(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    cloud.says[GOOGLE] = (200, "TRUE")
    assert Notices(url=cloud.url + GOOGLE).ask()


def test_a_server_that_errs_is_no_notice_is_told_once_and_is_asked_again(cloud: Cloud) -> None:
    heard, unread = list[str](), list[str]()
    watch = NoticeWatch(Notices(url=cloud.url + GOOGLE), heard=heard.append, unread=unread.append)
    cloud.says[GOOGLE] = (503, "TRUE")
    watch.look()
    watch.look()
    assert watch.given is None
    assert len(unread) == 1
    assert "status 503" in unread[0]
    cloud.says[GOOGLE] = (200, "TRUE")
    watch.look()
    watch.look()
    assert len(heard) == 1
    cloud.says[GOOGLE] = (503, "")
    watch.look()
    assert watch.given is not None, "the last answer stands"
    cloud.says[GOOGLE] = (200, "FALSE")
    watch.look()
    assert watch.given is None, "it was taken back"


def test_where_nothing_listens_nothing_is_heard_and_it_is_said() -> None:
    with listening() as cloud:
        url = cloud.url + GOOGLE
    unread: list[str] = []
    NoticeWatch(Notices(url=url), unread=unread.append).look()
    assert len(unread) == 1
    assert "refused" in unread[0].lower()


def test_a_watch_asks_by_itself(cloud: Cloud) -> None:
    heard = threading.Event()
    notices = Notices(url=cloud.url + GOOGLE)
    with NoticeWatch(notices, heard=lambda notice: heard.set(), seconds=0.01):
        while len(cloud.asked) < 3:
            heard.wait(0.01)
        assert not heard.is_set()
        cloud.says[GOOGLE] = (200, "TRUE")
        assert heard.wait(20)


def test_nothing_is_asked_unless_somebody_says_where() -> None:
    assert not Notices()
    assert Notices().ask() is None


@pytest.mark.parametrize("url", ["ftp://host/x", "preempted", "http:///x"])
def test_what_is_no_address_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(RequestError, match=URL_VARIABLE):
        Notices(url=url)


def test_a_node_says_for_itself_where_its_notices_come_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Notices(file="/of/the/controller", url="http://controller/x")
    assert Notices.of_environment(other=told) == told
    monkeypatch.setenv(FILE_VARIABLE, "/of/the/node")
    monkeypatch.setenv(URL_VARIABLE, "http://node/x")
    assert Notices.of_environment(other=told) == Notices("/of/the/node", "http://node/x")
    assert Notices.of_environment("/given") == Notices("/given", "http://node/x")

"""Buckets: what an object store's troubles become, and how a bucket is named."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import FaultProxy, Request

from sweeper.errors import RequestError, StoreAway, StoreError
from sweeper.store.files import objects
from sweeper.store.files.gs import GoogleFiles
from sweeper.store.files.objects import ObjectFiles
from sweeper.store.files.protocol import FileStore, open_files
from sweeper.store.files.s3 import S3Files
from sweeper.store.files.s3 import open_place as open_s3

LARGE = bytes(range(256)) * 50_000
"""More than the ten megabytes that go in one part of an upload."""


@pytest.fixture
def proxy(s3_server: tuple[str, int]) -> Iterator[FaultProxy]:
    proxy = FaultProxy(*s3_server)
    yield proxy
    proxy.close()


@pytest.fixture
def files(s3: str, proxy: FaultProxy) -> FileStore:
    """Returns an empty place of files that is reached through a proxy."""
    return open_files(f"{s3}?endpoint_override=http://127.0.0.1:{proxy.port}")


def put(files: FileStore, name: str, content: bytes = b"content") -> None:
    with files.write(name) as aside:
        aside.write_bytes(content)


def content_of(files: FileStore, name: str) -> bytes:
    with files.open(name) as source:
        return source.read()


def failing(fault: Any, times: int, **wanted: str) -> Any:
    """Returns what fails the first so many requests of a method, or with a text in their path."""
    left = [times]

    def judge(request: Request) -> Any:
        met = all(text in getattr(request, part) for part, text in wanted.items())
        if not met or not left[0]:
            return None
        left[0] -= 1
        return fault

    return judge


# Troubles that pass -------------------------------------------------------------------------


def test_a_store_that_answers_503_is_waited_for_and_a_person_is_told_once(
    files: FileStore, proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    put(files, "a/file")
    with caplog.at_level(logging.WARNING, "sweeper.store"):
        proxy.busy_for(3.0)
        put(files, "a/other", b"written in spite of it")

    assert content_of(files, "a/other") == b"written in spite of it"
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].startswith("waiting for the object store: cannot write s3://sweeps/")
    assert "HTTP status 503" in said[0]
    assert said[1].startswith("the object store is back after")


@pytest.mark.parametrize(
    "question",
    [
        lambda files: content_of(files, "a/file") == b"content",
        lambda files: files.names("a/") == ["a/file"],
        lambda files: files.rename("a/file", "b/file") and files.names("a/") == [],
        lambda files: files.remove("a/") or files.names("") == [],
    ],
    ids=["open", "names", "rename", "remove"],
)
def test_every_question_is_asked_again(
    files: FileStore, proxy: FaultProxy, question: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(files, "a/file")
    monkeypatch.setattr(objects, "FIRST_WAIT", 0.01)
    # The client of AWS asks three times by itself.
    proxy.fault = failing("busy", 4)

    assert question(files)


def test_a_slow_answer_is_waited_for(files: FileStore, proxy: FaultProxy) -> None:
    proxy.fault = failing(4.0, 1)

    put(files, "file")

    assert content_of(files, "file") == b"content"
    assert sum(request.method == "PUT" for request in proxy.requests) == 1


@pytest.mark.parametrize("fault", ["cut", "busy"])
def test_an_upload_that_breaks_off_leaves_nothing_until_it_is_whole(
    files: FileStore, proxy: FaultProxy, s3: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, seen = open_files(s3), []
    straight.names("")  # a client is made while no other waits for an answer
    path = "partNumber=2" if fault == "cut" else "?uploads"  # in its middle; before its beginning
    judge = failing(fault, 4, path=path)

    def spy(request: Request) -> Any:
        if path in request.path:
            seen.append(straight.names(""))
        return judge(request)

    monkeypatch.setattr(objects, "FIRST_WAIT", 0.01)
    proxy.fault = spy

    put(files, "file", LARGE)

    assert len(seen) > 4 and not any(seen)
    assert content_of(files, "file") == LARGE


def test_an_upload_whose_end_went_unheard_is_done_again_and_is_there_once(
    files: FileStore, proxy: FaultProxy
) -> None:
    proxy.fault = failing("deaf", 1, method="PUT")

    put(files, "a/file")

    assert content_of(files, "a/file") == b"content"
    assert [*files.infos("")] == ["a/file"]


KILLED = """
import sys
from sweeper.store.files.protocol import open_files
with open_files(sys.argv[1]).write("file") as aside:
    aside.write_bytes(bytes(12_000_000))
"""


def test_a_writer_that_is_killed_leaves_nothing_in_the_bucket_and_its_copy_to_the_next(
    files: FileStore, proxy: FaultProxy, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = threading.Event()

    def stall(request: Request) -> Any:
        if "partNumber" in request.path:
            reached.set()
            return 3600.0
        return None

    proxy.fault = stall
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    place = f"{s3}?endpoint_override=http://127.0.0.1:{proxy.port}"
    process = subprocess.Popen([sys.executable, "-c", KILLED, place])
    assert reached.wait(60)
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert open_files(s3).names("") == []
    left = [*tmp_path.iterdir()]
    assert len(left) == 1 and [*left[0].iterdir()]
    objects._scratch.cache_clear()
    try:
        put(open_files(s3), "file")
        assert not left[0].exists()
    finally:
        objects._scratch.cache_clear()


# Troubles that stay -------------------------------------------------------------------------


def test_a_store_that_stays_away_is_given_up_with_what_to_do(
    s3: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "UNKNOWN_LIMIT", 0.2)
    monkeypatch.setattr(objects, "LIMIT", 3600.0)
    files = open_files(f"{s3}/new?endpoint_override=http://127.0.0.1:{proxy.port}")
    proxy.fault = lambda request: "busy"

    with pytest.raises(
        StoreAway, match=r"cannot read s3://.*/file: .*HTTP status 503.*check that"
    ):
        files.open("file")
    with pytest.raises(StoreAway), files.write("file") as aside:
        aside.write_bytes(b"content")
    assert not [*objects.scratch().glob("*-file")]


def test_one_that_has_answered_is_waited_for_longer(
    s3: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "UNKNOWN_LIMIT", 0.0)
    files = open_files(f"{s3}/newer?endpoint_override=http://127.0.0.1:{proxy.port}")
    put(files, "file")
    monkeypatch.setattr(objects, "FIRST_WAIT", 0.01)
    proxy.fault = failing("busy", 7)

    assert content_of(files, "file") == b"content"


def test_a_bucket_that_is_not_there_is_told(s3: str) -> None:
    files = open_files("s3://no-such-bucket/x")

    with pytest.raises(StoreError, match=r"no-such-bucket/x/file.*make the bucket") as told:
        put(files, "file")
    assert not isinstance(told.value, StoreAway)


class Refusing(ObjectFiles):
    scheme = "odd"

    def connect(self, *, small: bool) -> Any:
        secret = os.environ["AWS_SECRET_ACCESS_KEY"]

        class System:
            def get_file_info(self, path: str) -> Any:
                raise OSError(f"AWS Error ACCESS_DENIED: you signed with {secret}")

        return System()


def test_a_refusal_is_not_waited_for_and_its_message_holds_no_secret(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match=r"you signed with \*\*\*; check the credentials") as told:
        Refusing("bucket").info("file")
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(told.value)
    assert not isinstance(told.value, StoreAway)


def test_files_hold_no_credentials(s3: str) -> None:
    files = open_files(s3)

    said = f"{files!r} {vars(files)} {files.shown('file')}"
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in said
    assert os.environ["AWS_ACCESS_KEY_ID"] not in said


# Copies -------------------------------------------------------------------------------------


def test_a_large_file_is_fetched_in_pieces_and_kept_until_it_changes(
    files: FileStore, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "WHOLE", 3)
    monkeypatch.setattr(objects, "PIECE", 4)
    put(files, "a/file.pt", b"0123456789")

    assert content_of(files, "a/file.pt") == b"0123456789"
    copy = files.local("a/file.pt")
    proxy.requests.clear()
    assert files.local("a/file.pt") == copy
    assert content_of(files, "a/file.pt") == b"0123456789"
    assert not [request for request in proxy.requests if request.method == "GET"]

    put(files, "a/file.pt", b"9876543210")
    assert content_of(files, "a/file.pt") == b"9876543210"
    assert copy.read_bytes() == b"0123456789", "somebody may still read it"
    files.release("a/file.pt")
    assert not copy.exists()


def test_a_file_that_is_written_while_it_is_copied_is_copied_anew(
    files: FileStore, proxy: FaultProxy, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PIECE", 4)
    put(files, "file", b"0123456789")
    straight = open_files(s3)
    straight.names("")  # a client is made while no other waits for an answer
    written = threading.Event()

    def overwrite(request: Request) -> Any:
        if request.method == "GET" and not written.is_set():
            written.set()
            put(straight, "file", b"abcdefghij")
        return None

    proxy.fault = overwrite

    assert files.local("file").read_bytes() == b"abcdefghij"


# Names --------------------------------------------------------------------------------------


def test_an_endpoint_comes_from_the_url_or_else_from_the_variables_of_aws() -> None:
    named = {"AWS_ENDPOINT_URL": "http://one:9000", "AWS_REGION": "eu-west-1"}

    plain = open_s3("s3://bucket/a/b/", {})
    assert plain == S3Files("bucket/a/b", ())
    assert dict(open_s3("s3://bucket", named).options) == {
        "endpoint_override": "one:9000",
        "scheme": "http",
        "region": "eu-west-1",
    }
    special = named | {"AWS_ENDPOINT_URL_S3": "https://two"}
    assert dict(open_s3("s3://bucket", special).options)["endpoint_override"] == "two"
    url = "s3://bucket/x?endpoint_override=three:9000&scheme=http&region=here"
    given = {"endpoint_override": "three:9000", "scheme": "http", "region": "here"}
    assert dict(open_s3(url, special).options) == given
    assert open_s3(url, {}).shown("file") == "s3://bucket/x/file"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("s3://AKIA:hidden@bucket/x", "user or password"),
        ("gs://me:hidden@bucket/x", "user or password"),
        ("s3://bucket/x?access_key=a&secret_key=hidden", r"unknown options \(access_key, secret"),
        ("s3:///x", "has to be s3://BUCKET"),
        ("s3://bucket/a/../b", "has to be s3://BUCKET"),
        ("s3://bucket/x?endpoint_override=http://me:hidden@minio:9000", "URL of a server alone"),
        ("s3://bucket/x?endpoint_override=minio/path", "URL of a server alone"),
        ("s3://bucket/x?endpoint_override=ftp://minio", "http or https"),
        ("s3://bucket/x?anonymous=perhaps", "true or false"),
        ("gs://bucket/x?anonymous=perhaps", "true or false"),
        ("gs://bucket/x?scheme=ftp", "http or https"),
    ],
)
def test_a_place_that_cannot_be_meant_is_refused_without_its_secrets(
    place: str, said: str
) -> None:
    with pytest.raises(RequestError, match=said) as told:
        open_files(place)
    assert "hidden" not in str(told.value)


def test_a_bucket_of_google_is_opened_by_its_scheme() -> None:
    files = open_files("gs://bucket/a?endpoint_override=localhost:4443&scheme=http&anonymous=true")

    assert isinstance(files, GoogleFiles)
    assert files.shown("x/y") == "gs://bucket/a/x/y"
    assert files.connect(small=True).type_name == "gcs"


def test_nothing_heavy_is_loaded_before_a_file_is_asked_for() -> None:
    script = (
        "import sys\nfrom sweeper.store.files.protocol import open_files\n"
        "for each in ('s3://bucket/x', 'gs://bucket/x'):\n    open_files(each).shown('file')\n"
        "sys.exit(any(name in sys.modules for name in ('pyarrow', 'pandas', 'boto3')))"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_two_places_are_one_only_if_they_are_reached_alike() -> None:
    one = S3Files("bucket/a", (("region", "here"),))

    assert one == replace(one) and hash(one) == hash(replace(one))
    assert one != replace(one, options=()) and one != GoogleFiles("bucket/a", one.options)

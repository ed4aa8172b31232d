"""How a job ends and is followed; those of a real cluster: tests/docker."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sweeper.engine.parcel import pack
from sweeper.engine.ray.jobs import Job, Jobs, exit_code
from sweeper.errors import ClusterError


@pytest.mark.parametrize(
    ("status", "code", "exits"),
    [
        ("SUCCEEDED", 0, 0),
        ("SUCCEEDED", None, 0),
        ("FAILED", 1, 1),
        ("FAILED", 3, 3),
        ("FAILED", -9, 4),
        ("FAILED", 137, 4),
        ("FAILED", None, 4),
        ("STOPPED", None, 3),
    ],
)
def test_the_exit_code_is_that_of_the_job(status: str, code: int | None, exits: int) -> None:
    job = Job(id="sweeper-a-1", study="a", store="s", status=status, exit_code=code)
    assert exit_code(job) == exits


def test_a_job_whose_dashboard_breaks_off_is_followed_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text, heard = "one\ntwo\nthree\n", threading.Event()

    class Client:
        async def tail_job_logs(self, job_id: str):  # type: ignore[no-untyped-def]
            for start in range(0, len(text), 3):
                if start > 6 and not heard.is_set():
                    heard.set()
                    raise RuntimeError("WebSocket closed")
                yield text[start : start + 3]

    monkeypatch.setattr("sweeper.engine.ray.jobs.job_server", lambda address: "http://head:1")
    monkeypatch.setattr("sweeper.engine.ray.jobs._client", lambda url: Client())
    monkeypatch.setattr("sweeper.engine.ray.jobs.LOOK_SECONDS", 0.0)
    ended = Job(id="sweeper-a-1", study="a", store="s", status="SUCCEEDED")
    monkeypatch.setattr(Jobs, "look", lambda self, job_id: ended)
    said: list[str] = []
    assert Jobs("http://head:1").follow("sweeper-a-1", said.append) == ended
    assert "".join(said) == text
    assert heard.is_set()


def test_a_reader_that_has_gone_ends_the_following(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        async def tail_job_logs(self, job_id: str):  # type: ignore[no-untyped-def]
            yield "a line"

    def gone(text: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("sweeper.engine.ray.jobs.job_server", lambda address: "http://head:1")
    monkeypatch.setattr("sweeper.engine.ray.jobs._client", lambda url: Client())
    with pytest.raises(BrokenPipeError):
        Jobs("http://head:1").follow("sweeper-a-1", gone)


def test_a_head_that_starts_no_jobs_is_told_with_what_may_be_in_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Client:
        def list_jobs(self) -> list[object]:
            return []

        def submit_job(self, **what: object) -> None:
            raise RuntimeError("Request failed with status code 500: No available agent to submit")

    monkeypatch.setattr("sweeper.engine.ray.jobs.job_server", lambda address: "http://head:1")
    monkeypatch.setattr("sweeper.engine.ray.jobs._client", lambda url: Client())
    monkeypatch.setattr("sweeper.engine.ray.jobs.ANSWER_SECONDS", 0.0)
    study = tmp_path / "a.yaml"
    study.write_text("name: a")
    parcel = pack(study, "mlp", tmp_path)
    with pytest.raises(ClusterError, match=r"starts no jobs: .*--dashboard-agent-listen-port"):
        Jobs("http://head:1").submit(parcel, study="a", store="s", environ={})

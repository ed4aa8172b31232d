"""What `sweeper submit` and `jobs` refuse before anything is sent, and what they hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli_harness import Sweeper

from sweeper.engine.ray.jobs import Job, Jobs


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Returns what is sent to a cluster that takes everything, and ends each job with code 1."""
    told: list[dict[str, Any]] = []
    monkeypatch.setattr("sweeper.engine.ray.jobs.job_server", lambda address: "http://head:8265")
    monkeypatch.setattr("sweeper.engine.ray.jobs._client", lambda url: None)
    monkeypatch.setattr(Jobs, "all", lambda self, study=None: jobs(told, study))
    monkeypatch.setattr(Jobs, "logs", lambda self, job_id: f"what {job_id} said\n")

    def submit(self: Jobs, parcel: Any, **what: Any) -> Job:
        told.append({"parcel": parcel, **what})
        return jobs(told, what["study"])[-1]

    def follow(self: Jobs, job_id: str, write: Any) -> Job:
        write("a line of the job\n")
        return Job(id=job_id, study="planted", store="s", status="FAILED", exit_code=1)

    monkeypatch.setattr(Jobs, "submit", submit)
    monkeypatch.setattr(Jobs, "follow", follow)
    return told


def jobs(told: list[dict[str, Any]], study: str | None) -> list[Job]:
    made = [
        Job(
            id=f"sweeper-{each['study']}-{number}",
            study=each["study"],
            store=each["store"],
            status="RUNNING",
            started=0.0,
        )
        for number, each in enumerate(told, start=1)
    ]
    return [job for job in made if study in (None, job.study)]


def test_a_study_is_sent_and_followed_and_the_command_ends_as_the_job_does(
    sweeper: Sweeper, study: Path, sent: list[dict[str, Any]]
) -> None:
    answer = sweeper("submit", study, "--store", "/team/sweeps", "--", "--strict")
    assert (answer.code, answer.out) == (1, "a line of the job\n")
    assert "job sweeper-planted-1 at http://head:8265: 1 file of " in answer.err
    (told,) = sent
    assert told["environ"] == {"SWEEPER_STORE": "/team/sweeps", "SWEEPER_TRUST": "1"}
    assert told["options"] == ["--strict"]


def test_a_job_is_left_to_itself_shown_and_listed(
    sweeper: Sweeper, study: Path, sent: list[dict[str, Any]]
) -> None:
    options = ("--store", "postgresql://me@db/sweeps", "--detach", "--json")
    document = sweeper("submit", study, *options).document
    assert (document["job"], document["status"]) == ("sweeper-planted-1", "RUNNING")
    assert sweeper("jobs", "planted", "--logs").out == "what sweeper-planted-1 said\n"
    assert sweeper("jobs", study, "--follow").code == 1
    (listed,) = sweeper("jobs", "--json").document
    assert listed["store"] == "postgresql+psycopg://me@db/sweeps"
    assert "sweeper-planted-1" in sweeper("jobs").out


@pytest.mark.parametrize(
    ("store", "files", "why"),
    [
        ("postgresql://me:hidden@db/sweeps", "", "holds a password"),
        ("postgresql://me@db/sweeps?password=hidden", "", "holds a password"),
        ("postgresql://me@db/sweeps", "s3://key:hidden@bucket/sweeps", "SWEEPER_FILES holds"),
        ("postgresql://me@db/sweeps", "s3://bucket?secret_key=hidden", "SWEEPER_FILES holds"),
        ("postgresql://me@db/sweeps", "curves", "SWEEPER_FILES curves has to be absolute"),
        ("sweeper-results", "", "is a folder beside the job"),
        ("~/sweeps", "", "is a folder beside the job"),
    ],
)
def test_a_place_of_results_that_would_be_lost_or_tell_a_secret_is_refused(
    store: str,
    files: str,
    why: str,
    sweeper: Sweeper,
    study: Path,
    sent: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SWEEPER_FILES", files)
    answer = sweeper("submit", study, "--store", store)
    assert (answer.code, sent) == (2, [])
    assert why in answer.err
    assert "hidden" not in answer.err


def test_without_a_store_the_job_takes_that_of_the_cluster(
    sweeper: Sweeper, study: Path, sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SWEEPER_STORE")
    sweeper("submit", study)
    assert sent[0]["environ"] == {"SWEEPER_TRUST": "1"}
    assert sent[0]["store"] == "the cluster's own store"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("submit", "{study}", "--", "--store", "x"), "--store is not handed on"),
        (("submit", "{study}", "--", "--address=x"), "--address=x is not handed on"),
        (("submit", "{study}", "--working-dir", "/nowhere"), "does not lie in it"),
        (("submit", "{study}", "--address", "head:6379"), "jobs are sent to the dashboard"),
        (("jobs", "--stop"), "are of one study: name it"),
        (("jobs", "planted", "--stop", "--logs"), "exclude each other"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: tuple[str, ...], why: str, sweeper: Sweeper, study: Path
) -> None:
    store = ("--store", "/team/sweeps") if arguments[0] == "submit" else ()
    given = [each.format(study=study) for each in arguments]
    answer = sweeper(given[0], *store, *given[1:])
    assert answer.code == 2
    assert why in answer.err


def test_a_study_without_a_job_is_told_with_those_that_have_one(
    sweeper: Sweeper, study: Path, sent: list[dict[str, Any]]
) -> None:
    assert "no jobs of sweeper at http://head:8265" in sweeper("jobs").out
    sweeper("submit", study, "--store", "/team/sweeps")
    answer = sweeper("jobs", "other")
    assert answer.code == 2
    assert "no job of study other at http://head:8265; it has jobs of planted" in answer.err

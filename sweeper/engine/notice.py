"""Notices that a machine will be taken away: a file that appears, or the cloud's metadata server.

Signals are heard in :mod:`sweeper.engine.signals`; these two have to be asked for, again and
again, by the controller and by every worker on its own node.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urlsplit, urlunsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, Request

from sweeper.errors import RequestError, shown

FILE_VARIABLE = "SWEEPER_PREEMPTION_FILE"
URL_VARIABLE = "SWEEPER_PREEMPTION_URL"

POLL_SECONDS = 2.0
"""How often it is asked. Google gives 30 seconds from the notice on, Amazon two minutes."""

ANSWER_SECONDS = 2.0
"""How long a metadata server may take to answer."""

QUIET = ("", "false", "none", "0")
"""What a metadata server says, in any case of letters, while nothing is to come."""

GOING = ("Preempt", "Terminate")
"""Types of Azure's scheduled events after which a machine is gone."""


@dataclass(frozen=True)
class Notices:
    """Where notices come from; off where neither is given.

    Attributes:
        file: its appearance is a notice.
        url: of a metadata server. An answer other than 404, FALSE, NONE or nothing is a notice;
            of Azure's scheduled events, one of type Preempt or Terminate.
    """

    file: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        if self.url is None:
            return
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RequestError(
                f"{shown(self.url)} is no address to ask for preemption notices; give one such as "
                "http://metadata.google.internal/computeMetadata/v1/instance/preempted (in "
                f"{URL_VARIABLE})"
            )

    def __bool__(self) -> bool:
        return self.file is not None or self.url is not None

    @classmethod
    def of_environment(cls, file: str | None = None, *, other: Notices | None = None) -> Notices:
        """Returns what the environment of this process names.

        Args:
            file: takes the place of the environment's.
            other: what is taken where neither says anything, part by part.

        Raises:
            RequestError: the environment names no address of a metadata server.
        """
        return cls(
            file=file or os.environ.get(FILE_VARIABLE) or (other and other.file) or None,
            url=os.environ.get(URL_VARIABLE) or (other and other.url) or None,
        )

    def ask(self) -> str | None:
        """Returns the notice that stands now, in words; None if none does.

        Raises:
            OSError: the metadata server does not answer as one.
        """
        if self.file is not None and os.path.lexists(self.file):
            return f"{self.file} has appeared"
        if self.url is not None and (said := _asked(self.url)) is not None:
            return f"{self.url} says {shown(said)}"
        return None


class _Direct(OpenerDirector):
    """Asks without a proxy: metadata servers answer on the machine's own link alone. A redirection
    is not followed: no metadata server gives one."""

    def __init__(self) -> None:
        super().__init__()
        self.add_handler(HTTPHandler())
        self.add_handler(HTTPSHandler())


def _fetched(url: str, headers: dict[str, str], method: str = "GET") -> tuple[int, str]:
    request = Request(url, headers=headers, method=method)
    try:
        with _Direct().open(request, timeout=ANSWER_SECONDS) as answer:
            return answer.status, answer.read(65536).decode("utf-8", "replace").strip()
    except HTTPException as fault:
        raise OSError(f"what answers does not speak HTTP: {fault}") from fault


def _asked(url: str) -> str | None:
    """Returns the answer of a metadata server that is a notice."""
    status, said = _fetched(url, _headers(url))
    if status == 404:
        return None
    if status != 200:
        raise OSError(f"it answers with status {status}")
    if said.lower() in QUIET or not _is_going(said):
        return None
    return said


def _is_going(said: str) -> bool:
    """Whether scheduled events are such that the machine goes; True for whatever else is said."""
    with contextlib.suppress(ValueError):
        document = json.loads(said)
        if isinstance(document, dict) and isinstance(events := document.get("Events"), list):
            kinds = [event.get("EventType") for event in events if isinstance(event, dict)]
            return any(kind in GOING for kind in kinds)
    return True


def _headers(url: str) -> dict[str, str]:
    """Returns what Google's, Azure's and Amazon's servers want to see; the last gives a token
    first, where it is asked as IMDSv2 has it."""
    headers = {"Metadata-Flavor": "Google", "Metadata": "true"}
    parts = urlsplit(url)
    if parts.path.startswith("/latest/"):
        token = urlunsplit(parts._replace(path="/latest/api/token", query=""))
        status, said = _fetched(token, {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, "PUT")
        if status == 200:
            headers = {"X-aws-ec2-metadata-token": said}
    return headers


class NoticeWatch:
    """Context that asks for notices on a thread of its own.

    Args:
        notices: where they come from.
        heard: is given a notice that was not there before, in words.
        unread: is told once, in words, that the metadata server does not answer.
        seconds: between two questions.
    """

    def __init__(
        self,
        notices: Notices,
        *,
        heard: Callable[[str], None] = lambda notice: None,
        unread: Callable[[str], None] = lambda why: None,
        seconds: float = POLL_SECONDS,
    ) -> None:
        self._notices = notices
        self._heard = heard
        self._unread = unread
        self._seconds = seconds
        self._left = threading.Event()
        self._said = False
        self.given: str | None = None

    def __enter__(self) -> NoticeWatch:
        if self._notices:
            threading.Thread(target=self._watch, name="notices", daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._left.set()

    def look(self) -> None:
        """Asks once; keeps the last answer where none comes."""
        try:
            found = self._notices.ask()
        except OSError as fault:
            if not self._said:
                self._said = True
                self._unread(
                    f"{self._notices.url} gives no preemption notices now: "
                    f"{getattr(fault, 'reason', None) or fault}; asking on"
                )
            return
        new = found is not None and self.given is None
        self.given = found
        if new and found is not None:
            self._heard(found)

    def _watch(self) -> None:
        while True:
            self.look()
            if self._left.wait(self._seconds):
                return

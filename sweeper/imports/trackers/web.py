"""Answers of a server as JSON: asked again where it is busy, and what goes wrong in words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from sweeper.errors import EnvironmentFault, RequestError
from sweeper.secrets import redacted

TRIES = 5
"""How often a server is asked again that is busy or out of order, with longer rests each time."""

REST_SECONDS = 0.5
"""The first of them; a server may ask for another."""

TIMEOUT_SECONDS = 60.0
"""How long an answer may take to begin."""

ANSWER_BYTES = 200_000_000
"""Most of one answer."""


_SPEAKER = re.compile(r"^HTTPS?Connection\(.*?\): ")
"""Which of urllib3's objects says something."""


class Site:
    """A server that is asked for JSON. Only reads are sent, so that it can be asked again.

    Args:
        address: where it is, ``https://host:port/path``, without a password.
        login: user and password, sent to this host alone.
        token: sent in their place to this host alone.
        refused: what to do where the server does not accept these.
        rest: seconds of the first rest before it is asked again.

    Raises:
        RequestError: the address is none.
    """

    def __init__(
        self,
        address: str,
        *,
        login: tuple[str, str] | None = None,
        token: str | None = None,
        refused: str,
        rest: float = REST_SECONDS,
    ) -> None:
        import requests
        from urllib3.util import Retry

        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RequestError(f"{redacted(address)}: is no address such as http://127.0.0.1:5000")
        self.address, self._refused = address.rstrip("/"), refused
        retry = Retry(
            total=TRIES,
            connect=1,
            backoff_factor=rest,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=None,
            raise_on_status=False,
        )
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retry))
        if token is not None:
            self._session.auth = _Bearer(token)
        elif login is not None:
            self._session.auth = login

    def __enter__(self) -> Site:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._session.close()

    def get(self, path: str, options: Mapping[str, Any]) -> Any:
        """Returns what the server answers to a path below its address."""
        return self._ask("GET", path, params=options)

    def post(self, path: str, document: Mapping[str, Any]) -> Any:
        """Returns what the server answers to a document sent to a path below its address."""
        return self._ask("POST", path, json=document)

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        """Returns an answer.

        Raises:
            RequestError: the server refuses, knows no such thing, or speaks something else.
            EnvironmentFault: it is out of reach or out of order.
        """
        import requests

        where = f"{self.address}{path}"
        try:
            with self._session.request(
                method, where, timeout=TIMEOUT_SECONDS, stream=True, **options
            ) as answer:
                status = answer.status_code
                body = answer.raw.read(ANSWER_BYTES + 1, decode_content=True)
        except (requests.RequestException, OSError) as fault:
            raise EnvironmentFault(
                f"{where}: the server is out of reach: {_why(fault)}"
            ) from fault
        except Exception as fault:  # of urllib3, while the body is read
            raise EnvironmentFault(f"{where}: the answer broke off: {_why(fault)}") from fault
        if len(body) > ANSWER_BYTES:
            raise RequestError(f"{where}: answers more than {ANSWER_BYTES:,} bytes at once")
        if status in (401, 403):
            raise RequestError(f"{where}: the server refuses (HTTP {status}): {self._refused}")
        if status == 429 or status >= 500:
            raise EnvironmentFault(
                f"{where}: the server is out of order (HTTP {status}, asked {TRIES + 1} times); "
                "try again later"
            )
        try:
            found = json.loads(body)
        except ValueError as fault:
            raise RequestError(
                f"{where}: answers with HTTP {status} and no JSON; is this the address of the "
                "server, without the path of a page?"
            ) from fault
        if status >= 400:
            said = found.get("message") if isinstance(found, dict) else None
            raise RequestError(f"{where}: HTTP {status}: {redacted(str(said or 'refused'))}")
        return found


class _Bearer:
    """A token as the header of a request."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _why(fault: BaseException) -> str:
    """The innermost reason of a fault, in one line and without secrets."""
    cause: Any = fault
    while True:
        reason = getattr(cause, "reason", None)
        first = next((each for each in cause.args if isinstance(each, BaseException)), None)
        inner = reason if isinstance(reason, BaseException) else first
        if inner is None:
            break
        cause = inner
    text = _SPEAKER.sub("", " ".join(str(cause).split()))
    return redacted(text or type(cause).__name__)

"""Where a cluster is: what ``--address`` means, whether Ray answers there and lets us in."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray._private import services
from ray._private.authentication import authentication_token_setup
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.exceptions import AuthenticationError

from sweeper.engine.ray.pulse import KNOCK_SECONDS, aside, knock
from sweeper.errors import ClusterError, RequestError

AUTO = "auto"

_HEAD_PORT = 6379
_DASHBOARD_PORT = 8265


def head_address(address: str) -> str:
    """Returns the ``host:port`` of a cluster's head, where something answers as Ray does and takes
    the token that this process has. It takes seconds where there is none: Ray itself would try for
    twenty seconds, or ten minutes (measured with 2.60).

    Args:
        address: ``host:port``, or ``auto``: what RAY_ADDRESS names, else the cluster that was
            started last on this machine.

    Raises:
        RequestError: it is the address of something else.
        ClusterError: nothing answers there, or it does not let us in; says what to do.
    """
    place = _required(_found(address), by_name=address != AUTO)
    try:
        aside(knock, place).result(2 * KNOCK_SECONDS)  # looking up a name may take long, too
    except TimeoutError as fault:
        silence = ConnectionError("what listens there, if anything, does not answer as Ray does")
        raise ClusterError(advice(place, silence)) from fault
    except (OSError, OverflowError) as fault:
        raise ClusterError(advice(place, fault)) from fault
    _enter(place, trusted=address == AUTO)
    return place


def job_server(address: str) -> str:
    """Returns the URL of the dashboard to which jobs are sent; something listens there.

    Args:
        address: ``http://host:port`` of the dashboard, or ``auto``: what RAY_API_SERVER_ADDRESS
            names, else the dashboard of the cluster that ``auto`` means for :func:`head_address`.

    Raises:
        RequestError: it is the address of something else.
        ClusterError: nothing listens there; says what to do.
    """
    given = os.environ.get("RAY_API_SERVER_ADDRESS", "") if address == AUTO else address
    url = (given or _dashboard(head_address(address))).rstrip("/")
    scheme, _, place = url.partition("://")
    if scheme not in ("http", "https") or not place or "@" in place:
        host = _shown(given).rpartition("://")[2].partition(":")[0] or "HOST"
        raise RequestError(
            f"--address {_shown(given)}: jobs are sent to the dashboard of a cluster, as in "
            f"http://{host}:{_DASHBOARD_PORT} (without user or password); auto is the cluster of "
            "this machine"
        )
    host, port = _host_and_port(place.partition("/")[0], 80 if scheme == "http" else 443)
    try:
        aside(_listens, host, port).result(2 * KNOCK_SECONDS)
    except (OSError, OverflowError, TimeoutError) as fault:
        raise ClusterError(
            f"no dashboard of Ray answers at {url}: {_reason(fault)}. It is there where the head "
            "was started with `ray start --head --include-dashboard=true` and ray[default] is "
            f"installed; it listens on the head's 127.0.0.1:{_DASHBOARD_PORT} unless told "
            "otherwise, and `ssh -L 8265:127.0.0.1:8265 HEAD` brings that to http://127.0.0.1:8265"
        ) from fault
    _require_token(url)
    return url


def token_state() -> str:
    """Returns in words which of Ray's tokens this process sends, and where it is from."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return "off: RAY_AUTH_MODE is " + (os.environ.get("RAY_AUTH_MODE") or "not set")
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "on: the token of RAY_AUTH_TOKEN"
    return f"on: the token in {os.environ.get('RAY_AUTH_TOKEN_PATH') or '~/.ray/auth_token'}"


def refused_token(place: str) -> str:
    """Returns what to do where a cluster does not take the token that this process sends."""
    state = token_state()
    remedy = (
        f"{state.removeprefix('on: ')} is not that of the cluster: `ray get-auth-token` on the "
        "head prints the right one; keep it in ~/.ray/auth_token, with mode 0600"
        if state.startswith("on")
        else f"none is sent, since {state.removeprefix('off: ')}: RAY_AUTH_MODE=token sends the "
        "one in ~/.ray/auth_token, which has to be what `ray get-auth-token` prints on the head"
    )
    return f"the cluster at {place} asks for Ray's token, and {remedy} (docs/cluster.md)"


def _require_token(place: str, *, trusted: bool = False) -> None:
    """Raises ClusterError if this process is to send a token and has none: Ray would end it, with
    the stack of its own calls.

    Args:
        place: where it is to be sent.
        trusted: one that is named is sent there unless RAY_AUTH_MODE says otherwise.
    """
    named = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    mode = os.environ.get("RAY_AUTH_MODE") or ("token" if trusted and named else "")
    if mode.lower() != "token" or os.environ.get("RAY_AUTH_TOKEN"):
        return
    file = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        wrong = "" if file.read_bytes().strip() else "is empty"
    except OSError as fault:
        wrong = f"cannot be read ({fault.strerror})"
    if wrong:
        raise ClusterError(
            f"Ray's token for the cluster at {place} is looked for in {file}, which {wrong}: "
            "write into it what `ray get-auth-token` prints on the head, with mode 0600, or set "
            "RAY_AUTH_TOKEN (docs/cluster.md)"
        )


def _found(address: str) -> str:
    """Returns the address that Ray takes for ``auto``, which may be that of a dead cluster."""
    if address != AUTO:
        return address
    named = os.environ.get("RAY_ADDRESS", "")
    if named not in ("", AUTO):
        return named
    try:
        return services.canonicalize_bootstrap_address(address) or address
    except ConnectionError as fault:
        raise ClusterError(advice(address, fault)) from fault


def _required(place: str, *, by_name: bool) -> str:
    """Returns what is the ``host:port`` of a head.

    Raises:
        RequestError: it is not.
    """
    named = f"--address {_shown(place)}" if by_name else f"RAY_ADDRESS={_shown(place)}"
    if "://" in place:
        kind = place.partition("://")[0].lower()
        why = {
            "ray": "is Ray's client, through which Ray Tune cannot be driven",
            "http": "is a dashboard, which takes jobs",
            "https": "is a dashboard, which takes jobs",
        }.get(kind, "is not the head of a cluster")
        raise RequestError(
            f"{named} {why}: join the head itself, as in HOST:{_HEAD_PORT}, on a machine of the "
            f"cluster, or send the study there from any other by `sweeper submit --address "
            f"http://HOST:{_DASHBOARD_PORT}`"
        )
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit():
        raise RequestError(
            f"{named} is neither auto nor HOST:PORT; the port of `ray start --head` is "
            f"{_HEAD_PORT} unless --port says otherwise"
        )
    return place


def _enter(place: str, *, trusted: bool) -> None:
    """Raises ClusterError if the head answers and does not let this process in.

    Args:
        place: its ``host:port``.
        trusted: send the token that there is, as Ray does to a cluster of this machine alone.
    """
    _require_token(place, trusted=trusted)
    setup: Any = authentication_token_setup
    setup.logger.setLevel(logging.ERROR)
    if trusted:
        setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    asked = aside(GcsClient, address=place)
    try:
        asked.result(KNOCK_SECONDS)
    except AuthenticationError as fault:
        raise ClusterError(refused_token(place)) from fault
    except Exception as fault:
        asked.give_up()
        raise ClusterError(advice(place, fault)) from fault


def _dashboard(head: str) -> str:
    """Returns the URL of the dashboard of a head."""
    from ray.dashboard.utils import ray_address_to_api_server_url

    url: Callable[[str], str] = ray_address_to_api_server_url
    try:
        return aside(url, head).result(2 * KNOCK_SECONDS)
    except (TimeoutError, ValueError) as fault:
        raise ClusterError(
            f"the cluster at {head} has no dashboard, to which jobs are sent: start its head with "
            "`ray start --head --include-dashboard=true`, with ray[default] installed"
        ) from fault


def _host_and_port(place: str, default: int) -> tuple[str, int]:
    host, colon, port = place.rpartition(":")
    if colon and port.isdigit():
        return host.strip("[]"), int(port)
    return place.strip("[]"), default


def _listens(host: str, port: int) -> None:
    socket.create_connection((host, port), timeout=KNOCK_SECONDS).close()


def _shown(address: str) -> str:
    """Returns an address for messages, without a user or password."""
    scheme, separator, place = address.rpartition("://")
    return scheme + separator + place.rpartition("@")[2]


def _reason(fault: BaseException) -> str:
    said = [line.strip() for line in str(fault).strip().splitlines()]
    if not said:
        return "no answer" if isinstance(fault, TimeoutError) else type(fault).__name__
    whole = " ".join(said) if said[0].endswith(":") else said[0]  # a list of versions follows
    return whole.rstrip(".")


def advice(address: str | None, fault: BaseException) -> str:
    """Returns what is said of a cluster that cannot be started (None) or joined, and why."""
    reason = _reason(fault)
    if address is None and "AF_UNIX path length" in reason:
        folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
        return (
            f"Ray could not be started on this machine: the names of its sockets below {folder}, "
            "the folder for temporary files, are too long; name a shorter one in "
            "RAY_TMPDIR, for example RAY_TMPDIR=/tmp"
        )
    if address is None:
        return (
            f"Ray could not be started on this machine: {reason}. A port may be taken or "
            "another Ray half stopped: `ray stop` ends it; `--address HOST:PORT` joins a "
            "running cluster; `--executor inline` runs without Ray"
        )
    return (
        f"no Ray cluster answers at {address!r}: {reason}. Start one with `ray start --head`, or "
        "name another by --address; `sweeper run` without --address needs none"
    )

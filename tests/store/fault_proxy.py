"""Stands between a program and an HTTP server; hands on what both say until it is told to fail."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

_HEAD = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) (/\S*) HTTP/1\.1\r\n")
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Request:
    """What somebody asks of the server: a method and a path with its query."""

    method: str
    path: str


Fault = Literal["busy", "cut", "deaf"] | float | None
"""What becomes of a request: the answer 503; the connection ends in the middle of it; it is done
and the answer is lost; it waits for so many seconds; nothing."""


class FaultProxy:
    """Listens on a port of its own.

    Args:
        host, port: of the server.

    Attributes:
        fault: says of a request what becomes of it.
        requests: all that came in.
        port: where it listens.
    """

    def __init__(self, host: str, port: int) -> None:
        self.fault: Callable[[Request], Fault] = lambda request: None
        self.requests: list[Request] = []
        self._server = (host, port)
        self._door = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._door.getsockname()[1])
        threading.Thread(target=self._open, daemon=True).start()

    def close(self) -> None:
        """Lets nobody in any more."""
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def busy_for(self, seconds: float) -> None:
        """Answers 503 to everything for so long."""
        until = time.monotonic() + seconds
        self.fault = lambda request: "busy" if time.monotonic() < until else None

    def _open(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._door.accept()
                threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            server = socket.create_connection(self._server)
            with server:
                self._talk(client, server)

    def _talk(self, client: socket.socket, server: socket.socket) -> None:
        deaf = False
        while True:
            for source in select.select([client, server], [], [])[0]:
                said = source.recv(1 << 16)
                if not said or (deaf and source is server):
                    return
                if source is server:
                    client.sendall(said)
                    continue
                fault = self._judged(said)
                if fault == "busy":
                    client.sendall(_BUSY)
                    return
                if fault == "cut":
                    server.sendall(said[: len(said) // 2])
                    return
                if isinstance(fault, float):
                    time.sleep(fault)
                deaf = deaf or fault == "deaf"
                server.sendall(said)

    def _judged(self, said: bytes) -> Fault:
        head = _HEAD.match(said)
        if head is None:
            return None  # the rest of a request
        request = Request(head[1].decode(), head[2].decode())
        self.requests.append(request)
        return self.fault(request)

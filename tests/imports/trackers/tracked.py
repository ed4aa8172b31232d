"""What the tests of trackers share: a stand-in for their servers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from sweeper.imports.importing import Imported

Take = Callable[..., Imported]

Answer = Callable[[str, dict[str, Any]], Any]
"""Answers to a path and what was sent to it: a document; or a status, bytes and headers."""


class Site:
    """A server on this machine that answers as it is told.

    Attributes:
        answer: what it answers.
        asked: path and document of each request.
        headers: of each request.
    """

    def __init__(self) -> None:
        self.answer: Answer = lambda path, sent: (404, b"", {})
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                self._reply(parts.path, dict(parse_qsl(parts.query)))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._reply(self.path, json.loads(body))

            def _reply(self, path: str, sent: dict[str, Any]) -> None:
                site.asked.append((path, sent))
                site.headers.append(dict(self.headers))
                found = site.answer(path, sent)
                status, body, more = (
                    found if isinstance(found, tuple) else (200, json.dumps(found).encode(), {})
                )
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **more}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Site:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

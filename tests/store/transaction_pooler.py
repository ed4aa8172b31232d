"""A pooler in transaction mode before a PostgreSQL server: every transaction is another session's.

It does what such poolers do to their clients: startup options are refused, a session is handed on
as soon as its transaction has ended, and is wiped before the next client has it.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

SOCKET = ".s.PGSQL.5432"
_NO_SSL = {80877103, 80877104}
_VERSION = 196608


class Session:
    """A connection to the server that is nobody's.

    Args:
        server: the server's socket.
        parameters: of the startup: user and database.

    Attributes:
        greeting: what the server said at first, which every client is told.
    """

    def __init__(self, server: Path, parameters: dict[str, str]) -> None:
        self.link = socket.socket(socket.AF_UNIX)
        self.link.connect(str(server))
        said = b"".join(f"{k}\0{v}\0".encode() for k, v in parameters.items()) + b"\0"
        self.link.sendall(struct.pack("!ii", len(said) + 8, _VERSION) + said)
        self.greeting = b"".join(_until_ready(self.link))

    def wipe(self) -> None:
        """Forgets settings, prepared statements, locks and temporary tables."""
        query = b"DISCARD ALL\0"
        self.link.sendall(b"Q" + struct.pack("!i", len(query) + 4) + query)
        for _ in _until_ready(self.link):
            pass


class TransactionPooler:
    """Listens on a socket of its own; see the module.

    Args:
        server: the server's socket.
        folder: where its own is made.

    Attributes:
        transactions: how many it has served.
    """

    def __init__(self, server: Path, folder: Path) -> None:
        self.transactions = 0
        self._server = server
        self._made: list[Session] = []
        self._idle: deque[Session] = deque()
        self._lock = threading.Lock()
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(folder / SOCKET))
        self._door.listen(16)
        threading.Thread(target=self._open, daemon=True).start()

    def close(self) -> None:
        """Lets nobody in any more, and ends the sessions."""
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for session in self._made:
            session.link.close()

    def _open(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._door.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, EOFError):
            code, said = _startup(client)
            while code in _NO_SSL:
                client.sendall(b"N")
                code, said = _startup(client)
            if code != _VERSION:
                return  # somebody wants to cancel
            words = said.decode().rstrip("\0").split("\0")
            parameters = dict(zip(words[::2], words[1::2], strict=True))
            if "options" in parameters:
                client.sendall(_refusal("unsupported startup parameter: options"))
                return
            parameters = {name: parameters[name] for name in ("user", "database")}
            session = self._take(parameters)
            client.sendall(session.greeting)
            self._give(session)
            while self._transaction(client, parameters):
                self.transactions += 1

    def _transaction(self, client: socket.socket, parameters: dict[str, str]) -> bool:
        """Serves one transaction; returns False once the client has gone."""
        message = _message(client)
        if message[:1] == b"X":
            return False
        session = self._take(parameters)
        try:
            while True:
                session.link.sendall(message)
                if message[:1] in b"QS":
                    for answer in _until_ready(session.link):
                        client.sendall(answer)
                    if answer[-1:] == b"I":
                        break
                message = _message(client)
                if message[:1] == b"X":
                    raise EOFError  # in the middle of a transaction
        except BaseException:
            session.link.close()
            raise
        session.wipe()
        self._give(session)
        return True

    def _take(self, parameters: dict[str, str]) -> Session:
        """The session that was used the longest time ago; two at least go round."""
        with self._lock:
            if len(self._idle) >= 2:
                return self._idle.popleft()
        session = Session(self._server, parameters)
        self._made.append(session)
        return session

    def _give(self, session: Session) -> None:
        with self._lock:
            self._idle.append(session)


def _exactly(link: socket.socket, count: int) -> bytes:
    said = b""
    while len(said) < count:
        more = link.recv(count - len(said))
        if not more:
            raise EOFError
        said += more
    return said


def _startup(link: socket.socket) -> tuple[int, bytes]:
    length, code = struct.unpack("!ii", _exactly(link, 8))
    return code, _exactly(link, length - 8)


def _message(link: socket.socket) -> bytes:
    head = _exactly(link, 5)
    return head + _exactly(link, struct.unpack("!i", head[1:])[0] - 4)


def _until_ready(link: socket.socket) -> Iterator[bytes]:
    """Yields the messages of a server up to the one that says that it is ready."""
    while True:
        message = _message(link)
        yield message
        if message[:1] == b"Z":
            return


def _refusal(words: str) -> bytes:
    said = b"SFATAL\0C08P01\0M" + words.encode() + b"\0\0"
    return b"E" + struct.pack("!i", len(said) + 4) + said

"""A trial's process: started behind a gate, read as it prints, ended with all that it started."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from workloads.command.guard import MARKER, guard, kill_all

GATE = 'read -r go && exec "$@" < /dev/null'
"""What a process waits at until its guard knows it, so that none is ever left alone."""

KEPT_BYTES = 1_000_000
"""What is kept of a trial's output: so much of its beginning, and of its end."""

LONGEST_LINE = 1_000_000
"""Bytes without an end of line after which a line is taken for ended."""

STDERR_LINES = 200
"""Lines of the error stream that tell why a process failed: launchers add many to the cause."""

POLL_SECONDS = 0.02
"""How often a process is asked whether it has ended, where the system does not tell."""


LAST_SECONDS = 0.5
"""How long what a process has started may print after its end, such as the `tee` of a shell."""


class Output:
    """What was printed: the beginning and the end of it."""

    def __init__(self, kept: int = KEPT_BYTES) -> None:
        self._kept = kept
        self._head: list[bytes] = []
        self._tail: deque[bytes] = deque()
        self._head_size = self._tail_size = 0
        self._lost = 0

    def add(self, line: bytes) -> None:
        """Takes in a line."""
        if not self._tail and self._head_size + len(line) <= self._kept:
            self._head.append(line)
            self._head_size += len(line)
            return
        self._tail.append(line)
        self._tail_size += len(line)
        while self._tail_size > self._kept:
            gone = len(self._tail.popleft())
            self._tail_size -= gone
            self._lost += gone

    def text(self) -> str:
        """Returns it, with a line about what was left out between."""
        gap = [f"... {self._lost} bytes are left out ...\n".encode()] if self._lost else []
        return b"".join((*self._head, *gap, *self._tail)).decode(errors="replace")


class _Lines:
    """Cuts what a stream brings into lines. Of one that was written over by carriage returns, as
    progress bars are, every state is a line, and the last is kept."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, chunk: bytes) -> list[tuple[bytes, bool]]:
        """Returns the lines that a chunk ends, each with whether it is kept; an empty chunk ends
        the stream."""
        whole = self._rest + chunk
        if not chunk or len(whole) > LONGEST_LINE:
            whole += b"\n" if whole and not whole.endswith(b"\n") else b""
        *lines, self._rest = whole.split(b"\n")
        found: list[tuple[bytes, bool]] = []
        for line in lines:
            *over, last = line.removesuffix(b"\r").split(b"\r")
            found += [(each, False) for each in over] + [(last, True)]
        if b"\r" in self._rest[:-1]:
            # A last one may be the half of an end of line.
            *over, rest = self._rest[:-1].split(b"\r")
            self._rest = rest + self._rest[-1:]
            found += [(each, False) for each in over]
        return found


class Process:
    """A process in a session of its own, with all that it starts.

    Attributes:
        pid: its number, and that of its session.
        output: what it has printed on both streams.
        stderr: the last lines of its error stream.
        code: its exit code, of a signal the negative number; None while it runs.
        killed: True if it did not end by itself in the time that it was given.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        root: Path = Path(),
    ) -> None:
        """Starts it.

        Args:
            arguments: program and arguments.
            environment: all of its environment.
            folder: its own, which is removed if this process is killed.
            root: the one that it runs in.

        Raises:
            OSError: no process can be started.
        """
        self.output = Output()
        self.stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self.code: int | None = None
        self.killed = False
        self._mark = uuid.uuid4().hex
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", GATE, "sh", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment, MARKER: self._mark},
            cwd=root,
            start_new_session=True,
            bufsize=0,
        )
        self.pid = self._process.pid
        guard().begin(self._mark, self.pid, folder)
        gate = self._process.stdin
        assert gate is not None
        with suppress(OSError):  # it was killed, which is seen below
            gate.write(b"go\n")
        gate.close()
        self._selector = selectors.DefaultSelector()
        self._lines: dict[IO[bytes], _Lines] = {}
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ)
            self._lines[stream] = _Lines()
        self._pidfd = -1
        with suppress(AttributeError, OSError):  # of a system that has none
            self._pidfd = os.pidfd_open(self.pid)
            self._selector.register(self._pidfd, selectors.EVENT_READ)

    def read(self, seconds: float) -> list[str]:
        """Returns the lines of both streams that come within so many seconds, sooner if it ends;
        then with all that it had printed, and nothing that it started is left."""
        found: list[str] = []
        until = time.monotonic() + seconds
        while self.code is None:
            left = until - time.monotonic()
            if left <= 0:
                break
            for key, _ in self._selector.select(left if self._pidfd >= 0 else POLL_SECONDS):
                if key.fileobj in self._lines:
                    found += self._read_once(cast("IO[bytes]", key.fileobj))
            if self._process.poll() is not None:
                found += self._ended()
        return found

    def _read_once(self, stream: IO[bytes]) -> list[str]:
        try:
            chunk = os.read(stream.fileno(), 1 << 16)
        except BlockingIOError:
            return []
        if not chunk:
            self._selector.unregister(stream)
            ended = self._lines.pop(stream)
            return self._take(stream, ended.cut(b""))
        return self._take(stream, self._lines[stream].cut(chunk))

    def _take(self, stream: IO[bytes], lines: list[tuple[bytes, bool]]) -> list[str]:
        texts = []
        for line, kept in lines:
            text = line.decode(errors="replace")
            texts.append(text)
            if kept:
                self.output.add(line + b"\n")
                if stream is self._process.stderr and text.strip():
                    self.stderr.append(text)
        return texts

    def _ended(self) -> list[str]:
        """What is to be done once it has ended: what it started ends, too."""
        self.code = self._process.wait()
        if self._pidfd >= 0:
            self._selector.unregister(self._pidfd)
            os.close(self._pidfd)
        found = self._rest(LAST_SECONDS)
        kill_all({self._mark: self.pid})
        found += self._rest(LAST_SECONDS)
        for stream in list(self._lines):  # held open by what could not be killed
            found += self._take(stream, self._lines.pop(stream).cut(b""))
        self._close()
        return found

    def _rest(self, seconds: float) -> list[str]:
        """What comes until both streams are at their ends, for so many seconds."""
        found: list[str] = []
        until = time.monotonic() + seconds
        while self._lines and (left := until - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                found += self._read_once(cast("IO[bytes]", key.fileobj))
        return found

    def _close(self) -> None:
        guard().end(self._mark)
        self._selector.close()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def end(self, grace: float) -> list[str]:
        """Asks it to end, by SIGTERM to its process group, kills what is left after so many
        seconds, and returns the lines that it printed till then."""
        if self.code is not None:
            return []
        found: list[str] = []
        if grace > 0:
            with suppress(OSError):
                os.killpg(self.pid, signal.SIGTERM)
            found += self.read(grace)
        if self.code is None:
            self.killed = True
            kill_all({self._mark: self.pid})
            self._process.kill()
            found += self._ended()
        return found


def words_of(code: int) -> str:
    """Returns how a process ended, in words."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in {*signal.Signals} else f"signal {-code}"
    return f"killed by {name} ({signal.strsignal(-code) or 'unknown'})"

#!/usr/bin/env python
"""Healthy: the Ray node of this container answers, or it was asked to run none.

PORT, the argument, is that of the node's agent (52365 unless `ray start` was told otherwise).
"""

from __future__ import annotations

import socket
import sys
import urllib.request
from pathlib import Path


def runs(*words: bytes) -> bool:
    """Returns whether a process here has these words in its command, one after the other."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = [
                Path(word.decode()).name.encode() for word in file.read_bytes().split(b"\0")
            ]
        except (OSError, UnicodeDecodeError):
            continue  # it has just ended
        if any(tuple(command[at : at + len(words)]) == words for at in range(len(command))):
            return True
    return False


def main() -> None:
    port = sys.argv[1] if sys.argv[1:] else "52365"
    if not runs(b"raylet"):
        sys.exit("Ray was started, and its node has ended" if runs(b"ray", b"start") else 0)
    host = socket.gethostbyname(socket.gethostname())
    urllib.request.urlopen(f"http://{host}:{port}/api/local_raylet_healthz", timeout=5).close()


if __name__ == "__main__":
    main()

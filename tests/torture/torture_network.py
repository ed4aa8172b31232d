"""Nodes of a Ray cluster in network namespaces: each with an address of its own on a bridge that
nothing else is connected to, and a cable that can be pulled."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest
from engine_program import SLOTS

PORT = 6379
OFTEN = '{"health_check_period_ms": 500, "health_check_timeout_ms": 1000}'
"""A node is given up after five questions without an answer, so within 8 seconds."""


class Network:
    """Namespaces with a bridge between them; the bridge lies in one of its own.

    Args:
        names: of the machines; the first one is the head.
        environ: of the processes of Ray.
    """

    def __init__(self, names: tuple[str, ...], environ: dict[str, str]) -> None:
        self._mark = f"sw{uuid.uuid4().hex[:6]}"
        self._hub = f"{self._mark}-hub"
        self._addresses = {name: f"10.77.0.{n}" for n, name in enumerate(names, start=1)}
        self._temporary = Path(tempfile.mkdtemp(prefix="swr", dir="/tmp"))  # sockets: short names
        self._environ = {**os.environ, **environ, "RAY_TMPDIR": str(self._temporary)}
        try:
            self._lay()
        except (OSError, subprocess.CalledProcessError) as fault:
            self.shutdown()
            told = getattr(fault, "stderr", None) or fault
            pytest.skip(f"network namespaces cannot be made here: {told}")

    @property
    def address(self) -> str:
        """Where the head listens."""
        return f"{next(iter(self._addresses.values()))}:{PORT}"

    def inside(self, name: str) -> list[str]:
        """Returns what a command begins with that is to run on a machine."""
        return ["ip", "netns", "exec", self._space(name)]

    def start_head(self) -> None:
        """Starts Ray's head on the first machine."""
        head = next(iter(self._addresses))
        self._ray(head, "--head", f"--port={PORT}", f"--system-config={OFTEN}")

    def start_node(self, name: str) -> None:
        """Starts a node on a machine."""
        self._ray(name, f"--address={self.address}")

    def pids(self, name: str, *words: str) -> list[int]:
        """Returns the processes on a machine that have one of some words, if any are given, in
        their command line."""
        said = map(int, _run("ip", "netns", "pids", self._space(name)).split())
        return [pid for pid in said if not words or _has_one(words, _command_line(pid))]

    def kill(self, name: str) -> None:
        """Ends a machine."""
        for pid in self.pids(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def pull(self, name: str) -> None:
        """Pulls the cable of a machine: what is under way is lost, and nobody is told."""
        _run("ip", "-n", self._hub, "link", "set", name, "down")

    def plug(self, name: str) -> None:
        """Plugs it in again."""
        _run("ip", "-n", self._hub, "link", "set", name, "up")

    def await_silence(self, name: str) -> None:
        """Returns once nothing of a node is left but agents, which end by themselves."""
        until = time.monotonic() + 120
        while left := self.pids(name, "raylet/raylet", *SLOTS):
            assert time.monotonic() < until, [_command_line(pid) for pid in left]
            time.sleep(0.5)

    def shutdown(self) -> None:
        """Ends all machines and takes the namespaces away."""
        for name in self._addresses:
            with contextlib.suppress(subprocess.CalledProcessError):
                self.kill(name)
        for space in (*map(self._space, self._addresses), self._hub):
            with contextlib.suppress(subprocess.CalledProcessError):
                _run("ip", "netns", "del", space)
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _space(self, name: str) -> str:
        return f"{self._mark}-{name}"

    def _lay(self) -> None:
        if os.geteuid() != 0:
            raise PermissionError("only root may")
        _run("ip", "netns", "add", self._hub)
        _run("ip", "-n", self._hub, "link", "add", "bridge", "type", "bridge")
        _run("ip", "-n", self._hub, "link", "set", "bridge", "up")
        for name, address in self._addresses.items():
            space = self._space(name)
            _run("ip", "netns", "add", space)
            pair = ["type", "veth", "peer", "name", "cable", "netns", space]
            _run("ip", "-n", self._hub, "link", "add", name, *pair)
            _run("ip", "-n", self._hub, "link", "set", name, "master", "bridge", "up")
            _run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "cable")
            for device in ("cable", "lo"):
                _run("ip", "-n", space, "link", "set", device, "up")

    def _ray(self, name: str, *options: str) -> None:
        program = Path(sys.executable).with_name("ray")
        here = [f"--node-ip-address={self._addresses[name]}", "--num-cpus=1"]
        quiet = ["--disable-usage-stats", "--include-dashboard=false"]
        command = [*self.inside(name), str(program), "start", *options, *here]
        head = "--head" in options
        done = subprocess.run(
            [*command, *(quiet if head else quiet[:1])],
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout


def _has_one(words: Sequence[str], line: str) -> bool:
    return any(word in line for word in words)


def _command_line(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""  # it has just ended
    return words.replace(b"\0", b" ").decode(errors="replace")

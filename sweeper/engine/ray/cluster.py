"""The Ray cluster: started here or joined, and how many slots of a shape it can hold."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import shutil
import signal
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import ray
from ray._common.utils import get_default_ray_temp_dir, try_to_create_directory
from ray._private import auto_init_hook, ray_constants
from ray._private.authentication.authentication_utils import is_token_auth_enabled
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper.engine.packing import local_processors
from sweeper.engine.patience import told_late
from sweeper.engine.ray.address import advice, head_address
from sweeper.engine.ray.pulse import RESTART_SECONDS, Call, Pulse, aside
from sweeper.engine.signals import WARNINGS
from sweeper.errors import ClusterError, Interrupted
from sweeper.store import signature, signer_has_ended

ANSWER_SECONDS = 60.0
"""How long a question about the cluster may take where nothing can go on without the answer."""

REMOVALS = 3
"""Times that the removal of a session's folder is tried."""

SHUTDOWN_SECONDS = 10.0
"""How long Ray may take to end its processes before they are killed."""

SESSION = "sweeper-ray-"
"""How the names of files begin that say who has begun sessions of Ray; the signature follows."""


PLACES = ("SWEEPER_STORE", "SWEEPER_FILES")
"""Variables that name a place of results."""


@contextlib.contextmanager
def cluster(address: str | None, *, note: Callable[[str], None] = print) -> Iterator[Pulse]:
    """Holds a connection to a Ray cluster; yields what watches its processes.

    Args:
        address: of a running cluster (``auto`` or ``host:port``); None starts a local one,
            which nobody but this machine can reach, and which ends with the context.
        note: is given what a person should know.

    Raises:
        RequestError: the address is none of a cluster that can be joined.
        ClusterError: Ray cannot be started or joined; says what to do.
        Interrupted: SIGTERM came while Ray was starting.
    """
    options: dict[str, Any] = {"address": address}
    if address is None:
        options = {
            "address": "local",
            "include_dashboard": False,
            "num_cpus": local_processors(),
        }
    guard_token(create=address is None, note=note)
    if address is not None:
        head_address(address)
    mark = _mark_session() if address is None else None
    auto_init_hook.enable_auto_connect = False  # a call that comes late must not start Ray anew
    with (
        _own_sigterm(),
        _warnings_for_us_alone(),
        _loopback(address),
        _without_places(),
        told_late("Ray has been starting", note),
    ):
        try:
            ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
        except SystemExit as fault:
            if fault.code in (1, signal.SIGTERM):  # how Ray's own handlers end the process
                raise Interrupted("interrupted while Ray was starting; run it again") from fault
            raise ClusterError(advice(address, fault)) from fault
        except Exception as fault:
            raise ClusterError(advice(address, fault)) from fault
    pulse = Pulse("", "")
    try:
        if not is_token_auth_enabled():
            note(_open_to_all(address))
        with _pulse(address) as pulse:
            yield pulse
        if mark is not None:  # of a session that ended badly the logs are kept
            atexit.register(_remove_ended, mark.parent)
            atexit.register(_remove_sessions, mark)  # once nobody writes there any more
    finally:
        _shut_down(pulse)


def _pulse(address: str | None) -> Pulse:
    """Returns what watches the head of the cluster and the node of this machine."""
    joined: Any = ray._private.worker._global_node
    if joined is None:
        return Pulse("", "")
    here = ray.get_runtime_context().get_node_id()
    (node,) = (each for each in answered(ray.nodes) if each["NodeID"] == here)
    place = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
    restart = RESTART_SECONDS if address is not None else 0.0
    return Pulse(joined.gcs_address, place, restart_seconds=restart)


def answered(call: Callable[..., Any], *arguments: Any) -> Any:
    """Returns the answer of a call of Ray without which nothing can go on.

    Raises:
        ClusterError: it takes too long.
    """
    try:
        return aside(call, *arguments).result(ANSWER_SECONDS)
    except TimeoutError as fault:
        raise ClusterError(
            f"Ray has not answered for {ANSWER_SECONDS:.0f} s; look after its processes (`ray "
            "status`), and run the same command again"
        ) from fault


@contextlib.contextmanager
def _loopback(address: str | None) -> Iterator[None]:
    """A cluster that is started in this context is that of one machine: its processes listen on
    127.0.0.1 alone, as Ray has it by itself on macOS only."""
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = before and address is not None
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextlib.contextmanager
def _without_places() -> Iterator[None]:
    """Processes that are started in this context do not inherit where the store is, which may
    hold a password: workers are told of its files, and never open the database."""
    taken = {name: os.environ.pop(name) for name in PLACES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)


def _open_to_all(address: str | None) -> str:
    who = f"whoever reaches {address}" if address else "every user of this machine"
    return (
        f"Ray's authentication is off: {who} can run code as the user of its processes while it "
        "runs (RAY_AUTH_MODE=token asks for a token; see docs/engine.md)"
    )


def _mark_session() -> Path:
    """Says that this process begins a session of Ray, which leaves the folder of every session
    behind, and removes those of processes that have ended since; returns the mark. It is there
    before Ray starts, so that one that is killed meanwhile is told of, too."""
    sessions = Path(get_default_ray_temp_dir())  # type: ignore[no-untyped-call]
    mark = sessions / f"{SESSION}{signature()}"
    with contextlib.suppress(OSError):
        try_to_create_directory(sessions)  # type: ignore[no-untyped-call]
        mark.touch()
    _remove_ended(sessions)
    return mark


def _remove_ended(sessions: Path) -> None:
    for mark in sessions.glob(f"{SESSION}*"):
        if signer_has_ended(mark.name.removeprefix(SESSION)):
            _remove_sessions(mark)


def _remove_sessions(mark: Path) -> None:
    """Removes the folders of the sessions that a process has begun since it left a mark, which
    Ray names by their time and its number, and the mark."""
    with contextlib.suppress(OSError):
        began = datetime.fromtimestamp(mark.stat().st_mtime)
        first = f"session_{began:%Y-%m-%d_%H-%M-%S}"
        number = mark.name.removeprefix(SESSION).split(".")[1]
        for _ in range(REMOVALS):  # agents that outlive a kill for a while may write there
            found = mark.parent.glob(f"session_*_{number}")
            if not (left := [each for each in found if each.name >= first]):
                mark.unlink()
                return
            for each in left:
                shutil.rmtree(each, ignore_errors=True)


def _shut_down(pulse: Pulse) -> None:
    """Leaves Ray, and ends what was started here: by itself, or by force where it hangs."""
    node: Any = ray._private.worker._global_node
    groups = node.all_processes.values() if node is not None else ()
    started = [each.process for group in groups for each in group]
    if pulse.ill:
        _kill_all(started)
    leaving = aside(ray.shutdown)
    try:
        leaving.result(SHUTDOWN_SECONDS)
    except TimeoutError:
        leaving.give_up()
        _kill_all(started)
        atexit.unregister(ray.shutdown)  # it would hang again
    except ray.exceptions.RayError:
        pass  # nobody is left to take leave of


def _kill_all(processes: Sequence[Any]) -> None:
    for process in processes:
        with contextlib.suppress(OSError):
            process.kill()


def guard_token(*, create: bool, note: Callable[[str], None]) -> None:
    """Sees to it that nobody else can read the token in ``~/.ray/auth_token``.

    Ray makes one where there is none, for everybody of this machine to read, and takes it for a
    password: with it anybody runs code as the user of the cluster. Where Ray is told of another
    token, or of none, nothing is done.

    Args:
        create: makes one where there is none.
        note: is told if another one's permissions were withdrawn.
    """
    given = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if given or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    file = Path.home() / ".ray" / "auth_token"
    with contextlib.suppress(OSError):  # Ray says what is wrong with its file
        if file.exists():
            found = file.stat()
            if found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) & 0o077:
                file.chmod(0o600)
                note(f"{file} could be read by others, and is now yours alone")
        elif create:
            _make_token(file)


def _make_token(file: Path) -> None:
    """Writes a new token, whole, unless another process has just done so."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as text:
        text.write(secrets.token_hex(32))
    try:
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray puts a SIGTERM handler of its own in place of ours, which ends the process at once;
    what schedulers and containers send has to end a run gracefully."""
    ours = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(ours) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)


@contextlib.contextmanager
def _warnings_for_us_alone() -> Iterator[None]:
    """A scheduler may send its warning to every process of a job, and it would end those of Ray,
    which have to live until the trials are on the disk: what is started in this context does not
    receive it. What comes in meanwhile is heard afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WARNINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def on_node(node: str, function: Callable[..., Any], *arguments: Any) -> Call[Any]:
    """Calls a function once in a process of a node; returns its answer to be.

    Args:
        node: Ray's name of the node.
        function: what to call; takes no processor.
        arguments: what it is given.
    """
    there = NodeAffinitySchedulingStrategy(node, soft=False)

    def call() -> Any:
        task = ray.remote(function).options(num_cpus=0, scheduling_strategy=there, max_retries=0)
        return ray.get(task.remote(*arguments))

    return aside(call)


def end_process(node: str, pid: int) -> None:
    """Ends a process on a node of the cluster, whatever it is doing; does not wait for it.

    Args:
        node: Ray's name of the node.
        pid: the process's number there.
    """
    on_node(node, _kill, pid)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

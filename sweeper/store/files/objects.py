"""The files of a store in a bucket of an object store, through pyarrow's own clients.

A bucket has no folders, no renaming and no half-written files: an object is there, whole, once its
upload has ended. What passes by itself (503, a connection that breaks, an endpoint that restarts)
is waited for here, in the controller and in workers alike, since both use the files.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import io
import logging
import mmap
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, ClassVar, TypeVar

from sweeper.errors import RequestError, StoreAway, StoreError
from sweeper.store.files.protocol import FileInfo, disk_fault
from sweeper.store.owner import signature, signer_has_ended

FIRST_WAIT = 0.2
LONGEST_WAIT = 10.0
"""Seconds between two tries; they double from the first to the longest."""

LIMIT = 600.0
"""Seconds after which an object store that has answered before is given up."""

UNKNOWN_LIMIT = 60.0
"""The same of one that has never answered this process: its address may be wrong."""

WHOLE = 8 << 20
"""Bytes up to which a file is read in one go, and not copied to a disk."""

PIECE = 64 << 20
"""Bytes of a larger file that are asked for at once."""

_PREFIX = "sweeper-files-"
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")

_PASSING = re.compile(
    r"HTTP status (5\d\d|429|408)|NETWORK_CONNECTION|SLOW_DOWN|SERVICE_UNAVAILABLE|THROTTLING"
    r"|INTERNAL_FAILURE|REQUEST_TIMEOUT|curlCode|\bUNAVAILABLE\b|DEADLINE_EXCEEDED"
    r"|RESOURCE_EXHAUSTED|INTERNAL:|CURL error"
)
"""Complaints of an object store, or of the way there, that may pass by themselves."""

_MISSING = re.compile(r"\bNO_SUCH_KEY\b|\bNOT_FOUND\b")
"""Complaints about an object that was removed between two questions."""

_ADVICE = (
    (
        r"NO_SUCH_BUCKET|bucket does not exist",
        "make the bucket, or name another place (SWEEPER_FILES; of move-store --to-files)",
    ),
    (
        r"ACCESS_DENIED|HTTP status 40[13]|INVALID_ACCESS_KEY_ID|SIGNATURE|TOKEN|CREDENTIALS"
        r"|PERMISSION_DENIED|UNAUTHENTICATED",
        "check the credentials in the environment of this process (and of every node), and that "
        "they may list, read, write and delete objects there",
    ),
    (
        r"HTTP status 30\d|PERMANENT_REDIRECT|AUTHORIZATION_HEADER_MALFORMED",
        "name the bucket's region, by AWS_DEFAULT_REGION or ?region=",
    ),
)

log = logging.getLogger("sweeper.store")

T = TypeVar("T")


@dataclass(frozen=True)
class ObjectFiles:
    """The files under a prefix of a bucket (see :class:`protocol.FileStore`).

    Credentials are none of its values: each process finds them in its own environment.

    Attributes:
        root: bucket and prefix, with slashes between and none at the ends.
        options: how the bucket is reached, as names and values that hold no secret.
    """

    scheme: ClassVar[str]
    lists_late: ClassVar[bool] = True

    root: str
    options: tuple[tuple[str, str], ...] = ()

    def connect(self, *, small: bool) -> Any:
        """Returns a file system of pyarrow for this bucket, which this process makes once.

        Args:
            small: it writes only files that are sent in one request.
        """
        raise NotImplementedError

    def open(self, name: str) -> BinaryIO:
        """Returns a file for reading, all of which is on this machine by then.

        Raises:
            FileNotFoundError: it is not there.
            StoreError: it could not be asked for; nothing is known of the file.
        """
        path = self._path(name)

        def read(system: Any) -> bytes | None:
            with system.open_input_file(path) as source:
                return bytes(source.read()) if source.size() <= WHOLE else None

        content = self._ask("read", name, read)
        return io.BytesIO(content) if content is not None else self.local(name).open("rb")

    @contextmanager
    def write(self, name: str, *, durable: bool = True) -> Iterator[Path]:
        """Yields a file of this machine to write to; then it is uploaded. An object is there
        when all of it is, and outlives a loss of power from then on."""
        self._path(name)
        aside = scratch() / f"{uuid.uuid4().hex[:12]}-{PurePosixPath(name).name}"
        try:
            yield aside
            self._upload(aside, name)
        except OSError as error:
            raise disk_fault("write", aside, error) from error
        finally:
            aside.unlink(missing_ok=True)

    def _upload(self, source: Path, name: str) -> None:
        path = self._path(name)
        with source.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""

        def put(system: Any) -> None:
            # Given in one go: what is interrupted between two pieces would be closed half.
            with system.open_output_stream(path) as target:
                target.write(content)

        self._ask("write", name, put, small=size <= WHOLE)

    def sync(self) -> None:
        """Returns: what was uploaded stays."""

    def local(self, name: str) -> Path:
        """Returns a copy on this machine, fetched anew if the object was written again since."""
        path = self._path(name)

        def describe(system: Any) -> tuple[str, int]:
            with system.open_input_file(path) as source:
                return repr(sorted(source.metadata().items())), source.size()

        while True:
            seen = self._ask("read", name, describe)
            version = hashlib.sha256(seen[0].encode()).hexdigest()[:16]
            copy = self._copies(name) / version / PurePosixPath(name).name
            if copy.exists():
                return copy
            self._download(name, copy.with_name(f"{uuid.uuid4().hex}.part"), seen[1], copy)
            if self._ask("read", name, describe) == seen:
                return copy
            copy.unlink()  # it was written again meanwhile, and may be half of each

    def _download(self, name: str, aside: Path, size: int, copy: Path) -> None:
        path = self._path(name)

        def piece(system: Any, begin: int) -> bytes:
            with system.open_input_file(path) as source:
                return bytes(source.read_at(min(PIECE, size - begin), begin))

        try:
            aside.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                for begin in range(0, size, PIECE):
                    file.write(self._ask("read", name, lambda system: piece(system, begin)))  # noqa: B023
            os.replace(aside, copy)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise disk_fault("write", copy, error) from error
        finally:
            aside.unlink(missing_ok=True)

    def release(self, name: str) -> None:
        """Removes the copies of a file, or of those below a folder, from this machine."""
        shutil.rmtree(self._copies(name), ignore_errors=True)

    def _copies(self, name: str) -> Path:
        whose = hashlib.sha256(repr((self.scheme, self.root, self.options)).encode()).hexdigest()
        return scratch() / whose[:12] / name

    def names(self, folder: str) -> list[str]:
        """Returns what lies in a folder, sorted."""
        begin = len(self.root) + 1
        return sorted(
            f"{info.path[begin:]}{'' if info.is_file else '/'}" for info in self._list(folder)
        )

    def infos(self, folder: str) -> dict[str, FileInfo]:
        """Returns size and age of the files in a folder and below it, listed in one go."""
        begin = len(self.root) + 1
        found = self._list(folder, recursive=True)
        return {info.path[begin:]: _info(info) for info in found if info.is_file}

    def _list(self, folder: str, *, recursive: bool = False) -> list[Any]:
        from pyarrow import fs

        path = self._path(folder)
        selector = fs.FileSelector(path, allow_not_found=True, recursive=recursive)
        found: list[Any] = self._ask("list", folder, lambda system: system.get_file_info(selector))
        return found

    def info(self, name: str) -> FileInfo | None:
        """Returns size and age of a file; None if it is not there, or a folder."""
        path = self._path(name)
        found = self._ask("read", name, lambda system: system.get_file_info(path))
        return _info(found) if found.is_file else None

    def rename(self, source: str, target: str) -> bool:
        """Copies a file to its new name, and removes the old one once the copy is there."""
        old, new = self._path(source), self._path(target)
        try:
            self._ask("rename", source, lambda system: system.copy_file(old, new))
        except FileNotFoundError:
            return False
        self.remove(source)
        return True

    def remove(self, name: str) -> None:
        """Removes a file, or a folder with all that is in it."""
        path = self._path(name)
        self.release(name)
        how = "delete_dir" if name.endswith("/") else "delete_file"
        try:
            self._ask("remove", name, lambda system: getattr(system, how)(path))
        except FileNotFoundError:
            return

    def shown(self, name: str) -> str:
        """Returns the URL of a file."""
        return f"{self.scheme}://{self._path(name)}"

    def _path(self, name: str) -> str:
        """Returns bucket and key of a file.

        Raises:
            StoreError: it lies outside the prefix.
        """
        parts = name.removesuffix("/").split("/") if name else []
        if "\0" in name or any(part in ("", ".", "..") for part in parts):
            raise StoreError(
                f"store {self.scheme}://{self.root}: the file {name!r} lies outside its place, so "
                "it is left alone; this store was made or changed by something else than sweeper"
            )
        return "/".join([self.root, *parts])

    def _ask(self, verb: str, name: str, question: Callable[[Any], T], *, small: bool = True) -> T:
        """Returns what an object store answers, asked again for as long as it may come back.

        Raises:
            FileNotFoundError: there is no such object.
            StoreAway: it stayed away.
            StoreError: it refuses.
        """
        began, wait, away = time.monotonic(), FIRST_WAIT, False
        while True:
            try:
                answer = question(_system(self, os.getpid(), small))
            except FileNotFoundError:
                _ANSWERED.add(self)
                raise
            except OSError as error:
                if _MISSING.search(str(error)):
                    raise FileNotFoundError(errno.ENOENT, "it is not there", name) from error
                fault = self._fault(verb, name, error)
                if not isinstance(fault, StoreAway):
                    raise fault from error
                limit = LIMIT if self in _ANSWERED else UNKNOWN_LIMIT
                if time.monotonic() - began > limit:
                    raise fault from error
                if not away:
                    log.warning("waiting for the object store: %s", fault)
                away = True
                time.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                _ANSWERED.add(self)
                if away:
                    seconds = time.monotonic() - began
                    log.warning("the object store is back after %.0f s", seconds)
                return answer

    def _fault(self, verb: str, name: str, error: OSError) -> StoreError:
        words = " ".join(str(error).split()) or type(error).__name__
        for secret in (found for name in _SECRETS if len(found := os.environ.get(name, "")) > 7):
            words = words.replace(secret, "***")
        begin = f"cannot {verb} {self.shown(name)}: {words}"
        for pattern, advice in _ADVICE:
            if re.search(pattern, words):
                return StoreError(f"{begin}; {advice}")
        if _PASSING.search(words):
            return StoreAway(
                f"{begin}; check that the object store runs and that this machine reaches it, and "
                "run the same command again: what was recorded is kept"
            )
        return StoreError(begin)


_ANSWERED: set[ObjectFiles] = set()


@cache
def _system(files: ObjectFiles, pid: int, small: bool) -> Any:
    """The client of a process: one that was forked cannot use that of its parent."""
    return files.connect(small=small)


def _info(found: Any) -> FileInfo:
    return FileInfo(size=found.size, written=(found.mtime_ns or 0) / 1e9)


def scratch() -> Path:
    """Returns a folder of this process for files on their way, removed when the process ends, or
    by a later one if it was killed."""
    return _scratch(os.getpid())


@cache
def _scratch(pid: int) -> Path:
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if signer_has_ended(left.name.removeprefix(_PREFIX).partition("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{signature()}-"))
    atexit.register(_forget, folder, pid)
    return folder


def _forget(folder: Path, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


def split_place(place: str, known: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Returns bucket and prefix of a URL, and its options.

    Args:
        place: ``SCHEME://BUCKET/PREFIX?NAME=VALUE&...``.
        known: the options that there are, and what each means.

    Raises:
        RequestError: it holds a user or password, names no bucket, or has unknown options. The
            message repeats nothing that may be secret.
    """
    from urllib.parse import parse_qsl, unquote, urlsplit

    parts = urlsplit(place)
    begin = f"SWEEPER_FILES: the {parts.scheme}:// URL"
    if "@" in parts.netloc:
        raise RequestError(
            f"{begin} holds a user or password, which would be shown and stored; leave both out, "
            "and put credentials where the client of that service looks for them (for S3 "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile)"
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(options.keys() - known.keys()):
        allowed = "; ".join(f"{name}: {meaning}" for name, meaning in known.items())
        raise RequestError(f"{begin} has unknown options ({', '.join(unknown)}); known: {allowed}")
    keys = [part for part in unquote(parts.path).split("/") if part]
    if not parts.netloc or parts.fragment or any(part in (".", "..") for part in keys):
        raise RequestError(f"{begin} has to be {parts.scheme}://BUCKET or .../BUCKET/PREFIX")
    return "/".join([parts.netloc, *keys]), options

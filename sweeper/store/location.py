"""Where a store is: what ``--store`` and ``SWEEPER_STORE`` mean."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from sweeper.errors import RequestError
from sweeper.store.files import Paths, open_files

DEFAULT_FOLDER = "sweeper-results"

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/", re.IGNORECASE)
_POSTGRES = {"postgres", "postgresql", "postgresql+psycopg"}
_ALLOWED = (
    "give a folder, postgresql+psycopg://user:password@host/database, or sqlite:///path/to/file.db"
)


_SECRET = re.compile("pass|pwd|secret|token|key", re.IGNORECASE)
"""In the name of an option of a URL whose value is not to be shown."""

_MASK = "***"


@dataclass(frozen=True)
class Location:
    """A database and the files that go with it.

    Attributes:
        url: the database; it may hold a password, so show :attr:`shown` instead.
        paths: the names of the files, and where they are.
    """

    url: URL
    paths: Paths

    @property
    def sqlite_file(self) -> Path | None:
        """The database's file; None for a server."""
        return Path(self.url.database or "") if self.url.get_backend_name() == "sqlite" else None

    @property
    def shown(self) -> str:
        """The place in messages: a path, or the URL with its password masked."""
        file = self.sqlite_file
        if file is not None:
            return str(file)
        hidden = {name: _MASK if _SECRET.search(name) else v for name, v in self.url.query.items()}
        shown = self.url.set(query=hidden).render_as_string(hide_password=True)
        return shown.replace(quote(_MASK), _MASK)


def locate(place: str | Path | None, environ: Mapping[str, str] = os.environ) -> Location:
    """Returns the location that a folder or a database URL names.

    Args:
        place: what ``--store`` says; None takes ``SWEEPER_STORE``, and failing that the
            folder ``sweeper-results`` in the working directory.
        environ: environment variables; ``SWEEPER_FILES`` is the place of curves and
            checkpoints (:func:`open_files`) where ``place`` is a database URL.

    Raises:
        RequestError: it is neither a folder nor the URL of a database that is known.
    """
    text = str(environ.get("SWEEPER_STORE") or DEFAULT_FOLDER if place is None else place)
    if not text.strip():
        raise RequestError(f"store: the name is empty; {_ALLOWED}")
    scheme = _SCHEME.match(text)
    if isinstance(place, Path) or scheme is None:
        return _folder(text)
    paths = locate_files(environ.get("SWEEPER_FILES") or DEFAULT_FOLDER)
    return Location(_database(text, scheme.group(1).lower()), paths)


def new_place(here: Location, to: str | None, to_files: str | None) -> Location:
    """Returns where a store is to be moved.

    Args:
        here: where it is.
        to: a folder or database URL; None leaves the rows where they are.
        to_files: a place for the files; None leaves them where they are, unless ``to`` is a
            folder, which holds its own.

    Raises:
        RequestError: it is the place where the store is, or none.
    """
    if to_files is not None and not to_files.strip():
        raise RequestError("--to-files: the place is empty; give a folder or s3://BUCKET/PREFIX")
    if to is not None and _SCHEME.match(to) is None:
        if to_files is not None:
            raise RequestError(
                f"--to-files: the folder {to} holds its own files; to have them elsewhere, give "
                f"--to sqlite:///{_absolute(to)}/sweeper.db"
            )
        there = locate(Path(to))
    else:
        paths = here.paths if to_files is None else locate_files(to_files)
        url = here.url if to is None else locate(to).url
        there = Location(url, paths)
    if there == here:
        raise RequestError(
            "move-store: nothing would move; name the new place by --to (a folder or a database "
            "URL), the new place of curves and checkpoints by --to-files, or both"
        )
    return there


def locate_files(place: str) -> Paths:
    """Returns the files at a place that ``SWEEPER_FILES`` may name."""
    return Paths(open_files(place if "://" in place else str(_absolute(place))))


def _folder(text: str) -> Location:
    root = _absolute(text)
    if os.path.exists(root) and not os.path.isdir(root):
        raise RequestError(
            f"store: {root} is a file; give the folder that holds sweeper.db, or "
            f"sqlite:///{root} if this is the database itself"
        )
    database = URL.create("sqlite", database=str(root / "sweeper.db"))
    return Location(database, Paths(open_files(str(root))))


def _database(text: str, scheme: str) -> URL:
    if scheme not in _POSTGRES and scheme != "sqlite":
        raise RequestError(
            f"store: {scheme}:// is not available; {_ALLOWED}; curves and checkpoints go where "
            "SWEEPER_FILES says for a database URL: a folder, s3://BUCKET/PREFIX or gs://..."
        )
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        # The text may hold a password, so it is not repeated.
        raise RequestError(f"store: the {scheme} URL cannot be read; {_ALLOWED}") from error
    if "@" in f"{url.host}{url.database}":
        raise RequestError(
            f"store: the {scheme} URL cannot be read: a user, password or name that holds an '@', "
            "':' or '/' has to be escaped, '@' as %40"
        )
    if scheme in _POSTGRES:
        return url.set(drivername="postgresql+psycopg")
    if url.database in (None, "", ":memory:"):
        raise RequestError(f"store: {text} names no file, and a store outlives a run; {_ALLOWED}")
    return url.set(database=str(_absolute(str(url.database))))


def _absolute(text: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(text)))  # an unknown user's ~ is a name

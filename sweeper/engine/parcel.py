"""What travels to a cluster with a study: the folder that it is run from, and the package of its
workload where that is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from sweeper.errors import RequestError

MOST_BYTES = 100_000_000
"""Bytes that a parcel may have; Ray keeps it in the head's memory, and takes 500 MB at most."""

LISTED = 3
"""Files that a refusal names: the largest."""

LEFT_OUT = frozenset({"__pycache__", "node_modules", "sweeper-results"})
"""Names of folders that never travel; nor do hidden ones, stores and virtual environments."""

_MARKS = ("sweeper.db", "pyvenv.cfg")
"""Files that say of a folder that it is a store, or a virtual environment."""


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What travels.

    Attributes:
        folder: which one is packed.
        study: the study's file, relative to the folder.
        files: every file, by its name in the parcel.
        size: bytes of all of them.
    """

    folder: Path
    study: PurePosixPath
    files: dict[str, Path]
    size: int

    def write(self, path: Path) -> None:
        """Writes it as a zip file; the same files give the same bytes, so that a cluster which has
        it already is not sent it again."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, file in sorted(self.files.items()):
                entry = zipfile.ZipInfo(name)
                entry.external_attr = (file.stat().st_mode & 0o777) << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                packed.writestr(entry, file.read_bytes())


def pack(
    study: Path,
    workload: str,
    folder: Path | None = None,
    program: Sequence[str] | None = None,
) -> Parcel:
    """Returns what has to travel for a study to run elsewhere as it runs here.

    That is the working directory if the study lies in it, else the folder of the study: what git
    ignores, what is hidden, stores, virtual environments and links to elsewhere stay; and the
    package of a workload ``package.module:ATTRIBUTE`` unless it is installed.

    Args:
        study: its file.
        workload: the name of its workload.
        folder: the one to pack in place of that.
        program: files of the study's command, relative to the working directory, which travel
            also where git ignores them; None of a study without a command.

    Raises:
        RequestError: the study, or a file of its command, is not in the folder, or the parcel is
            too large; or the folder is a home or the whole disk, of which much is nobody's
            business.
    """
    file = Path(os.path.abspath(study))
    root = Path(os.path.abspath(folder or Path.cwd()))
    if folder is None and not file.is_relative_to(root):
        root = file.parent
    if not file.is_relative_to(root):
        raise RequestError(
            f"--working-dir {folder}: {study} does not lie in it; name a folder that holds the "
            "study and all that it needs"
        )
    if root in (Path(root.anchor), Path.home()):
        raise RequestError(
            f"{root} is too much to send to a cluster: run this in the folder of the project, or "
            "name that with --working-dir"
        )
    files = {path.relative_to(root).as_posix(): path for path in _files(root)}
    files[file.relative_to(root).as_posix()] = file
    files |= _package(workload, root) if program is None else _program(program, root)
    sizes = {name: path.stat().st_size for name, path in files.items()}
    if (size := sum(sizes.values())) > MOST_BYTES:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:LISTED]
        told = ", ".join(f"{name} ({sizes[name] / 1e6:.0f} MB)" for name in largest)
        raise RequestError(
            f"{root} has {len(files)} files of {size / 1e6:.0f} MB to send, and at most "
            f"{MOST_BYTES / 1e6:.0f} MB travel; the largest are {told}: have git ignore them, "
            "or name a smaller folder with --working-dir, and put data where every node sees it"
        )
    return Parcel(folder=root, study=PurePosixPath(file.relative_to(root)), files=files, size=size)


def _program(names: Sequence[str], root: Path) -> dict[str, Path]:
    """Returns the files of a command, which is run in the folder that travels, by their names."""
    if root != Path(os.path.abspath(".")):
        raise RequestError(
            f"the study runs a command, which runs in the folder that travels, {root}; go there "
            "and call this again, so that its files are found as they are here"
        )
    if outside := [name for name in names if name.startswith("..") or not (root / name).is_file()]:
        raise RequestError(
            f"{outside[0]} counts among the files of the command and lies outside of {root}, the "
            "folder that travels; go to one that holds both, or say `version:` in its place"
        )
    return {name: root / name for name in names}


def _files(root: Path) -> Iterator[Path]:
    """Yields the files of a folder that travel."""
    kept = _unignored(root)
    for place, folders, names in os.walk(root):
        here = Path(place)
        folders[:] = sorted(name for name in folders if _travels(here / name))
        for name in sorted(names):
            file = here / name
            shown = not name.startswith(".") and file.suffix != ".pyc" and not file.is_symlink()
            if shown and file.is_file() and (kept is None or file in kept):
                yield file


def _travels(folder: Path) -> bool:
    hidden = folder.name.startswith(".") or folder.name in LEFT_OUT
    return not (hidden or folder.is_symlink() or any((folder / mark).exists() for mark in _MARKS))


def _unignored(root: Path) -> set[Path] | None:
    """Returns the files of a folder that git does not ignore; None where git does not look after
    it."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others"]
    try:
        told = subprocess.run([*command, "--exclude-standard"], capture_output=True, check=False)
    except OSError:
        return None
    if told.returncode:
        return None
    return {root / os.fsdecode(name) for name in told.stdout.split(b"\0") if name}


def _package(workload: str, root: Path) -> dict[str, Path]:
    """Returns the files of the package of a workload, by where they are imported from."""
    name = workload.partition(":")[0].partition(".")[0] if ":" in workload else ""
    found = find_spec(name) if name and name not in sys.builtin_module_names else None
    if found is None or name == "workloads":
        return {}
    places = [Path(place).absolute() for place in found.submodule_search_locations or ()]
    if not places and found.origin and found.has_location:
        file = Path(found.origin).absolute()
        return {} if _installed(file) or file.parent == root else {file.name: file}
    return {
        f"{name}/{path.relative_to(place).as_posix()}": path
        for place in places
        if not _installed(place) and place.parent != root
        for path in _files(place)
    }


def _installed(path: Path) -> bool:
    """Returns whether a package is one that a cluster has to have installed, too."""
    kept = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")}
    return any(path.is_relative_to(folder) for folder in kept)

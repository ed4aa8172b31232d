"""The contract between an export and the formats that it writes.

A format is one module of this package, named as ``sweeper export --to NAME`` names it. It has

- ``SUFFIX``, the end of its files' names;
- a function ``write(source, path)`` that fills an empty file, or with ``FOLDER = True`` an empty
  folder, and returns a :class:`Written`;
- ``NEEDS``, the package that it imports and the extra of sweeper that brings it, if it needs one;
- a function ``add(source, url, force)``, if it also writes to a server or database that holds
  other things; what is there of the study already is left as it is.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING

from sweeper.errors import EnvironmentFault, RequestError, UnknownNameError
from sweeper.store import RESERVED_COLUMNS, Ended, Store, StudyRecord, read_curves

if TYPE_CHECKING:
    import pandas


MARK = ".sweeper-export"
"""File in a folder that was written by an export; it names the study."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """What there is of a study to be written.

    Attributes:
        record: the study.
        scales: the axes along which optima are tracked, the study's own first.
        settings: the other swept settings but for the seed.
        trials: one row a trial, as :func:`sweeper.store.frames.trial_frame` has them.
        marks: the metrics inside the runs, as :func:`sweeper.store.frames.mark_frame` has them.
        ended: the attempt that tells how each trial ended, by key.
        read: reads the curves of trials, given by key, as :func:`read_curves` does.
        curve_names: the file of each trial's curve, by key.
    """

    record: StudyRecord
    scales: tuple[str, ...]
    settings: tuple[str, ...]
    trials: pandas.DataFrame
    marks: pandas.DataFrame
    ended: Mapping[str, Ended]
    read: Callable[[Mapping[str, str]], tuple[pandas.DataFrame, list[str]]]
    curve_names: Mapping[str, str]
    warnings: list[str] = field(default_factory=list)

    @cached_property
    def all_settings(self) -> tuple[str, ...]:
        """Names of all settings of the trials, swept or not."""
        columns = [str(name) for name in self.trials.columns]
        between = columns[columns.index("loss") + 1 : columns.index("params")]
        return tuple(name.removeprefix("setting_") for name in between)

    def curve(self, key: str) -> pandas.DataFrame | None:
        """Returns the curve of a trial; None of one that has none, or none that can be read, of
        which a warning is kept."""
        if key not in self.curve_names:
            return None
        frame, warnings = self.read({key: self.curve_names[key]})
        self.warnings.extend(warnings)
        return frame.drop(columns="key") if len(frame) else None

    @staticmethod
    def column(name: str) -> str:
        """Returns the column of the trials that holds a setting."""
        return f"setting_{name}" if name in RESERVED_COLUMNS else name


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a format made of a study.

    Attributes:
        parts: names of the parts of the file, if it has several.
        trials: trials in it.
        said: a sentence on what to do with it, {file} in the place of its name.
        known: trials of them that were there before.
    """

    parts: tuple[str, ...]
    trials: int
    said: str
    known: int = 0


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export did.

    Attributes:
        study: name of the study.
        to: name of the format.
        file: what was written.
        trials: trials in it by how they ended: completed, diverged, dominated, failed, missing.
        left_out: trials of the study that are not in it, having no result.
        parts: names of the parts of the file, if it has several.
        said: a sentence on what to do with it.
        known: trials of them that were there before, and were left as they are.
        warnings: curves that could not be read.
    """

    study: str
    to: str
    file: str
    trials: dict[str, int]
    left_out: int
    parts: tuple[str, ...]
    said: str
    known: int = 0
    warnings: tuple[str, ...] = ()


def export_formats() -> tuple[str, ...]:
    """Returns the names of the formats."""
    names = {module.name for module in iter_modules([str(Path(__file__).parent)])}
    return tuple(sorted(names - {"base", "runs", "tables"}))


def export_study(
    store: Store, study: str, to: str, out: str | Path | None = None, *, force: bool = False
) -> Exported:
    """Writes a study in a format.

    A file or folder is there whole or not at all: it is written beside its place and then moved.

    Args:
        store: where the study is.
        study: its name.
        to: name of the format.
        out: the file or folder, or the URL of a server or database for a format that takes one;
            None is one in this folder that is called like the study.
        force: overwrite what is there.

    Raises:
        RequestError: no study or format is called so, the study has no result, or the file exists
            and is not to be overwritten.
        EnvironmentFault: a package is missing, or the file cannot be written.
    """
    if to not in (known := export_formats()):
        raise UnknownNameError("format", to, known)
    module = import_module(f"sweeper.exports.{to}")
    _require_package(module, to)
    source = _source(store, study)
    if out is not None and "://" in str(out):
        if not hasattr(module, "add"):
            raise RequestError(f"--out {out}: --to {to} writes no URL; give a path")
        file = str(out)
        written: Written = module.add(source, file, force=force)
    else:
        path = Path(f"{study}{module.SUFFIX}" if out is None else out)
        file, written = str(path), _write(module, source, path, force=force)
    left_out = len(source.trials) - written.trials
    counts = Counter(source.trials["outcome"].tolist())
    return Exported(
        study=study,
        to=to,
        file=file,
        trials={k: count for k, count in counts.items() if k != "missing" or not left_out},
        left_out=left_out,
        parts=written.parts,
        said=written.said.replace("{file}", file),
        known=written.known,
        warnings=tuple(source.warnings),
    )


def _require_package(module: ModuleType, to: str) -> None:
    """Raises EnvironmentFault if the package that a format needs is not installed."""
    package, extra = getattr(module, "NEEDS", (None, None))
    if package is not None and find_spec(package) is None:
        raise EnvironmentFault(
            f"--to {to} writes with the package {package}, which is not installed: pip install "
            f"'sweeper[{extra}]'"
        )


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Context with variables of the environment as a client of another program needs them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _write(module: ModuleType, source: Source, path: Path, *, force: bool) -> Written:
    """Fills a file or folder beside its place, and moves it there."""
    folder = getattr(module, "FOLDER", False)
    if path.is_dir() and not folder:
        raise RequestError(f"--out {path}: is a folder; name a file in it")
    if path.is_file() and folder:
        raise RequestError(f"--out {path}: is a file; name a folder")
    if path.exists() and not force:
        raise RequestError(f"{path} exists; --force overwrites it, --out names another place")
    if folder and force:
        _require_ours(path)
    begun = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp").absolute()
    try:
        begun.parent.mkdir(parents=True, exist_ok=True)
        if folder:
            begun.mkdir()
        else:
            begun.touch()
        written: Written = module.write(source, begun)
        if folder:
            (begun / MARK).write_text(f"{source.record.name}\n", encoding="utf-8")
            if path.exists():
                shutil.rmtree(path)
        os.replace(begun, path)
    except OSError as fault:
        raise EnvironmentFault(f"{path} cannot be written: {fault.strerror or fault}") from fault
    finally:
        if begun.is_dir():
            shutil.rmtree(begun, ignore_errors=True)
        else:
            begun.unlink(missing_ok=True)
    return written


def _require_ours(path: Path) -> None:
    """Raises RequestError if no export has written a folder, which would be lost as a whole."""
    if path.exists() and any(path.iterdir()) and not (path / MARK).exists():
        raise RequestError(
            f"{path} is a folder that no export has written, so --force does not replace it; "
            "--out names another place"
        )


def _source(store: Store, study: str) -> Source:
    trials = store.frame(study, counted=False)
    record = store.study(study)
    if not trials["outcome"].isin(["completed", "diverged"]).any():
        raise RequestError(f"study {study} has no result yet; there is nothing to export")
    document = record.document
    axes: Sequence[str] = [
        *document.get("sweep", ()),
        *(name for each in document["variants"].values() for name in each.get("sweep", ())),
    ]
    scales = tuple(document.get("scales", [record.scale]))
    others = [name for name in dict.fromkeys(axes) if name not in (*scales, "seed")]
    return Source(
        record=record,
        scales=scales,
        settings=tuple(name for name in others if Source.column(name) in trials.columns),
        trials=trials,
        marks=store.marks(study),
        ended=store.ended_attempts(study),
        read=partial(read_curves, store.paths.files),
        curve_names=store.curve_files(study),
    )

"""The contract between an export and the formats that it writes.

A format is one module of this package, named as ``sweeper export --to NAME`` names it, with
``SUFFIX``, the end of its files' names, and a function ``write(source, path)`` that fills an empty
file and returns a :class:`Written`.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from sweeper.errors import EnvironmentFault, RequestError, UnknownNameError
from sweeper.store import RESERVED_COLUMNS, Store, StudyRecord

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """What there is of a study to be written.

    Attributes:
        record: the study.
        scales: the axes along which optima are tracked, the study's own first.
        settings: the other swept settings but for the seed.
        trials: one row a trial, as :func:`sweeper.store.frames.trial_frame` has them.
        marks: the metrics inside the runs, as :func:`sweeper.store.frames.mark_frame` has them.
    """

    record: StudyRecord
    scales: tuple[str, ...]
    settings: tuple[str, ...]
    trials: pandas.DataFrame
    marks: pandas.DataFrame

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
    """

    parts: tuple[str, ...]
    trials: int
    said: str


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export did.

    Attributes:
        study: name of the study.
        to: name of the format.
        file: what was written.
        trials: trials in it by how they ended: completed, diverged, failed, missing.
        left_out: trials of the study that are not in it, having no result.
        parts: names of the parts of the file, if it has several.
        said: a sentence on what to do with it.
    """

    study: str
    to: str
    file: str
    trials: dict[str, int]
    left_out: int
    parts: tuple[str, ...]
    said: str


def export_formats() -> tuple[str, ...]:
    """Returns the names of the formats."""
    names = {module.name for module in iter_modules([str(Path(__file__).parent)])}
    return tuple(sorted(names - {"base"}))


def export_study(
    store: Store, study: str, to: str, out: Path | None = None, *, force: bool = False
) -> Exported:
    """Writes a study as a file of a format.

    The file is there whole or not at all: it is written beside its place and then moved.

    Args:
        store: where the study is.
        study: its name.
        to: name of the format.
        out: the file; None is one in this folder that is called like the study.
        force: overwrite what is there.

    Raises:
        RequestError: no study or format is called so, the study has no result, or the file exists
            and is not to be overwritten.
        EnvironmentFault: the file cannot be written.
    """
    if to not in (known := export_formats()):
        raise UnknownNameError("format", to, known)
    module = import_module(f"sweeper.exports.{to}")
    source = _source(store, study)
    path = Path(f"{study}{module.SUFFIX}") if out is None else out
    if path.is_dir():
        raise RequestError(f"--out {path}: is a folder; name a file in it")
    if path.exists() and not force:
        raise RequestError(f"{path} exists; --force overwrites it, --out names another file")
    begun = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        begun.touch()
        written: Written = module.write(source, begun)
        os.replace(begun, path)
    except OSError as fault:
        raise EnvironmentFault(f"{path} cannot be written: {fault.strerror or fault}") from fault
    finally:
        begun.unlink(missing_ok=True)
    left_out = len(source.trials) - written.trials
    counts = Counter(source.trials["outcome"].tolist())
    return Exported(
        study=study,
        to=to,
        file=str(path),
        trials={k: count for k, count in counts.items() if k != "missing" or not left_out},
        left_out=left_out,
        parts=written.parts,
        said=written.said.replace("{file}", str(path)),
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
    )

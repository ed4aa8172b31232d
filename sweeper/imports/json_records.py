"""Records of JSON, of a file or a folder: their leaves as text by dotted name."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from sweeper.errors import RequestError, shown
from sweeper.imports.bounds import Limits, piece, reading, refusal, require_bounded, stream
from sweeper.imports.cells import as_cell

_SPACE = re.compile(r"\s*")

Record = Mapping[str, "str | Clash"]
"""A record of JSON: its leaves as text by dotted name."""


def records_of(path: Path, limits: Limits) -> Iterator[Record]:
    """Yields the records of a list, of lines with one each, or of objects over several lines, as
    text by dotted name."""
    with reading(path), stream(path) as source:
        text = io.TextIOWrapper(source, encoding="utf-8-sig")
        lines = iter(lambda: piece(path, text.readline(limits.text + 1), limits), "")
        first = next((line for line in lines if line.strip()), "")
        items: Iterable[tuple[int, Any]]
        if first.lstrip().startswith("["):
            whole = piece(path, first + text.read(limits.text + 1), limits)
            items = enumerate(_loaded(path, whole, "the list"), start=1)
        elif not _is_json(first):
            whole = piece(path, first + text.read(limits.text + 1), limits)
            items = enumerate(_objects(path, whole), start=1)
        else:
            numbered = enumerate(chain([first], lines), start=1)
            items = (
                (n, _loaded(path, line, f"record {n}")) for n, line in numbered if line.strip()
            )
        for number, item in items:
            if not isinstance(item, dict):
                raise refusal(path, f"record {number} is no object but {str(item)[:40]!r}")
            record = record_of(item)
            for name, cell in record.items():
                if not _is_whole(name) or (isinstance(cell, str) and not _is_whole(cell)):
                    raise refusal(
                        path,
                        f"record {number}: {shown(name)} holds half a character, of a text that "
                        "was cut in two; write the whole of it, or leave it out",
                    )
            yield record


def _is_whole(text: str) -> bool:
    """Returns whether a text can be written, having no half of a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _why(error: ValueError | RecursionError) -> str:
    """What is wrong with a text that is not read as JSON."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if "integer string conversion" in str(error):
        return "a number has more than 4,300 digits"
    return str(error)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _objects(path: Path, text: str) -> Iterator[Any]:
    """Yields the objects of a text, one after the other and each over several lines."""
    decoder, number = json.JSONDecoder(object_pairs_hook=_object), 0
    text = text.strip()
    start = 0
    while start < len(text):
        number += 1
        try:
            item, start = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            raise refusal(path, f"record {number} is not JSON: {_why(error)}") from error
        yield item
        space = _SPACE.match(text, start)
        assert space is not None  # no space at all is a match too
        start = space.end()


def runs_of(folder: Path) -> dict[str, list[Path]]:
    """Returns the .json files of each run of a folder by its name: one beside the others, or all
    of a folder of its own."""
    runs: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir()):
        files = sorted(entry.glob("*.json")) if entry.is_dir() else [entry]
        files = [file for file in files if file.suffix == ".json" and file.is_file()]
        if files and not entry.name.startswith("."):
            runs.setdefault(entry.name if entry.is_dir() else entry.stem, []).extend(files)
    return runs


def records_of_folder(folder: Path, limits: Limits) -> Iterator[Record]:
    """Yields the runs of a folder. Where a run has a folder of its own, its files' names come
    before those of their fields, as in ``config.lr``; a run without a name has its file's."""
    runs = runs_of(folder)
    for file in chain.from_iterable(runs.values()):
        require_bounded(file, limits)
    if not runs:
        raise refusal(
            folder,
            "is a folder without runs: no .json files, nor tables (.csv, .parquet), nor what "
            "MLflow, TensorBoard, Ray Tune or W&B write; name the file that holds the table",
        )
    for run, files in runs.items():
        records = [list(records_of(file, limits)) for file in files]
        if files[0].parent == folder:
            found = [record for each in records for record in each]
        else:
            single = zip(files, records, strict=True)
            found = [
                {
                    f"{file.stem}.{name}": value
                    for file, each in single
                    if len(each) == 1
                    for name, value in each[0].items()
                }
            ]
        for record in found:
            named = any(name.lower() == "name" for name in record)
            yield record if named else {"Name": run, **record}


def _loaded(path: Path, text: str, what: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise refusal(
            path, f"{what} is not JSON: {_why(error)}; write one object a line"
        ) from error


@dataclass(frozen=True)
class Clash:
    """Two values of one name in one record."""

    one: Any
    other: Any

    def refusal(self, path: Path | str, number: int, name: str) -> RequestError:
        """Returns what to say where the name is asked for."""
        return refusal(
            path,
            f"record {number}: {name} is there twice, as {_shown(self.one)} and as "
            f"{_shown(self.other)}; remove one",
        )


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)[:40]


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object of JSON; a key that is there twice has one value only if both agree."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        found[key] = _both(found[key], value) if key in found else value
    return found


def _both(one: Any, other: Any) -> Any:
    """Returns what two values of one name are together."""
    if isinstance(one, dict) and isinstance(other, dict):
        return _object([*one.items(), *other.items()])
    if isinstance(one, Clash) or isinstance(other, Clash):
        return one if isinstance(one, Clash) else other
    mine, its = (None if isinstance(each, dict) else as_cell(_cell(each)) for each in (one, other))
    same = mine == its and type(mine) is type(its) and not isinstance(one, dict)
    return one if same and not isinstance(other, dict) else Clash(one, other)


def record_of(item: Mapping[str, Any]) -> Record:
    """Returns the leaves of a record by dotted name, as text; ``a.b`` and b inside a are one."""
    leaves = _object(list(_leaves_of(item, "")))
    return {n: each if isinstance(each, Clash) else _cell(each) for n, each in leaves.items()}


def _leaves_of(item: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yields the leaves of a record; W&B wraps some settings, {"value": ...}."""
    for key, value in item.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and "value" in value and set(value) <= {"value", "desc"}:
            value = value["value"]
        if isinstance(value, dict):
            yield from _leaves_of(value, f"{name}.")
            continue
        yield name, value
        for part in (value.one, value.other) if isinstance(value, Clash) else ():
            if isinstance(part, dict):  # all that lies below it is as doubtful
                yield from ((leaf, value) for leaf, _ in _leaves_of(part, f"{name}."))


def _cell(value: Any) -> str:
    """A leaf as the text that a CSV file would hold."""
    if value is None:
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str) else json.dumps(value)

"""A YAML file as plain data with the line of every key, so that each fault can name its place.

Scalars are read by the YAML 1.2 core rules rather than PyYAML's 1.1: ``1e-3`` is a number,
``on`` and ``no`` are text, ``010`` is ten. Keys are always text. Tags and merge keys are refused,
so that a study file says everything where it stands.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sweeper.errors import Fault, StudyError, no_file, shown, suggestion

Place = tuple[str | int, ...]
"""Where a value stands: keys and list indices from the top of the file."""


StudyTables = Callable[[str, str], Path]
"""Finds a table by the name of the study that reads it and its own; raises
:class:`DataUnavailableError` where there is none."""


class Complaint(NamedTuple):
    """Something wrong at a place of a study; with a file it becomes a Fault."""

    place: Place
    message: str


MAX_ALIKE = 5
"""Complaints at one place that are listed; the others are counted."""

LONGEST_MESSAGE = 1_000
"""Characters of one fault."""

MAX_BYTES = 1 << 20
"""Bytes of a file; more is no study, and takes minutes to read."""

MAX_KEYS = 2_000
"""Keys of one mapping."""

MAX_VALUES = 50_000
"""Values that a file may hold, before and after its aliases are expanded."""

MAX_DEPTH = 100
"""Levels that a file may nest: the time to scan open brackets grows with their square."""

_DEFAULT_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))
_INTEGER = re.compile(r"[-+]?[0-9][0-9_]*\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", "+.inf", ".Inf", ".INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


@dataclass(frozen=True)
class Source:
    """Plain data and where it came from.

    Attributes:
        file: the path as the user gave it, or a word for data that no file holds.
        data: mappings, lists, text, numbers, booleans and None.
        lines: line number, from 1, of every place.
        faults: faults of the text itself that left the rest readable, such as a repeated key.
        tables: finds a table, given the study that reads it and the table's name; None finds none.
    """

    file: str
    data: Any
    lines: Mapping[Place, int] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    tables: StudyTables | None = None

    def fault(self, complaint: Complaint) -> Fault:
        """Returns a complaint as a fault, on the line of its place, or of what holds it where
        the fault is that something is absent; None for what is absent from the file itself."""
        place = complaint.place
        while place and place not in self.lines:
            place = place[:-1]
        return Fault(
            file=self.file,
            line=self.lines[place] if place else None,
            key=dotted(complaint.place),
            message=_cut(complaint.message),
        )


def _cut(message: str) -> str:
    """The message, without the middle of one that repeats a very long value."""
    if len(message) <= LONGEST_MESSAGE:
        return message
    half = LONGEST_MESSAGE // 2
    return f"{message[:half]} [...] {message[-half:]}"


def condensed(complaints: Iterable[Complaint]) -> Iterator[Complaint]:
    """Yields distinct complaints, at most MAX_ALIKE about a place or about the items of a list,
    and how many more there are."""
    counts: Counter[Place] = Counter()
    for complaint in dict.fromkeys(complaints):
        about = _list_of(complaint.place)
        counts[about] += 1
        if counts[about] <= MAX_ALIKE:
            yield complaint
    for place, count in counts.items():
        if count > MAX_ALIKE:
            yield Complaint(place, f"... and {count - MAX_ALIKE} more faults of this kind")


def _list_of(place: Place) -> Place:
    return place[:-1] if place and isinstance(place[-1], int) else place


def dotted(place: Place) -> str:
    """Returns a place as text: ``claims[0].tolerance``."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{_readable(step)}" for step in place)
    return "".join(steps).removeprefix(".")


def _readable(key: str) -> str:
    """Returns a key as messages show it: cut where it is long, signs without a face escaped."""
    text = key if key.isprintable() else repr(key)[1:-1]
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_source(path: str | Path) -> Source:
    """Returns the content of a YAML file with its lines.

    Raises:
        StudyError: the file cannot be read, is not YAML, or does not hold a mapping.
    """
    file = str(path)
    return parse_source(_read_text(Path(path), file), file)


def parse_source(text: str, file: str) -> Source:
    """Returns YAML text as plain data with its lines; ``file`` is what faults call it.

    Raises:
        StudyError: the text is not YAML or does not hold a mapping.
    """
    try:
        node = _compose(text, file)
        if node is None:
            raise _whole_file(
                file, 1, "the file is empty; `sweeper init` writes a commented study"
            )
        if not isinstance(node, yaml.MappingNode):
            kind = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
            line = node.start_mark.line + 1
            raise _whole_file(
                file, line, f"holds {kind}; a study is a mapping, `key: value` lines"
            )
        reader = _Reader(file)
        data = reader.value(node, ())
    except RecursionError:
        raise _whole_file(file, None, "is nested too deeply to be a study") from None
    return Source(file, data, reader.lines, tuple(reader.faults))


def _read_text(path: Path, file: str) -> str:
    try:
        if why := no_file(path):
            raise _whole_file(file, None, why)
        with path.open("rb") as source:
            content = source.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise _whole_file(
                file,
                None,
                f"has more than {MAX_BYTES:,} bytes, too many for a study; a long "
                "axis is written as a range, {log2: [-9, -2]}, and results are no part of it",
            )
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        beside = sorted(p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        hint = f"; {suggestion(path.name, beside)}" if beside else ""
        raise _whole_file(file, None, f"no such file{hint}") from None
    except OSError as error:
        raise _whole_file(file, None, f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise _whole_file(file, None, f"is not UTF-8 text (byte {error.start})") from error


def _compose(text: str, file: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Composer)
    except _TooManyError:
        raise _too_many(file) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _whole_file(file, mark.line + 1 if mark else None, _why(error)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"is not YAML: character {error.character!r} is not allowed"
        raise _whole_file(file, line, message) from error


class _TooManyError(Exception):
    """There are more than MAX_VALUES nodes."""


def _too_many(file: str) -> StudyError:
    return _whole_file(file, None, f"holds more than {MAX_VALUES:,} values")


class _Composer(yaml.BaseLoader):
    """Composes nodes up to MAX_DEPTH levels, with RecursionError beyond, and MAX_VALUES nodes."""

    _depth = 0
    _count = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self._depth == MAX_DEPTH:
            raise RecursionError
        if self._count == MAX_VALUES:
            raise _TooManyError
        self._count += 1
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _why(error: yaml.MarkedYAMLError) -> str:
    problem = " ".join(part for part in (error.context, error.problem) if part)
    if "'\\t'" in problem:
        return "is not YAML: a tab stands in the indentation; indent with spaces"
    if "mapping values are not allowed" in problem:
        return f"is not YAML: {problem}; quote text that holds a colon"
    return f"is not YAML: {problem}"


def _whole_file(file: str, line: int | None, message: str) -> StudyError:
    return StudyError([Fault(file=file, line=line, key="", message=message)])


class _Reader:
    """Turns nodes into plain values and remembers lines and faults on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Place, int] = {}
        self.faults: list[Fault] = []
        self._open: set[int] = set()
        self._count = 0

    def value(self, node: yaml.Node, place: Place) -> Any:
        self.lines.setdefault(place, node.start_mark.line + 1)
        self._guard(node)
        if node.tag not in _DEFAULT_TAGS and node.tag != "!":
            self._fault(
                node, place, f"the tag {shown(node.tag)} is not supported; write a plain value"
            )
        if isinstance(node, yaml.ScalarNode):
            if not _is_whole(node.value):
                self._fault(node, place, f"{shown(node.value)} holds half a character")
            return scalar(node.value) if node.style is None else node.value
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return self._sequence(node.value, place)
            return dict(self._items(node.value, place))
        finally:
            self._open.discard(id(node))

    def _sequence(self, nodes: Sequence[yaml.Node], place: Place) -> list[Any]:
        return [self.value(node, (*place, index)) for index, node in enumerate(nodes)]

    def _items(
        self, pairs: Sequence[tuple[yaml.Node, yaml.Node]], place: Place
    ) -> Iterator[tuple[str, Any]]:
        if len(pairs) > MAX_KEYS:
            where = f"{dotted(place)} " if place else ""
            line = pairs[0][0].start_mark.line + 1
            raise _whole_file(
                self.file,
                line,
                f"{where}has {len(pairs):,} keys, at most {MAX_KEYS:,} are allowed",
            )
        seen: dict[str, int] = {}
        for key_node, value_node in pairs:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._fault(key_node, place, "a key is a list or a mapping; write a name")
                continue
            key = key_node.value
            here = (*place, key)
            if key == "<<":
                self._fault(key_node, here, "merge keys are not supported; write the keys out")
            elif not _is_whole(key):
                self._fault(key_node, place, f"the key {shown(key)} holds half a character")
            elif key in seen:
                message = f"the key is given twice, first on line {seen[key]}; remove one of them"
                self._fault(key_node, here, message)
            else:
                seen[key] = self.lines[here] = line
                yield key, self.value(value_node, here)

    def _guard(self, node: yaml.Node) -> None:
        self._count += 1
        if id(node) in self._open:
            line = node.start_mark.line + 1
            raise _whole_file(self.file, line, "an alias refers to the value that holds it")
        if self._count > MAX_VALUES:
            raise _too_many(self.file)

    def _fault(self, node: yaml.Node, place: Place, message: str) -> None:
        line = node.start_mark.line + 1
        self.faults.append(Fault(file=self.file, line=line, key=dotted(place), message=message))


def _is_whole(text: str) -> bool:
    """Returns whether a text has no half of a surrogate pair, which no file could hold."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def scalar(text: str) -> Any:
    """Returns a plain (unquoted) scalar as None, bool, int, float or text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):  # one that no float holds stays text, to be refused as it stands
        return int(text.replace("_", "")) if len(text) <= 300 else text
    if _FLOAT.match(text):
        return float(text.replace("_", ""))
    return text

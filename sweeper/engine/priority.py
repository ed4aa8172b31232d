"""Studies above and below each other on one cluster: who may have how many slots. No Ray here.

Every controller tells the others, again and again, what its study could use now. One whose study
is below others keeps no more slots than fit beside what those could use.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.engine.messages import Shape, fitting

STALE_SECONDS = 15.0
"""A controller that has not changed its entry for so long is as good as gone. Of one whose process
has ended Ray says so at once."""

KEEP_SECONDS = 5.0
"""What another study could use a moment ago is kept for it so long: between two proposals of its
search it has no work, and taking its slots for that moment costs everybody a start."""

PRESS_SECONDS = 30.0
"""Each time that a study above has waited for so long for a slot that should fit, those below
keep half of what they had: their slots may lie where they leave no room of the right kind."""

Bundle = tuple[tuple[str, float], ...]
"""(resource, amount) of one slot, by name."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a controller tells the others.

    Attributes:
        study: name of its study.
        priority: studies of a higher one come first.
        uses: how many slots it could use now, of those that fit the cluster, by bundle.
        waiting: how many of them have not started.
        beat: goes up with every time that it tells.
    """

    study: str
    priority: int
    uses: Mapping[Bundle, int]
    waiting: int
    beat: int

    def document(self) -> dict[str, object]:
        """Returns the entry as plain JSON data."""
        uses = [[dict(bundle), count] for bundle, count in self.uses.items()]
        return {**vars(self), "uses": uses}

    @classmethod
    def of(cls, document: Mapping[str, object]) -> Entry:
        """Returns the entry that :meth:`document` wrote.

        Raises:
            LookupError, TypeError, ValueError: it is none; another version of sweeper may have
                written it.
        """
        uses: dict[Bundle, int] = {}
        for bundle, count in document["uses"]:  # type: ignore[attr-defined]
            uses[tuple(sorted((str(k), float(v)) for k, v in bundle.items()))] = int(count)
        return cls(
            study=str(document["study"]),
            priority=int(str(document["priority"])),
            uses=uses,
            waiting=int(str(document["waiting"])),
            beat=int(str(document["beat"])),
        )


@dataclass
class _Seen:
    """The last entry of a controller, and when what was new about it came, in seconds."""

    entry: Entry
    changed: float
    waiting_since: float | None = None
    used: list[tuple[float, Mapping[Bundle, int]]] = field(default_factory=list)


class Above:
    """The studies above one, as their controllers tell; a controller that ends or falls silent
    holds nothing back.

    Args:
        priority: of the study that is below them.
        clock: tells the time, in seconds.
    """

    def __init__(self, priority: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._priority = priority
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def see(self, entries: Mapping[str, Entry]) -> set[str]:
        """Takes in the entries of all other controllers, by their names; returns the names of
        those that are silent."""
        now = self._clock()
        self._seen = {name: self._seen_of(name, entry, now) for name, entry in entries.items()}
        return {name for name, seen in self._seen.items() if self._silent(seen)}

    @property
    def studies(self) -> list[str]:
        """Which studies come first and have work, in words."""
        found = {
            f"{seen.entry.study} (priority {seen.entry.priority})"
            for seen in self._first()
            if self._uses(seen)
        }
        return sorted(found)

    @property
    def uses(self) -> dict[Bundle, int]:
        """How many slots the studies above could use, by bundle."""
        sums: Counter[Bundle] = Counter()
        for seen in self._first():
            sums.update(self._uses(seen))
        return dict(sums)

    @property
    def share(self) -> float:
        """Which share of the slots that fit beside the others may be kept: 1, or less where those
        above have waited for long all the same."""
        now = self._clock()
        waits = [now - seen.waiting_since for seen in self._first() if seen.waiting_since]
        return 0.5 ** int(max(waits, default=0.0) / PRESS_SECONDS)

    def _seen_of(self, name: str, entry: Entry, now: float) -> _Seen:
        seen = self._seen.get(name)
        if seen is None:
            seen = _Seen(entry, now)
        elif entry.beat != seen.entry.beat:
            seen.entry, seen.changed = entry, now
        if not entry.waiting:
            seen.waiting_since = None
        elif seen.waiting_since is None:
            seen.waiting_since = now
        seen.used = [(at, uses) for at, uses in seen.used if now - at <= KEEP_SECONDS]
        seen.used.append((now, entry.uses))
        return seen

    def _silent(self, seen: _Seen) -> bool:
        return self._clock() - seen.changed > STALE_SECONDS

    def _first(self) -> list[_Seen]:
        return [
            seen
            for seen in self._seen.values()
            if seen.entry.priority > self._priority and not self._silent(seen)
        ]

    def _uses(self, seen: _Seen) -> dict[Bundle, int]:
        most: dict[Bundle, int] = {}
        for _, uses in seen.used:
            for bundle, count in uses.items():
                most[bundle] = max(count, most.get(bundle, 0))
        return {bundle: count for bundle, count in most.items() if count}


def bundle_of(needs: Mapping[str, float]) -> Bundle:
    """Returns what a slot needs as a key."""
    return tuple(sorted(needs.items()))


def allotted(
    nodes: Sequence[Mapping[str, float]],
    taken: Mapping[Bundle, int],
    wanted: Iterable[tuple[Shape, Mapping[str, float], int]],
) -> dict[Shape, int]:
    """Returns how many slots of each shape fit a cluster together, beside those of others.

    Args:
        nodes: what each node has, by resource.
        taken: how many slots of others there are, by bundle; of those that do not fit as many
            as do.
        wanted: (shape, what a slot takes, how many slots have work), what comes first first.
    """
    free = [dict(node) for node in nodes]
    for bundle, count in taken.items():
        _place(dict(bundle), count, free)
    return {shape: _place(needs, count, free) for shape, needs, count in wanted}


def _place(bundle: Mapping[str, float], count: int, free: list[dict[str, float]]) -> int:
    """Takes slots off the nodes; returns how many found room."""
    left = count
    for node in free:
        here = min(left, fitting(bundle, node))
        for name, amount in bundle.items():
            node[name] = node.get(name, 0.0) - here * amount
        left -= here
    return count - left

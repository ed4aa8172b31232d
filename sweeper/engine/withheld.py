"""Trials that a run hands out to nobody for now: those that people want held back, and those that
other controllers run. No Ray, no database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence

from sweeper.engine.packing import Pack
from sweeper.store import Wish, WishKind, held_back
from sweeper.study import PlannedTrial


class Wishes:
    """The wishes about one study, applied to its trials.

    Attributes:
        wanted: what is wanted now.
        changes: how often that has changed.
    """

    def __init__(self) -> None:
        self.changes = 0
        self.wanted: tuple[Wish, ...] = ()
        self._places: dict[str, list[tuple[str, str]]] = {}

    def add(self, planned: Sequence[PlannedTrial]) -> None:
        """Takes in trials of the study, in all their places."""
        for item in planned:
            places = self._places.setdefault(item.trial.key, [])
            places.append((item.variant, item.trial.key))

    def take(self, wanted: Sequence[Wish]) -> tuple[list[Wish], list[Wish]]:
        """Takes in what is wanted now; returns what is new, and what is wanted no more."""
        before, self.wanted = self.wanted, tuple(wanted)
        new = [wish for wish in self.wanted if wish not in before]
        gone = [wish for wish in before if wish not in self.wanted]
        self.changes += bool(new or gone)
        return new, gone

    def of(self, key: str) -> Wish | None:
        """Returns the wish that holds a trial back; None if it may run."""
        return held_back(self.wanted, self._places.get(key, ())).get(key) if self.wanted else None

    @property
    def end(self) -> Wish | None:
        """The wish that ends the run; None if it goes on."""
        return next((w for w in reversed(self.wanted) if w.kind == "stop" and w.whole), None)


class Withheld:
    """Packs that wait for a wish to be lifted. Who uses it sees to it that one thread does.

    Args:
        wish_of: returns the wish that holds a trial back, by its key; None if it may run.
    """

    def __init__(self, wish_of: Callable[[str], Wish | None]) -> None:
        self._wish_of = wish_of
        self._packs: list[Pack] = []

    @property
    def keys(self) -> set[str]:
        """Keys of the trials that wait."""
        return {trial.key for pack in self._packs for trial in pack.trials}

    @property
    def kinds(self) -> list[WishKind]:
        """What is wanted of each of the trials that wait, in any order."""
        return [self._kind(key) for key in self.keys]

    @property
    def paused(self) -> bool:
        """Whether any trial is only paused, so that a run waits for it."""
        return any(self._kind(key) == "pause" for key in self.keys)

    def sort(self, packs: Iterable[Pack], *, first: bool = False) -> list[Pack]:
        """Returns what of the packs may run; the rest waits here, behind what waits already
        unless it is to be first."""
        waiting = self._packs
        if first:
            self._packs = []
        may: list[Pack] = []
        for pack in packs:
            held = {t.key for t in pack.trials if self._wish_of(t.key) is not None}
            kept = pack.members(held)
            if kept:
                self._packs.append(_cut(pack, kept))
            if len(kept) < len(pack.trials):
                may.append(_cut(pack, [t for t in pack.trials if t.key not in held]))
        if first:
            self._packs += waiting
        return may

    def lift(self) -> list[Pack]:
        """Returns what may run again, and forgets it."""
        packs, self._packs = self._packs, []
        return self.sort(packs)

    def clear(self) -> None:
        """Forgets everything."""
        self._packs.clear()

    def _kind(self, key: str) -> WishKind:
        wish = self._wish_of(key)
        return "pause" if wish is None else wish.kind  # soon to be lifted


class KeysOfOrders:
    """Keys of trials by the number of their order, to be told to workers once; thread-safe."""

    def __init__(self) -> None:
        self._keys: dict[int, set[str]] = {}
        self._lock = threading.Lock()

    def add(self, order: int, keys: Collection[str]) -> None:
        """Notes trials of an order."""
        with self._lock:
            self._keys.setdefault(order, set()).update(keys)

    def take(self) -> dict[int, frozenset[str]]:
        """Returns what was noted since this was last asked."""
        with self._lock:
            found, self._keys = self._keys, {}
        return {number: frozenset(keys) for number, keys in found.items()}


class LeasedByOthers:
    """Trials that other controllers hold the leases of, as packs of one; thread-safe."""

    def __init__(self) -> None:
        self._packs: dict[str, Pack] = {}
        self._lock = threading.Lock()

    @property
    def keys(self) -> set[str]:
        """Keys of the trials."""
        with self._lock:
            return set(self._packs)

    def put(self, pack: Pack) -> None:
        """Notes a trial that another controller runs."""
        with self._lock:
            self._packs[pack.trials[0].key] = pack

    def take(self, keys: Collection[str]) -> list[Pack]:
        """Returns trials that others have let go of, or brought to an end, and forgets them."""
        with self._lock:
            return [self._packs.pop(key) for key in keys if key in self._packs]


def _cut(pack: Pack, trials: Sequence[object]) -> Pack:
    if len(trials) == len(pack.trials):
        return pack
    members = tuple(trial for trial in pack.trials if trial in trials)
    return Pack(shape=pack.shape, trials=members, avoid=pack.avoid)

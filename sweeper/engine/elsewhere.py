"""Trials of a run that other controllers have claimed."""

from __future__ import annotations

import threading
from collections.abc import Collection

from sweeper.engine.pack import Pack


class Elsewhere:
    """Packs of one trial each that wait for another controller to end them; thread-safe."""

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

"""A run's claims in the store: made, kept alive, given back, and lost to others."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Self

from sweeper.engine.patience import Patience
from sweeper.errors import StoreError
from sweeper.store.owner import Owner
from sweeper.store.store import Store

LEASE_SECONDS = 120.0
"""How long a claim stays ours without a heartbeat."""


class Tenure:
    """Context in which trials may be claimed; leaving it gives back what is still claimed.

    Args:
        store: where claims are kept.
        patience: waits for a store that is away.
        note: hears what a person should know.
        held: tells which keys the run believes to hold.
        lost: is given the keys that another controller has taken over.
    """

    def __init__(
        self,
        store: Store,
        *,
        patience: Patience,
        note: Callable[[str], None],
        held: Callable[[], set[str]],
        lost: Callable[[set[str]], None],
    ) -> None:
        self._store = store
        self._patience = patience
        self._note = note
        self._held = held
        self._lost = lost
        self._owner = Owner.here()
        self._owed: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        try:
            self._store.release(self._owner)
        except StoreError as fault:
            self._note(f"the claims of this run lapse by themselves: {fault}")

    def owe(self, keys: Collection[str]) -> None:
        """Notes trials whose last attempt failed, and that are to be tried once more."""
        self._owed |= set(keys)

    def claim(self, keys: Sequence[str]) -> dict[str, int]:
        """Returns the number of the attempt of each key that is ours to run.

        A trial whose last attempt failed is not, unless that one more try is owed to it: it may
        have failed under another controller meanwhile, or under a worker that was given up.
        """
        return self._patience.ask(lambda: self._claim(keys))

    def _claim(self, keys: Sequence[str]) -> dict[str, int]:
        doubtful = [key for key in keys if key not in self._owed]
        failed = self._store.failures_of(doubtful) if doubtful else {}
        wanted = [key for key in keys if key not in failed]
        claims = self._store.claim(wanted, owner=self._owner, lease_s=LEASE_SECONDS)
        self._owed -= {claim.key for claim in claims}
        return {claim.key: claim.attempt for claim in claims}

    def _beat(self) -> None:
        while not self._over.wait(LEASE_SECONDS / 4):
            before = self._held()
            # A store that is away for a moment is not the end: the next beat renews.
            with contextlib.suppress(StoreError):
                kept = self._store.heartbeat(self._owner, lease_s=LEASE_SECONDS)
                gone = (before & self._held()) - kept
                if gone:
                    self._note(
                        f"{len(gone)} trials were taken over by another run, since the claims of "
                        "this one had lapsed; they are dropped here"
                    )
                    self._lost(gone)

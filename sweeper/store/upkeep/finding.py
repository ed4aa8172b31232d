"""One thing that is not as it should be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A fault that was found.

    Attributes:
        kind: what is wrong, in one word that programs may rely on.
        where: the file, or the table and row.
        what: the fault, in a sentence without its end.
        remedy: what mends it: what ``--repair`` does, or else what a person can do.
        key: key of the trial that it is about; None if it is about none.
        repair: mends it; None where nothing here can.
        repaired: whether it was mended.
    """

    kind: str
    where: str
    what: str
    remedy: str
    key: str | None = None
    repair: Callable[[], object] | None = field(default=None, repr=False, compare=False)
    repaired: bool = False

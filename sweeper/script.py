"""For a training script that may be touched: what it measures, where it saves, what it is given.

    from sweeper.script import checkpoint_dir, config, report

    for step in range(1, steps + 1):
        ...
        report(step=step, train_loss=loss)

Outside a sweep nothing happens: ``report`` writes nothing, ``checkpoint_dir`` is None, ``config``
is empty. This file needs nothing but Python and may be copied beside the script, where the program
sweeper is not installed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def report(**metrics: Any) -> None:
    """Says what was measured, as numbers by name; ``step`` and ``tokens`` say when.

    Of several processes that train together (``RANK``, as torchrun sets it) the first one alone
    is heard. A number that is not finite ends the trial as diverged.

    Raises:
        TypeError, ValueError: a value is no number; a tensor of one element is.
    """
    numbers = {name: _number(value) for name, value in metrics.items()}
    place = os.environ.get("SWEEPER_REPORT")
    if place and os.environ.get("RANK", "0") == "0":
        with open(place, "a", encoding="utf-8") as file:  # one write, so that lines stay whole
            file.write(json.dumps(numbers) + "\n")


def checkpoint_dir() -> Path | None:
    """Returns the folder to go on from and to save to, which is there; None where the study does
    not say that the script can go on (``checkpoint: true``), and outside a sweep."""
    place = os.environ.get("SWEEPER_CHECKPOINT")
    if not place:
        return None
    folder = Path(place)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def config() -> dict[str, Any]:
    """Returns all settings of the trial by name, the seed among them; empty outside a sweep."""
    place = os.environ.get("SWEEPER_CONFIG")
    if not place:
        return {}
    settings: dict[str, Any] = json.loads(Path(place).read_text(encoding="utf-8"))
    return settings


def _number(value: Any) -> int | float:
    return value if type(value) is int else float(value)

"""A run as a log for programs: one JSON object a line, for every event of the engine."""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sweeper.outcome import FAILED, first_line
from sweeper.secrets import redacted

if TYPE_CHECKING:
    from sweeper.engine import Ended, Event, Progress, View

LOG = logging.getLogger("sweeper")

PROGRESS_SECONDS = 10.0
"""Seconds between two lines of counts."""

FIELDS = "sweeper_fields"
"""Attribute of a log record that holds its event and fields."""


class JsonLines(logging.Formatter):
    """Formats a record as a JSON object: time, level, event and its fields; of a record without
    an event, which a library or another part of the program made, the event is ``note``."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the object in one line; a number that is not finite becomes null."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = getattr(record, FIELDS, None) or {"event": "note", "text": record.getMessage()}
        line = {"time": moment, "level": record.levelname.lower(), **fields}
        said = {k: redacted(v) if isinstance(v, str) else _finite(v) for k, v in line.items()}
        return json.dumps(said, default=str)


def speak_json() -> None:
    """Makes everything that the program says on standard error a JSON object a line."""
    for handler in LOG.handlers:
        handler.setFormatter(JsonLines())
    logging.captureWarnings(True)
    warned = logging.getLogger("py.warnings")
    warned.handlers, warned.propagate = list(LOG.handlers), False


def speaks_json() -> bool:
    """Returns whether :func:`speak_json` was called for this command."""
    return any(isinstance(handler.formatter, JsonLines) for handler in LOG.handlers)


def log_event(event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Logs an event with its fields."""
    LOG.log(level, event, extra={FIELDS: {"event": event, **fields}})


class EventLog:
    """Context in which a run is logged, and its counts are every few seconds.

    Args:
        study: name of the study.
        progress: what the run knows of its trials.
        scale: name of the scale.
    """

    def __init__(self, study: str, progress: Callable[[], Progress], *, scale: str) -> None:
        self._study = study
        self._progress = progress
        self._scale = scale
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._count, name="event-log", daemon=True)

    def __enter__(self) -> EventLog:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def note(self, text: str) -> None:
        """Logs what a person should know."""
        self._log("note", level=logging.WARNING, text=text)

    def see(self, event: Event) -> None:
        """Logs one event of the engine."""
        from sweeper.engine import Died, Ended, Lost, Parked, Saved, Started

        if isinstance(event, Started):
            names = ("slot", "host", "pid", "place")
            slot: dict[str, Any] = {name: getattr(event, name) for name in names}
            for key in self._progress().members(event.order):
                self._log("trial_started", **self._trial(key), order=event.order, **slot)
        elif isinstance(event, Saved):
            self._log("checkpoint", **self._trial(event.key), step=event.step)
        elif isinstance(event, Ended):
            self._ended(event)
        elif isinstance(event, Lost):
            what = "node_lost" if event.node else "worker_lost"
            self._log(what, level=logging.WARNING, order=event.order, reason=event.reason)
        elif isinstance(event, Died):
            said: dict[str, Any] = {"slot": event.slot, "reason": event.reason}
            self._log("worker_died_idle", level=logging.WARNING, **said)
        elif isinstance(event, Parked):
            self._log("slot_parked", level=logging.WARNING, slot=event.slot)

    def _ended(self, event: Ended) -> None:
        outcome = event.outcome
        trial = self._trial(outcome.key)
        for text in event.warnings:
            self._log("warning", level=logging.WARNING, **trial, text=text)
        spent: dict[str, Any] = {
            "outcome": outcome.kind,
            "attempt": outcome.attempt,
            "step": outcome.step,
            "device_seconds": outcome.device_seconds,
            "host": outcome.host,
        }
        if outcome.accepted:
            more: dict[str, Any] = {"metrics": dict(outcome.metrics), "adopted": event.adopted}
            self._log("trial_finished", **trial, **spent, **more)
        elif outcome.kind in FAILED:
            error = first_line(outcome.error)
            self._log("trial_failed", level=logging.ERROR, **trial, **spent, error=error)
        else:
            self._log("trial_stopped", **trial, **spent)

    def _trial(self, key: str) -> dict[str, Any]:
        places = self._progress().places(key)
        variants = list(dict.fromkeys(variant for variant, _ in places))
        return {"key": key, "variants": variants, self._scale: places[0][1] if places else None}

    def _log(self, event: str, *, level: int = logging.INFO, **fields: Any) -> None:
        log_event(event, level=level, study=self._study, **fields)

    def _count(self) -> None:
        while not self._over.wait(PROGRESS_SECONDS):
            self._log("progress", **counts(self._progress().view()))


def counts(view: View) -> dict[str, Any]:
    """Returns the numbers of a view."""
    numbers = {name: value for name, value in asdict(view).items() if _is_number(value)}
    return {**numbers, "slots": len(view.slots), "left": view.left}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value

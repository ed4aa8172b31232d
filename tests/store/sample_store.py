"""Small studies, and ways to look at a store from another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.outcome import Mark, Outcome, OutcomeKind
from sweeper.store.owner import Owner
from sweeper.store.records import Membership, StudyRecord
from sweeper.store.store import Store
from sweeper.trial import Trial

ELSEWHERE = Owner(id="elsewhere-1", host="another.machine", pid=1, started="boot/ns:1")
"""An owner of which this machine can know nothing."""

TABLES = {
    "studies": "name",
    "trials": "key",
    "study_trials": "study, variant, position",
    "attempts": "id",
    "results": "trial_key",
    "marks": "trial_key, step, metric",
    "probes": "shape_hash",
    "estimates": "id",
    "wishes": "id",
    "controllers": "owner",
}

DUMP = """
import json, sys
from sweeper.store.store import Store
with Store.open(sys.argv[1], create=False, read_only=True) as store:
    tables = json.loads(sys.argv[2])
    print(json.dumps({t: store.query(f"select * from {t} order by {o}").rows
                      for t, o in tables.items()}))
"""


def study(name: str = "widths", *, metric: str = "val_loss", goal: Any = "min") -> StudyRecord:
    return StudyRecord(
        name=name,
        question="Does it transfer?",
        workload="quadratic",
        scale="width",
        metric=metric,
        goal=goal,
        document={"name": name, "sweep": {"width": [32, 64]}},
    )


def trial(index: int, *, seed: int = 0, **settings: Any) -> Trial:
    config = {"width": 32, "learning_rate": (index + 1) / 1024, "optimizer": "adamw"} | settings
    return Trial.of(
        workload="quadratic",
        version="1.0.0",
        data="none",
        config=config,
        seed=seed,
        derived={"params": 1000, "steps": 10, "tokens": 640, "flops": 6.0e5},
    )


def trials(count: int) -> list[Trial]:
    return [trial(index) for index in range(count)]


def members(declared: Sequence[Trial], variant: str = "default") -> list[Membership]:
    return [Membership(trial=item, variant=variant) for item in declared]


def outcome(
    key: str,
    kind: OutcomeKind = "completed",
    *,
    attempt: int = 1,
    loss: float = 2.5,
    **fields: Any,
) -> Outcome:
    values: dict[str, Any] = {
        "metrics": {"val_loss": loss, "train_loss": loss - 0.5} if kind == "completed" else {},
        "step": 10,
        "tokens": 640,
        "flops": 6.0e5,
        "device_seconds": 1.5,
        "wall_seconds": 2.0,
        "device": "cpu",
        "host": "here",
        "environment": {"torch": "2.6", "commit": "abc", "threads": 1},
        "marks": (Mark(step=5, tokens=320, metric="val_loss", value=loss + 1),),
    }
    return Outcome(key=key, attempt=attempt, kind=kind, **(values | fields))


def save(store: Store, count: int, name: str = "widths") -> list[str]:
    """Saves a study of so many trials; returns their keys."""
    declared = trials(count)
    store.save_study(study(name), members(declared))
    return [item.key for item in declared]


def dump(store: Store) -> dict[str, Any]:
    """Returns every row of every table, as this process sees them."""
    rows = {
        table: store.query(f"select * from {table} order by {order}").rows
        for table, order in TABLES.items()
    }
    found: dict[str, Any] = json.loads(json.dumps(rows))
    return found


def dump_from_a_new_process(location: str) -> dict[str, Any]:
    """Returns every row of every table, as a process that opens the store now sees them."""
    done = subprocess.run(
        [sys.executable, "-c", DUMP, location, json.dumps(TABLES)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def spawn(script: str, *arguments: str, env: Mapping[str, str] | None = None) -> Any:
    """Starts a Python process that runs a script, with pipes for text in and out."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )

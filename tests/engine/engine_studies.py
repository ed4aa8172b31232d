"""Small studies for tests of the engine, and orders to run outside of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sweeper.engine.messages import Ended, Event, Order, Shape, Task
from sweeper.engine.packing import Pack
from sweeper.engine.run import Run
from sweeper.outcome import Outcome
from sweeper.store.files.local import LocalFiles
from sweeper.store.files.paths import Paths
from sweeper.store.store import Store
from sweeper.study.plan import expand, unique_trials
from sweeper.study.study import Study
from sweeper.study.workloads import find_card
from sweeper.trial import Trial

RATES = [0.015625, 0.03125, 0.0625]
"""Learning rates around the planted optimum."""

TINY_LLAMA: Mapping[str, Any] = {
    "width": 16,
    "depth": 1,
    "context": 16,
    "batch_size": 4,
    "steps": 12,
    "evals": 3,
    "eval_tokens": 128,
}
"""A llama that trains in a fraction of a second."""


def planted(
    name: str = "planted",
    *,
    fixed: Mapping[str, Any] | None = None,
    sweep: Mapping[str, Any] | None = None,
    **sections: Any,
) -> Study:
    """Returns a study of the planted workload: two widths, three rates, one seed."""
    axes = {"width": [32, 64], "learning_rate": RATES} | dict(sweep or {})
    return Study.from_document(
        {
            "name": name,
            "workload": "planted",
            "scale": "width",
            "fixed": ({} if "steps" in axes else {"steps": 4}) | dict(fixed or {}),
            "sweep": axes,
            **sections,
        }
    )


def trials_of(study: Study) -> list[Trial]:
    """Returns the trials of a study, each once, in the order of the plan."""
    return list(unique_trials(expand(study)).values())


def packs_of(study: Study, shape: Shape | None = None, *, size: int = 1) -> list[Pack]:
    """Returns the trials of a study in packs of ``size``."""
    trials = trials_of(study)
    return [
        Pack(shape=shape or Shape(), trials=tuple(trials[start : start + size]))
        for start in range(0, len(trials), size)
    ]


def order_of(
    root: Path,
    configs: Sequence[Mapping[str, Any]],
    *,
    workload: str = "planted",
    number: int = 1,
    attempt: int = 1,
    checkpoint_seconds: float = 300.0,
    data: str | None = None,
) -> Order:
    """Returns an order of one task a config; ``seed`` may be among the settings."""
    tasks = tuple(task_of(config, workload=workload, attempt=attempt) for config in configs)
    if data is not None:
        tasks = tuple(Task(**{**vars(task), "data": data}) for task in tasks)
    return Order(
        number=number,
        workload=workload,
        shape=Shape(),
        tasks=tasks,
        paths=Paths(LocalFiles(root)),
        checkpoint_seconds=checkpoint_seconds,
    )


def task_of(config: Mapping[str, Any], *, workload: str = "planted", attempt: int = 1) -> Task:
    """Returns a task under its real key."""
    card = find_card(workload)
    given = dict(config)
    seed = int(given.pop("seed", 0))
    resolved = card.resolve(given)
    trial = Trial.of(
        workload=workload,
        version=card.version,
        data=card.data_fingerprint(resolved.config),
        config=resolved.config,
        seed=seed,
        derived=resolved.derived,
    )
    return Task(
        key=trial.key,
        attempt=attempt,
        config=trial.config,
        seed=seed,
        flops=float(trial.derived["flops"]),
        steps=int(trial.derived["steps"]),
        tokens=int(trial.derived["tokens"]),
        data=trial.data,
    )


def outcomes_in(events: Sequence[Event]) -> list[Outcome]:
    """Returns the outcomes among events, in order."""
    return [event.outcome for event in events if isinstance(event, Ended)]


def warnings_in(events: Sequence[Event]) -> list[str]:
    """Returns the warnings that came with outcomes."""
    return [text for event in events if isinstance(event, Ended) for text in event.warnings]


def bits(store: Store, name: str) -> list[tuple[Any, ...]]:
    """Returns variant, key, outcome and the exact loss of every member of a study, and the exact
    marks: all that must not depend on how a study was run."""
    frame = store.frame(name).sort_values(["variant", "key"])
    rows = [
        (row["variant"], row["key"], row["outcome"], float(row["loss"]).hex())
        for row in frame.to_dict("records")
    ]
    marks = store.marks(name).sort_values(["variant", "key", "step", "metric"])
    values = [
        (row["variant"], row["key"], row["step"], row["metric"], float(row["value"]).hex())
        for row in marks.to_dict("records")
    ]
    return [*rows, *values]


def losses(store: Store, name: str) -> dict[tuple[Any, ...], tuple[str, str]]:
    """Returns outcome and exact loss by width, rate and seed: what studies have in common that
    differ in their speed alone."""
    return {
        (row["width"], row["learning_rate"], row["seed"]): (
            str(row["outcome"]),
            float(row["loss"]).hex(),
        )
        for row in store.frame(name).to_dict("records")
    }


def attempts_of(store: Store, columns: str = "state") -> list[tuple[Any, ...]]:
    """Returns columns of every attempt in a store, in the order of their start."""
    return store.query(f"select {columns} from attempts order by id").rows


def adds_up(store: Store, name: str) -> bool:
    """Returns whether every declared trial is accounted for once."""
    account = store.account(name)
    ended = account.done + account.diverged + account.dominated + account.failed
    return ended + account.running + account.pending == account.declared


def starter(executor: str, request: pytest.FixtureRequest) -> Callable[..., Run]:
    """Returns what makes a run of a study on a store, for an executor: ``ray`` joins the cluster
    of the tests."""
    options: dict[str, Any] = {"executor": executor}
    if executor == "ray":
        options["address"] = request.getfixturevalue("ray_cluster").address

    def make(asked: Study, store: Store, **more: Any) -> Run:
        return Run(asked, store, **options, **more)

    return make

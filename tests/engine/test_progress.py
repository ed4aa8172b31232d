"""What a run shows of itself."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_studies import planted

from sweeper.engine.messages import Advanced, Died, Ended, Lost, Order, Shape, Started, Task
from sweeper.engine.progress import SAID_PER_CAUSE, Progress
from sweeper.outcome import Outcome
from sweeper.store.files.local import LocalFiles
from sweeper.store.files.paths import Paths
from sweeper.study.plan import expand, unique_trials
from sweeper.trial import Trial

PLANNED = expand(planted(fixed={"steps": 10}))
TRIALS = list(unique_trials(PLANNED).values())
"""Three of width 32 and 10240 FLOPs, then three of width 64 and 40960 FLOPs."""


def progress(*before: Outcome, goal: str = "min", **options: Any) -> Progress:
    made = Progress(hyperparameters=("learning_rate",), metric="val_loss", goal=goal, **options)
    made.add(PLANNED, {outcome.key: outcome for outcome in before})
    return made


def result(trial: Trial, loss: float | None = None) -> Outcome:
    if loss is None:
        return Outcome(key=trial.key, attempt=1, kind="diverged")
    return Outcome(key=trial.key, attempt=1, kind="completed", metrics={"val_loss": loss})


def order(number: int, *trials: Trial) -> Order:
    tasks = tuple(
        Task(
            key=trial.key,
            attempt=1,
            config=trial.config,
            seed=0,
            flops=float(trial.derived["flops"]),
            steps=10,
            tokens=10,
            data="none",
        )
        for trial in trials
    )
    return Order(
        number=number,
        workload="planted",
        shape=Shape(),
        tasks=tasks,
        paths=Paths(LocalFiles(Path("/nowhere"))),
        checkpoint_seconds=1.0,
    )


def ended(number: int, trial: Trial, loss: float | None = 1.0, **fields: Any) -> Ended:
    values: dict[str, Any] = {
        "kind": "completed",
        "metrics": {} if loss is None else {"val_loss": loss},
        "flops": float(trial.derived["flops"]),
    }
    outcome = Outcome(key=trial.key, attempt=1, **(values | fields))
    return Ended(order=number, outcome=outcome)


def start(seen: Progress, number: int, *trials: Trial) -> None:
    seen.ordered(order(number, *trials))
    seen.handle(Started(order=number, slot=f"slot{number}", host="here", pid=1))


def test_a_new_board_knows_what_earlier_runs_did() -> None:
    view = progress(result(TRIALS[0], 1.0), result(TRIALS[1])).view()
    assert (view.total, view.done, view.diverged, view.running, view.failed) == (6, 1, 1, 0, 0)
    assert view.left is None
    assert view.rate == 0.0


def test_an_order_runs_once_a_slot_has_begun_it() -> None:
    seen = progress()
    seen.ordered(order(1, *TRIALS[:2]))
    assert seen.view().running == 0
    seen.handle(Started(order=1, slot="slot1", host="here", pid=1))
    assert seen.view().running == 2
    assert seen.view().slots == ("slot1",)


def test_the_members_of_a_pack_end_one_by_one() -> None:
    seen = progress()
    start(seen, 1, *TRIALS[:3])
    seen.handle(ended(1, TRIALS[0]))
    seen.handle(ended(1, TRIALS[1], None, kind="diverged"))
    view = seen.view()
    assert (view.done, view.diverged, view.running) == (1, 1, 1)
    assert seen.finished == {TRIALS[0].key, TRIALS[1].key}


def test_a_failure_is_counted_once_and_told_in_one_line() -> None:
    seen = progress()
    for number in (1, 2):
        start(seen, number, TRIALS[0])
        seen.handle(ended(number, TRIALS[0], None, kind="bug", error="Traceback\n  ...\nboom\n"))
    view = seen.view()
    assert view.failed == 1
    assert view.notes == (f"trial {TRIALS[0].key[:12]} failed: boom",) * 2, "each time"


def test_a_result_after_a_failure_takes_the_failure_back() -> None:
    seen = progress()
    start(seen, 1, TRIALS[0])
    seen.handle(ended(1, TRIALS[0], None, kind="bug", error="given up"))
    seen.handle(ended(1, TRIALS[0]))
    assert (seen.view().done, seen.view().failed) == (1, 0)


def test_a_late_second_result_is_counted_once() -> None:
    seen = progress()
    start(seen, 1, TRIALS[0])
    seen.handle(ended(1, TRIALS[0]))
    seen.handle(ended(2, TRIALS[0]))
    view = seen.view()
    assert view.done == 1
    assert view.best["default", 32.0].trials == 1


def test_a_stopped_trial_is_neither_done_nor_running() -> None:
    seen = progress()
    start(seen, 1, TRIALS[0])
    seen.handle(ended(1, TRIALS[0], None, kind="stopped"))
    view = seen.view()
    assert (view.done, view.failed, view.running) == (0, 0, 0)


def test_a_lost_order_no_longer_runs_and_is_told() -> None:
    seen = progress()
    start(seen, 1, *TRIALS[:2])
    seen.handle(Lost(order=1, reason="the worker died"))
    assert seen.view().running == 0
    assert seen.view().notes == ("the worker died",)


def test_an_idle_death_is_told() -> None:
    seen = progress()
    seen.handle(Died(slot="slot3", reason="no module named torch"))
    seen.note("the rest")
    assert seen.view().notes == ("slot3 died idle: no module named torch", "the rest")


def test_rate_and_time_left_follow_from_flops() -> None:
    now = [100.0]
    seen = progress(clock=lambda: now[0])
    now[0] = 105.0
    start(seen, 1, TRIALS[0])
    start(seen, 2, TRIALS[3])
    now[0] = 115.0
    seen.handle(ended(1, TRIALS[0]))
    seen.handle(Advanced(order=2, fraction=0.25))
    view = seen.view()
    total = sum(float(trial.derived["flops"]) for trial in TRIALS)
    done = 10_240 + 0.25 * 40_960
    assert view.elapsed == 15.0
    assert view.worked == 10.0
    assert view.rate == pytest.approx(0.1)
    assert view.flops_rate == pytest.approx(done / 10)
    assert view.left == pytest.approx((total - done) / (done / 10))


def test_the_time_left_is_zero_at_the_end() -> None:
    now = [100.0]
    seen = progress(result(TRIALS[0], 1.0), clock=lambda: now[0])
    start(seen, 1, *TRIALS[1:])
    now[0] = 110.0
    for trial in TRIALS[1:]:
        seen.handle(ended(1, trial))
    assert seen.view().left == pytest.approx(0.0)
    assert seen.view().done == 6


@pytest.mark.parametrize(("goal", "best"), [("min", 1.0), ("max", 3.0)])
def test_the_best_trial_per_variant_and_scale_is_shown(goal: str, best: float) -> None:
    seen = progress(goal=goal)
    start(seen, 1, *TRIALS)
    for trial, loss in zip(TRIALS, (2.0, 1.0, 3.0, 5.0), strict=False):
        seen.handle(ended(1, trial, loss))
    view = seen.view()
    found = view.best["default", 32.0]
    winner = TRIALS[(2.0, 1.0, 3.0).index(best)]
    assert (found.objective, found.trials) == (best, 3)
    assert found.setting == {"learning_rate": winner.config["learning_rate"]}
    assert view.best["default", 64.0].objective == 5.0


@pytest.mark.parametrize("goal", ["min", "max"])
def test_a_diverged_trial_is_the_best_only_while_it_is_the_only_one(goal: str) -> None:
    seen = progress(goal=goal)
    start(seen, 1, *TRIALS)
    seen.handle(ended(1, TRIALS[0], None, kind="diverged"))
    assert math.isinf(seen.view().best["default", 32.0].objective)
    seen.handle(ended(1, TRIALS[1], 9.0))
    seen.handle(ended(1, TRIALS[2], None, kind="diverged"))
    found = seen.view().best["default", 32.0]
    assert (found.objective, found.trials) == (9.0, 3)


def test_results_of_earlier_runs_are_in_the_table_of_the_best() -> None:
    seen = progress(result(TRIALS[0], 0.5))
    start(seen, 1, TRIALS[1])
    seen.handle(ended(1, TRIALS[1], 0.7))
    found = seen.view().best["default", 32.0]
    assert (found.objective, found.trials) == (0.5, 2)
    assert seen.finished == {TRIALS[1].key}


def test_failures_with_one_cause_are_told_one_by_one_a_few_times_only() -> None:
    seen = progress()
    for number, trial in enumerate(TRIALS * 3, start=1):
        start(seen, number, trial)
        seen.handle(ended(number, trial, None, kind="bug", error="boom"))
    notes = [note for note in seen.view().notes if "boom" in note]
    assert len(notes) == SAID_PER_CAUSE
    assert notes[-1].endswith("failed: boom (others that fail likewise are counted)")


def test_results_that_others_bring_in_are_counted() -> None:
    seen = progress()
    before = seen.view()
    seen.found({TRIALS[0].key: result(TRIALS[0], 0.5), TRIALS[1].key: result(TRIALS[1])})
    after = seen.view()
    assert (after.done - before.done, after.diverged - before.diverged) == (1, 1)
    assert after.best["default", 32.0].objective == 0.5


def test_trials_that_are_added_count_once_and_bring_their_results() -> None:
    seen = Progress(hyperparameters=("learning_rate",), metric="val_loss", goal="min")
    seen.add(PLANNED[:2], {})
    start(seen, 1, TRIALS[0])
    seen.handle(ended(1, TRIALS[0], 1.0))
    seen.add(PLANNED[1:4], {TRIALS[2].key: result(TRIALS[2], 0.5)})
    view = seen.view()
    assert (view.total, view.done, view.best["default", 32.0].objective) == (4, 2, 0.5)
    assert view.left is not None and view.left > 0


def test_results_found_in_files_are_counted_apart_and_take_no_time() -> None:
    seen = progress()
    start(seen, 1, TRIALS[0])
    event = ended(1, TRIALS[0], 1.0)
    seen.handle(replace(event, adopted=True))
    view = seen.view()
    assert (view.done, view.adopted, view.flops_rate) == (1, 1, 0.0)

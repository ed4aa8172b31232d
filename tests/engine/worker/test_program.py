"""What is kept of programs that say and print more than anybody needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from engine_studies import order_of
from hosts import planted
from pyarrow import parquet

from sweeper.engine.worker import program
from sweeper.engine.worker.attempt import AttemptLog
from sweeper.engine.worker.program import MOST_MARKS, MOST_ROWS, Printed, evenly, one_a_step
from workloads.workload import Measurement


def said(step: int, mark: bool = False, **metrics: float) -> Measurement:
    return Measurement(member=0, step=step, tokens=step, metrics=metrics, mark=mark)


def test_items_are_thinned_evenly_with_their_ends() -> None:
    assert evenly([*range(10)], 10) == [*range(10)]
    assert evenly([*range(11)], 6) == [0, 2, 4, 6, 8, 10]
    thinned = evenly([*range(1_000)], 7)
    assert (thinned[0], thinned[-1], len(thinned)) == (0, 999, 7)


def test_what_is_said_of_one_step_is_one_row_in_the_order_of_steps() -> None:
    rows = [{"step": 2, "a": 1.0}, {"step": 1, "a": 0.5}, {"step": 2, "b": 3.0, "a": 2.0}]
    assert one_a_step(rows) == [{"step": 1, "a": 0.5}, {"step": 2, "a": 2.0, "b": 3.0}]


def test_a_program_that_says_much_has_a_curve_and_marks_of_bounded_length(tmp_path: Path) -> None:
    order = order_of(tmp_path, [planted()])
    log = AttemptLog(order.tasks[0], order.paths)
    log.bounded = True
    last = 5 * MOST_ROWS
    for step in range(1, last + 1):
        log.add(said(step, loss=1 / step))
        if step % 10 == 0:
            log.add(said(step, mark=True, val_loss=1 / step))
    outcome = log.outcome("diverged", device="cpu", host="here", environment={}, error=None)
    assert outcome.curve is not None
    steps = parquet.read_table(tmp_path / outcome.curve)["step"].to_pylist()
    assert MOST_ROWS // 2 < len(steps) <= MOST_ROWS
    assert steps == sorted({*steps})
    assert (steps[0], steps[-1]) == (1, last)
    assert MOST_MARKS // 2 < len(outcome.marks) <= MOST_MARKS
    assert (outcome.marks[0].step, outcome.marks[-1].step) == (10, last)
    assert outcome.flops == order.tasks[0].flops, "more steps than planned are no more FLOPs"


def test_what_begins_anew_replaces_what_was_said_from_there_on(tmp_path: Path) -> None:
    order = order_of(tmp_path, [planted()])
    log = AttemptLog(order.tasks[0], order.paths)
    for step in (1, 2, 3):
        log.add(said(step, loss=9.0))
        log.add(said(step, mark=True, val_loss=9.0))
    log.add(Measurement(member=0, step=2, tokens=2, metrics={"loss": 1.0}, anew=True))
    log.add(said(2, mark=True, val_loss=1.0))
    outcome = log.outcome("diverged", device="cpu", host="here", environment={}, error=None)
    assert [(mark.step, mark.value) for mark in outcome.marks] == [(1, 9.0), (2, 1.0)]
    assert outcome.curve is not None
    assert parquet.read_table(tmp_path / outcome.curve)["loss"].to_pylist() == [9.0, 1.0]


class Printer:
    """A program that prints."""

    text = ""

    def output(self) -> str:
        return self.text

    def has_checkpoint(self) -> bool:
        return False

    def wind_up(self) -> Sequence[Measurement]:
        return []


def test_output_is_written_in_time_and_only_where_there_is_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = order_of(tmp_path, [planted()])
    (task,) = order.tasks
    path = tmp_path / order.paths.output(task.key, 1)
    printer = Printer()
    printed = Printed(printer, task, order.paths)
    printer.text = "one\r\n\udc80"
    printed.keep_in_time()
    assert not path.exists(), "it is too soon"
    monkeypatch.setattr(program, "KEEP_SECONDS", 0.0)
    Printed(printer, task, order.paths).keep_in_time()
    assert path.read_bytes() == b"one\r\n\\udc80"
    before = path.stat().st_ino
    printed.keep()
    printed.keep()
    assert path.stat().st_ino != before
    again = path.stat().st_ino
    printed.keep()
    assert path.stat().st_ino == again


def test_a_disk_that_does_not_take_the_output_is_no_fault_of_the_trial(tmp_path: Path) -> None:
    order = order_of(tmp_path, [planted()])
    (tmp_path / "logs").write_text("a file in the way")
    printer = Printer()
    printer.text = "said"
    Printed(printer, order.tasks[0], order.paths).keep()

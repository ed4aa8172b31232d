"""Runs whose trials are processes, inline and on Ray: results, failures, checkpoints, output."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_card import NAME, program
from engine_studies import adds_up, attempts_of, starter
from pyarrow import parquet

from sweeper.engine.run import Run
from sweeper.store.store import Store
from sweeper.study.study import Study

LEARNS = """
import json, os, signal, sys, time
rate, steps, hold, folder = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
path = os.path.join(folder, "state.json")
step = json.load(open(path))["step"] if folder and os.path.exists(path) else 0
print("from step", step, "rate", rate, file=sys.stderr, flush=True)
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1) if folder else sys.exit(1))
while step < steps:
    step += 1
    print(json.dumps({"step": step, "train_loss": rate + 2 / step}), flush=True)
    print(json.dumps({"step": step, "val_loss": rate + 1 / step}), flush=True)
    if rate > 0.75 and step == 2:
        print(json.dumps({"step": 3, "train_loss": float("nan")}), flush=True)
    if rate > 0.6 and step == 2:
        raise ValueError("the rate is odd")
    if step == 3 and hold and not os.path.exists(hold):
        open(hold, "w").close()
        while not asked:
            time.sleep(0.01)
    if asked:
        json.dump({"step": step}, open(path, "w"))
        sys.exit(1)
"""
"""Learns for some steps; fails above a rate of 0.6, and diverges above 0.75. Once, where a file
is not there yet, it makes that and waits after three steps until it is asked to end."""


def study(
    *, hold: Path | str = "", steps: int = 4, resumable: bool = False, **sections: Any
) -> Study:
    folder = "{checkpoint}" if resumable else ""
    words = ["{learning_rate}", "{steps}", str(hold), folder]
    text = program(LEARNS, *words, resumable=resumable)
    return Study.from_document(
        {
            "name": "script",
            "workload": NAME,
            "scale": "width",
            "fixed": {"program": text, "steps": steps},
            "sweep": {"width": [32, 64], "learning_rate": [0.25, 0.5]},
            **sections,
        }
    )


INLINE = ["inline"]


@pytest.fixture(params=INLINE)
def start(request: pytest.FixtureRequest) -> Callable[..., Run]:
    """Returns what makes a run for the executor under test."""
    return starter(request.param, request)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


def curves(store: Store) -> dict[str, dict[str, list[float]]]:
    """Returns the curve of every result, by key."""
    found = {}
    for key, name in store.query("select trial_key, curve from results").rows:
        with store.paths.files.open(name) as source:
            found[key] = parquet.read_table(source).to_pydict()
    return found


def outputs(store: Store) -> dict[tuple[str, int], str]:
    """Returns what was kept of every attempt's output, by key and number."""
    found = {}
    for key, _ in store.paths.output_files():
        for number, name in store.paths.outputs_of(key).items():
            with store.paths.files.open(name) as source:
                found[key, number] = source.read().decode()
    return found


def whole_curve(rate: float, steps: int) -> dict[str, list[float]]:
    numbers = range(1, steps + 1)
    return {
        "step": [*numbers],
        "tokens": [*numbers],
        "train_loss": [rate + 2 / step for step in numbers],
        "val_loss": [rate + 1 / step for step in numbers],
    }


def check(store: Store, asked: Study, steps: int) -> None:
    """Checks that every trial has one result, with the marks and curve of an undisturbed run."""
    frame = store.frame(asked.name)
    assert list(frame["outcome"]) == ["completed"] * len(frame)
    assert list(frame["loss"]) == [rate + 1 / steps for rate in frame["learning_rate"]]
    found = curves(store)
    for row in frame.to_dict("records"):
        assert found[row["key"]] == whole_curve(row["learning_rate"], steps)
    marks = store.marks(asked.name)
    assert len(marks) == steps * len(frame)
    assert set(marks["metric"]) == {"val_loss"}


def test_trials_are_processes_and_what_they_print_is_kept(
    start: Callable[..., Run], store: Store
) -> None:
    asked = study()
    summary = start(asked, store).execute()
    assert (summary.finished, summary.failed) == (4, 0)
    check(store, asked, 4)
    kept = outputs(store)
    assert len(kept) == 4
    for text in kept.values():
        assert "from step 0" in text and '{"step": 4, "val_loss"' in text
    assert start(asked, store).execute().reused == 4
    assert not [*store.paths.checkpoint_folders()]


def test_failures_and_divergences_are_told_apart_with_their_causes(
    start: Callable[..., Run], store: Store
) -> None:
    sweep = {"width": [32], "learning_rate": [0.25, 0.7, 0.8]}
    asked = study(sweep=sweep)
    summary = start(asked, store).execute()
    assert (summary.finished, summary.failed) == (2, 1)
    account = store.account(asked.name)
    assert (account.done, account.diverged, account.failed) == (1, 1, 1)
    assert [(cause.cause, cause.count) for cause in account.causes] == [
        ("bug: exit code 1: ValueError: the rate is odd", 1)
    ]
    ((error,),) = store.query("select error from attempts where state = 'bug'").rows
    assert 'File "<string>", line' in error and "workloads" not in error, "none of ours"
    assert len(outputs(store)) == 3


def stop_once(run: Run, hold: Path) -> threading.Thread:
    """Stops a run from another thread once a trial waits for it."""

    def watch() -> None:
        until = time.monotonic() + 60
        while not hold.exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        run.stop()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("start", "resumable"),
    [("inline", False), ("inline", True), pytest.param("ray", True, marks=pytest.mark.ray)],
    indirect=["start"],
)
def test_a_stopped_trial_goes_on_from_its_folder_or_begins_anew_and_its_curve_is_one(
    resumable: bool, start: Callable[..., Run], store: Store, tmp_path: Path
) -> None:
    sweep = {"width": [32], "learning_rate": [0.5]}
    hold = tmp_path / "hold"
    asked = study(hold=hold, steps=5, resumable=resumable, sweep=sweep)
    run = start(asked, store)
    watcher = stop_once(run, hold)
    summary = run.execute()
    watcher.join()
    assert summary.interrupted and summary.failed == 0
    assert attempts_of(store, "state, step, error") == [("stopped", 3, None)]
    kept = [store.paths.kept_step(key) for key, _ in store.paths.checkpoint_folders()]
    assert kept == ([3] if resumable else [])
    assert start(asked, store).execute().finished == 1
    check(store, asked, 5)
    first, second = (text for _, text in sorted(outputs(store).items()))
    assert "from step 0" in first
    assert ("from step 0" in second) is not resumable
    assert adds_up(store, asked.name)
    assert not [*store.paths.checkpoint_folders()]


def test_a_checkpoint_with_which_a_program_cannot_begin_is_not_given_to_it_twice(
    start: Callable[..., Run], store: Store, tmp_path: Path
) -> None:
    code = """
import json, os, signal, sys, time
path = os.path.join(sys.argv[1], "state")
if os.path.exists(path):
    raise EOFError("the state is torn")
signal.signal(signal.SIGTERM, lambda *_: (open(path, "w"), sys.exit(1)))
if not os.path.exists(sys.argv[2]):
    open(sys.argv[2], "w").close()
    time.sleep(600)
print(json.dumps({"step": 1, "val_loss": 1.0}))
"""
    hold = tmp_path / "hold"
    fixed = {"program": program(code, "{checkpoint}", str(hold), resumable=True), "steps": 1}
    asked = study(fixed=fixed, sweep={"width": [32]})
    run = start(asked, store)
    watcher = stop_once(run, hold)
    assert run.execute().interrupted
    watcher.join()
    assert start(asked, store).execute().failed == 1
    (failed,) = store.query("select trial_key from attempts where state = 'bug'").rows
    store.forgive([failed[0]])
    assert start(asked, store).execute().finished == 1
    assert "torn" in outputs(store)[failed[0], 2]


def test_output_and_checkpoints_of_programs_lie_in_a_bucket_too(
    start: Callable[..., Run], s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPER_FILES", s3)
    asked = study(
        hold=tmp_path / "hold",
        resumable=True,
        sweep={"width": [32], "learning_rate": [0.5]},
    )
    with Store.open(f"sqlite:///{tmp_path}/database.db", create=True) as store:
        run = start(asked, store)
        watcher = stop_once(run, tmp_path / "hold")
        assert run.execute().interrupted
        watcher.join()
        assert [store.paths.kept_step(key) for key, _ in store.paths.checkpoint_folders()] == [3]
        assert start(asked, store).execute().finished == 1
        check(store, asked, 4)
        assert ["from step 0" in text for _, text in sorted(outputs(store).items())] == [
            True,
            False,
        ]

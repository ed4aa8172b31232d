"""What a run measures of itself, as a Prometheus scrapes it and node_exporter reads it."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_studies import order_of, planted
from prometheus_client.parser import text_string_to_metric_families

from sweeper.engine.messages import Advanced, Ended, Reached
from sweeper.engine.metrics import MOST_CAUSES, RunMetrics, Snapshot, published
from sweeper.engine.progress import Progress
from sweeper.engine.run import Run
from sweeper.errors import EnvironmentFault, RequestError
from sweeper.outcome import Outcome
from sweeper.store.records import Stand
from sweeper.store.store import Store

Samples = dict[tuple[str, str], float]
"""Values by the name of the sample and the label beside the study's name."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


def parsed(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = {n: v for n, v in sample.labels.items() if n not in ("study", "le")}
            assert len(labels) <= 1
            assert sample.name.startswith("process_") or sample.labels["study"] == "planted"
            found[sample.name, "".join(labels.values())] = sample.value
    return found


def scraped(address: str) -> Samples:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return parsed(answer.read().decode())


def test_a_run_is_scraped_with_its_trials_failures_and_store(store: Store) -> None:
    study = planted(
        sweep={"width": [32], "learning_rate": [0.03, 0.5], "misbehave": ["never", "bug"]},
        resources={"pack": 1},
    )
    run = Run(study, store, executor="inline")
    said: list[str] = []
    with published(run.metrics.registry, port=0, said=said.append):
        address = said[0].removeprefix("metrics at ")
        assert address.startswith("http://127.0.0.1:")
        before = scraped(address)
        assert (before["sweeper_trials", "pending"], before["sweeper_trials", "done"]) == (4, 0)
        summary = run.execute()
        now = scraped(address)
    assert summary.failed == 2
    assert (now["sweeper_trials", "done"], now["sweeper_trials", "failed"]) == (2, 2)
    assert now["sweeper_trials", "pending"] == now["sweeper_trials", "running"] == 0
    assert now["sweeper_failures_total", "bug: RuntimeError"] == 2
    assert now["sweeper_attempts_ended_total", "completed"] == 2
    assert now["sweeper_results_recorded_total", ""] == 2
    tokens = store.query("select sum(tokens) from results").rows[0][0]
    assert now["sweeper_tokens_total", ""] >= tokens > 0
    assert now["sweeper_store_seconds_count", "write"] >= 4
    assert now["sweeper_store_seconds_sum", "write"] > 0
    assert now["process_cpu_seconds_total", ""] > 0
    with pytest.raises(OSError):
        scraped(address)


def test_what_is_stopped_and_paused_is_told_apart_from_what_is_pending(store: Store) -> None:
    Run(planted(), store, executor="inline")
    keys = [row[0] for row in store.query("select key from trials").rows]
    store.make_wish("planted", "pause", keys=keys[:2], by="ann")
    store.make_wish("planted", "stop", keys=keys[2:3], by="ann")
    run = Run(planted(), store, executor="inline")
    states = next(iter(run.metrics.collect())).samples
    counts = {sample.labels["state"]: sample.value for sample in states}
    assert (counts["paused"], counts["stopped"], counts["pending"]) == (2, 1, 3)
    assert sum(counts.values()) == 6


def test_a_file_is_whole_at_the_end_and_named_as_node_exporter_wants_it(
    store: Store, tmp_path: Path
) -> None:
    run = Run(planted(), store, executor="inline")
    file = tmp_path / "sweeper.prom"
    with published(run.metrics.registry, file=file):
        assert parsed(file.read_text())["sweeper_trials", "pending"] == 6
        run.execute()
    assert parsed(file.read_text())["sweeper_trials", "done"] == 6
    assert [path.name for path in tmp_path.glob("sweeper.prom*")] == ["sweeper.prom"]
    with (
        pytest.raises(RequestError, match=r"end in \.prom alone; name it sweeper\.prom"),
        published(run.metrics.registry, file=tmp_path / "sweeper.txt"),
    ):
        pass


def test_a_place_that_cannot_be_had_is_told(store: Store, tmp_path: Path) -> None:
    registry = Run(planted(), store, executor="inline").metrics.registry
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(EnvironmentFault, match=rf"127\.0\.0\.1:{port}: Address already in use"),
            published(registry, port=port),
        ):
            pass
    with (
        pytest.raises(EnvironmentFault, match=r"none/x\.prom: it cannot be written: No such file"),
        published(registry, file=tmp_path / "none" / "x.prom"),
    ):
        pass


def test_causes_of_failure_are_few_and_hold_no_messages(store: Store) -> None:
    view = Run(planted(), store, executor="inline").progress.view()
    metrics = RunMetrics("planted", lambda: Snapshot(view=view, stopped=0, paused=0, recorded=0))
    errors = [f"Error{n}: of its own" for n in range(2 * MOST_CAUSES)]
    for error in [*errors, "a sentence with, say, /tmp/a/path", "ValueError: 17 is not 18"]:
        outcome = Outcome(key="k", attempt=1, kind="bug", error=error)
        metrics.see(Ended(order=1, outcome=outcome))
    families = {family.name: family for family in metrics.collect()}
    causes = {s.labels["cause"]: s.value for s in families["sweeper_failures"].samples}
    assert len(causes) <= MOST_CAUSES + 1
    assert causes["bug: Error0"] == 1 and causes["bug: others"] > 1
    assert sum(causes.values()) == len(errors) + 2


def test_tokens_before_the_checkpoint_that_a_trial_went_on_from_are_not_counted(
    tmp_path: Path,
) -> None:
    progress = Progress(hyperparameters=(), metric="val_loss", goal="min")
    config = {"width": 32, "learning_rate": 0.03, "steps": 100}
    order = order_of(tmp_path, [config])
    (task,) = order.tasks
    progress.ordered(order)
    for step in (60, 80):
        reached = Reached(key=task.key, step=step, began=50, loss=2.5)
        progress.handle(Advanced(order=1, fraction=step / 100, reached=(reached,)))
    assert progress.view().tokens == pytest.approx(task.tokens * 0.3)
    assert progress.stands() == {task.key: Stand(step=80, loss=2.5)}
    stopped = Outcome(key=task.key, attempt=1, kind="stopped", step=90)
    progress.handle(Ended(order=1, outcome=stopped))
    assert progress.view().tokens == pytest.approx(task.tokens * 0.4)
    assert progress.stands() == {}

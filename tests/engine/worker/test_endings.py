"""However a trial ends, it is that trial's outcome and never the end of the run."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import altered_card
import pytest
from engine_studies import order_of, outcomes_in, planted, trials_of
from hosts import finish
from hosts import planted as config

from sweeper.engine.run import Run
from sweeper.engine.worker.attempt import LONGEST_ERROR
from sweeper.engine.worker.host import Host
from sweeper.outcome import Outcome, cause
from sweeper.store.store import Store
from sweeper.study.study import Study


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[altered_card.AlteredCard]:
    """Yields the card with its switches as they were; Ctrl-C is handled, as in every run."""
    handler = signal.signal(signal.SIGINT, lambda number, frame: None)
    altered_card.CARD.__dict__.clear()
    yield altered_card.CARD
    altered_card.CARD.__dict__.clear()
    signal.signal(signal.SIGINT, handler)


def ended(folder: Path, *, metric: str = "val_loss") -> Outcome:
    """Returns how a trial ends."""
    order = order_of(
        folder, [config()], workload=altered_card.NAME, data=str(altered_card.CARD.fingerprint)
    )
    (outcome,) = outcomes_in(finish(Host(replace(order, metric=metric))))
    return outcome


class Unsayable(Exception):
    """An exception of which nothing can be said."""

    def __str__(self) -> NoReturn:
        raise SystemExit("no words")


class Nameless(type):
    """A kind of exceptions whose names cannot be read."""

    @property
    def __name__(cls) -> NoReturn:
        raise ValueError("no name")

    __module__ = __name__


class Unnameable(Exception, metaclass=Nameless):
    """An exception that cannot even be asked what it is."""

    @property
    def __class__(self) -> NoReturn:
        raise SystemExit("no class")


def raises(fault: BaseException) -> Callable[[], NoReturn]:
    """Returns what raises an exception."""

    def deed() -> NoReturn:
        raise fault

    return deed


HINT = "\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"

DEEDS: dict[str, tuple[Callable[[], Any], str]] = {
    "sys.exit": (lambda: sys.exit(0), "SystemExit: 0"),
    "os._exit": (lambda: os._exit(0), "SystemExit: os._exit(0) was called"),
    "Ctrl-C": (raises(KeyboardInterrupt()), "KeyboardInterrupt"),
    "GeneratorExit": (raises(GeneratorExit()), "GeneratorExit"),
    "BaseException": (raises(BaseException("x")), "BaseException: x"),
    "group": (raises(BaseExceptionGroup("g", [SystemExit(1)])), "BaseExceptionGroup: g (1 sub"),
    "unsayable": (raises(Unsayable()), "Unsayable: <its message cannot be shown>"),
    "boilerplate": (raises(RuntimeError("CUDA error: no" + HINT)), "RuntimeError: CUDA error: no"),
    "empty": (raises(ValueError("\n \n")), "ValueError"),
    "unnameable": (raises(Unnameable("x")), "Unnameable: x"),
}


@pytest.mark.parametrize("name", DEEDS)
def test_whatever_a_trial_raises_is_its_failure(
    card: altered_card.AlteredCard, tmp_path: Path, name: str
) -> None:
    deed, said = DEEDS[name]
    card.__dict__["deed"] = deed

    outcome = ended(tmp_path)

    assert outcome.kind == "bug"
    assert said in cause(outcome.kind, outcome.error)
    assert "Traceback" in (outcome.error or "")
    assert os._exit.__module__ == "posix", "as it was"


def test_a_forked_child_of_a_trial_may_end_as_it_likes(
    card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    def fork() -> None:
        if (child := os.fork()) == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7

    card.__dict__["deed"] = fork
    assert ended(tmp_path).kind == "completed"


def test_ctrl_c_that_nothing_handles_ends_the_run(
    card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    card.__dict__["deed"] = raises(KeyboardInterrupt())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        ended(tmp_path)


def test_a_long_text_is_kept_by_its_beginning_and_its_end(
    card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    card.__dict__["deed"] = raises(ValueError("first\n" + "x" * 5_000_000 + "\nlast"))
    error = ended(tmp_path).error or ""
    assert len(error) < LONGEST_ERROR + 100
    assert error.startswith("ValueError: first\n")
    assert error.rstrip().endswith("last")
    card.__dict__["deed"] = raises(ValueError("y" * 5_000_000))
    assert len(ended(tmp_path).error or "") < LONGEST_ERROR + 100


@pytest.mark.parametrize(
    ("final", "kind", "said"),
    [
        ({"val_loss": math.nan}, "diverged", None),
        ({"val_loss": math.inf, "other": 1.0}, "diverged", None),
        ({"loss": 1.0}, "bug", "'val_loss', the study's metric; measured: loss"),
        ({}, "bug", "'val_loss', the study's metric; measured: nothing"),
        ({"val_loss": 2.0, "other": math.nan}, "completed", None),
    ],
)
def test_a_trial_is_completed_only_with_a_finite_objective(
    card: altered_card.AlteredCard,
    tmp_path: Path,
    final: Mapping[str, float],
    kind: str,
    said: str | None,
) -> None:
    card.final = final
    outcome = ended(tmp_path)
    assert outcome.kind == kind
    assert (said is None and outcome.error is None) or (said or "?") in (outcome.error or "")
    if kind == "diverged":
        assert all(math.isfinite(value) for value in outcome.metrics.values())


def test_a_result_without_its_objective_is_not_taken_over(
    card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    card.final = {"val_loss": math.nan}
    assert ended(tmp_path, metric="").kind == "completed"
    card.final = None
    assert ended(tmp_path).metrics["val_loss"] > 0


def test_old_results_without_a_number_are_found_and_run_again(
    card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    study = Study.from_document(planted().document | {"workload": altered_card.NAME})
    with Store.open(tmp_path, create=True) as store:
        Run(study, store, executor="inline")  # saves the study
        for trial, metrics in zip(trials_of(study), ({"loss": 1.0}, {}), strict=False):
            old = Outcome(key=trial.key, attempt=1, kind="completed", metrics=metrics)
            store.record(old, objective=None)
        found = [each for each in store.verify(study.name).findings if each.kind == "objective"]
        assert [each.what for each in found] == ["it is completed and has no finite val_loss"] * 2
        assert len(store.retry(study.name, failed=True).withdrawn) == 2
        assert not store.retry(study.name, diverged=True).withdrawn
        assert Run(study, store, executor="inline").execute().finished == 6


def test_a_run_goes_on_after_a_trial_that_exits(
    card: altered_card.AlteredCard, tmp_path: Path
) -> None:
    exits = iter([True])
    card.__dict__["deed"] = lambda: next(exits, False) and os._exit(0)
    study = Study.from_document(
        planted().document | {"workload": altered_card.NAME, "resources": {"pack": 1}}
    )
    with Store.open(tmp_path, create=True) as store:
        summary = Run(study, store, executor="inline").execute()
    assert (summary.finished, summary.failed) == (5, 1)

"""A script that changed since results were made: what is said, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.engine.changes import change_of, settle
from sweeper.engine.proposals import Proposals
from sweeper.engine.run import Run, RunSummary
from sweeper.errors import EnvironmentFault, RequestError
from sweeper.store import Store
from sweeper.study.study import Study, load_study
from sweeper.study.trust import remember_command

SCRIPT = """\
import sys
width, rate = int(sys.argv[1]), float(sys.argv[2])
print('{"step": 1, "val_loss": %r}' % (1 / width + rate))
"""

STUDY = """\
name: mine
workload: command
command: ["{python}", -S, train.py, "{width}", "{learning_rate}"]
scale: width
cost: {steps: 1, params: width, tokens: 1}
sweep: {width: [32, 64], learning_rate: [0.5, 0.25]}
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Yields a store in a folder with a script and its study, of which no trial has run."""
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(SCRIPT)
    Path("study.yaml").write_text(STUDY)
    with Store.open(tmp_path / "store", create=True) as opened:
        yield opened


def run(store: Store, changed: str | None = None) -> RunSummary:
    study = load_study("study.yaml", changed=changed)
    return Run(study, store, executor="inline").execute()


def edit_script(note: str = "# faster") -> None:
    Path("train.py").write_text(f"{SCRIPT}{note}\n")


def edit_study(old: str, new: str) -> None:
    text = Path("study.yaml").read_text()
    assert old in text
    Path("study.yaml").write_text(text.replace(old, new))


def losses(store: Store) -> list[float]:
    return sorted(store.frame("mine")["loss"])


def test_what_has_not_changed_is_not_said(store: Store) -> None:
    assert run(store).finished == 4
    assert change_of(load_study("study.yaml"), store) is None
    assert run(store).reused == 4


def test_a_run_refuses_until_somebody_says_what_becomes_of_results(store: Store) -> None:
    run(store)
    edit_script()
    for _ in range(2):
        with pytest.raises(RequestError) as refused:
            run(store)
    said = str(refused.value)
    assert said.startswith("train.py changed: 4 results are of the version before; --changed keep")
    assert "--changed rerun" in said and "`changed: keep`" in said
    assert len(losses(store)) == 4, "nothing is lost meanwhile"


def test_results_that_are_kept_count_and_what_is_new_is_of_the_new_script(store: Store) -> None:
    run(store)
    before = losses(store)
    edit_script()
    edit_study("[0.5, 0.25]", "[0.5, 0.25, 0.125]")
    done = run(store, "keep")
    assert (done.reused, done.finished) == (4, 2)
    assert set(before) < set(losses(store)) and len(losses(store)) == 6
    assert len({member.trial.data for member in store.members_of("mine")}) == 2
    for _ in range(2):
        assert run(store).reused == 6, "once it is said it holds for this version"
    edit_script("# and now slower")
    with pytest.raises(RequestError, match="6 results are of the version before"):
        run(store)


def test_results_that_are_run_again_are_replaced(store: Store) -> None:
    run(store)
    edit_script('print(\'{"step": 2, "val_loss": %r}\' % (2 / width + rate))')
    done = run(store, "rerun")
    assert (done.reused, done.finished) == (0, 4)
    assert losses(store) == sorted(2 / width + rate for width in (32, 64) for rate in (0.5, 0.25))
    assert run(store).reused == 4, "and nothing is asked again"


def test_a_script_that_was_changed_back_has_its_results(store: Store) -> None:
    run(store)
    edit_script()
    run(store, "rerun")
    Path("train.py").write_text(SCRIPT)
    assert change_of(load_study("study.yaml"), store) is None
    assert run(store).reused == 4


def test_what_was_kept_of_one_version_is_asked_about_at_the_next(store: Store) -> None:
    run(store)
    edit_script()
    edit_study("[0.5, 0.25]", "[0.5, 0.25, 0.125]")
    run(store, "keep")
    edit_script("# and now slower")
    with pytest.raises(RequestError, match="6 results are of the version before"):
        run(store)


@pytest.mark.parametrize("word", ["keep", "rerun"])
def test_the_study_may_say_it_for_good(store: Store, word: str) -> None:
    run(store)
    edit_study("name: mine", f"name: mine\nchanged: {word}")
    edit_script()
    assert run(store).finished == (0 if word == "keep" else 4)


def test_a_version_says_that_content_does_not_count(store: Store) -> None:
    edit_study("name: mine", "name: mine\nversion: '1'")
    run(store)
    edit_script()
    assert run(store).reused == 4
    edit_study("'1'", "'2'")
    change = change_of(load_study("study.yaml"), store)
    assert change is not None
    assert change.said == "version changed: 4 results are of the version before"


def test_files_that_come_and_go_are_named(store: Store) -> None:
    Path("model").mkdir()
    Path("model/a.py").write_text("")
    edit_study("name: mine", "name: mine\nfiles: [train.py, model]")
    run(store)
    Path("model/a.py").rename("model/b.py")
    change = change_of(load_study("study.yaml"), store)
    assert change is not None
    assert change.files == ("model/b.py is new", "model/a.py is gone")


def test_only_results_that_the_study_asks_for_are_counted(store: Store) -> None:
    run(store)
    edit_script()
    edit_study("[32, 64]", "[32, 128]")
    change = change_of(load_study("study.yaml"), store)
    assert change is not None and len(change.kept) == 2
    edit_study("[0.5, 0.25]", "[8, 4]")
    assert change_of(load_study("study.yaml"), store) is None


@pytest.mark.parametrize("search", ["grid", "ladder", "telescope", "optuna"])
def test_every_search_goes_on_from_results_that_are_kept(store: Store, search: str) -> None:
    edit_study("[0.5, 0.25]", "{log2: [-4, -1]}")
    edit_study("name: mine", f"name: mine\nsearch: {{method: {search}}}")
    done = run(store)
    edit_script()
    study = load_study("study.yaml", changed="keep")
    assert settle(study, store) is not None
    proposals = Proposals(study, store, keep=False)
    ended = store.results_of([item.trial.key for item in proposals.planned])
    assert len(ended) == len(proposals.planned) == done.finished


def test_a_search_that_runs_again_begins_anew(store: Store) -> None:
    edit_study("[0.5, 0.25]", "{log2: [-4, -1]}")
    edit_study("name: mine", "name: mine\nsearch: {method: ladder}")
    first = run(store)
    edit_script()
    assert run(store, "rerun").finished == first.finished


def test_from_python_too_a_command_of_a_file_runs_once_it_is_trusted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SWEEPER_TRUST")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(Path("config").absolute()))
    study = load_study("study.yaml")
    with pytest.raises(RequestError, match="you have not said that you trust it"):
        Run(study, store, executor="inline")
    made_here = Study.from_document(study.document)
    assert Run(made_here, store, executor="inline").execute().finished == 4
    remember_command(Path("study.yaml"))
    assert Run(study, store, executor="inline").execute().reused == 4


def test_a_script_that_changes_under_a_run_ends_it(store: Store) -> None:
    work = Run(load_study("study.yaml"), store, executor="inline")
    edit_script()
    with pytest.raises(
        EnvironmentFault, match="a file of the command has changed since this run began"
    ):
        work.execute()

"""sweeper: how the best hyperparameters move as a model grows, with error bars.

From Python, for notebooks::

    from sweeper import Store, load_study, run, statements_of

    study = load_study("studies/quickstart.yaml")
    with Store.open("sweeper-results", create=True) as store:
        run(study, store, executor="inline")
        frame = store.frame(study.name)
        statement, = statements_of(store, study.name)

Names are imported when they are asked for, so that ``import sweeper`` loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper.answers import statements_of
    from sweeper.engine import Run, RunSummary
    from sweeper.report import write_report
    from sweeper.store import Store
    from sweeper.study import Study, load_study

__version__ = "0.1.0"

__all__ = ["Run", "Store", "Study", "load_study", "run", "statements_of", "write_report"]

_HOMES = {
    "Run": "sweeper.engine.run",
    "Store": "sweeper.store.store",
    "Study": "sweeper.study.study",
    "load_study": "sweeper.study.study",
    "statements_of": "sweeper.answers",
    "write_report": "sweeper.report.page",
}


def run(study: Study, store: Store, **options: Any) -> RunSummary:
    """Runs what remains of a study and returns what was done; see :class:`Run` for the options.

    Raises:
        ClusterError: Ray cannot be started or joined, or broke off.
        DataError: the data of the study is missing.
        StoreError: the store cannot be written.
    """
    from sweeper.engine import Run

    return Run(study, store, **options).execute()


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'sweeper' has no attribute {name!r}")

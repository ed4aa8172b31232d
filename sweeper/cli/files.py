"""Study files as commands are given them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from sweeper.errors import RequestError, StoreError, UnknownNameError
from sweeper.store import IMPORTED, Store
from sweeper.study import Study, load_study


def runnable_study(path: Path, *, store: str | None) -> Study:
    """Returns the study of a file; says what is wrong with the name of a study in its place.

    Raises:
        RequestError: what is given is the name of a study in the store.
        StudyError: the file has faults, or there is none.
    """
    if not path.exists():
        # Where there is no store or no such study, the missing file is what is wrong.
        with suppress(StoreError, UnknownNameError):
            raise RequestError(_why(str(path), store))
    return load_study(path)


def _why(name: str, store: str | None) -> str:
    with Store.open(store, create=False, read_only=True) as opened:
        workload = opened.study(name).workload
    if workload == IMPORTED:
        return (
            f"study {name} holds imported results and there is nothing to run; sweeper drift "
            f"{name} reads them, sweeper import brings in more"
        )
    return f"{name} is the name of a study in the store; to plan or run it, give its file"

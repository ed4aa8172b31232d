"""Which tracker keeps runs at a place."""

from __future__ import annotations

from pathlib import Path

from sweeper.errors import RequestError
from sweeper.imports.bounds import Limits, refusal
from sweeper.imports.sheet import Sheet, Wanted
from sweeper.imports.trackers import histories, mlflow, ray_tune, tensorboard, wandb_files
from sweeper.imports.trackers.mlflow_server import read_server
from sweeper.imports.trackers.runs import Tracked
from sweeper.imports.trackers.wandb import address_of, read_project

_FOLDERS = (mlflow, ray_tune, wandb_files, tensorboard, histories)
"""Those that keep runs in a folder. Ray Tune writes event files too, and TensorBoard's runs may
have tables beside them, so the first that knows a folder reads it."""


def runs_at(place: Path | str, wanted: Wanted, limits: Limits) -> Tracked | None:
    """Returns the runs that a tracker keeps at a place, None if none does.

    Args:
        place: a file or folder, or the address of a server or project.
        wanted: what is asked of them.
        limits: what files may hold.

    Raises:
        RequestError: a file is not whole, a server refuses, or histories are asked for beside.
        EnvironmentFault: a server is out of reach or out of order.
    """
    found = (
        _of_address(place, wanted) if isinstance(place, str) else _of_path(place, wanted, limits)
    )
    if found is not None and wanted.history is not None:
        raise RequestError(
            f"--history: goes with a table of runs; {found.path} holds histories itself"
        )
    return found


def _of_address(address: str, wanted: Wanted) -> Tracked | None:
    project = address_of(address)
    if project is not None:
        return read_project(project, wanted)
    if address.startswith(("http://", "https://")):
        return read_server(address, wanted)
    return None


def _of_path(path: Path, wanted: Wanted, limits: Limits) -> Tracked | None:
    if path.is_dir():
        read = next((kind.read_folder for kind in _FOLDERS if kind.is_folder(path)), None)
        return None if read is None else read(path, wanted, limits)
    if "tfevents" in path.name and path.is_file():
        raise refusal(path, "is the event file of one run; name the folder that holds the runs")
    return mlflow.read_database(path, wanted) if mlflow.is_database(path) else None


def runs_in_table(sheet: Sheet, wanted: Wanted, limits: Limits) -> Tracked | None:
    """Returns the runs of a table that has a row for none of them, a panel that W&B exported, or
    whose histories stand elsewhere; None of any other table.

    Raises:
        RequestError: the histories cannot be read, or are not those of its runs.
    """
    if wanted.history is not None:
        return histories.join(sheet, wanted, limits)
    return histories.read_panel(sheet, wanted) if histories.is_panel(sheet.names) else None

"""Offline runs of Weights & Biases, which ``wandb sync`` uploads: one a trial, in a project called
like the study and a group called like the variant.

Settings, variant, seed, key and outcome are its config; curves and marks are its history, the
metrics at the end its summary. A trial that diverged or failed is a failed run there. A run has
the same id at every export, so that uploading a study again doubles nothing.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweeper.exports.base import Source, Written, variables
from sweeper.exports.runs import Run, runs_of

SUFFIX = "-wandb"
FOLDER = True
NEEDS = ("wandb", "wandb")

SILENT = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true", "WANDB_MODE": "offline"}
"""Variables that keep the client from the network and the terminal."""

CODES = {"completed": 0, "dominated": 0}
"""Exit codes of the runs that ended well."""


def write(source: Source, path: Path) -> Written:
    """Writes a study as offline runs.

    Raises:
        OSError: a file cannot be written.
    """
    groups: dict[str, None] = {}
    count = 0
    with _offline() as wandb:
        options = {
            "console": "off",
            "disable_git": True,
            "save_code": False,
            "silent": True,
            "x_disable_stats": True,
            "x_disable_meta": True,
            "root_dir": str(path),
        }
        for run in runs_of(source):
            settings = wandb.Settings(**options, x_start_time=run.started)
            _log(wandb, source, run, path, settings)
            groups[run.variant] = None
            count += 1
    for folder in (path / "wandb").glob("offline-run-*"):
        shutil.move(folder, path / folder.name)
    shutil.rmtree(path / "wandb", ignore_errors=True)
    for logs in path.glob("offline-run-*/logs"):
        shutil.rmtree(logs)
    said = "wandb sync {file}/offline-run-* uploads it"
    return Written(parts=tuple(groups), trials=count, said=said)


@contextmanager
def _offline() -> Iterator[Any]:
    """Yields the client, which is kept from the network, and ends what it started; the hooks that
    it leaves in Python are taken out."""
    hooks = sys.exit, sys.excepthook
    try:
        with variables(SILENT):
            import wandb

            yield wandb
            wandb.teardown()
    except Exception as fault:
        if type(fault).__module__.startswith("wandb"):
            raise OSError(f"the client of W&B says: {fault}") from fault
        raise
    finally:
        sys.exit, sys.excepthook = hooks


def _log(wandb: Any, source: Source, run: Run, path: Path, settings: Any) -> None:
    own = {"variant": run.variant, "seed": run.seed, "key": run.key, "outcome": run.outcome}
    config: Mapping[str, Any] = {**run.about, **run.params, **own}
    begun = wandb.init(
        mode="offline",
        dir=str(path),
        project=source.record.name,
        group=run.variant[:128],
        id=run.id,
        name=run.name[:128],
        notes=source.record.question,
        tags=[run.outcome],
        config=config,
        settings=settings,
    )
    for step, values in run.history.items():
        time = run.time_at(step)
        begun.log({**values, "_timestamp": time, "_runtime": time - run.started}, step=step)
    begun.summary.update(run.metrics)
    begun.finish(exit_code=CODES.get(run.outcome, 1))

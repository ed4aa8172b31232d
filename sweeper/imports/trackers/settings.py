"""Settings that stand in files beside what a run logged: config.json, hparams.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from sweeper.imports.bounds import Limits, reading, refusal, require_bounded
from sweeper.imports.json_records import Clash, record_of, records_of

NAMES = frozenset(
    {
        *("config", "params", "hparams", "hyperparams", "hyperparameters", "settings"),
        *("args", "arguments", "flags", "options", "summary", "wandb-summary"),
    }
)
"""Names of such files, without .json, .yaml or .yml; a run's folder may hold others, of models
and tokenizers."""


def is_settings(path: Path) -> bool:
    """Returns whether a file is called like one of settings."""
    return path.suffix in (".json", ".yaml", ".yml") and path.stem in NAMES


def settings_beside(folder: Path, limits: Limits) -> dict[str, str | Clash]:
    """Returns the settings of the files in a run's folder, as text by dotted name, the file's name
    before them.

    Raises:
        RequestError: a file cannot be read; names it and the line.
    """
    found: dict[str, str | Clash] = {}
    for path in _files(folder):
        require_bounded(path, limits)
        if path.suffix == ".json":
            records = list(records_of(path, limits))
            record = records[0] if len(records) == 1 else {}
        else:
            document = read_yaml(path)
            record = record_of(document) if isinstance(document, dict) else {}
        found |= {f"{path.stem}.{name}": value for name, value in record.items()}
    return found


def _files(folder: Path) -> Iterator[Path]:
    with reading(folder):
        yield from sorted(
            each for each in folder.iterdir() if is_settings(each) and each.is_file()
        )


def read_yaml(path: Path) -> Any:
    """Returns what a file of YAML says; objects of somebody's Python are left out.

    Raises:
        RequestError: it is no YAML; names the line.
    """
    import yaml

    with reading(path):
        text = path.read_text("utf-8")
    try:
        return yaml.load(text, Loader=_loader())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f"line {mark.line + 1}: "
        why = getattr(error, "problem", None) or "cannot be read"
        raise refusal(path, f"{line}is not YAML: {why}; copy the file again") from error


@cache
def _loader() -> Any:
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """Reads plain values alone, as fast as there are means here."""

    Loader.add_multi_constructor("", lambda loader, suffix, node: None)
    return Loader

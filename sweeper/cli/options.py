"""What several commands are given: their shared options, studies by name or file, the store."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.errors import (
    RequestError,
    StoreError,
    StoreReadOnly,
    SweeperError,
    UnknownNameError,
    suggestion,
)

if TYPE_CHECKING:
    from sweeper.store import Store
    from sweeper.study import Study


def named(flag: str, meaning: str, metavar: str | None = None) -> typer.models.OptionInfo:
    """Returns an option that names something and by default nothing."""
    option: typer.models.OptionInfo = typer.Option(
        *flag.split(), metavar=metavar, help=meaning, show_default=False
    )
    return option


def offered_studies(context: typer.Context) -> list[str]:
    """Returns the names of studies in the store, of which a shell offers those that begin so."""
    with suppress(SweeperError), open_store(context.params.get("store"), read_only=True) as store:
        return [each.name for each in store.studies()]
    return []


StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="A study file.")]
StudyName = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help="Name of a study in the store, or its file.",
        autocompletion=offered_studies,
    ),
]
OneStudy = Annotated[
    str | None,
    typer.Argument(
        metavar="[STUDY]",
        help="Name of a study, or its file; all if left out.",
        autocompletion=offered_studies,
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="SWEEPER_STORE",
        help="Folder or database URL of the store (default: sweeper-results).",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit with 1 if a claim is broken.")]
AllOption = Annotated[
    bool, typer.Option("--all", help="Print all groups and notes, however many.")
]
HolesOption = Annotated[
    bool, typer.Option("--allow-holes", help="Answer although neighbours are missing.")
]
ScaleOption = Annotated[
    str | None,
    typer.Option("--scale", help="Along which axis (default: the study's).", show_default=False),
]
HorizonOption = Annotated[
    str | None,
    typer.Option(
        "--horizon",
        help="Marks inside the runs: all, tokens, or a share of the run up to 1 or 100%.",
        show_default=False,
    ),
]
HyperparameterOption = Annotated[
    str | None,
    named(
        "--hyperparameter --hp",
        "Which one (default: those of the claims, else the first swept).",
    ),
]
EachOption = Annotated[
    str | None,
    typer.Option(
        "--each",
        metavar="NAME[,NAME]",
        help="Swept settings to answer for value by value (default: others are tuned).",
        show_default=False,
    ),
]
EACH_HINT = "name swept settings, separated by commas, as in weight_decay,momentum"


TrustOption = Annotated[
    bool,
    typer.Option("--trust", help="Let the code run that the file names: a workload, a command."),
]


class Changed(StrEnum):
    """What becomes of results of a command when one of its files has changed since."""

    keep = "keep"
    rerun = "rerun"


ChangedOption = Annotated[
    Changed | None,
    typer.Option(
        "--changed",
        help="What becomes of results when a file of the command has changed since.",
        show_default=False,
    ),
]
SearchOption = Annotated[
    str | None,
    typer.Option(
        "--search",
        help="Method that proposes trials, in place of the file's.",
        show_default=False,
    ),
]


class EstimatorName(StrEnum):
    """How the optimum of one scale is read off its points."""

    quadratic = "quadratic"
    quadratic3 = "quadratic3"
    skewed = "skewed"
    spline = "spline"
    argmin = "argmin"
    shared = "shared"


EstimatorOption = Annotated[
    EstimatorName | None,
    typer.Option(
        help="How an optimum is read off its points (default: skewed; shared reads all scales "
        "together, as a ladder's few runs need).",
        show_default=False,
    ),
]


def names_of(text: str | None, option: str, hint: str) -> tuple[str, ...]:
    """Returns the names in the text of an option; none without it.

    Raises:
        RequestError: a name is empty; the hint says how names are written.
    """
    if text is None:
        return ()
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise RequestError(f"{option} {text!r}: {hint}")
    return names


def open_store(store: str | None, *, read_only: bool = False, create: bool = False) -> Store:
    """Returns the store that results are read from, for reading alone where one may not write.

    Args:
        store: its place.
        read_only: refuse all writes.
        create: make the store where there is none.
    """
    from sweeper.store import Store

    if not read_only:
        with suppress(StoreReadOnly):
            return Store.open(store, create=create)
    return Store.open(store, create=False, read_only=True)


def name_of(study: str, store: str | None) -> str:
    """Returns the name of a study, given its name or its file, of which nothing else is read."""
    if "/" in study or (study.endswith((".yaml", ".yml")) and Path(study).exists()):
        from sweeper.study import study_name

        return study_name(study)
    return study


def _trust(study: Path) -> None:
    """Has what a study names be trusted from now on, where that is code."""
    from sweeper.study import COMMAND, read_source, remember, remember_command

    workload = read_source(study).data.get("workload")
    if workload == COMMAND:
        remember_command(study)
    elif isinstance(workload, str):
        remember(workload)


def as_study(study: str, *, store: str | None, trust: bool = False) -> Study:
    """Returns a study to be worked on, given its file or its name in the store.

    Raises:
        RequestError: there is no such study, or it holds imported results.
        StudyError: the file has faults.
    """
    if "/" in study or study.endswith((".yaml", ".yml")):
        return runnable_study(Path(study), store=store, trust=trust)
    from sweeper.answers import recorded_tables
    from sweeper.store import IMPORTED
    from sweeper.study import Study

    with open_store(store, read_only=True) as opened:
        record = opened.study(study)
    if record.workload == IMPORTED:
        raise RequestError(f"study {study} holds imported results, and no models to train")
    tables = recorded_tables(lambda: open_store(store, read_only=True))
    return Study.from_document(record.document, tables=tables)


def _loaded(
    path: str | Path, store: str | None, search: str | None = None, changed: str | None = None
) -> Study:
    """Returns the study of a file, which may replay results of the store."""
    from sweeper.answers import recorded_tables
    from sweeper.study import load_study

    tables = recorded_tables(lambda: open_store(store, read_only=True))
    return load_study(path, search=search, changed=changed, tables=tables)


def runnable_study(
    path: Path,
    *,
    store: str | None,
    search: str | None = None,
    changed: str | None = None,
    trust: bool = False,
) -> Study:
    """Returns the study of a file; says what is wrong with the name of a study in its place.

    Args:
        path: the file.
        store: place of the store.
        search: method in place of the file's.
        changed: what becomes of results of files that have changed, in place of the file's word.
        trust: the workload or command that it names may run, now and later.

    Raises:
        RequestError: what is given is the name of a study in the store, or no method.
        StudyError: the file has faults, or there is none.
    """
    from sweeper.study import search_methods

    if search is not None and search not in (known := search_methods()):
        hint = suggestion(search, known)
        raise RequestError(f"--search {search}: there is no such method; {hint}")
    if not path.exists():
        # Where there is no store or no such study, the missing file is what is wrong.
        with suppress(StoreError, UnknownNameError):
            raise RequestError(_why_no_file(str(path), store))
    if trust:
        _trust(path)
    return _loaded(path, store, search, changed)


def _why_no_file(name: str, store: str | None) -> str:
    from sweeper.store import IMPORTED

    with open_store(store, read_only=True) as opened:
        workload = opened.study(name).workload
    if workload == IMPORTED:
        return (
            f"study {name} holds imported results and there is nothing to run; sweeper drift "
            f"{name} reads them, sweeper import brings in more"
        )
    return f"{name} is the name of a study in the store; to plan or run it, give its file"

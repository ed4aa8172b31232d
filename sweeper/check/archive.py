"""Checks beside the results of their store: measured once for the same models, data, steps and
seeds, and read again after that."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sweeper.check.measured import Measured
from sweeper.check.measuring import FORMAT, CheckRequest, measured_study
from sweeper.check.statement import CheckStatement, VariantCheck, as_csv, statement_of
from sweeper.errors import DataError, RequestError
from sweeper.store import Paths
from sweeper.study import Study

Draw = Callable[[CheckStatement], bytes]
"""Draws a statement as PNG."""


def checked(
    request: CheckRequest,
    paths: Paths,
    *,
    again: bool = False,
    draw: Draw | None = None,
    tell: Callable[[str], None] = lambda text: None,
    stopped: Callable[[], bool] = lambda: False,
) -> CheckStatement:
    """Returns what a check says, and keeps it as JSON, CSV and PNG beside the results.

    Args:
        request: what is to be checked.
        paths: where files are kept.
        again: measure although it was measured before.
        draw: draws the figure; None keeps none.
        tell: is told which models train, a sentence each.
        stopped: whether to leave off; asked after every step.

    Raises:
        DataError: the data of the study is missing.
        Interrupted: it was stopped; nothing of it is kept.
        RequestError: there is nothing to check.
        StoreError: the files cannot be written.
    """
    name = request.name()
    found = None if again else _stored(paths, name)
    measured = found or measured_study(request, tell=tell, stopped=stopped)
    endings = ("json", "csv") if draw is None else ("json", "csv", "png")
    statement = statement_of(
        request.study.name,
        measured,
        steps=request.steps,
        seeds=request.seeds,
        files=tuple(paths.files.shown(f"{name}.{ending}") for ending in endings),
        stored=found is not None,
    )
    document = {"format": FORMAT, "measured": [each.to_json() for each in measured]}
    content = {"json": json.dumps(document, allow_nan=False).encode(), "csv": as_csv(statement)}
    if draw is not None:
        content["png"] = draw(statement)
    for ending, each in content.items():
        if found is None or paths.files.info(f"{name}.{ending}") is None:
            with paths.files.write(f"{name}.{ending}") as file:
                file.write_bytes(each)
    return statement


def _stored(paths: Paths, name: str) -> Sequence[Measured] | None:
    """Returns what a check measured before; None where there is none, or it cannot be read."""
    try:
        with paths.files.open(f"{name}.json") as source:
            document = json.load(source)
        return [Measured.from_json(each) for each in document["measured"]]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def stored_checks(
    document: Mapping[str, Any], paths: Paths
) -> dict[str, VariantCheck | str | None]:
    """Returns the check of each variant of a study as it stands, where one was made with the
    study's own steps and seeds: None where none is kept, text where none can be, with the reason.

    Args:
        document: the sections of the study.
        paths: where files are kept.
    """
    try:
        study = Study.from_document(document)
        asked = study.check
        whole = CheckRequest(study=study, steps=asked.steps, seeds=asked.seeds)
    except RequestError as fault:
        return dict.fromkeys(document.get("variants") or ("default",), str(fault))
    found: dict[str, VariantCheck | str | None] = dict.fromkeys(study.variants)
    # Of all together, of those that the study names, or of one alone.
    for names in (*((name,) for name in study.variants), asked.variants, ()):
        try:
            measured = _stored(paths, replace(whole, variants=names).name())
        except (RequestError, DataError) as fault:
            found.update({name: str(fault) for name in names if len(names) == 1})
        else:
            statement = statement_of(study.name, measured or (), steps=0, seeds=0)
            found.update({each.variant: each for each in statement.variants})
    return found


def require_check(
    study: Study,
    paths: Paths,
    *,
    tell: Callable[[str], None] = lambda text: None,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Returns if the check that a study requires does not fail; it is made now unless it was
    before.

    Raises:
        RequestError: it fails; says what is wrong and what to do. Others as of :func:`checked`.
    """
    asked = study.check
    request = CheckRequest(
        study=study, variants=asked.variants, steps=asked.steps, seeds=asked.seeds
    )
    statement = checked(request, paths, tell=tell, stopped=stopped)
    if statement.verdict == "inconclusive":
        tell("the coordinate check is inconclusive; sweeper check tells more")
    if statement.verdict != "fail":
        return
    wrong = [each for each in statement.variants if each.verdict == "fail"]
    said = "; ".join(f"variant {each.variant}: {each.named[0]}" for each in wrong if each.named)
    raise RequestError(
        f"study {study.name} requires its coordinate check to pass, and it fails: {said}; "
        "nothing was run. sweeper check shows all of it; mend the rule, or name the variants that "
        "have to pass, as in check: {required: true, variants: [mup]}"
    )

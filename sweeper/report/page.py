"""The page: one HTML file with its figures inside, and beside it the images and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import sweeper
from sweeper.answers import DIFFERENT_LENGTHS, Explainer, Explanation, StudyView, view_study
from sweeper.errors import AnalysisRefusal, RequestError
from sweeper.outcome import ACCEPTED
from sweeper.report.figures import ANSWER, DETAILS, Picture, draw_pictures
from sweeper.report.folder import Folder, written_folder
from sweeper.report.html_tables import PageTable, Sentence, page_tables, sentences
from sweeper.report.provenance import Fact, evidence_of
from sweeper.report.tables import (
    ReportData,
    as_metric,
    best_trials,
    points_table,
    report_data,
    training_table,
)
from sweeper.store import Store, read_curves

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """What a section says about one hyperparameter.

    Attributes:
        hyperparameter: its name.
        bottom_line: what it all comes to, in one to three sentences.
        sentences: the answer: verdicts, drifts, refusals.
        figures: drift and loss, shown before the tables.
        tables: the numbers.
        explanations: whether it transfers, how fast, why and what next, of each group.
        details: further figures, shown after the tables.
    """

    hyperparameter: str
    bottom_line: str
    sentences: list[Sentence]
    figures: list[Picture]
    tables: list[PageTable]
    explanations: list[Explanation]
    details: list[Picture]


@dataclass(frozen=True, kw_only=True)
class Section:
    """Everything about one study.

    Attributes:
        anchor: identifier within the page.
        name, question: the study's.
        notices: what the reader has to know first: unfinished, empty, unreadable curves.
        chapters: one a hyperparameter.
        evidence: what the answers rest on.
        updated: when the study was last saved.
        document: the study file as YAML.
        trials: name of the CSV file with all trials.
    """

    anchor: str
    name: str
    question: str
    notices: list[str]
    chapters: list[Chapter]
    evidence: list[Fact]
    updated: datetime | None
    document: str
    trials: str


def write_report(
    store: Store,
    names: Sequence[str],
    out: Path,
    *,
    allow_holes: bool = False,
    zipped: bool = False,
) -> Path:
    """Writes the report of one or more studies; returns the path of its page, or of the archive.

    A report can be made while its studies run. Files of an earlier report in the same folder
    are replaced.

    Args:
        store: the store that holds the studies.
        names: names of the studies, in the order of the page; a repeated one counts once.
        out: folder for the page, the figures as PNG and the tables behind them as CSV.
        allow_holes: answer although neighbours of a minimum have no result.
        zipped: write the archive ``out.zip`` in place of the folder.

    Raises:
        RequestError: no study is named.
        UnknownNameError: there is no study of a name; nothing was written.
        AnalysisRefusal: none of the studies has a result; nothing was written.
        EnvironmentFault: the folder cannot be written.
        StoreError: the store cannot be read.
    """
    views = [view_study(store, name, counted=True) for name in dict.fromkeys(names)]
    if not views:
        raise RequestError("report: no study is named; give the names of one or more studies")
    if not any(view.has_results for view in views):
        raise AnalysisRefusal(
            f"report: no trial of {', '.join(view.study.name for view in views)} has a "
            "result yet; sweeper run starts them, sweeper status says where they stand"
        )
    with written_folder(Path(out), zipped=zipped) as folder:
        sections = [section_of(store, view, folder, allow_holes=allow_holes) for view in views]
        page = folder.page(render_page(sections, store=store.shown, made=datetime.now(UTC)))
    return folder.archive or page


def render_page(sections: Sequence[Section], *, store: str, made: datetime) -> str:
    """Returns the HTML of a report.

    Args:
        sections: one a study.
        store: where the results are, for the reader.
        made: when the report was made.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        sections=sections, store=store, made=made, version=sweeper.__version__
    )


def section_of(store: Store, view: StudyView, folder: Folder, *, allow_holes: bool) -> Section:
    """Returns the section of a study and writes its images and tables.

    Raises:
        StoreError: the store cannot be read.
        EnvironmentFault: the folder cannot be written.
    """
    study = view.study
    stem = folder.stem(study.name)
    notices = list(_unfinished(view))
    answers, refusals = _answers(view, allow_holes=allow_holes)
    chapters: list[Chapter] = []
    explainer = Explainer(store, view, allow_holes=allow_holes) if answers else None
    for data in answers:
        curves, warnings = _training(store, data)
        assert explainer is not None
        explanations = list(explainer.explained(data.statement))
        chapters.append(_chapter(replace(data, curves=curves), explanations, folder, stem))
        notices += [*data.statement.notes, *_lengths(data), *warnings]
    return Section(
        anchor=stem,
        name=study.name,
        question=study.question,
        notices=[*notices, *refusals],
        chapters=chapters,
        evidence=evidence_of(store, view),
        updated=study.updated_at,
        document=yaml.safe_dump(dict(study.document), sort_keys=False, allow_unicode=True),
        trials=folder.csv(f"{stem}-trials", as_metric(view.trials, view.compared[1])),
    )


def _lengths(data: ReportData) -> Iterator[str]:
    """Yields which groups compare results of different length: the evidence below the answers
    tells of code and devices, and not of this."""
    for group in data.statement.groups:
        for warning in group.evidence.warnings:
            if warning.startswith(DIFFERENT_LENGTHS):
                yield f"{group.label}: {warning}"


def _answers(view: StudyView, *, allow_holes: bool) -> tuple[list[ReportData], list[str]]:
    """Returns the answers, and why others cannot be given; none before the first result."""
    if not view.has_results:
        return [], []
    answers: list[ReportData] = []
    try:
        for name in view.hyperparameters:
            answers.append(report_data(view, name, allow_holes=allow_holes))
    except AnalysisRefusal as refusal:
        return answers, [str(refusal)]
    return answers, []


def _unfinished(view: StudyView) -> Iterator[str]:
    trials = view.trials.drop_duplicates("key")
    missing = int((~trials["outcome"].isin(ACCEPTED)).sum()) - view.dominated
    if not view.has_results:
        yield (
            f"None of the {len(trials)} trials of this study has a result yet; a later report "
            "will show them."
        )
    elif missing:
        yield (
            f"{missing} of {len(trials)} trials have no result yet. What follows rests on the "
            "others and may change."
        )


def _chapter(
    data: ReportData, explanations: list[Explanation], folder: Folder, stem: str
) -> Chapter:
    return Chapter(
        hyperparameter=data.hyperparameter,
        bottom_line=data.statement.bottom_line,
        sentences=sentences(data),
        figures=draw_pictures(ANSWER, data, folder, stem),
        tables=page_tables(data),
        explanations=explanations,
        details=draw_pictures(DETAILS, data, folder, stem),
    )


def _training(store: Store, data: ReportData) -> tuple[pd.DataFrame, list[str]]:
    best = best_trials(points_table(replace(data, points=data.trials)))
    files = store.curve_files(data.study)
    wanted = {key: files[key] for key in best["key"] if key in files}
    curves, warnings = read_curves(store.paths.files, wanted)
    return training_table(best, curves), warnings

"""A section of the page: everything about one study."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
import yaml

from sweeper.answers import Inquiry
from sweeper.errors import AnalysisRefusal
from sweeper.outcome import ACCEPTED
from sweeper.report import tables
from sweeper.report.data import Answer, answer_of
from sweeper.report.figures import Album, Picture, best_trials, training_table
from sweeper.report.folder import Folder
from sweeper.report.html_tables import Grid, Sentence, grids, sentences
from sweeper.report.provenance import Fact, evidence_of
from sweeper.store import Store, read_curves


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """What a section says about one hyperparameter.

    Attributes:
        hyperparameter: its name.
        sentences: the answer: verdicts, drifts, refusals.
        figures: loss and drift, shown before the tables.
        grids: tables.
        details: further figures, shown after the tables.
    """

    hyperparameter: str
    sentences: list[Sentence]
    figures: list[Picture]
    grids: list[Grid]
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


def section_of(store: Store, inquiry: Inquiry, folder: Folder, *, allow_holes: bool) -> Section:
    """Returns the section of a study and writes its images and tables.

    Raises:
        StoreError: the store cannot be read.
        EnvironmentFault: the folder cannot be written.
    """
    study = inquiry.study
    stem = folder.stem(study.name)
    notices = list(_unfinished(inquiry))
    answers, refusals = _answers(inquiry, allow_holes=allow_holes)
    chapters: list[Chapter] = []
    for answer in answers:
        album = Album(answer=answer, folder=folder, stem=stem)
        chapter, warnings = _chapter(store, answer, album)
        chapters.append(chapter)
        notices += [*answer.statement.notes, *warnings]
    return Section(
        anchor=stem,
        name=study.name,
        question=study.question,
        notices=[*notices, *refusals],
        chapters=chapters,
        evidence=evidence_of(store, inquiry),
        updated=study.updated_at,
        document=yaml.safe_dump(dict(study.document), sort_keys=False, allow_unicode=True),
        trials=folder.csv(f"{stem}-trials", inquiry.trials),
    )


def _answers(inquiry: Inquiry, *, allow_holes: bool) -> tuple[list[Answer], list[str]]:
    """Returns the answers, and why others cannot be given; none before the first result."""
    if not inquiry.has_results:
        return [], []
    answers: list[Answer] = []
    try:
        for name in inquiry.hyperparameters:
            answers.append(answer_of(inquiry, name, allow_holes=allow_holes))
    except AnalysisRefusal as refusal:
        return answers, [str(refusal)]
    return answers, []


def _unfinished(inquiry: Inquiry) -> Iterator[str]:
    trials = inquiry.trials.drop_duplicates("key")
    missing = int((~trials["outcome"].isin(ACCEPTED)).sum())
    if not inquiry.has_results:
        yield (
            f"None of the {len(trials)} trials of this study has a result yet; a later report "
            "will show them."
        )
    elif missing:
        yield (
            f"{missing} of {len(trials)} trials have no result yet. What follows rests on the "
            "others and may change."
        )


def _chapter(store: Store, answer: Answer, album: Album) -> tuple[Chapter, list[str]]:
    curves, warnings = _training(store, answer)
    chapter = Chapter(
        hyperparameter=answer.hyperparameter,
        sentences=sentences(answer),
        figures=[*album.loss(), *album.drift()],
        grids=grids(answer),
        details=[*album.regret(), *album.frontier(), *album.training(curves)],
    )
    return chapter, warnings


def _training(store: Store, answer: Answer) -> tuple[pd.DataFrame, list[str]]:
    best = best_trials(tables.points_table(answer))
    files = store.curve_files(answer.study)
    wanted = {key: files[key] for key in best["key"] if key in files}
    curves, warnings = read_curves(store.paths.files, wanted)
    return training_table(best, curves), warnings

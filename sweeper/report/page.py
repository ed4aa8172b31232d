"""The page: one HTML file with its figures inside, and beside it the images and tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import sweeper
from sweeper.answers import view_study
from sweeper.errors import AnalysisRefusal, RequestError
from sweeper.report.folder import Folder
from sweeper.report.section import Section, section_of
from sweeper.store import Store

TEMPLATES = Path(__file__).parent / "templates"


def write_report(
    store: Store, names: Sequence[str], out: Path, *, allow_holes: bool = False
) -> Path:
    """Writes the report of one or more studies; returns the path of its page.

    A report can be made while its studies run. Files of an earlier report in the same folder
    are replaced.

    Args:
        store: the store that holds the studies.
        names: names of the studies, in the order of the page; a repeated one counts once.
        out: folder for the page, the figures as PNG and the tables behind them as CSV.
        allow_holes: answer although neighbours of a minimum have no result.

    Raises:
        RequestError: no study is named.
        UnknownNameError: there is no study of a name; nothing was written.
        AnalysisRefusal: none of the studies has a result; nothing was written.
        EnvironmentFault: the folder cannot be written.
        StoreError: the store cannot be read.
    """
    views = [view_study(store, name) for name in dict.fromkeys(names)]
    if not views:
        raise RequestError("report: no study is named; give the names of one or more studies")
    if not any(view.has_results for view in views):
        raise AnalysisRefusal(
            f"report: no trial of {', '.join(view.study.name for view in views)} has a "
            "result yet; sweeper run starts them, sweeper status says where they stand"
        )
    folder = Folder(Path(out))
    sections = [section_of(store, view, folder, allow_holes=allow_holes) for view in views]
    return folder.page(render_page(sections, store=store.shown, made=datetime.now(UTC)))


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

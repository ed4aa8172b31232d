"""The page: self-contained, true to the statement, safe, and useful while a study runs."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import yaml
from matplotlib.image import imread
from planted_studies import Planted

from sweeper.answers.drift import DriftGroup
from sweeper.answers.explanation import explanations_of
from sweeper.answers.view import statements_of
from sweeper.errors import AnalysisRefusal, EnvironmentFault, RequestError, UnknownNameError
from sweeper.report.folder import Folder, slug
from sweeper.report.html_tables import regret_words
from sweeper.report.page import write_report
from sweeper.store.store import Store
from sweeper.words import decimals, interval_of_log2, signed, signed_interval


class Reader(HTMLParser):
    """Collects what a page refers to, its tables, its text and its anchors."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.references: list[str] = []
        self.images: list[str] = []
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self.anchors: set[str] = set()
        self.text = ""
        self._cell = False
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values["id"]} if "id" in values else set()
        if tag == "img":
            self.images.append(values["src"])
        elif "src" in values or "href" in values:
            self.references.append(values.get("src") or values["href"])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def report(finished: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(finished, ["planted"], tmp_path_factory.mktemp("page") / "new" / "out")


@pytest.fixture(scope="module")
def page(report: Path) -> Reader:
    return Reader(report)


def test_the_page_holds_all_it_shows(report: Path, page: Reader) -> None:
    assert report.name == "index.html"
    assert "script" not in page.tags and "link" not in page.tags
    text = report.read_text(encoding="utf-8")
    assert not re.search(r"https?:|@import|url\(", text)
    assert all(uri.startswith("data:image/png;base64,") for uri in page.images)
    files = [name for name in page.references if not name.startswith("#")]
    assert files and all((report.parent / name).is_file() for name in files)


def test_the_images_are_those_beside_the_page(report: Path, page: Reader) -> None:
    inside = {base64.b64decode(uri.split(",")[1]) for uri in page.images}
    beside = {path.read_bytes() for path in report.parent.glob("*.png")}
    assert inside == beside
    names = {path.name for path in report.parent.glob("*.png")}
    kinds = ("loss", "drift", "regret", "frontier", "training")
    assert names == {f"planted-{kind}-learning_rate.png" for kind in kinds}
    for image in inside:
        assert imread(io.BytesIO(image), format="png").std() > 0.04


def test_figures_are_dark_where_the_reader_has_it_dark_and_not_on_paper(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    dark = re.search(
        r"@media screen and \(prefers-color-scheme: dark\) \{(.*?\})\s*\}", text, re.S
    )
    assert dark is not None and re.search(r"\.frame img \{[^}]*filter: invert\(1\)", dark[1])
    assert text.count("invert(1)") == 1
    frame = re.search(r"^\.frame \{([^}]*)\}", text, re.M)
    assert frame is not None and "background: var(--paper)" in frame[1]


def test_every_number_of_the_tables_is_the_statements(finished: Store, page: Reader) -> None:
    (statement,) = statements_of(finished, "planted")
    for group in statement.groups:
        for row in (*optimum_rows(group), drift_row(group), *regret_rows(group)):
            assert row in [cells[: len(row)] for cells in page.rows]


def optimum_rows(group: DriftGroup) -> list[list[str]]:
    return [
        [
            group.variant,
            f"{o.scale:g}",
            f"{o.value:.3g}",
            interval_of_log2(o.low, o.high),
            signed(o.log2),
            signed_interval(o.low, o.high),
            decimals(o.loss),
            f"{decimals(o.loss_low)} to {decimals(o.loss_high)}",
            str(o.points),
            f"{o.answered} of {o.declared}",
        ]
        for o in group.optima
    ]


def drift_row(group: DriftGroup) -> list[str]:
    assert group.drift is not None
    drift = group.drift
    return [group.variant, signed(drift.slope, 3), signed_interval(drift.low, drift.high, 3)]


def regret_rows(group: DriftGroup) -> list[list[str]]:
    return [
        [
            group.variant,
            f"{cost.scale:g}",
            f"{2**cost.log2:.3g}",
            decimals(cost.tuned),
            decimals(cost.transferred),
            regret_words(cost),
        ]
        for cost in group.regret
    ]


def test_verdicts_stand_before_figures_with_their_reasons(
    finished: Store, report: Path, page: Reader
) -> None:
    (statement,) = statements_of(finished, "planted")
    for group in statement.groups:
        (verdict,) = group.verdicts
        assert verdict.why in page.text
    text = report.read_text(encoding="utf-8")
    assert text.index("is broken") < text.index("<figure>")
    assert text.index("Does it transfer?") < text.index("is broken")


def test_tables_beside_the_page_give_the_statement_back(finished: Store, report: Path) -> None:
    (statement,) = statements_of(finished, "planted")
    optima = pd.read_csv(report.parent / "planted-optima-learning_rate.csv")
    drift = pd.read_csv(report.parent / "planted-drift-learning_rate.csv").set_index("group")
    for group in statement.groups:
        assert group.drift is not None
        mine = optima[optima["group"] == group.variant]
        assert mine["log2"].tolist() == pytest.approx([o.log2 for o in group.optima])
        assert mine["high"].tolist() == pytest.approx([o.high for o in group.optima])
        assert drift.loc[group.variant, "slope"] == pytest.approx(group.drift.slope)
    trials = pd.read_csv(report.parent / "planted-trials.csv")
    frame = finished.frame("planted")
    assert trials["key"].tolist() == frame["key"].tolist()
    assert trials["loss"].tolist() == pytest.approx(frame["loss"].tolist())


def test_the_study_file_can_be_read_back_from_the_page(finished: Store, page: Reader) -> None:
    start = page.text.index("name: planted")
    document = yaml.safe_load(page.text[start:])
    assert document == json.loads(json.dumps(dict(finished.study("planted").document)))


def test_evidence_is_complete_and_quiet_where_nothing_is_mixed(page: Reader) -> None:
    assert re.search(r"96 trials declared: \d+ done, \d+ diverged", page.text)
    for word in ("2 seeds", "a processor", "a machine", "c0ffee", "2.9", "3 min for 96 trials"):
        assert word in page.text
    assert "mixed" not in page.text


def test_odd_names_are_escaped_and_make_safe_files(store: Store, tmp_path: Path) -> None:
    name, variant = '../a <b>&"x" ünï/..', "<script>alert(1)</script>"
    Planted(name=name, question="1 < 2 & <i>3</i>?", drifts={variant: 0.0}).save(store)
    path = write_report(store, [name], tmp_path / "out")
    reader = Reader(path)
    assert not {"script", "b>", "i"} & set(reader.tags)
    for text in (name, variant, "1 < 2 & <i>3</i>?"):
        assert text in reader.text
    assert {p.name for p in tmp_path.iterdir()} == {"store", "out"}
    for file in path.parent.iterdir():
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", file.name)


def test_several_studies_have_sections_and_a_table_of_contents(
    store: Store, tmp_path: Path
) -> None:
    Planted(name="Ab").save(store)
    Planted(name="ab", drifts={"mup": 0.1}, claims=()).save(store)
    path = write_report(store, ["Ab", "ab", "Ab"], tmp_path / "out")
    reader = Reader(path)
    links = [name for name in reader.references if name.startswith("#")]
    assert links == ["#Ab", "#ab-2"]
    assert {link[1:] for link in links} <= reader.anchors
    # Where names differ in case alone, no file of one study replaces the other's.
    assert (path.parent / "Ab-trials.csv").is_file()
    assert (path.parent / "ab-2-trials.csv").is_file()
    assert "the best learning_rate moves by" in reader.text


def test_a_study_that_runs_has_a_page_that_says_so(store: Store, tmp_path: Path) -> None:
    Planted(answered=lambda config: config["width"] == 32).save(store)
    reader = Reader(write_report(store, ["planted"], tmp_path))
    assert "64 of 96 trials have no result yet" in reader.text
    assert "no answer" in reader.text
    assert "no trial has a result yet" in reader.text
    assert ["sp", "32"] in [row[:2] for row in reader.rows]
    assert (tmp_path / "planted-loss-learning_rate.png").is_file()
    assert not (tmp_path / "planted-drift-learning_rate.png").exists()


def test_a_study_with_nothing_to_track_says_so(store: Store, tmp_path: Path) -> None:
    Planted(octaves=(-5,), claims=()).save(store)
    reader = Reader(write_report(store, ["planted"], tmp_path))
    assert "there is no optimum to track" in reader.text
    assert reader.images == []


def test_a_refused_group_does_not_stop_the_others(store: Store, tmp_path: Path) -> None:
    Planted(drifts={"fine": 0.0, "edge": 4.0}).save(store)
    reader = Reader(write_report(store, ["planted"], tmp_path))
    assert "no answer" in reader.text and "extend the grid there" in reader.text
    assert "holds" in reader.text


def test_an_empty_study_beside_a_finished_one_says_that_it_is_empty(
    store: Store, tmp_path: Path
) -> None:
    Planted().save(store)
    Planted(name="empty", answered=lambda config: False).save(store)
    reader = Reader(write_report(store, ["planted", "empty"], tmp_path))
    assert "None of the 96 trials of this study has a result yet" in reader.text
    assert not list(tmp_path.glob("empty-*.png"))


def test_without_any_result_nothing_is_written(store: Store, tmp_path: Path) -> None:
    Planted(answered=lambda config: False).save(store)
    with pytest.raises(AnalysisRefusal, match="no trial of planted has a result yet"):
        write_report(store, ["planted"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_study_and_no_study_are_refused(finished: Store, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'planted'"):
        write_report(finished, ["planted", "plantd"], tmp_path / "out")
    with pytest.raises(RequestError, match="no study is named"):
        write_report(finished, [], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named(finished: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match=r"cannot write .*file.*--out"):
        write_report(finished, ["planted"], tmp_path / "file")


def test_figures_do_not_depend_on_how_a_notebook_draws(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_bytes(b"backend: module://no_such_module\n\xff\xfe")
    foreign = {"MPLBACKEND": "module://no_such_module", "MPLCONFIGDIR": str(tmp_path)}
    line = (
        "import sweeper.report.figures, matplotlib.pyplot as p; p.figure(); print(p.get_backend())"
    )
    done = subprocess.run(
        [sys.executable, "-c", line],
        env={**os.environ, **foreign},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "agg\n", "")


def test_mixed_code_is_flagged(store: Store, tmp_path: Path) -> None:
    Planted(commits=("one", "two")).save(store)
    reader = Reader(write_report(store, ["planted"], tmp_path))
    assert "one (48 trials), two (48 trials)" in reader.text
    assert "2 are mixed: trials of different code are compared" in reader.text


def test_a_missing_curve_is_named_and_not_fatal(store: Store, tmp_path: Path) -> None:
    Planted(curves=True).save(store)
    for name in store.curve_files("planted").values():
        store.paths.files.remove(name)
    reader = Reader(write_report(store, ["planted"], tmp_path / "out"))
    assert reader.text.count("skipped:") == 6
    assert not list((tmp_path / "out").glob("*training*.png"))


def test_many_groups_are_spread_over_images(store: Store, tmp_path: Path) -> None:
    Planted(drifts={f"v{i}": 0.0 for i in range(9)}, seeds=(0,), octaves=range(-8, -3)).save(store)
    write_report(store, ["planted"], tmp_path)
    parts = {path.name for path in tmp_path.glob("planted-loss-*.png")}
    assert parts == {"planted-loss-learning_rate.png", "planted-loss-learning_rate-2.png"}


@pytest.mark.parametrize(
    ("name", "safe"),
    [("adamw_width", "adamw_width"), ("../x", "x"), ("...", "unnamed"), ("a b/c", "a_b_c")],
)
def test_a_slug_is_safe(name: str, safe: str) -> None:
    assert slug(name) == safe
    assert len(slug("x" * 500)) == 80


def test_a_rewritten_report_leaves_no_unfinished_files(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for text in ("one", "two"):
        assert folder.page(text).read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_the_page_says_whether_it_transfers_and_why_in_the_words_of_explain(
    finished: Store, tmp_path: Path
) -> None:
    page = unescape(write_report(finished, ["planted"], tmp_path).read_text(encoding="utf-8"))
    groups = explanations_of(finished, "planted").groups
    assert len(groups) == 2
    for group in groups:
        assert f"<b>{group.label}</b>: {group.said.bottom_line}</p>" in page
        for heading, clauses in group.said.parts.items():
            assert f"<dt>{heading}</dt><dd>{'<br>'.join(clauses)}</dd>" in page

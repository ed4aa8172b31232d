"""Everything that docs/script.md shows is run, in the order in which it is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from shown_pages import ROOT, Page

from sweeper.store import Store
from workloads.command.placeholders import RESERVED

PAGE = (ROOT / "docs" / "script.md").read_text(encoding="utf-8")


def test_all_that_the_page_shows_runs_as_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Page("script.md", tmp_path, monkeypatch, capsys)
    page.run()
    for study in ("fixed_place", "declared", "helped"):
        said = page.answered(f"sweeper run {study}.yaml --trust")
        assert any(re.match(r"[46] trials finished and 0 failed", each) for each in said), said
    with Store.open(tmp_path / "sweeper-results", read_only=True) as store:
        assert {each.name for each in store.studies()} == {
            *("train", "short", "declared", "configured", "fixed-place", "helped"),
        }


def test_every_placeholder_that_every_trial_has_is_explained() -> None:
    for name in RESERVED:
        assert f"`{{{name}}}`" in PAGE, name


def test_every_key_of_a_study_of_a_command_is_explained() -> None:
    from sweeper.study.program import Measured, ProgramKeys

    for name in (*ProgramKeys.model_fields, *Measured.model_fields):
        assert re.search(rf"`{name}\b|\b{name}:", PAGE), name

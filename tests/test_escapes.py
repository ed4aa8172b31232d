"""What names and cells hold cannot act: on a terminal, or in a spreadsheet."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.table import Table

from sweeper.cli.text import safe_console
from sweeper.report.folder import Folder
from sweeper.words import visible


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\x1b[31mred", r"a\x1b[31mred"),
        ("bell\x07 back\x08 return\r", r"bell\x07 back\x08 return\x0d"),
        ("\x9b31m", r"\x9b31m"),
        ("turned \u202e round", r"turned \u202e round"),
        ("half \ud83d", r"half \ud83d"),
        ("λ→∞ naïve 学习 two\nlines", "λ→∞ naïve 学习 two\nlines"),
    ],
)
def test_control_characters_are_written_out(text: str, seen: str) -> None:
    seen = seen.replace(r"\x0d", "\\r")
    assert visible(text) == seen


def test_a_console_prints_what_a_cell_holds_and_no_more() -> None:
    out = io.StringIO()
    console = safe_console(file=out, width=80, markup=False, emoji=False, highlight=False)
    table = Table(box=None)
    table.add_column("na\x1b[2Jme")
    table.add_row(":smile: [red]\x1b]0;title\x07")
    console.print(table)
    console.print("a question\x1b[31m?")
    said = out.getvalue()
    assert "\x1b" not in said and "\x07" not in said
    assert r":smile: [red]\x1b]0;title\x07" in said and r"na\x1b[2Jme" in said


def test_text_like_a_formula_is_guarded_in_a_csv_file(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "variant": ["=cmd()", "+x", "@sum", "-muon", "plain", " =a"],
            "x": [-1.0, 2.0, -3.5, 0.0, 1.0, 2.0],
            "text": ["-0.5", "+1e-3", "−0.5", "a=b", "", None],
            "=head": [True] * 6,
        }
    )
    name = Folder(tmp_path).csv("trials", table)
    found = pd.read_csv(tmp_path / name, keep_default_na=False)
    assert list(found.columns) == ["variant", "x", "text", "'=head"]
    assert found["variant"].tolist() == ["'=cmd()", "'+x", "'@sum", "'-muon", "plain", "' =a"]
    assert found["x"].tolist() == table["x"].tolist()
    assert found["text"].tolist() == ["-0.5", "+1e-3", "−0.5", "a=b", "", ""]

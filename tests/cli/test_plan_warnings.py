"""`sweeper plan` tells what is allowed but may not be meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_harness import Sweeper

STUDY = """\
name: fixed-epsilon
workload: llama
scale: width
fixed: {data: "text:book.txt", steps: 2, base_width: 16, eval_tokens: 64}
variants:
  spectral: {parametrization: spectral}
  clipped: {parametrization: mup, optimizer: muonclip}
sweep: {width: [16, 64, 128], learning_rate: [0.01, 0.02]}
"""


@pytest.fixture
def corpus_study(tmp_path: Path) -> Path:
    """Returns the file of a study that has two things to warn of, each in several trials."""
    lines = (f"Paragraph {i} says little.\n" for i in range(500))
    (tmp_path / "book.txt").write_text("\n".join(lines), encoding="utf-8")
    path = tmp_path / "warned.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def test_a_warning_is_printed_once_for_all_trials(sweeper: Sweeper, corpus_study: Path) -> None:
    document = sweeper("plan", corpus_study, "--no-probe", "--json").document
    clip, epsilon = sorted(document["warnings"], key=lambda text: "epsilon" in text)
    assert "keeps epsilon fixed" in epsilon
    assert clip.startswith("qk_clip_threshold 100 never acts")
    text = sweeper("plan", corpus_study, "--no-probe").out
    assert text.count("warning: ") == 2


def test_nothing_is_printed_where_there_is_nothing_to_warn_of(
    sweeper: Sweeper, study: Path
) -> None:
    assert sweeper("plan", study, "--no-probe", "--json").document["warnings"] == []
    assert "warning" not in sweeper("plan", study, "--no-probe").out

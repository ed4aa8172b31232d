"""sweeper check: its answer, its exit code, and what a run does that requires it."""

from __future__ import annotations

from pathlib import Path

from cli_harness import Sweeper

STUDY = """\
name: tiny
workload: mlp
scale: width
fixed: {steps: 4, base_width: 16, batch_size: 16, clip: 0.0}
variants:
  sp: {parametrization: sp}
  mup: {parametrization: mup}
sweep:
  width: [16, 64]
  learning_rate: [2**-9]
check: {required: true, seeds: 3}
"""


def test_a_check_answers_in_words_and_json_and_stops_a_run(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(STUDY)
    said = sweeper("check", file)
    assert said.code == 1
    assert "hidden update" in said.out
    assert "its learning rate multiplier is missing" in said.out
    assert "variant sp: width 16, 3 seeds of 10 steps" in said.err

    answer = sweeper("check", file, "--json")
    assert answer.code == 1
    assert not answer.err, "it is read, not measured again"
    document = answer.document
    assert (document["verdict"], document["stored"]) == ("fail", True)
    assert document["variants"][0]["verdict"] == "fail"
    row = document["layers"][0]
    assert list(row)[:4] == ["variant", "layer", "role", "quantity"]
    assert list(row)[4:] == ["slope", "low", "high", "expected", "verdict", "why"]
    for kept in document["files"]:
        assert Path(kept).stat().st_size > 0
    assert Path(document["files"][2]).read_bytes().startswith(b"\x89PNG")

    refused = sweeper("run", file, "--executor", "inline")
    assert refused.code == 2
    assert "requires its coordinate check to pass, and it fails: variant sp" in refused.err
    assert "study tiny: 3 trials, after its coordinate check" in refused.err
    assert "warning" not in refused.err

    file.write_text(STUDY.replace("seeds: 3", "seeds: 3, variants: [mup]"))
    ran = sweeper("run", file, "--executor", "inline", "--json")
    assert ran.document["run"]["finished"] == 3
    assert sweeper("check", "tiny", "--variant", "sp", "--seeds", 3).code == 1, "by name, too"


def test_a_check_that_makes_no_sense_is_refused_in_a_sentence(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(STUDY.replace("width: [16, 64]", "width: [64]"))
    for arguments, says in (
        ((file,), "has one width, 64; a slope needs at least two"),
        ((file, "--set", "batch_size"), "write NAME=VALUE"),
        ((file, "--variant", "nope"), "has no variant 'nope'"),
        (("unknown",), "unknown"),
    ):
        refused = sweeper("check", *arguments)
        assert (refused.code, refused.out) == (2 if arguments[0] == file else refused.code, "")
        assert says in refused.err
        assert "Traceback" not in refused.err

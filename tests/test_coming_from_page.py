"""Everything that docs/coming_from.md shows is run, and finds the same in every tool."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
import yaml
from shown_pages import ROOT, Page

from sweeper.store import Store

PAGE = (ROOT / "docs" / "coming_from.md").read_text(encoding="utf-8")
BLOCKS = {
    block.partition("\n")[0].removeprefix("# "): block
    for block in re.findall(r"```(?:python|yaml)\n(.*?)```", PAGE, re.DOTALL)
}


@pytest.mark.ray
@pytest.mark.timeout(180)
def test_the_same_sweep_in_three_tools_is_the_same_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Page("coming_from.md", tmp_path, monkeypatch, capsys).run()
    with Store.open(tmp_path / "sweeper-results", read_only=True) as store:
        found = [
            sorted(
                (row.width, row.lr, row.seed, row.loss) for row in store.frame(name).itertuples()
            )
            for name in ("sweep", "from-optuna", "from-tune")
        ]
    assert len(found[0]) == 15
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            assert theirs == pytest.approx(ours)


def test_the_grid_for_wandb_is_the_same() -> None:
    theirs = yaml.safe_load(BLOCKS["wandb_sweep.yaml"])["parameters"]
    grid = product(*(theirs[name]["values"] for name in ("width", "lr", "seed")))
    ours = yaml.safe_load(BLOCKS["sweep.yaml"])["sweep"]
    low, high = ours["lr"]["log2"]
    rates = [2.0**power for power in range(low, high + 1)]
    assert [*grid] == [*product(ours["width"], rates, ours["seed"])]


def lines(name: str) -> int:
    kept = [line.strip() for line in BLOCKS[name].splitlines()]
    return sum(bool(line) and not line.startswith("#") for line in kept)


@pytest.mark.parametrize(
    ("tool", "yaml_file", "code_file"),
    [
        ("sweeper", "sweep.yaml", None),
        ("W&B", "wandb_sweep.yaml", None),
        ("Optuna", None, "optuna_sweep.py"),
        ("Ray Tune", None, "tune_sweep.py"),
    ],
)
def test_lines_are_counted(tool: str, yaml_file: str | None, code_file: str | None) -> None:
    row = re.search(rf"^\| {re.escape(tool)} \| (\d+) \| (\d+) \|", PAGE, re.MULTILINE)
    assert row is not None
    counted = [0 if name is None else lines(name) for name in (yaml_file, code_file)]
    assert [int(count) for count in row.groups()] == counted

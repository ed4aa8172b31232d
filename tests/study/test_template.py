"""The study that `sweeper init` writes: it loads as it is and explains every setting."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sweeper.errors import RequestError
from sweeper.study.program import ProgramKeys
from sweeper.study.source import parse_source
from sweeper.study.study import Study, load_study
from sweeper.study.template import study_template
from sweeper.study.workloads import find_card


def _study(text: str) -> Study:
    source = parse_source(text, "template")
    return Study.model_validate(source.data, context=source)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("workload", ["llama", "mlp"])
def test_the_template_loads_without_faults(workload: str, full: bool, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(study_template(workload, full=full))
    study = load_study(path)
    assert study.hyperparameters == ("learning_rate",)
    assert set(study.variants) == {"sp", "mup"}


def test_the_short_template_is_the_full_one_without_what_it_explains() -> None:
    short, full = study_template("mlp"), study_template("mlp", full=True)
    assert _study(short) == _study(full)
    assert len(short.splitlines()) < 30 < len(full.splitlines()) / 3


@pytest.mark.parametrize("workload", ["llama", "mlp"])
def test_the_template_names_every_setting_section_and_metric(workload: str) -> None:
    text = study_template(workload, full=True)
    card = find_card(workload)
    sections = [name for name in Study.model_fields if name not in ProgramKeys.model_fields]
    for name in [*(setting.name for setting in card.settings), *sections, *card.metrics]:
        assert re.search(rf"\b{name}\b", text), name
    assert max(map(len, text.splitlines())) <= 99


def test_the_settings_in_comments_are_the_defaults() -> None:
    text = study_template(full=True)
    before = _study(text)
    steps = "  # tokens: null\n  # tokens_per_param: null\n"
    assert steps.splitlines()[0] in text
    lines = [line for line in text.splitlines() if not _is_conditional(line)]
    lines = [re.sub(r"^  # ([\w.]+: )", r"  \1", line) for line in lines]
    lines.remove("  parametrization: sp")
    after = _study("\n".join(lines))
    resolve = before.card.resolve
    assert [resolve(cell[1]).config for cell in before.cells()] == [
        resolve(cell[1]).config for cell in after.cells()
    ]
    assert len(after.fixed) > len(before.fixed) + 15


def _is_conditional(line: str) -> bool:
    names = [setting.name for setting in find_card("llama").settings if setting.when]
    return any(line.startswith(f"  # {name}: ") for name in names)


def test_another_workload_gets_a_first_guess_and_what_is_left_to_settle() -> None:
    text = study_template("quadratic_card:CARD", full=True)
    assert text.startswith("# To settle first: steps: one horizon is needed")
    study = _study(text.replace("fixed:\n", "fixed:\n  steps: 10\n"))
    assert (study.scale, study.hyperparameters) == ("width", ("learning_rate",))


def test_a_workload_without_numbers_to_sweep_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "narrow_card.py").write_text(
        "import quadratic_card as q\nCARD = q.QuadraticCard(settings=q.SETTINGS[1:])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RequestError, match="no required whole number"):
        study_template("narrow_card:CARD")

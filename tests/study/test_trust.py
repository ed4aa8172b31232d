"""Code that a study brings runs once the user has said so, and not before."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.errors import EnvironmentFault, RequestError, StudyError
from sweeper.study.study import load_study, study_name
from sweeper.study.trust import is_trusted, place_of, remember, require_trusted, trusted_file

STUDY = """\
name: foreign
workload: brought.cards:CARD
scale: width
fixed: {steps: 3}
sweep: {width: [32, 64], learning_rate: {log2: [-9, -2]}}
"""


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yields a folder with a package that leaves a file ``ran`` there when it is imported, on the
    path; nobody has spoken for it."""
    package = tmp_path / "brought"
    package.mkdir()
    (package / "__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    (package / "cards.py").write_text("from workloads.planted import PLANTED as CARD")
    (tmp_path / "study.yaml").write_text(STUDY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SWEEPER_TRUST", raising=False)
    yield tmp_path
    for name in ("brought", "brought.cards"):
        sys.modules.pop(name, None)


def test_a_foreign_study_runs_no_code_that_it_brings_and_says_how_to_let_it(
    brought: Path,
) -> None:
    with pytest.raises(StudyError) as refused:
        load_study(brought / "study.yaml")
    said = str(refused.value)
    assert f"study.yaml:2: workload: workload 'brought.cards:CARD' is code, in {brought}" in said
    assert "--trust" in said and "SWEEPER_TRUST=1" in said and str(trusted_file()) in said
    assert study_name(brought / "study.yaml") == "foreign", "its name is told all the same"
    assert not (brought / "ran").exists()


@pytest.mark.parametrize("reference", ["brought:CARD", "brought.cards:CARD", "brought.no.such:X"])
def test_no_way_to_name_a_module_of_a_package_runs_the_package(
    brought: Path, reference: str
) -> None:
    with pytest.raises(RequestError):
        require_trusted(reference)
    assert not (brought / "ran").exists()


def test_what_was_trusted_once_is_remembered_for_the_user_alone(brought: Path) -> None:
    remember("brought.cards:CARD")
    remember("brought.cards:CARD")
    assert load_study(brought / "study.yaml").name == "foreign"
    assert (brought / "ran").exists()
    assert len(trusted_file().read_text().splitlines()) == 1
    assert stat.S_IMODE(trusted_file().stat().st_mode) == 0o600


def test_trust_is_in_a_module_at_a_place(brought: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember("brought.cards:CARD")
    assert is_trusted("brought.cards")
    assert not is_trusted("brought.scripts"), "another module of the package is other code"
    elsewhere = brought / "elsewhere"
    (elsewhere / "brought").mkdir(parents=True)
    (elsewhere / "brought" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(elsewhere))
    assert not is_trusted("brought.cards"), "a package of that name at another place, too"


def test_a_place_whose_name_breaks_lines_gives_no_trust_to_others(
    brought: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tricky = brought / 'x"]\n["brought", "'
    (tricky / "harmless").mkdir(parents=True)
    (tricky / "harmless" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tricky))
    remember("harmless:CARD")
    assert is_trusted("harmless")
    assert len(trusted_file().read_text().splitlines()) == 1


def test_a_package_in_several_places_is_trusted_in_those_alone(
    brought: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "there"):
        (brought / name / "spread").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(brought / "here"))
    remember("spread.cards:CARD")
    assert is_trusted("spread.cards")
    monkeypatch.syspath_prepend(str(brought / "there"))
    assert not is_trusted("spread.cards")


def test_the_variable_trusts_whatever_a_study_names(
    brought: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPER_TRUST", "0")
    assert not is_trusted("brought")
    monkeypatch.setenv("SWEEPER_TRUST", "1")
    assert is_trusted("brought")


def test_what_is_loaded_or_ours_needs_no_word(brought: Path) -> None:
    assert is_trusted("pathlib"), "importing it again runs nothing"
    assert is_trusted("workloads.planted")
    assert not is_trusted("workloads_of_mine")
    remember("planted")
    assert not trusted_file().exists(), "a registered workload was installed on purpose"


def test_trust_that_cannot_be_kept_is_told(brought: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (brought / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(brought / "file"))
    with pytest.raises(EnvironmentFault, match=r"cannot be remembered in .*; set SWEEPER_TRUST=1"):
        remember("brought.cards:CARD")
    assert not is_trusted("brought.cards")


def test_a_module_that_is_nowhere_has_no_place() -> None:
    for name in ("no_such_module", "", "a b", "__main__x.y"):
        assert place_of(name) is None

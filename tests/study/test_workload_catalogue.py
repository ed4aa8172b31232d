"""The catalogue: cards by name or reference, and what is said when there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from quadratic_card import CARD

from sweeper.errors import RequestError
from sweeper.study.workloads import find_card, known_workloads


def test_the_built_in_workload_is_known_and_found() -> None:
    assert "llama" in known_workloads()
    assert find_card("llama").name == "llama"


def test_a_card_is_found_by_reference_as_an_object_or_a_class() -> None:
    assert find_card("quadratic_card:CARD") is CARD
    assert find_card("quadratic_card:QuadraticCard") == CARD


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("lama", "no workload named 'lama'; did you mean 'llama'"),
        ("no_such_module:CARD", "there is no module no_such_module; install"),
        ("quadratic_card:CRD", "module quadratic_card has no attribute 'CRD'"),
        ("quadratic_card:", "has no attribute ''"),
        (":CARD", "not of the form package.module:ATTRIBUTE"),
        ("a b:CARD", "not of the form package.module:ATTRIBUTE"),
        ("quadratic_card:SETTINGS", "is not a card: tuple lacks name, version"),
        ("pathlib:Path", "is not a card: PosixPath lacks version"),
        ("workloads.workload:Setting", "making the card failed: TypeError"),
    ],
)
def test_what_is_no_card_is_refused_by_name(name: str, why: str) -> None:
    with pytest.raises(RequestError) as caught:
        find_card(name)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import no_such_dependency", "needs no_such_dependency, which is not installed"),
        ("1 / 0", "importing broken_workload failed: ZeroDivisionError: division by zero"),
        ("def CARD(:", "importing broken_workload failed: SyntaxError"),
        (
            "import quadratic_card as q\nCARD = q.QuadraticCard(settings=q.SETTINGS * 2)",
            "declared twice or reserved",
        ),
        (
            "import quadratic_card as q\nCARD = q.QuadraticCard(settings=('width',))",
            "has to be a Setting",
        ),
    ],
)
def test_a_faulty_module_of_the_user_is_named_with_its_error(
    source: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_workload.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "broken_workload", raising=False)
    with pytest.raises(RequestError) as caught:
        find_card("broken_workload:CARD")
    assert why in str(caught.value)


def test_reading_a_study_loads_no_heavy_library() -> None:
    code = (
        "import sys; from sweeper.study.study import load_study;"
        "load_study('studies/quickstart.yaml');"
        "print([m for m in ('torch', 'ray', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"

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
        ("pathlib:Path", "Path is no class of cards: it lacks problems"),
        ("workloads.workload:Card", "making the card failed: TypeError"),
        ("os:abort", "is not a card: builtin_function_or_method lacks name, version"),
        ("sys:exit", "is not a card: builtin_function_or_method lacks"),
        ("signal:pause", "is not a card: builtin_function_or_method lacks"),
        ("http.server:test", "is not a card: function lacks"),
        ("http.server:ThreadingHTTPServer", "is no class of cards"),
        ("unittest.mock:call", "is not a card: _Call lacks name, version"),
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
        ("raise SystemExit(0)", "importing broken_workload failed: SystemExit: 0"),
        (
            "import quadratic_card as q\nclass CARD(q.QuadraticCard):\n"
            "  def __init__(self):\n    raise SystemExit(0)",
            "making the card failed: SystemExit: 0",
        ),
        (
            "import quadratic_card as q\nCARD = q.QuadraticCard(settings=3)",
            "reading the card failed: TypeError",
        ),
        (
            "import quadratic_card as q\nCARD = q.QuadraticCard(version=3)",
            "version and doc have to be text",
        ),
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


def test_a_module_that_is_new_is_named_with_its_file_before_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file, package = tmp_path / "unheard_of.py", tmp_path / "unknown"
    file.write_text("1 / 0")
    package.mkdir()
    (package / "cards.py").write_text("CARD = 1 / 0")
    monkeypatch.syspath_prepend(str(tmp_path))
    with caplog.at_level("INFO", "sweeper"):
        find_card("planted")
        find_card("quadratic_card:CARD")  # is loaded, or is named where it is not
        caplog.clear()
        with pytest.raises(RequestError):
            find_card("unheard_of:CARD")
        with pytest.raises(RequestError):
            find_card("unknown.cards:CARD")
    assert caplog.messages == [
        f"workload 'unheard_of:CARD' loads module unheard_of from {file}",
        f"workload 'unknown.cards:CARD' loads module unknown.cards from {package}",
    ]


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

"""All reading commands over all misleading and published tables: an answer or a refusal, and
nothing of numpy's (pytest makes its warnings errors, as all others)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from cli_harness import Answer, Sweeper
from long_form import LONG

pytestmark = pytest.mark.slow

FIXTURES = Path(__file__).parents[1] / "fixtures"
CASES = sorted(path.stem for path in (FIXTURES / "cases").glob("*.csv"))
MORE = {
    "accuracy_wrong_goal": "--goal max",
    "repeats_without_seed": "--repeats",
    "digits_optimizers": "--where variant=soap",
    "finite_blow_up": "--where variant=d0",
    "seeds_that_shift_the_optimum": "--where variant=d0",
    "two_scales": "--where variant=d0",
}
PUBLISHED = {
    "openwebtext_width": "--hp learning_rate --variant optimizer,parametrization "
    "--where figure=fig2 --where optimizer=Muon",
    "llama_wikitext103_width": "--hp learning_rate --variant setting --where curve=ema "
    "--where setting=Adam-Llama --error error_bar",
    "llama_fineweb_frontier": "--variant optimizer,scaling --flops flops",
}
FAULTS = {
    "early_stopped": "--step _step",
    "a_rounding_apart": "",
    "states_of_ray": "--outcome status",
}
NO_NUMBER = re.compile(r"(?<![\w-])[+-]?(nan|inf|infinity)(?![\w-])", re.IGNORECASE)

ASKED = ("drift it", "fit it --json", "predict it {target}", "compare {first} other")
"""What is asked of every table; the other forms of these answers are asked of one."""

DEARER = (
    ("report it --out page",),
    ("transfer it",),
    ("advise it --target 8192 --flops 1e20 --run-flops 1e15 --cost-exponent 2",),
)
"""What is asked of tables in turn in the short form, and of every table in the long one."""


def asked(number: int) -> tuple[str, ...]:
    """Returns what a table is asked, by its number."""
    dearer = (each for turn in DEARER for each in turn) if LONG else DEARER[number % len(DEARER)]
    return (*ASKED, *dearer)


FORMS = (
    *("drift it --json --all", "drift it --hp lr*width", "drift it --scale flops"),
    *("fit it", "transfer it --json", "transfer it --reference limit", "compare it other --json"),
    *(f"fit it --model {form}" for form in ("constant", "power", "bent", "offset")),
    *(f"drift it --estimator {name}" for name in ("argmin", "quadratic", "quadratic3", "spline")),
    *(f"predict it --width 99 --estimator {name}" for name in ("argmin", "quadratic", "spline")),
    *(f"transfer it --estimator {name}" for name in ("quadratic", "quadratic3", "skewed")),
)


def assert_clean(command: str, answer: Answer) -> None:
    """An answer has numbers that are numbers; a refusal has words and exit code 2."""
    assert answer.code in (0, 2), f"{command}: {answer.err}"
    if answer.code == 2:
        assert answer.err.startswith("sweeper: "), f"{command}: {answer.err}"
        assert "Traceback" not in answer.err, f"{command}: {answer.err}"
        assert not answer.out, command
    elif "--json" in command:
        assert answer.document, command
    else:
        assert "Warning" not in answer.err, f"{command}: {answer.err}"
        found = NO_NUMBER.search(answer.out)
        assert found is None, f"{command}: {answer.out[found.start() - 80 : found.end() + 80]}"


def ask(sweeper: Sweeper, commands: Iterable[str], **words: str) -> None:
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        for command in commands:
            line = command.format(**words)
            assert_clean(line, sweeper(*line.split()))


def take(sweeper: Sweeper, path: Path, options: str) -> dict[str, str]:
    """Imports a table as two studies, and returns how its baseline and its target are named."""
    names = path.read_text("utf-8").splitlines()[0].split(",")
    told = [f"--{name} {name}" for name in ("seed", "variant") if name in names]
    scale = "width" if "width" in names else "flops"
    told.append(f"--scale {scale} --objective {'acc' if 'acc' in names else 'loss'}")
    if "--flops" not in options:
        told.append("--flops width")  # any rising positive column makes a comparison possible
    for study in ("it", "other"):
        line = f"--study {study} {' '.join(told)} {options}".split()
        answer = sweeper("import", path, *line)
        assert answer.code == 0, answer.err
    query = "select distinct variant from study_trials order by 1"
    variants = sweeper("sql", query, "--json").document
    first = f"it:{variants[0]['variant']}"
    return {"first": first, "target": f"--at {scale}=8192"}


@pytest.mark.parametrize("case", CASES)
def test_no_command_leaks_a_warning_over_a_misleading_table(sweeper: Sweeper, case: str) -> None:
    path = FIXTURES / "cases" / f"{case}.csv"
    words = take(sweeper, path, f"--hp lr {MORE.get(case, '')}")
    ask(sweeper, asked(CASES.index(case)), **words)


@pytest.mark.skipif(not LONG, reason="the long form; tests/goldens asks them too")
@pytest.mark.parametrize("case", PUBLISHED)
def test_no_command_leaks_a_warning_over_a_published_table(sweeper: Sweeper, case: str) -> None:
    words = take(sweeper, FIXTURES / "published" / f"{case}.csv", PUBLISHED[case])
    ask(sweeper, asked(0), **words)


@pytest.mark.parametrize("case", FAULTS)
def test_no_command_leaks_a_warning_over_a_table_that_once_fell_over(
    sweeper: Sweeper, case: str
) -> None:
    words = take(sweeper, FIXTURES / "faults" / f"{case}.csv", f"--hp lr {FAULTS[case]}")
    ask(sweeper, asked(list(FAULTS).index(case)), **words)


@pytest.mark.parametrize("case", ["three_points", "one_scale"])
def test_no_form_of_an_answer_leaks_a_warning(sweeper: Sweeper, case: str) -> None:
    take(sweeper, FIXTURES / "cases" / f"{case}.csv", "--hp lr")
    ask(sweeper, FORMS)


def bowl(width: float, octave: float) -> float:
    """Returns a loss whose optimum is 2^-8 at width 256 and falls by half a octave a doubling."""
    return float(3 + 50 / width + 0.05 * (octave + 8 + 0.5 * np.log2(width / 256)) ** 2)


SPOILT: dict[str, Callable[[float, float], object]] = {
    "a loss that overflows": lambda w, x: 1e300 if x > -7 else bowl(w, x),
    "losses of 1e200": lambda w, x: 1e200 * bowl(w, x),
    "losses of 1e-200": lambda w, x: 1e-200 * bowl(w, x),
    "losses below 0": lambda w, x: bowl(w, x) - 20,
    "equal losses": lambda w, x: 2.5,
    "a scale of NaN": lambda w, x: "nan" if w == 256 else bowl(w, x),
    "one finite loss a scale": lambda w, x: bowl(w, x) if x == -8 else "nan",
    "a wall": lambda w, x: 7 if x > -8 else 3,
}


@pytest.mark.parametrize("kind", SPOILT)
def test_no_command_leaks_a_warning_over_odd_losses(
    sweeper: Sweeper, tmp_path: Path, kind: str
) -> None:
    rows = ["width,lr,loss"]
    for width in (128, 256, 512):
        rows += [f"{width},{2.0**x},{SPOILT[kind](width, x)}" for x in range(-12, -4)]
    (tmp_path / "odd.csv").write_text("\n".join(rows), encoding="utf-8")
    words = take(sweeper, tmp_path / "odd.csv", "--hp lr")
    every = (*asked(list(SPOILT).index(kind)), "predict it --at width=1e300")
    ask(sweeper, every, **words)


def test_no_command_leaks_a_warning_over_two_hyperparameters(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    rows = ["width,lr,wd,loss"]
    for width in (128, 256, 512):
        for x in range(-10, -6):
            for m in range(-6, -2):
                loss = bowl(width, x) + 0.05 * (m + 4) ** 2 + 0.003 * np.sin(99 * x + m * width)
                rows.append(f"{width},{2.0**x},{2.0**m},{loss}")
    (tmp_path / "two.csv").write_text("\n".join(rows), encoding="utf-8")
    words = take(sweeper, tmp_path / "two.csv", "--hp lr,wd")
    joint = ("drift it --joint lr,wd", "drift it --joint lr,wd --json", "drift it --hp lr*wd")
    ask(sweeper, (*joint, "fit it --json", "report it --out page"), **words)

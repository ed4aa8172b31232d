"""Published sweeps, read again: predictions from small widths, drifts, loss laws, multipliers.

The page docs/results/published.md is the output of this script. The tables of arXiv 2512.05620 and
2512.22768 that it reads are those of tests/fixtures/published, or of the folder that its argument
names.

    python benchmarks/published.py > docs/results/published.md
"""

from __future__ import annotations

import io
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.analysis import Optimum, regret_at
from sweeper.answers import statements_of
from sweeper.cli.app import app
from sweeper.store import Store

TABLES = Path(__file__).resolve().parents[1] / "tests/fixtures/published"

OPENWEBTEXT = (
    "sweeper import openwebtext_width.csv --study {study} --scale width --hp learning_rate "
    "--objective loss --variant optimizer,parametrization --where figure=fig2"
)
WIKITEXT = (
    "sweeper import llama_wikitext103_width.csv --study {study} --scale width "
    "--hp learning_rate --objective loss --variant setting --where curve=ema"
)
FINEWEB = (
    "sweeper import llama_fineweb_frontier.csv --study fineweb --scale flops --objective loss "
    "--variant optimizer,scaling"
)
IMPORTS = (
    OPENWEBTEXT.format(study="openwebtext"),
    OPENWEBTEXT.format(study="openwebtext-small")
    + " --where width=128 --where width=256 --where width=512",
    WIKITEXT.format(study="wikitext103"),
    WIKITEXT.format(study="wikitext103-small") + " --where width=128 --where width=256",
    FINEWEB,
)
PREDICT = {
    "openwebtext": "sweeper predict openwebtext-small --width 4096",
    "wikitext103": "sweeper predict wikitext103-small --width 2048",
}
FIT = "sweeper fit openwebtext"
DRIFT = "sweeper drift openwebtext"
THREE_POINTS = "sweeper drift openwebtext --estimator quadratic3"
TRANSFER = "sweeper transfer wikitext103"
COMPARE = "sweeper compare fineweb:adam/mup+wd fineweb:muon/mup+wd fineweb:muon/sp"

STATED_SLOPES = {
    "Muon/SP": -0.05,
    "Muon/muP": -0.13,
    "Muon-Adam/SP": -0.51,
    "Muon-Adam/muP": -0.15,
    "Shampoo/SP": -0.15,
    "Shampoo/muP": 0.05,
}
"""arXiv 2512.05620 section 3.2, octaves per doubling of the width."""

STATED_LAWS = {
    ("Adam-Llama", "tuned"): (3.137, 13.16, 0.52),
    ("Adam-Llama", "transferred"): (3.130, 12.82, 0.52),
    ("Muon-Llama", "tuned"): (3.004, 12.93, 0.50),
    ("Muon-Llama", "transferred"): (3.139, 18.05, 0.60),
}
"""arXiv 2512.22768: asymptote, amplitude and exponent of the loss against width."""

STATED_MULTIPLIERS = {
    "muon/mup+wd": (1.429, 1.417, 1.427, 1.413),
    "muon/sp": (1.429, 1.279, 1.084, 0.773),
}
"""arXiv 2512.05620 figure 6; the last of muon/mup+wd is extrapolated."""


def answer(command: str, store: str) -> Any:
    """Returns the JSON of a command on a store."""
    said = io.StringIO()
    with redirect_stdout(said):
        app([*shlex.split(command)[1:], "--store", store, "--json"], standalone_mode=False)
    return json.loads(said.getvalue())


def page(folder: Path) -> Iterator[str]:
    """Yields the lines of the page.

    Raises:
        RequestError: a table of the folder cannot be read.
    """
    with tempfile.TemporaryDirectory() as store, chdir(folder):
        for command in IMPORTS:
            answer(command, store)
        yield from INTRODUCTION
        yield from ("```console", *(f"$ {command}" for command in IMPORTS), "```", "")
        yield from _section("Predictions from small widths", [*PREDICT.values(), FIT])
        yield from _predictions(store)
        yield from _section("Drifts and the spread between estimators", [DRIFT, THREE_POINTS])
        yield from _slopes(store)
        yield from _section("Loss laws", [TRANSFER])
        yield from _laws(store)
        yield from _section("Compute multipliers", [COMPARE])
        yield from _multipliers(store)


INTRODUCTION = (
    "# Published sweeps, read again",
    "",
    "Results that none of this code produced: loss against learning rate of arXiv 2512.05620 "
    "(figure 2: GPT-2-style models on OpenWebText, widths 128 to 4096, one seed) and of arXiv "
    "2512.22768 (Llama on WikiText-103, widths 128 to 2048), and losses against compute of arXiv "
    "2512.05620 (figure 6), read off the figures. Learning rates of the first are multiples of "
    "the base width's optimum. This page is what `python benchmarks/published.py FOLDER` prints, "
    "and a test compares the two.",
    "",
)

ABOUT = {
    "Predictions from small widths": (
        "Each series is predicted from widths of at most an eighth of the largest alone. Found is "
        "the optimum that the whole study has there; the regret is read off its curve at the "
        "predicted rate, `(not resolved)` where that is below what the noise hides. The rule is "
        "the form that weighs most."
    ),
    "Drifts and the spread between estimators": (
        "Octaves per doubling of the width. Stated are the slopes of the source, which come from "
        "the parabola through the lowest point and its two neighbours, all widths weighing the "
        "same; that reading is the third column. The others weigh each width by its noise. The "
        "95% interval is that of the default estimator, stretched to what the others say."
    ),
    "Loss laws": (
        "Loss = E + A width^-alpha, of tuned runs and of runs at the best rate of width 128, read "
        "with the cubic spline."
    ),
    "Compute multipliers": (
        "How many times its compute AdamW needs for the same loss, cheapest model first. The "
        "published runs have one seed and no noise, so there is no interval."
    ),
}


def _section(title: str, commands: Sequence[str]) -> list[str]:
    shown = [f"$ {command}" for command in commands]
    return [f"## {title}", ABOUT[title], "", "```console", *shown, "```", ""]


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [headings, ["---"] * len(headings), *rows]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def _predictions(store: str) -> Iterator[str]:
    rows = []
    for study, command in PREDICT.items():
        with Store.open(store, create=False) as opened:
            (statement,) = statements_of(opened, study)
        found = {group.variant: group.optima[-1] for group in statement.groups}
        groups = answer(command, store)["groups"]
        rows += [[study, *_prediction(group, found[group["variant"]])] for group in groups]
    heads = ("study", "series", "width", "rule", "predicted", "95% interval", "found", "inside")
    yield from _table((*heads, "regret, nats"), rows)
    checks = [group["held_out"] for group in answer(FIT, store)["groups"] if group["held_out"]]
    inside, of = (sum(check[key] for check in checks) for key in ("inside", "of"))
    yield (
        f"From all widths but the largest, `{FIT}` predicts {inside} of {of} series inside the "
        "interval."
    )
    yield ""


def _prediction(group: Any, optimum: Optimum) -> list[str]:
    """Returns the cells of one series.

    Args:
        group: the prediction.
        optimum: what the whole study has at the largest width.
    """
    cost = regret_at(optimum, group["log2"])
    return [
        group["variant"],
        f"{optimum.scale:g}",
        group["model"],
        f"{group['value']:.3g}",
        f"{_end(group['low'])} to {_end(group['high'])}",
        f"{optimum.value:.3g}",
        inside_words(group["low"], group["high"], optimum.log2),
        f"{cost.regret:.4f}{' (not resolved)' if not cost.resolved else ''}",
    ]


def inside_words(low: float | None, high: float | None, found: float) -> str:
    """Returns whether an interval holds what was found; one that is open on both sides says
    nothing."""
    if low is None and high is None:
        return "open"
    inside = (low is None or low <= found) and (high is None or found <= high)
    return "yes" if inside else "no"


def _end(log2: float | None) -> str:
    return "open" if log2 is None else f"{2.0**log2:.3g}"


def _slopes(store: str) -> Iterator[str]:
    plain = {
        group["variant"]: _unweighted(group) for group in answer(THREE_POINTS, store)["groups"]
    }
    groups = answer(DRIFT, store)["groups"]
    names = list(groups[0]["drift"]["estimators"])
    rows = [
        [
            group["variant"],
            f"{STATED_SLOPES[group['variant']]:+.2f}",
            f"{plain[group['variant']]:+.2f}",
            *(f"{group['drift']['estimators'][name]:+.2f}" for name in names),
            f"{group['drift']['low']:+.2f} to {group['drift']['high']:+.2f}",
        ]
        for group in groups
    ]
    yield from _table(("series", "stated", "three points", *names, "95% interval"), rows)


def _unweighted(group: Any) -> float:
    scales = [optimum["scale"] for optimum in group["optima"]]
    places = [optimum["log2"] for optimum in group["optima"]]
    return float(np.polyfit(np.log2(scales), places, 1)[0])


def _laws(store: str) -> Iterator[str]:
    rows = []
    for group in answer(TRANSFER, store)["groups"]:
        for which in ("tuned", "transferred"):
            law, stated = group["laws"][which], STATED_LAWS[group["variant"], which]
            found = (law["asymptote"], law["amplitude"], law["exponent"])
            name = f"{group['variant']}, {which}"
            rows.append([name, _law_words(*stated), _law_words(*found)])
    yield from _table(("series", "printed", "read again"), rows)


def _law_words(asymptote: float, amplitude: float, exponent: float) -> str:
    return f"{asymptote:.3f} + {amplitude:.2f} width^-{exponent:.3f}"


def _multipliers(store: str) -> Iterator[str]:
    rows = []
    for other in answer(COMPARE, store)["others"]:
        for point, stated in zip(
            other["points"], STATED_MULTIPLIERS[other["variant"]], strict=True
        ):
            rows.append(
                [
                    other["variant"],
                    f"{point['flops']:.3g}",
                    f"{stated:.3f}",
                    f"{point['multiplier']:.3f}",
                    "yes" if point["extrapolated"] else "",
                ]
            )
    yield from _table(("variant", "FLOPs", "stated", "read again", "extrapolated"), rows)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit("usage: python benchmarks/published.py [FOLDER]")
    print("\n".join(page(Path(sys.argv[1]) if len(sys.argv) == 2 else TABLES)).rstrip())

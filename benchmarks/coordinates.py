"""Whether each scaling rule does what it promises, by measurement: the coordinate check of all.

For every optimizer under every parametrization, a small llama makes ten steps at each width (or
depth), and the log-log slope of how far its activations move is set beside the slope that the
rules say: 0 where learning rates are those of maximal updates, else the logarithm of how much
larger the parametrization's learning rate is, for a model of twice the width.

Learning rates are small, so that ten steps stay in the linear part of training, in which the
theory speaks; standard-like parametrizations have still smaller ones, as their steps grow.

    python benchmarks/coordinates.py                              # the table, about an hour
    python benchmarks/coordinates.py --cases adamw,muon --parametrizations sp,mup
    python benchmarks/coordinates.py --scale depth                # over depths instead
    python benchmarks/coordinates.py --markdown TABLE.md --csv TABLE.csv
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

from workloads.llama import LLAMA
from workloads.workload import Config

WIDTHS = (32, 64, 128, 256, 512)
DEPTHS = (2, 4, 8, 16)
SEEDS = 5
WITHIN = 0.1

MODEL: dict[str, Any] = {
    "width": 32,
    "depth": 2,
    "base_width": 32,
    "head_dim": 16,
    "context": 32,
    "batch_size": 16,
    "mlp": "gelu",
    "mlp_ratio": 1,
    "eval_tokens": 64,
    "clip": 0.0,
    "steps": 10,
}

EVERY_STEP = {"preconditioner_frequency": 1}

CASES: Mapping[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.5},
    "adamw": {"optimizer": "adamw", "learning_rate": 2.0**-8},
    "adopt": {"optimizer": "adopt", "learning_rate": 2.0**-8},
    "adamw from random outputs": {
        "optimizer": "adamw",
        "learning_rate": 2.0**-8,
        "zero_init": False,
    },
    "lamb from random outputs": {
        "optimizer": "lamb",
        "learning_rate": 2.0**-8,
        "zero_init": False,
    },
    "sophia": {"optimizer": "sophia", "learning_rate": 2.0**-8, "sophia_frequency": 5},
    "muon": {"optimizer": "muon", "learning_rate": 2.0**-5},
    "muon everywhere": {"optimizer": "muon", "others": "muon", "learning_rate": 2.0**-5},
    "muon per head": {"optimizer": "muon", "qkv": "per_head", "learning_rate": 2.0**-5},
    "muonclip": {"optimizer": "muonclip", "learning_rate": 2.0**-5, "qk_norm": False},
    "adamuon": {"optimizer": "adamuon", "learning_rate": 2.0**-8},
    "adamuon rms-aligned": {
        "optimizer": "adamuon",
        "adamuon_rms_align": True,
        "learning_rate": 2.0**-6,
    },
    "shampoo 1/4": {"optimizer": "shampoo", "learning_rate": 2.0**-5, **EVERY_STEP},
    "shampoo 1/4 in blocks": {
        "optimizer": "shampoo",
        "block_size": 32,
        "learning_rate": 2.0**-6,
        **EVERY_STEP,
    },
    "shampoo 1/2": {
        "optimizer": "shampoo",
        "shampoo_exponent": 0.5,
        "learning_rate": 2.0**-12,
        **EVERY_STEP,
    },
    "shampoo 1/4 adam-grafted": {
        "optimizer": "shampoo",
        "graft": "adam",
        "learning_rate": 2.0**-8,
        **EVERY_STEP,
    },
    "shampoo 1/4 adam-grafted in blocks": {
        "optimizer": "shampoo",
        "graft": "adam",
        "block_size": 32,
        "learning_rate": 2.0**-8,
        **EVERY_STEP,
    },
    "soap": {"optimizer": "soap", "learning_rate": 2.0**-12, **EVERY_STEP},
    "soap in blocks": {
        "optimizer": "soap",
        "block_size": 32,
        "learning_rate": 2.0**-12,
        **EVERY_STEP,
    },
    "dion": {"optimizer": "dion", "learning_rate": 2.0**-5},
}
"""Settings of each row; learning rates are those of mup at the base width, blocks have side 32."""

RULES: Mapping[str, dict[str, Any]] = {
    "mup": {"parametrization": "mup"},
    "spectral": {"parametrization": "spectral"},
    "normalized": {"parametrization": "normalized"},
    "completep": {"parametrization": "completep"},
    "completep 1/2": {"parametrization": "completep", "depth_alpha": 0.5},
    "mean_field": {"parametrization": "mean_field"},
    "ntk": {"parametrization": "ntk"},
    "moonlight": {"parametrization": "moonlight"},
    "sp": {"parametrization": "sp"},
}
"""Parametrizations; ``completep 1/2`` divides branches by the root of the depth."""

OF_WIDTH = ("mup", "spectral", "normalized", "completep", "mean_field", "ntk", "moonlight", "sp")
OF_DEPTH = ("mup", "completep 1/2", "normalized", "sp")

GROWING = ("sp", "moonlight")
"""Parametrizations whose steps grow with the width: they start with a smaller one."""

NORMALIZED_RATE = 2.0**-5
"""Learning rate under ``normalized``: each update then has spectral norm one, in proportion."""

COLUMNS = ("embedding", "attention", "mlp", "stream", "logits")


def settings_of(case: str, parametrization: str) -> dict[str, Any]:
    """Returns the settings of one measurement."""
    config = {**MODEL, **CASES[case], **RULES[parametrization]}
    if parametrization in GROWING:
        config["learning_rate"] /= 64
    if parametrization == "normalized":
        config["learning_rate"] = NORMALIZED_RATE
    return config


def expected_slope(config: Config, role: str) -> float:
    """Returns the slope that the rules say for what a role adds to its layer's output.

    The update of maximal-update parametrization moves outputs alike at every width, and an update
    moves them in proportion to its learning rate. An update that goes as a power of the gradient
    also goes with the readout that the gradient has come through, which starts at zero and is as
    large as its learning rate makes it.
    """
    if config["parametrization"] == "normalized":
        return 0.0
    slope = _rate_slope(config, role)
    return slope if role == "readout" else slope + _degree(config) * _rate_slope(config, "readout")


def _degree(config: Config) -> float:
    """Returns the power of the gradient that the hidden matrices' update goes as."""
    if config["optimizer"] == "sgd":
        return 1.0
    if config["optimizer"] == "shampoo" and "graft" not in config:
        return 1.0 - 4 * float(config.get("shampoo_exponent", 0.25))
    return 0.0


def _rate_slope(config: Config, role: str) -> float:
    """Returns log2 of a role's learning rate over that of mup, for twice the width."""
    double = {**config, "width": 2 * config["width"]}
    muped = {**double, "parametrization": "mup"}
    rates = [
        LLAMA.resolve(each).derived["groups"][role]["learning_rate"] for each in (double, muped)
    ]
    return math.log2(rates[0] / rates[1]) + 0.0


def measure(
    case: str, parametrization: str, scale: str, sizes: Sequence[int], seeds: Sequence[int]
) -> dict[str, Any]:
    """Returns one row: what the rules say and the slopes measured."""
    from workloads.llama import coordinate_check, slopes

    config = settings_of(case, parametrization)
    row: dict[str, Any] = {"optimizer": case, "parametrization": parametrization, "scale": scale}
    config |= _base(scale, sizes)
    if scale == "depth":  # without a rule, the branches of N blocks add up
        unruled = float(parametrization not in ("mup", "completep", "completep 1/2", "normalized"))
        row |= {"expected_hidden": unruled, "expected_readout": 0.0}
    else:
        row |= {f"expected_{r}": expected_slope(config, r) for r in ("hidden", "readout")}
    try:
        found = slopes(coordinate_check(config, sizes, scale=scale, seeds=seeds))
    except ValueError as error:
        return row | {"failed": str(error)}
    return row | _by_kind(found) | {"slopes": found}


def _by_kind(found: Mapping[str, float]) -> dict[str, float]:
    """Returns embedding and logits as they are, the mean of the blocks' others, and the worst."""
    kinds = {
        "embedding": [found["embedding"]],
        "attention": [slope for name, slope in found.items() if name.startswith("attention")],
        "mlp": [slope for name, slope in found.items() if name.startswith("mlp")],
        "stream": [slope for name, slope in found.items() if name.startswith("block")],
        "logits": [found["logits"]],
    }
    outputs = [found["embedding"], *kinds["stream"], found["logits"]]
    return {name: fmean(each) for name, each in kinds.items()} | {"worst": max(outputs, key=abs)}


def jobs(cases: Sequence[str], parametrizations: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields the pairs that are defined."""
    for case, parametrization in product(cases, parametrizations):
        if not LLAMA.problems(settings_of(case, parametrization)):
            yield case, parametrization


def signature(case: str, parametrization: str, scale: str, sizes: Sequence[int]) -> str:
    """Returns what decides a row's training: rules that come to the same need one run."""
    config = settings_of(case, parametrization)
    found = []
    for size in sizes:
        derived = LLAMA.resolve({**config, **_base(scale, sizes), scale: size}).derived
        found.append([derived["groups"], derived["branch_multiplier"]])
    return json.dumps([case, parametrization == "normalized", found], sort_keys=True)


def _base(scale: str, sizes: Sequence[int]) -> dict[str, int]:
    return {"base_depth": sizes[0]} if scale == "depth" else {}


def verdict(row: Mapping[str, Any]) -> str:
    """Returns whether a promise of slope 0 is kept, in a word; nothing without a promise."""
    if "failed" in row:
        return row["failed"]
    if row["expected_hidden"] or row["expected_readout"]:
        return ""
    return "kept" if abs(row["worst"]) <= WITHIN else f"off by {row['worst']:+.2f}"


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the rows as a table."""
    head = (
        "| optimizer | parametrization | rules: hidden, readout | embedding | attention | mlp | "
    )
    lines = [head + "stream | logits | promise |", "|---|---|---|" + "---:|" * 5 + "---|"]
    for row in rows:
        said = f"{row['expected_hidden']:+.2f}, {row['expected_readout']:+.2f}"
        cells = [f"{row[name]:+.2f}" if name in row else "" for name in COLUMNS]
        lines.append(
            f"| {row['optimizer']} | {row['parametrization']} | {said} | "
            + " | ".join(cells)
            + f" | {verdict(row)} |"
        )
    return "\n".join(lines) + "\n"


def write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes the rows with all digits."""
    names = ["optimizer", "parametrization", "scale", "expected_hidden", "expected_readout"]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*names, *COLUMNS, "worst"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Measures and prints; returns the rows."""
    options = _options(arguments)
    default = DEPTHS if options.scale == "depth" else WIDTHS
    sizes = [int(size) for size in options.sizes.split(",")] if options.sizes else default
    rules = OF_DEPTH if options.scale == "depth" else OF_WIDTH
    if options.parametrizations:
        rules = tuple(options.parametrizations.split(","))
    pairs = list(jobs(options.cases.split(","), rules))
    rows = []
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        runs: dict[str, Future[dict[str, Any]]] = {}
        for pair in pairs:
            same = signature(*pair, options.scale, sizes)
            if same not in runs:
                arguments = (*pair, options.scale, sizes, range(options.seeds))
                runs[same] = pool.submit(measure, *arguments)
        for case, rule in pairs:
            row = runs[signature(case, rule, options.scale, sizes)].result()
            rows.append({**row, "parametrization": rule})
            print(markdown(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(json.dumps(rows, indent=1) if options.json else markdown(rows))
    if options.markdown:
        options.markdown.write_text(markdown(rows))
    if options.csv:
        write_csv(rows, options.csv)
    return rows


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--parametrizations", help="separated by commas; default: all")
    parser.add_argument("--scale", choices=("width", "depth"), default="width")
    parser.add_argument("--sizes", help="widths or depths, the first of them the base")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="number of seeds")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--csv", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()

"""Whether a coordinate check names what is wrong, and how often it cries wolf.

For AdamW, Muon, Shampoo and SOAP, one exponent at a time of a sound rule is set wrong: learning
rate, initial values or epsilon, of embedding, hidden matrices or readout. The check has to name
that role and that quantity and no other; the sound rules have to pass. False alarms are counted
over many groups of seeds of sound rules.

    python benchmarks/check.py                              # the table, some minutes
    python benchmarks/check.py --optimizers adamw --roles readout --widths 32,64,128 --seeds 3
    python benchmarks/check.py --alarms 100                 # false alarms in so many groups
    python benchmarks/check.py --markdown TABLE.md
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeper.check import CheckRequest, Measured, VariantCheck, measured_study, statement_of
from sweeper.study import Study
from workloads.llama import LLAMA

WIDTHS = (32, 64, 128, 256)
SEEDS = 5
ROLES = ("embedding", "hidden", "readout")
QUANTITIES = {"learning_rate": "update", "init": "initial_rms", "epsilon": "epsilon_kept"}
"""What is set wrong, and the quantity that has to be named."""

MODEL: Mapping[str, Any] = {
    "depth": 1,
    "base_width": 32,
    "head_dim": 16,
    "context": 32,
    "batch_size": 8,
    "mlp": "gelu",
    "mlp_ratio": 1,
    "clip": 0.0,
    "steps": 10,
    "eval_tokens": 64,
}

OPTIMIZERS: Mapping[str, Mapping[str, Any]] = {
    "adamw": {"optimizer": "adamw", "learning_rate": 2.0**-8},
    "muon": {"optimizer": "muon", "learning_rate": 2.0**-5},
    "shampoo": {
        "optimizer": "shampoo",
        "learning_rate": 2.0**-5,
        "preconditioner_frequency": 1,
    },
    "soap": {
        "optimizer": "soap",
        "block_size": 32,
        "learning_rate": 2.0**-10,
        "preconditioner_frequency": 1,
    },
}
"""Sound settings; SOAP in blocks of the base width, since without them its update grows with the
width whatever the rule (docs/results/coordinates.md)."""

WRONG_BY: Mapping[str, Mapping[str, float]] = {
    "learning_rate": {"embedding": 0.5, "hidden": 1.0, "readout": 1.0},
    "init": {"embedding": 0.5, "hidden": 0.5, "readout": 0.5},
    "epsilon": {"embedding": 1.0, "hidden": 1.0, "readout": 1.0},
}
"""What is added to the exponent of the sound rule."""

EPSILONS: Mapping[str, Mapping[str, Any]] = {
    "adamw": {"epsilon": 1e-3},
    "muon": {"epsilon": 1e-3, "muon_epsilon": 10.0},
    "shampoo": {"epsilon": 1e-3, "shampoo_ridge": "absolute", "shampoo_epsilon": 1e-4},
    "soap": {"epsilon": 1e-3, "soap_epsilon": 1e-3},
}
"""Epsilons that are not small beside what they are added to: a wrong one that is changes
nothing."""

READOUT_EPSILON = 1e-2


def exponents(optimizer: str) -> dict[str, dict[str, float]]:
    """Returns the exponents of the rule of maximal updates, by role."""
    settings = {k: v for k, v in OPTIMIZERS[optimizer].items() if k != "learning_rate"}
    config = {**settings, "width": 64, "base_width": 32, "parametrization": "mup"}
    roles = LLAMA.rules(config).roles  # type: ignore[attr-defined]
    names = {"learning_rate": "learning_rate", "epsilon": "epsilon", "init": "init_std"}
    return {
        role: {q: math.log2(roles[role].factors[name]) for q, name in names.items()}
        for role in ROLES
    }


def settings_of(optimizer: str, wrong: tuple[str, str] | None) -> dict[str, Any]:
    """Returns the settings of a model whose rule is sound but for one role and quantity."""
    found = exponents(optimizer)
    settings: dict[str, Any] = {**MODEL, **OPTIMIZERS[optimizer], "parametrization": "custom"}
    if wrong is not None:
        role, quantity = wrong
        found[role][quantity] += WRONG_BY[quantity][role]
        settings["zero_init"] = quantity != "init"
        if quantity == "epsilon":
            settings |= EPSILONS[optimizer]
            if role == "readout":
                settings["epsilon"] = READOUT_EPSILON
    for role, each in found.items():
        settings |= {f"custom.{role}.{name}": round(value, 6) for name, value in each.items()}
    return settings


def study_of(settings: Mapping[str, Any], widths: Sequence[int], workload: str = "llama") -> Study:
    """Returns a study of one variant."""
    fixed = {name: value for name, value in settings.items() if name != "learning_rate"}
    return Study.from_document(
        {
            "name": "checked",
            "workload": workload,
            "scale": "width",
            "fixed": fixed,
            "sweep": {"width": list(widths), "learning_rate": [settings["learning_rate"]]},
        }
    )


def cases(
    optimizers: Sequence[str], roles: Sequence[str], quantities: Sequence[str]
) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """Yields every optimizer with nothing wrong, then with one thing wrong at a time."""
    for optimizer in optimizers:
        yield optimizer, None
        for quantity in quantities:
            for role in roles:
                yield optimizer, (role, quantity)


def measure(
    optimizer: str, wrong: tuple[str, str] | None, widths: Sequence[int], seeds: int
) -> dict[str, Any]:
    """Returns one row of the table: what was wrong, what was named, whether that is right."""
    study = study_of(settings_of(optimizer, wrong), widths)
    check = _checked(measured_study(CheckRequest(study=study, seeds=seeds)))
    expected = () if wrong is None else ((wrong[0], QUANTITIES[wrong[1]]),)
    right = check.causes == expected and (check.verdict == ("fail" if expected else "pass"))
    return {
        "optimizer": optimizer,
        "wrong": "nothing" if wrong is None else f"{wrong[1]} of {wrong[0]}",
        "verdict": check.verdict,
        "named": [f"{quantity} of {role}" for role, quantity in check.causes],
        "said": check.named[0] if check.named else "",
        "right": right,
    }


def _checked(measured: Sequence[Measured]) -> VariantCheck:
    return statement_of("", measured, steps=10, seeds=SEEDS).variants[0]


SOUND_MLP: Mapping[str, Any] = {
    "depth": 2,
    "base_width": 32,
    "batch_size": 64,
    "residual": True,
    "clip": 0.0,
    "steps": 10,
    "parametrization": "mup",
}


def alarms(optimizer: str, widths: Sequence[int], groups: int) -> dict[str, Any]:
    """Returns how many of so many groups of seeds of a sound perceptron fail or are
    inconclusive."""
    settings = {**SOUND_MLP, **OPTIMIZERS[optimizer]}
    study = study_of(settings, widths, "mlp")
    (measured,) = measured_study(CheckRequest(study=study, seeds=groups * SEEDS))
    verdicts = [
        _checked([_some(measured, slice(first, first + SEEDS))]).verdict
        for first in range(0, groups * SEEDS, SEEDS)
    ]
    return {
        "optimizer": optimizer,
        "groups": groups,
        "fail": verdicts.count("fail"),
        "inconclusive": verdicts.count("inconclusive"),
    }


def _some(measured: Measured, seeds: slice) -> Measured:
    """Returns what was measured of some of the seeds."""
    models = tuple(
        replace(
            model,
            values={
                step: {column: values[seeds] for column, values in columns.items()}
                for step, columns in model.values.items()
            },
        )
        for model in measured.models
    )
    return replace(measured, models=models)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the rows as a Markdown table."""
    lines = ["| optimizer | wrong | verdict | named | said first |", "|---|---|---|---|---|"]
    for row in rows:
        named = ", ".join(row["named"]) or "nothing"
        mark = "" if row["right"] else " (not right)"
        cells = (row["optimizer"], row["wrong"], row["verdict"], named + mark, row["said"])
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Measures, prints and returns the rows."""
    asked = _parsed(arguments)
    rows = []
    if asked.alarms:
        for optimizer in asked.optimizers:
            rows.append(alarms(optimizer, asked.widths, asked.alarms))
            print(json.dumps(rows[-1]), flush=True)
        return rows
    for optimizer, wrong in cases(asked.optimizers, asked.roles, asked.quantities):
        rows.append(measure(optimizer, wrong, asked.widths, asked.seeds))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(table(rows))
    if asked.markdown:
        asked.markdown.write_text(table(rows) + "\n", encoding="utf-8")
    return rows


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])

    def names(text: str) -> list[str]:
        return text.split(",")

    parser.add_argument("--optimizers", type=names, default=list(OPTIMIZERS))
    parser.add_argument("--quantities", type=names, default=list(QUANTITIES))
    parser.add_argument("--roles", type=names, default=list(ROLES))
    parser.add_argument("--widths", type=lambda text: [*map(int, names(text))], default=WIDTHS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--alarms", type=int, default=0, help="groups of seeds of sound rules")
    parser.add_argument("--markdown", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()

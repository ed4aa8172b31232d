"""A commented study file to start from, written out of a workload's card."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import Any

import yaml

from sweeper.errors import RequestError, StudyError
from sweeper.study.arguments import script_study
from sweeper.study.settings import KINDS, allowed, condition
from sweeper.study.source import parse_source
from sweeper.study.study import Study
from sweeper.study.trust import COMMAND
from sweeper.study.workloads import find_card
from workloads.programs import Programmed
from workloads.workload import (
    Card,
    FirstStudy,
    HasCoordinates,
    Records,
    Setting,
    first_study_of,
)

_WIDTH = 88


def study_template(
    workload: str = "llama", *, full: bool = False, script: Path | None = None
) -> str:
    """Returns a study file for a workload to start from; a ``full`` one has all its settings and
    all sections, as comments with their defaults.

    Where the card proposes a first study the file loads as it is. Else required settings get
    values by guess, and what the card still refuses is listed at the top.

    Args:
        workload: its name.
        full: whether all of it is shown; a script's arguments are in any case.
        script: of workload command the script that is run, which is asked for its arguments.

    Raises:
        RequestError: no such workload, or it lacks the two required numbers (one whole, for the
            scale) that a sweep needs; a script is missing, not wanted, or tells no arguments.
    """
    card = find_card(workload, trust=True)  # who asks for it has typed its name
    if isinstance(card, Programmed) != (script is not None):
        if script is None:
            raise RequestError(
                f"workload {workload} runs a script of yours: give --script train.py"
            )
        raise RequestError(
            f"workload {workload} runs no script; leave out --script, or give --workload {COMMAND}"
        )
    if script is not None:
        text = script_study(script)
    else:
        start = first_study_of(card) or _guess(card, workload)
        lines = _lines(card, workload, start) if full else _short_lines(card, workload, start)
        text = "".join(f"{line}\n" for line in lines)
    refused = _refused(text)
    if not refused:
        return text
    return "".join(f"# To settle first: {line}\n" for line in refused) + "\n" + text


def _guess(card: Card, workload: str) -> FirstStudy:
    required = [setting for setting in card.settings if setting.required and not setting.when]
    scale = next((setting.name for setting in required if setting.kind == "int"), None)
    hyper = next((setting.name for setting in required if setting.kind == "float"), None)
    if scale is None or hyper is None:
        raise RequestError(
            f"workload {workload!r} has no required whole number and no required number to sweep, "
            "so there is no first study to guess; write one from that of `sweeper init`"
        )
    others = [setting for setting in required if setting.name not in (scale, hyper)]
    return FirstStudy(
        scale=scale,
        hyperparameter=hyper,
        fixed={setting.name: _first_value(setting) for setting in others},
        variants={},
        sweep={scale: "[64, 128, 256]", hyper: "{log2: [-10, -4]}"},
    )


def _first_value(setting: Setting) -> str:
    return _yaml(setting.choices[0] if setting.choices else KINDS[setting.kind].first)


def _refused(text: str) -> list[str]:
    try:
        source = parse_source(text, "study")
        Study.model_validate(source.data, context=source)
    except StudyError as error:
        return [f"{fault.key}: {fault.message}" for fault in error.faults]
    return []


def _lines(card: Card, workload: str, start: FirstStudy) -> Iterator[str]:
    yield "# A study: which trials to run, what to compare, and which rules to put to the test."
    yield "# `sweeper plan FILE` says what it costs, `sweeper run FILE` runs what is left of it."
    yield "# Adding values later runs only the new trials; removing values deletes nothing."
    yield "name: first-study                  # letters, digits, '-', '_' and '.'"
    yield f"question: Does the best {start.hyperparameter} stay put as {start.scale} grows?"
    yield f"workload: {_yaml(workload)}"
    yield f"# {start.scale} is the axis along which optima are tracked; it has to be swept."
    yield f"scale: {start.scale}"
    yield from _fixed(card, start)
    yield from _variants(start)
    yield from _sweep(start)
    yield from _sections(card, start)


def _short_lines(card: Card, workload: str, start: FirstStudy) -> Iterator[str]:
    """Yields what a first study needs, and says where the rest is."""
    yield "# Every setting and section, with its default:"
    yield f"# sweeper init --full --workload {workload}"
    yield "name: first-study"
    yield f"question: Does the best {start.hyperparameter} stay put as {start.scale} grows?"
    yield f"workload: {_yaml(workload)}"
    yield f"scale: {start.scale:<24} # the axis along which optima are tracked"
    if start.fixed:
        yield "fixed:"
        yield from (f"  {name}: {value}" for name, value in start.fixed.items())
    if start.variants:
        yield f"{'variants:':<31} # bundles of settings that are compared"
        yield from (f"  {name}: {bundle}" for name, bundle in start.variants.items())
    yield f"{'sweep:':<31} # every combination is run"
    yield from (f"  {name}: {values}" for name, values in start.sweep.items())
    yield "  seed: [0, 1]"
    yield f"objective: {{metric: {_metric(card)}, goal: min}}"
    yield f"{'claims:':<31} # octaves that the optimum moves when the scale doubles"
    yield _claim(start)


def _metric(card: Card) -> str:
    return "val_loss" if "val_loss" in card.metrics else next(iter(card.metrics))


def _claim(start: FirstStudy) -> str:
    return f"  - {{hyperparameter: {start.hyperparameter}, exponent: 0, tolerance: 0.25}}"


def _fixed(card: Card, start: FirstStudy) -> Iterator[str]:
    yield ""
    yield "# Settings with one value. Those that are comments have the default that stands there."
    yield "fixed:"
    yield from (f"  {name}: {value}" for name, value in start.fixed.items())
    for setting in card.settings:
        if setting.name in start.fixed or setting.name in start.sweep:
            continue
        where = f" Only where {condition(setting)}." if setting.when else ""
        yield from _comment(f"{setting.doc} Allowed: {allowed(setting)}.{where}")
        value = "REQUIRED" if setting.required else _yaml(setting.default)
        yield f"  # {setting.name}: {value}"


def _variants(start: FirstStudy) -> Iterator[str]:
    yield ""
    yield "# Named bundles of settings that are compared with each other. A variant may have a"
    yield "# `sweep` of its own, whose axes replace those below or are added to them."
    lead = "" if start.variants else "# "
    bundles = start.variants or {"one": "{...}", "other": "{..., sweep: {...}}"}
    yield f"{lead}variants:"
    yield from (f"{lead}  {name}: {bundle}" for name, bundle in bundles.items())


def _sweep(start: FirstStudy) -> Iterator[str]:
    yield ""
    yield "# Axes: every combination of their values is run. An axis is a list, powers of two"
    yield "# {log2: [from, to], step: 1}, or a geometric range {geometric: [low, high], count: n}."
    yield "sweep:"
    yield from (f"  {name}: {values}" for name, values in start.sweep.items())
    yield "  seed: [0, 1]                     # initialisation and order of the data"


def _sections(card: Card, start: FirstStudy) -> Iterator[str]:
    yield from ("", "# Who proposes the trials: grid runs every combination.")
    yield "search: {method: grid}"
    yield from ("", "# What is compared between trials:")
    yield from (f"#   {name}: {doc}" for name, doc in card.metrics.items())
    yield f"objective: {{metric: {_metric(card)}, goal: min}}    # goal: min or max"
    yield from (
        "",
        "# Ceilings, all optional: training FLOPs, number of trials, wall-clock hours.",
    )
    yield "# budget: {flops: 1.0e16, trials: 500, hours: 12}"
    yield from (
        "",
        "# Stop trials far from the best that finished ones dominate, after half a run.",
    )
    yield "# stop: {dominated: true, after: 0.5}"
    if isinstance(card, Records):
        first = next(iter(card.recordings))
        yield from ("", "# What trainers record on the way, any of")
        yield f"# {', '.join(card.recordings)}."
        yield f"# record: [{first}]"
    if isinstance(card, HasCoordinates):
        yield from ("", "# Refuse to run where activations or updates grow as no rule says.")
        yield "# check: required"
    if isinstance(card, Records) and "topk" in card.recordings:
        yield from ("", "# What `sweeper decompose` asks of what was recorded as topk.")
        yield "# decompose: {argmin: 0.5, error: 0.03}"
    yield ""
    yield f"# What a trial is given: a number, or a table by {start.scale} whose entries hold from"
    yield "# their key upwards, such as gpus: {64: 0.25, 1024: 1}. pack is how many trials train"
    yield "# side by side in one process: auto, 1 or any number. On several GPUs, or on CPUs in"
    yield "# several `processes`, one trial trains data-parallel, if its batch divides. Other"
    yield "# names are custom resources of a Ray cluster, such as H100: 1 for nodes with one."
    yield "resources: {cpus: 1, gpus: 0, pack: auto}"
    yield ""
    yield "# Rules to put to the test: the optimum moves by `exponent` octaves when the scale"
    yield "# doubles, within `tolerance`; 0 is no drift."
    yield "claims:"
    yield _claim(start)


def _comment(text: str) -> Iterator[str]:
    yield from (f"  # {line}" for line in wrap(f"- {text}", _WIDTH, subsequent_indent="  "))


def _yaml(value: Any) -> str:
    """Returns a value as one plain YAML scalar."""
    dumped: str = yaml.safe_dump(value, default_flow_style=True, width=1000)
    return dumped.removesuffix("...\n").strip()

"""Broken study files: edits of one good study, each with the one fault that it has to give."""

from __future__ import annotations

from typing import NamedTuple

GOOD = """\
name: probe
workload: quadratic_card:CARD
scale: width
fixed: {steps: 100, base_width: 32}
variants:
  sp: {parametrization: sp}
  mup: {parametrization: mup}
sweep:
  width: [32, 64]
  learning_rate: {log2: [-9, -2]}
  seed: [0, 1]
search: {method: grid}
objective: {metric: val_loss, goal: min}
budget: {flops: 1e16, trials: 100, hours: 2}
resources: {cpus: 1, gpus: {32: 0.1}, pack: auto}
claims:
  - {hyperparameter: learning_rate, exponent: 0, tolerance: 0.15}
"""


class Bad(NamedTuple):
    """One edit of the good study and the one fault that it has to give."""

    old: str
    new: str
    line: int | None
    key: str
    says: tuple[str, ...]


BAD = {
    "unknown top-level key": Bad(
        "search:", "serch:", 12, "serch", ("unknown key 'serch'", "did you mean 'search'")
    ),
    "unknown key of a section": Bad(
        "method: grid",
        "method: grid, expand_edge: 2",
        12,
        "search.expand_edge",
        ("unknown key 'expand_edge'", "did you mean 'expand_edges'"),
    ),
    "recording of a workload that records nothing": Bad(
        "search: {method: grid}",
        "search: {method: grid}\nrecord: [updates]",
        13,
        "record",
        ("workload quadratic records nothing", "remove it"),
    ),
    "a check that is neither required nor a mapping": Bad(
        "search: {method: grid}",
        "search: {method: grid}\ncheck: always",
        13,
        "check",
        ("'always' is not known; write `required`, or a mapping",),
    ),
    "a time to record and nothing to record": Bad(
        "search: {method: grid}",
        "search: {method: grid}\nrecord: {every: 3}",
        13,
        "record",
        ("says when and not what", "give `quantities`"),
    ),
    "expansion without a cap": Bad(
        "method: grid",
        "method: grid, expand_edges: true",
        12,
        "search.expand_edges",
        ("True is no cap", "give the most values"),
    ),
    "expansion with a cap that is none": Bad(
        "method: grid",
        "method: grid, expand_edges: 1000",
        12,
        "search.expand_edges",
        ("1000 is too large", "100 at most"),
    ),
    "option of another method": Bad(
        "method: grid",
        "method: grid, within: 0.1",
        12,
        "search.within",
        ("no effect on method grid", "an option of ladder"),
    ),
    "ladder until something else": Bad(
        "method: grid",
        "method: ladder, until: done",
        12,
        "search.until",
        ("allowed: optimum, verdict",),
    ),
    "unknown key of a claim": Bad(
        "exponent: 0,",
        "exponent: 0, exponnet: 1,",
        17,
        "claims[0].exponnet",
        ("did you mean 'exponent'", "hyperparameter, tolerance"),
    ),
    "unknown key of an axis": Bad(
        "{log2: [-9, -2]}",
        "{log2: [-9, -2], stpe: 1}",
        10,
        "sweep.learning_rate",
        ("unknown key 'stpe'", "did you mean 'step'"),
    ),
    "unknown setting": Bad(
        "steps: 100,",
        "steps: 100, head_dmi: 8,",
        4,
        "fixed.head_dmi",
        ("no setting 'head_dmi'", "did you mean 'head_dim'"),
    ),
    "unknown setting of a variant": Bad(
        "{parametrization: mup}",
        "{parametrisation: mup}",
        7,
        "variants.mup.parametrisation",
        ("did you mean 'parametrization'",),
    ),
    "unknown swept setting": Bad(
        "  seed: [0, 1]", "  seeds: [0, 1]", 11, "sweep.seeds", ("did you mean 'seed'",)
    ),
    "no name": Bad("name: probe\n", "", None, "name", ("is missing", "Name of the study")),
    "no workload": Bad(
        "workload: quadratic_card:CARD\n", "", None, "workload", ("is missing", "package.module")
    ),
    "no scale": Bad("scale: width\n", "", None, "scale", ("is missing", "swept setting")),
    "no learning rate": Bad(
        "  learning_rate: {log2: [-9, -2]}\n  seed: [0, 1]\n",
        "  weight_decay: [0.1]\n",
        None,
        "learning_rate",
        ("is missing", "`fixed` or `sweep`", "Learning rate."),
    ),
    "claim without tolerance": Bad(
        ", tolerance: 0.15", "", 17, "claims[0].tolerance", ("is missing",)
    ),
    "name that is no name": Bad(
        "name: probe", "name: my probe!", 1, "name", ("'my probe!' is not a name", "letters")
    ),
    "name that is a number": Bad("name: probe", "name: 12", 1, "name", ("12 is not text",)),
    "variant's name": Bad("  sp: ", "  s p: ", 6, "variants.s p", ("'s p' is not a name",)),
    "unknown workload": Bad(
        "quadratic_card:CARD", "lama", 2, "workload", ("'lama'", "did you mean 'llama'")
    ),
    "workload that is nowhere": Bad(
        "quadratic_card:CARD", "nowhere:CARD", 2, "workload", ("no module nowhere",)
    ),
    "section that is no mapping": Bad(
        "search: {method: grid}", "search: grid", 12, "search", ("'grid' is not a mapping",)
    ),
    "fixed that is a list": Bad(
        "{steps: 100, base_width: 32}", "[1, 2]", 4, "fixed", ("[1, 2] is not a mapping",)
    ),
    "claims that are no list": Bad(
        "claims:\n  - {", "claims:\n  {", 16, "claims", ("is not a list",)
    ),
    "no variant": Bad(
        "variants:\n  sp: {parametrization: sp}\n  mup: {parametrization: mup}\n",
        "variants: {}\n",
        5,
        "variants",
        ("is empty",),
    ),
    "method to come": Bad(
        "method: grid", "method: staircase", 12, "search.method", ("not available", "known: grid")
    ),
    "goal": Bad("goal: min", "goal: minimise", 13, "objective.goal", ("allowed: min, max",)),
    "metric": Bad(
        "metric: val_loss",
        "metric: val_los",
        13,
        "objective.metric",
        ("does not measure 'val_los'", "did you mean 'val_loss'", "train_loss"),
    ),
    "budget below zero": Bad(
        "flops: 1e16", "flops: -1", 14, "budget.flops", ("-1 is not above 0",)
    ),
    "budget of a part of a trial": Bad(
        "trials: 100", "trials: 1.5", 14, "budget.trials", ("1.5 is not a whole number",)
    ),
    "negative processors": Bad("cpus: 1", "cpus: -1", 15, "resources.cpus", ("allowed: above 0",)),
    "one and a half GPUs": Bad(
        "{32: 0.1}", "1.5", 15, "resources.gpus", ("above 1 only whole numbers",)
    ),
    "GPUs under a name of one": Bad(
        "gpus:", "gpu:", 15, "resources.gpu", ("did you mean 'gpus'", "such as H100")
    ),
    "custom resource that is no name": Bad(
        "pack: auto", "'H 100': 1", 15, "resources.H 100", ("no name of a custom resource",)
    ),
    "custom resource below nothing": Bad(
        "pack: auto", "H100: -1", 15, "resources.H100", ("-1 is too small",)
    ),
    "custom resource beyond the scale": Bad(
        "pack: auto", "H100: {32: 0, 99: 1}", 15, "resources.H100", ("99 is outside",)
    ),
    "share of a resource that Ray cannot count": Bad(
        "pack: auto", "H100: 0.00001", 15, "resources.H100", ("least share is 0.0001",)
    ),
    "table beyond the scale": Bad(
        "{32: 0.1}",
        "{32: 0.1, 128: 1}",
        15,
        "resources.gpus",
        ("128 is outside the values of width, 32 .. 64",),
    ),
    "table that starts late": Bad(
        "{32: 0.1}", "{64: 0.1}", 15, "resources.gpus", ("no entry for width 32", "at 32")
    ),
    "table by words": Bad(
        "{32: 0.1}", "{small: 0.1}", 15, "resources.gpus", ("'small' is not a number",)
    ),
    "several GPUs for a workload that uses one": Bad(
        "{32: 0.1}",
        "{32: 0.1, 64: 2}",
        15,
        "resources.gpus",
        ("gpus is 2 at width 64", "trains a trial on one device", "workload.Parallel"),
    ),
    "several processes for a workload that uses one": Bad(
        "cpus: 1, gpus: {32: 0.1}",
        "cpus: 2, processes: 2",
        15,
        "resources.processes",
        ("processes is 2 at width 32", "trains a trial on one device"),
    ),
    "processes on a GPU": Bad(
        "cpus: 1, gpus: {32: 0.1}",
        "processes: 2, gpus: 1",
        15,
        "resources.processes",
        ("processes is 2 at width 32, where a trial has GPUs", "give 1 there"),
    ),
    "half a process": Bad(
        "cpus: 1", "processes: 0.5", 15, "resources.processes", ("0.5 is not a whole number",)
    ),
    "processes that start late": Bad(
        "cpus: 1",
        "processes: {64: 2}",
        15,
        "resources.processes",
        ("no entry for width 32",),
    ),
    "pack": Bad("pack: auto", "pack: 0", 15, "resources.pack", ("auto and whole numbers",)),
    "text for a number": Bad(
        "steps: 100", "steps: many", 4, "fixed.steps", ("'many' is not a number", "at least 1")
    ),
    "fraction for a whole number": Bad(
        "[32, 64]", "[32, 64.5]", 9, "sweep.width[1]", ("64.5 is not a whole number",)
    ),
    "boolean for a number": Bad(
        "[32, 64]", "[32, true]", 9, "sweep.width[1]", ("True is not a number", "at least 1")
    ),
    "below the bound": Bad("[32, 64]", "[32, 0]", 9, "sweep.width[1]", ("out of bounds",)),
    "open bound": Bad(
        "{log2: [-9, -2]}",
        "[0.1, 0]",
        10,
        "sweep.learning_rate[1]",
        ("allowed: a number, above 0",),
    ),
    "infinite": Bad(
        "{log2: [-9, -2]}", "[0.1, .inf]", 10, "sweep.learning_rate[1]", ("not a finite number",)
    ),
    "no choice": Bad(
        "{parametrization: mup}",
        "{parametrization: mp}",
        7,
        "variants.mup.parametrization",
        ("'mp' is not a choice", "did you mean 'mup'", "allowed: sp, mup"),
    ),
    "no truth value": Bad(
        "steps: 100", "steps: 100, nesterov: yes", 4, "fixed.nesterov", ("allowed: true or false",)
    ),
    "several values in fixed": Bad(
        "steps: 100", "steps: [100, 200]", 4, "fixed.steps", ("belongs in `sweep`",)
    ),
    "one value in sweep": Bad(
        "width: [32, 64]", "width: 32", 9, "sweep.width", ("write [32]", "`fixed`")
    ),
    "empty axis": Bad("[32, 64]", "[]", 9, "sweep.width", ("the axis is empty",)),
    "duplicate": Bad(
        "{log2: [-9, -2]}",
        '[1e-3, 0.1, "0.001"]',
        10,
        "sweep.learning_rate[2]",
        ("0.001 is there twice, as values 1 and 3",),
    ),
    "duplicate after rounding": Bad(
        "[32, 64]",
        "{geometric: [32, 32.4], count: 2}",
        9,
        "sweep.width[1]",
        ("32 is there twice",),
    ),
    "reversed range": Bad("[-9, -2]", "[-2, -9]", 10, "sweep.learning_rate", ("swap them",)),
    "fixed and swept": Bad(
        "steps: 100",
        "steps: 100, learning_rate: 0.1",
        10,
        "sweep.learning_rate",
        ("both fixed and swept",),
    ),
    "set in a variant and swept": Bad(
        "{parametrization: mup}",
        "{parametrization: mup, learning_rate: 0.1}",
        7,
        "variants.mup.learning_rate",
        ("set in variant mup and swept", "sweep: {learning_rate: [0.1]}"),
    ),
    "swept in a variant and fixed": Bad(
        "{parametrization: mup}",
        "{parametrization: mup, sweep: {steps: [1, 2]}}",
        7,
        "variants.mup.sweep.steps",
        ("swept in variant mup and fixed",),
    ),
    "fixed seed": Bad("steps: 100", "steps: 100, seed: 3", 4, "fixed.seed", ("sweep: {seed:",)),
    "scale that is no setting": Bad(
        "scale: width", "scale: widht", 3, "scale", ("did you mean 'width'",)
    ),
    "scale that is no number": Bad(
        "scale: width", "scale: optimizer", 3, "scale", ("not a numeric setting",)
    ),
    "scale that is not swept": Bad(
        "gpus: {32: 0.1}",
        "gpus: 0",
        3,
        "scale",
        ("width is not swept", "add it to `sweep`"),
    ),
    "setting without meaning": Bad(
        "steps: 100",
        "steps: 100, momentum: 0.9",
        4,
        "fixed.momentum",
        ("no effect in any variant", "optimizer is muon"),
    ),
    "setting without meaning in its variant": Bad(
        "{parametrization: mup}",
        "{parametrization: mup, momentum: 0.9}",
        7,
        "variants.mup.momentum",
        ("no effect in variant mup", "optimizer is muon"),
    ),
    "refused combination": Bad(
        "[32, 64]", "[32, 40]", 9, "sweep.width", ("width 40 is not a multiple of head_dim 16",)
    ),
    "two horizons": Bad(
        "steps: 100", "steps: 100, tokens: 5", 4, "fixed.steps", ("['steps', 'tokens']",)
    ),
    "no horizon": Bad("steps: 100, ", "", None, "steps", ("one horizon is needed, not []",)),
    "no base width": Bad(
        ", base_width: 32",
        "",
        7,
        "variants.mup.base_width",
        ("mup requires base_width",),
    ),
    "same variants": Bad(
        "mup: {parametrization: mup}",
        "mup: {}",
        7,
        "variants.mup",
        ("variant mup is the same as variant sp",),
    ),
    "same variants with axes in another order": Bad(
        "mup: {parametrization: mup}",
        "mup: {sweep: {learning_rate: [0.25, 0.125], width: [64, 32]}}\n"
        "  other: {sweep: {width: [32, 64], learning_rate: [0.125, 0.25]}}",
        8,
        "variants.other",
        ("variant other is the same as variant mup",),
    ),
    "section that is too long to show": Bad(
        "search: {method: grid}",
        f"search: {list(range(500))}",
        12,
        "search",
        (
            "[0, 1, 2, 3,",
            "... is not a mapping",
        ),
    ),
    "claim about nothing swept": Bad(
        "hyperparameter: learning_rate",
        "hyperparameter: weight_decay",
        17,
        "claims[0].hyperparameter",
        ("'weight_decay' is not swept", "known: learning_rate"),
    ),
    "claim about the scale": Bad(
        "hyperparameter: learning_rate",
        "hyperparameter: width",
        17,
        "claims[0].hyperparameter",
        ("'width' is not swept",),
    ),
    "claim about what is no number": Bad(
        "seed: [0, 1]\n",
        "seed: [0, 1]\n  nesterov: [true, false]\n",
        18,
        "claims[0].hyperparameter",
        ("nesterov is not a number",),
    ),
    "claim about an axis with zero": Bad(
        "seed: [0, 1]\n",
        "seed: [0, 1]\n  weight_decay: [0, 0.1]\n",
        12,
        "sweep.weight_decay",
        ("0.0 is not positive", "octaves"),
    ),
    "no tolerance": Bad(
        "tolerance: 0.15", "tolerance: 0", 17, "claims[0].tolerance", ("0 is not above 0",)
    ),
    "endless exponent": Bad(
        "exponent: 0", "exponent: .nan", 17, "claims[0].exponent", ("not a finite number",)
    ),
    "same claim twice": Bad(
        "claims:\n",
        "claims:\n  - {hyperparameter: learning_rate, exponent: 0, tolerance: 1}\n",
        18,
        "claims[1].hyperparameter",
        ("exponent 0 of learning_rate is claimed twice", "rival claims"),
    ),
    "too many points": Bad(
        "seed: [0, 1]",
        "weight_decay: {log2: [-9, 0], step: 1e-3}\n  momentum: {log2: [-9, 0], step: 1e-2}\n"
        "  nesterov: [true, false]\n  optimizer: [muon]",
        8,
        "sweep",
        ("points are more than 200,000",),
    ),
    "repeated key": Bad(
        "scale: width", "name: again", 3, "name", ("given twice, first on line 1",)
    ),
    "text that is not YAML": Bad("[32, 64]", "[32, 64", 10, "", ("is not YAML",)),
}

ALSO = {
    "scale that is not swept": ("  width: [32, 64]", "  head_dim: [16]"),
    "claim about what is no number": (
        "hyperparameter: learning_rate",
        "hyperparameter: nesterov",
    ),
    "claim about an axis with zero": (
        "hyperparameter: learning_rate",
        "hyperparameter: weight_decay",
    ),
}
"""Second edits, where one is not enough."""

CASCADES = {"no learning rate", "scale that is not swept", "repeated key"}
"""Edits after which other faults are there as well."""

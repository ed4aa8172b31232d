"""The goldens: what every command says on some stores, frozen, so that no answer changes unseen.

``python tests/goldens/golden.py --freeze`` writes the answers anew, for changes that are meant;
without ``--freeze`` it compares, and with ``--exact`` to the last digit.
"""

from __future__ import annotations

import argparse
import csv
import difflib
import hashlib
import io
import itertools
import os
import re
import shlex
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, closing, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
ANSWERS = HERE / "answers"

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]*\w)")
RELATIVE = 1e-6
"""Relative difference of two numbers that count as one, where all their digits are shown."""

LONG = 200_000
"""Characters of an answer beyond which its digest is kept: the schema of study files."""

VARYING = ("device_seconds", "wall_seconds", "commit", "torch", "sweeper", "device")
"""Columns of tables that no two machines or runs have alike."""

OPENWEBTEXT = (
    "import {published}/openwebtext_width.csv --study openwebtext --scale width "
    "--hp learning_rate --objective loss --variant optimizer,parametrization --where figure=fig2"
)
WIKITEXT = (
    "import {published}/llama_wikitext103_width.csv --study wikitext103 --scale width "
    "--hp learning_rate --objective loss --variant setting --where curve=ema"
)
FINEWEB = (
    "import {published}/llama_fineweb_frontier.csv --study fineweb --scale flops "
    "--objective loss --variant optimizer,scaling"
)
COMMANDS = (
    *("run", "plan", "rules", "status", "drift", "fit", "predict", "transfer", "advise"),
    *("compare", "report", "sql", "init", "schema", "import", "retry", "prune", "verify"),
)

MADE = {
    "quickstart": [
        "import {inputs}/quickstart.csv --study quickstart --scale width --hp learning_rate "
        "--objective val_loss --variant parametrization --seed seed "
        "--claim learning_rate=0+-0.25"
    ],
    "unresolved": [
        "import {inputs}/unresolved.csv --study unresolved --scale width --hp learning_rate "
        "--objective val_loss --variant parametrization --seed seed"
    ],
    "published": [OPENWEBTEXT, WIKITEXT, FINEWEB],
    "joint": [
        "import joint.csv --study joint --scale width --hp learning_rate,weight_decay "
        "--objective loss --variant optimizer --seed seed"
    ],
    "edges": ["run {inputs}/edges.yaml --executor inline"],
    "schema-0001": ["status"],
    "schema-0002": ["status"],
}
"""How each store is made."""

ASKED = {
    "quickstart": ["drift quickstart"],
    "unresolved": [
        "drift unresolved",
        "drift unresolved --json",
        "drift unresolved --scale params",
        "drift unresolved --estimator spline --strict",
        "drift unresolved --hp learning_rate*width --json",
        "fit unresolved",
        "fit unresolved --json",
        "predict unresolved --width 4096",
        "transfer unresolved --json",
        "advise unresolved --target-width 1024 --flops 1e18",
        "status unresolved",
        "export",
        "drift nothing",
        "drift unresolved --hp depth",
        "drift unresolved --scale nothing",
        "drift unresolved --hp learning_rate^",
        "predict unresolved --depth 4",
        "predict unresolved --width -1",
        "compare unresolved:mup",
        "compare unresolved:mup unresolved:none",
        "sql 'drop table trials'",
        "sql 'select nothing'",
        "retry unresolved --key abcdef",
        "report unresolved --out report",
    ],
    "published": [
        "drift openwebtext",
        "drift openwebtext --estimator quadratic3 --json",
        "drift wikitext103",
        "fit openwebtext --json",
        "fit wikitext103",
        "predict openwebtext --width 8192 --json",
        "transfer wikitext103",
        "transfer wikitext103 --json",
        "compare fineweb:adam/mup+wd fineweb:muon/mup+wd fineweb:muon/sp",
        "compare fineweb:adam/mup+wd fineweb:muon/mup+wd fineweb:muon/sp --json",
        "advise wikitext103 --target-width 8192 --flops 1e19",
        "status --json",
        "report wikitext103 --out report",
    ],
    "joint": [
        "drift joint --joint learning_rate,weight_decay",
        "drift joint --joint learning_rate,weight_decay --json",
        "drift joint",
        "drift joint --hp weight_decay --json",
        "drift joint --each weight_decay",
        "drift joint --hp learning_rate*weight_decay",
        "drift joint --hp learning_rate/weight_decay^0.5 --json",
        "fit joint",
        "fit joint --json",
        "predict joint --width 2048",
        "drift joint --joint learning_rate",
    ],
    "edges": [
        "drift edges",
        "drift edges --json",
        "drift edges --allow-holes",
        "drift edges --horizon all",
        "drift edges --horizon 0.5 --json",
        "fit edges --allow-holes --json",
        "predict edges --width 2048 --allow-holes",
        "transfer edges",
        "status edges",
        "status edges --json",
        "plan {inputs}/edges.yaml --no-probe",
        "plan {inputs}/edges.yaml --no-probe --json",
        "verify edges",
        "prune edges --dry-run",
        "plan {inputs}/broken.yaml",
        "plan {inputs}/nothing.yaml",
        "run {inputs}/broken.yaml",
        "sql 'select outcome, count(*) n from results group by outcome' --json",
        "retry edges --failed",
        "report edges --out report --allow-holes",
    ],
    "schema-0001": ["drift baseline --json", "verify", "status baseline"],
    "schema-0002": ["drift baseline", "verify --json", "plan nothing.yaml"],
    "": [
        "--help",
        *(f"{name} --help" for name in COMMANDS),
        "rules --optimizer shampoo --parametrization mup --base-width 128 --width 1024",
        "rules --optimizer muon --parametrization spectral --base-width 64 --width 256 --json",
        "rules --optimizer adamw --parametrization completep --base-width 64 --width 256 "
        "--base-depth 2 --depth 8",
        "rules --optimizer nothing --width 64",
        "rules --workload mlp --optimizer soap --parametrization sp --width 64",
        "schema",
        "init study.yaml",
        "init study.yaml",
        "init mlp.yaml --workload mlp",
        "init no.yaml --workload nothing",
        "drift",
        "nothing",
    ],
}
"""What each store is asked; {inputs} is the folder of the study files."""


def paraboloid(path: Path) -> None:
    """Writes a table of losses over two hyperparameters whose optimum drifts with the width."""
    noise = np.random.default_rng(7)
    rows = ["optimizer,width,learning_rate,weight_decay,seed,loss"]
    for name, drift in (("adamw", -0.5), ("muon", 0.0)):
        axes = itertools.product((64, 128, 256), range(-8, -2), range(-6, -1), (0, 1))
        for width, rate, decay, seed in axes:
            x, y = rate + 5 - drift * np.log2(width / 64), decay + 4
            loss = 2 + width**-0.5 + 0.05 * x**2 + 0.03 * y**2 + 0.02 * x * y
            loss += noise.normal(0, 0.002)
            rows.append(f"{name},{width},{2.0**rate!r},{2.0**decay!r},{seed},{loss:.6f}")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def say(command: str) -> str:
    """Returns what a command writes to both streams, and its exit code, without what varies."""
    from sweeper.cli import main

    places = {"inputs": "inputs", "published": "published"}
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["sweeper", *shlex.split(command.format(**places))]
    code: object = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    said = out.getvalue().rstrip()
    if len(said) > LONG:
        said = f"{len(said)} characters: {hashlib.sha256(said.encode()).hexdigest()[:16]}"
    parts = [f"$ sweeper {command}", said, err.getvalue().rstrip()]
    if "--out report" in command:
        parts += [page_text(), *tables()]
    return steady("\n".join([*filter(None, parts), f"exit {code}", ""]))


def tables() -> Iterator[str]:
    """Yields the tables of a report, without the columns that no two runs have alike."""
    for path in sorted(Path("report").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.reader(lines))
        kept = [at for at, name in enumerate(rows[0]) if name not in VARYING]
        yield "\n".join([path.name, *(",".join(row[at] for at in kept) for row in rows)])


def page_text() -> str:
    """Returns the words of the page of a report."""
    page = next(Path("report").glob("*.html"), None)
    if page is None:
        return "no page"
    text = re.sub(r"(?s)<(style|script|svg).*?</\1>|<[^>]+>", "\n", page.read_text())
    return re.sub(r"\s*\n\s*", "\n", text).strip()


def steady(text: str) -> str:
    """Returns a text without clocks, hosts, versions and places, its numbers shortened."""
    text = re.sub(re.escape(os.getcwd()), "HERE", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?[\d.+:Z]*( UTC)?", "WHEN", text)
    text = re.sub(r"(?<=device time\n)[^\n]*|(?<=device time )[\d.]+ \w+", "TIME", text)
    text = re.sub(r"(?<=in )[\d.]+ (s|min)\b", "TIME", text)
    text = re.sub(r"on [^\n\",]*(Processor|CPU|EPYC|Xeon)[^\n\",]*", "on DEVICE", text)
    text = re.sub(r"(?m)^\[[\d.]+ (s|min|h)\] .*\n", "", text)  # progress
    text = re.sub(r"(Usage: |Try ')python -m \S+?sweeper\b", r"\1sweeper", text)
    text = re.sub(r"\b[0-9a-f]{64}\b", "KEY", text)
    text = re.sub(r' *"commit [^"]*",\n|(?<=commits\n)[^\n]*|(?<=torch\n)[^\n]*', "", text)
    text = re.sub(r"(?m)[ \t]+$", "", text)  # the padding depends on how the program is named
    return NUMBER.sub(lambda found: short(found.group()), text)


def short(number: str) -> str:
    """Returns a number with nine digits at most, as it was if it has fewer."""
    digits = re.sub(r"e.*|\D", "", number)
    return number if len(digits) <= 9 else f"{float(number):.9g}"


def answers(store: str) -> str:
    """Returns all that a store is asked and says, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        os.environ |= {"COLUMNS": "100", "SWEEPER_STORE": "store", "TERM": "dumb"}
        Path("inputs").symlink_to(HERE / "inputs")
        Path("published").symlink_to(TESTS / "fixtures" / "published")
        paraboloid(Path("joint.csv"))
        if store.startswith("schema-"):
            Path("store").mkdir()
            dump = TESTS / "store" / "fixtures" / f"baseline-{store.removeprefix('schema-')}.sql"
            with closing(sqlite3.connect("store/sweeper.db")) as link:
                link.executescript(dump.read_text(encoding="utf-8"))
        return "\n".join(say(each) for each in [*MADE.get(store, []), *ASKED[store]])


def difference(frozen: str, found: str, *, exact: bool = False) -> str:
    """Returns the lines that differ; numbers may differ by a unit in the last digit shown."""
    old, new = frozen.splitlines(), found.splitlines()
    if len(old) == len(new) and all(
        a == b or (not exact and alike(a, b)) for a, b in zip(old, new, strict=True)
    ):
        return ""
    lines = difflib.unified_diff(old, new, "frozen", "found", lineterm="", n=1)
    return "\n".join(itertools.islice(lines, 80))


def alike(old: str, new: str) -> bool:
    """Returns whether two lines have the same words, and numbers that count as the same."""
    if NUMBER.sub("#", old) != NUMBER.sub("#", new):
        return False
    pairs = zip(NUMBER.findall(old), NUMBER.findall(new), strict=True)
    return all(close(a, b) for a, b in pairs)


def close(old: str, new: str) -> bool:
    decimals = len(old.partition(".")[2].partition("e")[0])
    last = 1.01 * 10.0**-decimals if "." in old and "e" not in old else 0.0
    return abs(float(old) - float(new)) <= max(RELATIVE * abs(float(old)), min(last, 1e-2), 1e-9)


def file_of(store: str) -> Path:
    return ANSWERS / f"{store or 'no-store'}.txt"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--freeze", action="store_true", help="write the answers anew")
    parser.add_argument("--exact", action="store_true", help="compare to the last digit")
    asked = parser.parse_args()
    failed = 0
    for store in ASKED:
        found = answers(store)
        if asked.freeze:
            file_of(store).write_text(found, encoding="utf-8")
            continue
        frozen = file_of(store).read_text(encoding="utf-8")
        if changed := difference(frozen, found, exact=asked.exact):
            failed += 1
            print(f"== {store or 'no store'}\n{changed}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())

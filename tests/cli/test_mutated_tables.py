"""Mutated tables of every format are imported or refused in one message, and every command answers
about what came in: no traceback, no warning."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import random
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from cli_harness import Sweeper
from pyarrow import parquet

TABLES = int(os.environ.get("SWEEPER_FUZZ_TABLES", "24"))
"""Tables; the long form takes 1,000."""

ASKED = int(os.environ.get("SWEEPER_FUZZ_ASKED", "1"))
"""Questions about each; the long form asks 3."""

QUESTIONS = (
    ("status", "t"),
    ("drift", "t"),
    ("drift", "t", "--json", "--allow-holes"),
    ("fit", "t"),
    ("predict", "t", "--at", "width=512"),
    ("transfer", "t"),
    ("advise", "t", "--target", "512", "--flops", "1e20"),
    ("compare", "t:adam", "t:muon"),
    ("verify", "t"),
    ("sql", "select * from trials join results on trial_key = key"),
    ("report", "t", "--out", "page"),
)

ODD: tuple[Any, ...] = (
    *(
        "",
        " ",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "1e999",
        "-0",
        "0",
        0,
        -1,
        1e-320,
        1e308,
        2**63,
        2**70,
    ),
    *(
        "1" * 400,
        "1" * 5000,
        "1,5",
        "5%",
        "1e-3",
        "0x10",
        "١٢",
        "true",
        None,
        True,
        "a\nb",
        '"',
        "'",
    ),
    *(
        "=1+1",
        "\x1b[31m",
        "\x00",
        "\ufeff",
        "ü" * 300,
        "a;b,c\td",
        [1, 2],
        {"value": 3},
        {"a": {}},
    ),
    *(
        "\ud83d",
        "1e5e5",
        "+-1",
        "1_000",
        float("nan"),
        float("inf"),
        "completed",
        "FINISHED",
        -5.5,
    ),
)
NAMES = ("optimizer", "width", "lr", "loss", "seed", "_step", "State", "tokens")

Rows = list[dict[str, Any]]


def _rows(draw: random.Random) -> Rows:
    curved = 10.0 ** draw.uniform(-4, 1)
    return [
        {
            "optimizer": optimizer,
            "width": width,
            "lr": 2.0**exponent,
            "loss": 3 + curved * (exponent + 4 + 0.4 * draw.random()) ** 2 - shift,
            "seed": seed,
            "_step": 100,
            "State": "finished",
            "tokens": 10**6,
        }
        for optimizer, shift in (("adam", 0.0), ("muon", 0.1))
        for width in (64, 128, 256)[: draw.randint(1, 3)]
        for exponent in (-6, -5, -4, -3, -2)[: draw.randint(2, 5)]
        for seed in range(draw.randint(1, 2))
    ]


def _mutated(rows: Rows, draw: random.Random) -> Rows:
    for _ in range(draw.choice((0, 1, 1, 2, 5))):
        kind = draw.randrange(6)
        row = draw.choice(rows) if rows else {}
        if kind <= 2 and row:
            row[draw.choice(list(row))] = draw.choice(ODD)
        elif kind == 3 and row:
            row.pop(draw.choice(list(row)))
        elif kind == 4 and rows:
            name, value = draw.choice(NAMES), draw.choice(ODD)
            rows = [each | {name: value} for each in rows]
        elif kind == 5:
            rows = rows[: draw.randint(0, len(rows))] + rows[: draw.randint(0, 3)]
    return rows


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _csv(rows: Rows, delimiter: str) -> bytes:
    lines = [NAMES, *([_text(row.get(name)) for name in NAMES] for row in rows)]
    return "\n".join(delimiter.join(line) for line in lines).encode(errors="surrogatepass")


def _parquet(rows: Rows) -> bytes:
    columns: dict[str, Any] = {}
    for name in NAMES:
        cells = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(cells)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            columns[name] = pa.array(
                [_text(cell).encode(errors="replace").decode() for cell in cells]
            )
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


def _lines(rows: Rows) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


FORMATS: dict[str, Callable[[Rows], bytes]] = {
    "t.csv": lambda rows: _csv(rows, ","),
    "t.tsv": lambda rows: _csv(rows, "\t"),
    "t.txt": lambda rows: _csv(rows, ";"),
    "u.csv": lambda rows: _csv(rows, ",").decode(errors="replace").encode("utf-16"),
    "t.jsonl": _lines,
    "t.json": lambda rows: json.dumps(rows, indent=1).encode(),
    "u.json": lambda rows: "\n".join(json.dumps(row, indent=1) for row in rows).encode(),
    "t.parquet": _parquet,
    "t.csv.gz": lambda rows: gzip.compress(_csv(rows, ",")),
    "t.jsonl.gz": lambda rows: gzip.compress(_lines(rows)),
    "t.csv.bz2": lambda rows: bz2.compress(_csv(rows, ",")),
}

PARTS: tuple[Sequence[str], ...] = (
    ("--variant", "optimizer", "--seed", "seed"),
    ("--variant", "optimizer", "--seed", "seed", "--outcome", "State"),
    ("--variant", "optimizer", "--seed", "seed", "--step", "_step"),
    ("--variant", "optimizer", "--seed", "seed", "--tokens", "tokens"),
    ("--fixed", "optimizer", "--repeats"),
    ("--where", "optimizer=adam", "--seed", "seed"),
    ("--variant", "optimizer,State", "--seed", "seed", "--error", "tokens"),
)


@pytest.mark.timeout(60 + 30 * TABLES)
def test_mutated_tables_are_answered(sweeper: Sweeper, tmp_path: Path) -> None:
    first = int(os.environ.get("SWEEPER_FUZZ_FIRST", "0"))
    for number in range(first, first + TABLES):
        draw = random.Random(number)
        name = draw.choice(list(FORMATS))
        content = FORMATS[name](_mutated(_rows(draw), draw))
        if draw.random() < 0.3:
            content = _spoilt(content, draw)
        (tmp_path / name).write_bytes(content)
        parts = ("--study", "t", "--scale", "width", "--hp", "lr", "--objective", "loss")
        store = ("--store", tmp_path / f"store{number}")
        _ask(sweeper, number, "import", name, *parts, *draw.choice(PARTS), *store)
        if (tmp_path / f"store{number}").exists():
            for question in draw.sample(QUESTIONS, ASKED):
                _ask(sweeper, number, *question, *store)


def _ask(sweeper: Sweeper, number: int, *arguments: object) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            answer = sweeper(*arguments)
    except BaseException as fault:
        raise AssertionError(f"table {number}: {arguments}") from fault
    assert answer.code in (0, 1, 2), (number, arguments, answer.err)
    assert "Traceback" not in answer.err, (number, arguments, answer.err)
    assert answer.code != 2 or answer.err.startswith("sweeper: "), (number, arguments, answer.err)
    assert len(answer.err) < 4000, (number, arguments, answer.err[:300])


def _spoilt(content: bytes, draw: random.Random) -> bytes:
    place = draw.randint(0, len(content))
    kind = draw.randrange(4)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + bytes(draw.randrange(256) for _ in range(4)) + content[place:]
    if kind == 2:
        return content[:place] + content[place + draw.randint(1, 40) :]
    flipped = bytearray(content)
    for _ in range(min(8, len(flipped))):
        flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
    return bytes(flipped)

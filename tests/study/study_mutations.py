"""Study files gone wrong, the same ones on every machine: one file is a base and a number."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sweeper.engine.packing import make_packs
from sweeper.errors import MAX_FAULTS, DataError, StudyError
from sweeper.study.plan import expand, plan_warnings
from sweeper.study.study import Study, load_study

ROOT = Path(__file__).parents[2]

MAX_PLANNED = 200
"""Cells up to which a mutated study that is valid is planned as well: each costs a millisecond."""

LONGEST = 800
"""Characters that one message may have: a value that is longer is shown cut."""

_TOKEN = re.compile(r"[^\s\[\]{},:#]+")
_README_STUDY = re.compile(r"^## A first study$.*?^```yaml$\n(.*?)^```$", re.MULTILINE | re.DOTALL)

VALUES = (
    *("", "~", "null", "true", "yes", "0", "-1", "-0.0", "1e400", "-1e-400", "0.1", "010", "0x1F"),
    *(".nan", ".inf", "-.inf", "NaN", "inf", "1_0", "1e3", "1e-3", "2**-4", "2**5000", "1:30"),
    *("9" * 20, "9" * 350, "-" + "9" * 400, "1e308", "1e-320", "99999999999", "2147483648"),
    *("''", '""', "' '", '"\\0"', '"\\u202e"', "'32'", '"1e-3"', "'" + "x" * 20_000 + "'"),
    *("[]", "{}", "[[]]", "[~]", "[1, [2, [3]]]", "{a: {b: {c: 1}}}", "{1: 2}", "{[1]: 2}"),
    *("[16, 16]", "[32, 64, -128]", "[32, x]", "[1e-3, 0.001]", "[a, b]", "[true, false]"),
    *("{log2: [-7, -2]}", "{log2: [-2, -7]}", "{log2: [0, 1e9]}", "{log2: [-900, 900], step: 1}"),
    *("{log2: [0, 1], step: 1e-4}", "{log2: [0, 1], step: 1e-9}", "{log2: [.nan, 1]}"),
    *("{geometric: [1e-4, 1], count: 9999}", "{geometric: [0, 1], count: 3}", "{log2: 3}"),
    *("{geometric: [1, 2], count: 1e12}", "{geometric: [1e-300, 1e300], count: 5}"),
    *("!!python/object:os.system x", "!!python/name:os.system", "!!int 3", "!x y", "!!set {a}"),
    *("&a [*a]", "*nobody", "&b {<<: *b}", "<<", "!!binary aGVsbG8=", "2024-01-01", "|", ">-"),
    *("llama", "mlp", "planted", "width", "seed", "learning_rate", "os:getcwd", "no.such:CARD"),
    *("\u2028", "\ufeff", "\u0000", "\x07", "\x1b[31m", "\u202e", "١٢٣", "½", "café", "😀", "\t"),
    *(
        "a" * 5_000,
        "/",
        "../..",
        "~",
        "%",
        "@",
        "`",
        "- -",
        "? x",
        ": :",
        "---",
        "...",
        "%YAML 1.1",
    ),
    *("[" * 2_000, "{a: " * 2_000, "- " * 2_000, "x, " * 2_000, "text:/dev/null", "bin:/etc"),
)
"""What a token of a study may be replaced by: wrong types, huge, nothing, tags, unicode, depth."""

LINES = (
    *("sweep: {width: [16, 32], learning_rate: [1]}", "fixed: {}", "variants: {}", "variants:"),
    *("budget: {trials: 0, flops: -1, hours: .inf}", "budget: {trials: 1e30}", "claims: x"),
    *("resources: {cpus: -1, gpus: {16: 2, 16.0: 1}, pack: 0}", "resources: {cpus: {}}"),
    *("resources: {processes: 2}", "resources: {processes: {16: 1, 32: 1e9}, gpus: 2}"),
    *("resources: {cpus: 1e300, gpus: 1e300}", "objective: {metric: x, goal: up}", "objective:"),
    *(
        "search: {method: optuna, sampler: cmaes}",
        "search: [grid]",
        "name: a/b",
        "name: [x]",
        "extra: 1",
    ),
    *("scale: seed", "scale: [width]", "workload: 7", "question: {a: 1}", "question: |\n  a\n  b"),
    *("  seed: {log2: [0, 30], step: 0.01}", "  depth: {geometric: [1, 9000], count: 9000}"),
    *("  weight_decay: {log2: [-900, 900]}", "  seed: [-1]", "  sweep: {sweep: {}}", "\tname: x"),
    "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
    "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
    "e: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]",
    "sweep: {width: {log2: [1, 12], step: 0.01}, learning_rate: {log2: [-9, 9], step: 0.01}, "
    "weight_decay: {log2: [-9, 9], step: 0.01}, seed: [0, 1, 2]}",
)
"""Lines that a study may be given; some cannot stand where they come to stand."""


def bases() -> dict[str, str]:
    """Returns the texts that mutations begin with, by name: every study of the project and the
    first one of the README."""
    texts = {
        path.name: path.read_text(encoding="utf-8") for path in (ROOT / "studies").glob("*.yaml")
    }
    found = _README_STUDY.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found is not None, "the README shows a first study"
    shortened = found.group(1).replace("fixed:\n", "fixed:\n  base_width: 32\n")
    return dict(sorted(texts.items())) | {"README.md": "name: first\n" + shortened}


def mutated(text: str, number: int) -> bytes:
    """Returns the mutation of a given number: one edit or two of lines and tokens, and in one
    file of five an edit of its bytes. Comment lines are left out: nothing comes of them."""
    draw = np.random.default_rng(number)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for _ in range(draw.integers(1, 3)):
        _EDITS[draw.integers(len(_EDITS))](lines, draw)
    data = ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
    return _bytes_edited(data, draw) if draw.random() < 0.2 else data


def check(path: Path) -> str:
    """Returns ``valid``, ``large`` (valid and not planned), ``refused`` or ``no data`` for a study
    file.

    Raises:
        AssertionError: a refusal does not say what is wrong and where, or a valid study does not
            come back from its document.
    """
    try:
        study = load_study(path)
    except StudyError as error:
        _check_refusal(error, path)
        return "refused"
    assert study.num_cells >= 1
    assert Study.from_document(study.document).document == study.document
    if study.num_cells > MAX_PLANNED:
        return "large"
    try:
        planned = expand(study)
    except DataError as error:
        assert study.name in str(error)
        return "no data"
    assert len(planned) == study.num_cells
    assert sum(len(pack.trials) for pack in make_packs(study, planned)) == len(planned)
    assert all(isinstance(text, str) for text in plan_warnings(planned))
    return "valid"


def _check_refusal(error: StudyError, path: Path) -> None:
    assert error.faults
    num_lines = path.read_bytes().count(b"\n") + 1
    lines = str(error).split("\n")
    assert len(lines) <= min(len(error.faults), MAX_FAULTS) + 1
    for fault, said in zip(error.faults, lines[:MAX_FAULTS], strict=False):
        assert said == str(fault)
        assert said.startswith(str(path))
        assert fault.message.strip()
        assert len(said) - len(str(path)) <= LONGEST, f"{len(said)} characters: {said[:200]}"
        assert said.isprintable(), repr(said)
        assert fault.line is None or 1 <= fault.line <= num_lines


def _pick(lines: list[str], draw: np.random.Generator) -> int:
    if not lines:
        lines.append("name: x")
    return int(draw.integers(len(lines)))


def _delete(lines: list[str], draw: np.random.Generator) -> None:
    del lines[_pick(lines, draw)]


def _repeat(lines: list[str], draw: np.random.Generator) -> None:
    index = _pick(lines, draw)
    lines.insert(int(draw.integers(len(lines) + 1)), lines[index])


def _indent(lines: list[str], draw: np.random.Generator) -> None:
    index = _pick(lines, draw)
    by = ("  ", " ", "\t", "      ", "")[draw.integers(5)]
    lines[index] = by + (lines[index].lstrip() if draw.random() < 0.5 else lines[index])


def _swap(lines: list[str], draw: np.random.Generator) -> None:
    one, two = _pick(lines, draw), _pick(lines, draw)
    lines[one], lines[two] = lines[two], lines[one]


def _insert(lines: list[str], draw: np.random.Generator) -> None:
    """Adds a line, half of the time at the end, where a section of its own may stand."""
    line = LINES[draw.integers(len(LINES))]
    lines.insert(int(draw.integers(len(lines) + 1)) if draw.random() < 0.5 else len(lines), line)


def _replace(lines: list[str], draw: np.random.Generator) -> None:
    """Puts something odd in place of a token, a key's or a value's."""
    index = _pick(lines, draw)
    _edit_token(lines, index, draw, lambda token: VALUES[draw.integers(len(VALUES))])


def _wrap(lines: list[str], draw: np.random.Generator) -> None:
    """Makes another type of a token: a list of a scalar, text of a number, something negative."""
    forms = (
        *("[{0}]", "{{{0}: {0}}}", "'{0}'", '"{0}"', "-{0}", "{0}0000000000", "[{0}, {0}]"),
        *("&x {0}", "!!str {0}", "!!python/object:{0} {0}", "{0}: {0}", "{0}.5", "{0} {0}"),
    )
    form = forms[draw.integers(len(forms))]
    _edit_token(lines, _pick(lines, draw), draw, lambda token: form.format(token))


def _exchange(lines: list[str], draw: np.random.Generator) -> None:
    """Lets two lines exchange a token: a key for a value, a value for another."""
    one, two = _pick(lines, draw), _pick(lines, draw)
    tokens = _TOKEN.findall(lines[two])
    if tokens:
        other = tokens[draw.integers(len(tokens))]
        _edit_token(lines, one, draw, lambda token: other)


def _edit_token(
    lines: list[str], index: int, draw: np.random.Generator, edit: Callable[[str], str]
) -> None:
    found = list(_TOKEN.finditer(lines[index]))
    if found:
        token = found[draw.integers(len(found))]
        line = lines[index]
        lines[index] = line[: token.start()] + edit(token.group()) + line[token.end() :]


def _bytes_edited(data: bytes, draw: np.random.Generator) -> bytes:
    """Flips, drops, repeats or makes up bytes, or cuts the file off."""
    at = int(draw.integers(len(data)))
    span = int(draw.integers(1, 8))
    kind = draw.integers(5)
    if kind == 0:
        return data[:at] + bytes([data[at] ^ (1 << int(draw.integers(8)))]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + data[at + span :]
    if kind == 2:
        return data[: at + span] + data[at:]
    if kind == 3:
        return data[:at] + draw.bytes(span) + data[at:]
    return data[:at]


_EDITS = (_delete, _repeat, _indent, _swap, _insert, *[_replace] * 3, _wrap, _exchange)

"""YAML with lines: what scalars mean, where keys stand, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from sweeper.errors import StudyError
from sweeper.study.source import MAX_DEPTH, parse_source, read_source, scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-3", -3),
        ("1_000", 1000),
        ("010", 10),
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("yes", "yes"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("2**-4", "2**-4"),
        ("0x10", "0x10"),
        ("1e", "1e"),
    ],
)
def test_a_plain_scalar_is_read_by_the_core_rules(text: str, value: Any) -> None:
    assert (scalar(text), type(scalar(text))) == (value, type(value))


def test_a_quoted_scalar_is_text() -> None:
    assert parse_source("a: '1'\nb: \"null\"", "f").data == {"a": "1", "b": "null"}


def test_every_place_has_its_line() -> None:
    source = parse_source("a: 1\nb:\n  c:\n    - x\n    - {d: 2,\n       e: 3}\n", "f")
    lines = {("a",): 1, ("b",): 2, ("b", "c"): 3, ("b", "c", 1): 5, ("b", "c", 1, "e"): 6}
    assert {place: source.lines[place] for place in lines} == lines


def test_keys_are_text_and_anchors_are_shared() -> None:
    source = parse_source("a: &x [1, 2]\n64: *x\n", "f")
    assert source.data == {"a": [1, 2], "64": [1, 2]}


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "given twice, first on line 1"),
        ("a:\n  b: 1\n  b: 2\n", 3, "given twice, first on line 2"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", 3, "merge keys are not supported"),
        ("a: !!python/object:os.system x\n", 1, "the tag"),
        ("? [a, b]\n: 1\n", 1, "a key is a list"),
    ],
)
def test_faults_of_the_text_are_collected(text: str, line: int, why: str) -> None:
    (fault,) = parse_source(text, "f").faults
    assert fault.line == line
    assert why in fault.message


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", 1, "the file is empty"),
        ("# only a comment\n", 1, "the file is empty"),
        ("- a\n- b\n", 1, "holds a list"),
        ("\nword\n", 2, "holds a single value"),
        ("a: 1\nb: [1, 2\nc: 3\n", 3, "is not YAML"),
        ("a: does it: yes?\n", 1, "quote text that holds a colon"),
        ("a:\n\tb: 1\n", 2, "a tab stands in the indentation"),
        ("a: 1\nb: \x07\n", 2, "is not YAML"),
        ("a: 1\n---\nb: 2\n", 2, "is not YAML"),
        ("a: *nobody\n", 1, "undefined alias"),
        ("a: &x [*x]\n", 1, "an alias refers to the value that holds it"),
        ("a: " + "[" * 3000, None, "nested too deeply"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n"
                for a, b in zip("abcde", "bcdef", strict=True)
            ),
            None,
            "more than 50,000 values",
        ),
    ],
)
def test_what_is_no_study_at_all_is_one_fault(text: str, line: int | None, why: str) -> None:
    with pytest.raises(StudyError) as caught:
        parse_source(text, "f")
    (fault,) = caught.value.faults
    assert fault.line == line
    assert why in fault.message


@pytest.mark.parametrize(
    ("opening", "closing", "levels"), [("[", "]", 1), ("{a: [", "]}", 2), ("- ", "", 1)]
)
def test_what_is_nested_beyond_the_depth_limit_is_not_read(
    opening: str, closing: str, levels: int
) -> None:
    pairs = (MAX_DEPTH - 2) // levels  # the file itself is a level, and a scalar may be one
    assert parse_source("a:\n  " + opening * pairs + closing * pairs, "f").data["a"]
    pairs += 2
    with pytest.raises(StudyError, match="nested too deeply"):
        parse_source("a:\n  " + opening * pairs + closing * pairs, "f")


def test_a_file_that_cannot_be_read_is_a_fault_with_the_nearest_name(tmp_path: Any) -> None:
    (tmp_path / "width.yaml").write_text("a: 1")
    with pytest.raises(StudyError, match=r"no such file; did you mean 'width.yaml'"):
        read_source(tmp_path / "widht.yaml")
    with pytest.raises(StudyError, match="cannot be read: Is a directory"):
        read_source(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"a: caf\xe9")
    with pytest.raises(StudyError, match="is not UTF-8 text \\(byte 6\\)"):
        read_source(tmp_path / "latin.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Any) -> None:
    (tmp_path / "marked.yaml").write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_source(tmp_path / "marked.yaml").data == {"a": 1}

"""Documents that notice when they were altered."""

from __future__ import annotations

import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.store.files.sealed import number, seal, unseal

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text().filter(lambda name: name != "sha256"), PLAIN, max_size=4))
def test_what_was_sealed_comes_back(document: dict[str, object]) -> None:
    assert unseal(seal(document)) == document
    assert unseal(seal(document).encode()) == document


@given(st.floats())
def test_a_number_keeps_its_bits_finite_or_not(value: float) -> None:
    text = seal({"value": value})
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    found = number(unseal(text)["value"])
    if math.isnan(value):
        assert math.isnan(found)
    else:
        assert struct.pack("d", found) == struct.pack("d", value)


@given(st.data())
def test_no_altered_digit_goes_unnoticed(data: st.DataObject) -> None:
    text = seal({"losses": [2.5, 3.25], "step": 12, "name": "abc"})
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(min_codepoint=32, max_codepoint=126))
    altered = text[:place] + other + text[place + 1 :]
    if altered.split() != text.split():
        with pytest.raises(ValueError, match=r"not JSON|sha256"):
            unseal(altered)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"step": 4}', b"\x00" * 40])
def test_a_text_without_a_seal_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"not JSON|has no sha256"):
        unseal(text)


def test_a_cut_text_is_refused() -> None:
    text = seal({"step": 4})
    for length in range(len(text)):
        with pytest.raises(ValueError, match="not JSON"):
            unseal(text[:length])


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError):
        seal({"value": object()})

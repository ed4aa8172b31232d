"""No answer of any command changes unseen: each is compared with a frozen one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import golden
import pytest


@pytest.fixture(autouse=True)
def _environment_put_back() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.slow
@pytest.mark.parametrize("store", list(golden.ASKED))
def test_every_answer_is_the_frozen_one(store: str) -> None:
    frozen = golden.file_of(store).read_text(encoding="utf-8")
    changed = golden.difference(frozen, golden.answers(store))
    assert not changed, changed


def test_a_changed_word_a_changed_number_and_a_missing_line_are_seen() -> None:
    frozen = "drift -0.51 octaves\nslope 1.2345678\n"
    assert not golden.difference(frozen, "drift -0.51 octaves\nslope 1.2345679\n")
    for other in ("drifts -0.51 octaves\nslope 1.2345678", "drift -0.51 octaves"):
        assert golden.difference(frozen, other)
    assert golden.difference(frozen, "drift -0.51 octaves\nslope 1.2346678\n")
    assert golden.difference(frozen, "drift -0.53 octaves\nslope 1.2345678\n")

"""Study files gone wrong, a thousand in the long form: each is refused with its place and reason,
or is a study."""

from __future__ import annotations

from pathlib import Path

import pytest
from long_form import draws
from study_mutations import bases, check, mutated

COUNT = draws(100, 1_000)
BATCH = 100


@pytest.mark.parametrize("first", range(0, COUNT, BATCH))
def test_a_mutated_study_is_refused_with_its_place_or_is_valid(first: int, tmp_path: Path) -> None:
    texts = list(bases().values())
    path = tmp_path / "study.yaml"
    answers: list[str] = []
    for number in range(first, first + BATCH):
        path.write_bytes(mutated(texts[number % len(texts)], number))
        answers.append(check(path))
    assert {"refused", "valid", "large"} <= set(answers), "some are harmless"


def test_the_studies_that_mutations_begin_with_are_valid(tmp_path: Path) -> None:
    for name, text in bases().items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        assert check(path) in ("valid", "large", "no data"), name


def test_the_mutations_are_the_same_each_time() -> None:
    (text, *_) = bases().values()
    assert mutated(text, 7) == mutated(text, 7)
    assert len({mutated(text, number) for number in range(50)}) > 45

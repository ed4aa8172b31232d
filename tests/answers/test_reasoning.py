"""The sentences of an explanation, from findings of every kind."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sweeper.answers.explanation import explanations_of
from sweeper.answers.reasoning import Findings, reasoned
from sweeper.answers.transfer import Transfer
from sweeper.check import VariantCheck
from sweeper.store.store import Store


@pytest.fixture
def found(finished: Store) -> Findings:
    """Returns the findings of a variant whose optimum stays put, as claimed."""
    return explanations_of(finished, "planted").groups[0].findings


def with_speed(found: Findings, speed: Any, **rates: float) -> Findings:
    transfer = found.transfer
    assert isinstance(transfer, Transfer)
    known: Any = {name: SimpleNamespace(value=value) for name, value in rates.items()}
    verdict = replace(transfer.verdict, speed=speed)
    return replace(found, transfer=replace(transfer, verdict=verdict, rates=known))


def directions(*kappas: list[int], alike: int, refused: str = "") -> Any:
    """Returns a decomposition with a scale for each of the kappas, and the largest."""
    small = [
        SimpleNamespace(
            scale=32 * 2**place,
            phi=np.ones((3, 32)),
            alike_to=alike,
            error=0.01,
            kappa=None if refused else SimpleNamespace(k=np.array(k)),
            refused=refused,
            change=np.array([-1.0]),
            best=0,
            most_by=4,
        )
        for place, k in enumerate(kappas)
    ]
    largest = {**vars(small[0]), "scale": 128, "kappa": None, "refused": None}
    return SimpleNamespace(scales=(*small, SimpleNamespace(**largest)))


def check(verdict: str, *named: str) -> Any:
    measured = SimpleNamespace(scale="width", sizes=(32.0, 128.0))
    kept: Any = {"measured": measured, "rows": (), "verdict": verdict, "named": named}
    return VariantCheck(**kept)


def test_fast_transfer_is_because_of_directions_that_all_scales_share(found: Findings) -> None:
    fast = with_speed(found, "fast", a=1.0, b=0.97)
    decomposed = directions([2, 3], [1, 3], alike=8)
    said = reasoned(replace(fast, decomposed=decomposed, check=check("pass"))).bottom_line
    assert said.startswith("The best learning_rate stays put under mup (-0.01 octaves per")
    assert (
        "transfer is fast (beta 0.97 against alpha / 2 = 0.50) because 1 to 3 of 32 leading "
        "directions, alike at every width, decide the optimum; the check passes; next: " in said
    )


@pytest.mark.parametrize(("speed", "alike"), [("slow", 8), ("fast", 2)])
def test_nothing_is_called_the_cause_of_what_it_does_not_explain(
    found: Findings, speed: str, alike: int
) -> None:
    told = with_speed(found, speed, a=1.0, b=0.2)
    said = reasoned(replace(told, decomposed=directions([3], alike=alike))).bottom_line
    assert "because" not in said
    assert f"3 of 32 leading directions decide the optimum, of which the first {alike} are" in said


def test_directions_that_are_not_known_everywhere_are_not_told_in_the_first_sentence(
    found: Findings,
) -> None:
    unknown = directions([1], [1], alike=4, refused="two points only")
    said = reasoned(replace(found, decomposed=unknown))
    assert "directions" not in said.bottom_line
    assert any("not known at width 32 and 64: two points only" in each for each in said.why)


def test_a_check_that_fails_is_mended_first(found: Findings) -> None:
    failed = check("fail", "hidden update: grows like width^0.99; it would have to shrink")
    said = reasoned(replace(found, check=failed))
    assert said.bottom_line.endswith(
        "the check fails; next: mend the rule: hidden update: grows like width^0.99."
    )
    assert said.next[0].endswith("it would have to shrink")


def test_a_broken_claim_is_followed_by_the_drift_that_was_measured(found: Findings) -> None:
    (verdict,) = found.group.verdicts
    broken = replace(found.group, verdicts=(replace(verdict, ruling="broken"),))
    said = reasoned(replace(found, group=broken))
    assert said.transfers == "no"
    assert "The best learning_rate does not stay put" in said.bottom_line
    assert said.next[0] == (
        "follow the drift that was measured: sweeper predict planted --width 256"
    )


def test_of_rival_claims_one_that_holds_is_enough(found: Findings) -> None:
    (verdict,) = found.group.verdicts
    other = replace(verdict, claim=replace(verdict.claim, exponent=-0.5))
    for held, words in ((verdict, "stays put"), (other, "moves as claimed")):
        both = tuple(
            replace(each, ruling="holds" if each is held else "broken")
            for each in (verdict, other)
        )
        said = reasoned(replace(found, group=replace(found.group, verdicts=both)))
        assert said.transfers == "yes"
        assert f"The best learning_rate {words} under mup" in said.bottom_line


def test_an_open_claim_is_settled_first(found: Findings) -> None:
    (verdict,) = found.group.verdicts
    why = "slope -0.3; to settle it: about 9 seeds at these points"
    undecided = replace(found.group, verdicts=(replace(verdict, ruling="inconclusive", why=why),))
    said = reasoned(replace(found, group=undecided))
    assert said.bottom_line.startswith(
        "It is not decided whether the best learning_rate stays put under mup"
    )
    assert "next: settle the claim: about 9 seeds at these points" in said.bottom_line


def test_the_optimum_found_already_comes_first_where_nothing_beats_it_beyond_noise(
    found: Findings,
) -> None:
    advice = found.advice
    assert advice is not None
    assert advice.advice is not None
    options = {option.strategy: option for option in advice.advice.options}
    rivals = [option for name, option in options.items() if name != "keep"]
    ranked = (rivals[0], options["keep"])
    for known, first in ((options["keep"], "run 256 once with the optimum"), (None, "")):
        chosen = replace(advice, advice=replace(advice.advice, options=ranked, known=known))
        told = replace(found, advice=chosen)
        assert told.option is (known or rivals[0])
        assert reasoned(told).next[0].startswith(first)

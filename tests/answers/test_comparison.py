"""Comparisons of studies in a store, with planted multipliers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from sweeper.answers.comparison import compare
from sweeper.errors import AnalysisRefusal, RequestError, UnknownNameError
from sweeper.outcome import Outcome
from sweeper.store.owner import Owner
from sweeper.store.records import Membership, StudyRecord
from sweeper.store.store import Store
from sweeper.trial import Trial

WIDTHS = (64, 128, 256, 512)
RATES = tuple(2.0**k for k in range(-7, -2))

RECORD = StudyRecord(
    name="race",
    question="Which one saves compute?",
    workload="planted",
    scale="width",
    metric="val_loss",
    goal="min",
    document={
        "name": "race",
        "scale": "width",
        "variants": {"adam": {}, "muon": {}},
        "sweep": {"width": list(WIDTHS), "learning_rate": list(RATES), "seed": [0]},
    },
)


def loss_of(config: Mapping[str, Any], multiplier: float) -> float:
    """A power of compute, above which the learning rate costs a parabola."""
    compute = multiplier * float(config["width"]) ** 3
    rate = config.get("learning_rate", 2.0**-5)
    return float(20 * compute**-0.1 + 0.05 * math.log2(rate * 32) ** 2)


def save(
    store: Store,
    record: StudyRecord = RECORD,
    *,
    multipliers: Mapping[str, float],
    rates: tuple[float, ...] = RATES,
    widths: tuple[int, ...] = WIDTHS,
    seconds: float = 1.0,
    device: str = "a processor",
    commit: str = "c0ffee",
) -> None:
    """Saves a study with finished trials, ``seconds`` of device time per 1e6 FLOPs."""
    members, entries = [], []
    for variant, multiplier in multipliers.items():
        for width in widths:
            for rate in rates or (None,):
                config: dict[str, Any] = {"width": width, "kind": variant, "study": record.name}
                config |= {} if rate is None else {"learning_rate": rate}
                flops = float(width) ** 3
                trial = Trial.of(
                    workload=record.workload,
                    version="1.0.0",
                    data="none",
                    config=config,
                    seed=0,
                    derived={"params": width, "tokens": 1, "flops": flops},
                )
                members.append(Membership(trial=trial, variant=variant))
                loss = loss_of(config, multiplier)
                outcome = Outcome(
                    key=trial.key,
                    attempt=1,
                    kind="completed",
                    metrics={record.metric: loss},
                    step=1,
                    tokens=1,
                    device_seconds=seconds * flops / 1e6,
                    device=device,
                    host="a machine",
                    environment={"commit": commit},
                )
                entries.append((outcome, loss))
    store.save_study(record, members)
    store.claim([m.trial.key for m in members], owner=Owner.here(), lease_s=60)
    store.record_many(entries)


@pytest.fixture
def race(store: Store) -> Iterator[Store]:
    """Yields a store where muon saves a factor of 1.5 in compute."""
    save(store, multipliers={"adam": 1.0, "muon": 1.5})
    yield store


def test_the_planted_multiplier_is_read_from_a_store(race: Store) -> None:
    document = compare(race, ("race", "adam"), [("race", "muon")]).to_json()
    assert (document["baseline"], document["metric"]) == ("race:adam", "compute")
    (other,) = document["others"]
    assert (other["study"], other["variant"]) == ("race", "muon")
    points = other["points"]
    assert [p["label"] for p in points] == [f"width {w}" for w in WIDTHS]
    assert [p["flops"] for p in points] == [w**3 for w in WIDTHS]
    assert [p["multiplier"] for p in points] == pytest.approx([1.5] * 4, rel=1e-6)
    assert [p["extrapolated"] for p in points] == [False, False, False, True]
    assert [p["fitted"]["multiplier"] for p in points] == pytest.approx([1.5] * 4, rel=1e-3)
    assert [p["fitted"]["difference"] for p in points] == pytest.approx([0] * 4, abs=2e-3)
    assert other["trend"]["exponent"] == pytest.approx(0, abs=1e-6)
    assert document["baseline_law"]["exponent"]["value"] == pytest.approx(0.1, rel=1e-2)


def test_a_study_alone_means_all_its_other_variants(race: Store) -> None:
    found = compare(race, ("race", "adam"), [("race", None)])
    assert [other.result.name for other in found.others] == ["race:muon"]


def test_seconds_are_compared_where_asked_for(race: Store) -> None:
    slow = replace(RECORD, name="slow", document={**RECORD.document, "name": "slow"})
    save(
        race,
        slow,
        multipliers={"muon": 1.5},
        seconds=3.0,
        device="another processor",
        commit="beef",
    )
    found = compare(race, ("race", "adam"), [("slow", None)], metric="seconds")
    points = found.to_json()["others"][0]["points"]
    assert [p["multiplier"] for p in points] == pytest.approx([0.5] * 4, rel=1e-6)
    assert points[0]["seconds"] == pytest.approx(3 * 64**3 / 1e6)
    assert any("different code: commit c0ffee" in n for n in found.notes)
    assert any("different devices: a processor, another processor" in n for n in found.notes)


def test_a_study_of_tuned_losses_needs_no_hyperparameter(store: Store) -> None:
    document = {**RECORD.document, "sweep": {"width": list(WIDTHS), "seed": [0]}}
    record = replace(RECORD, document=document)
    save(store, record, multipliers={"adam": 1.0, "muon": 2.0}, rates=())
    found = compare(store, ("race", "adam"), [("race", "muon")])
    assert found.baseline.tuned.hyperparameter is None
    values = [m.value for m in found.others[0].saving.multipliers]
    assert values == pytest.approx([2.0] * 4)
    point = found.to_json()["others"][0]["points"][0]
    assert (point["error"], point["low"], point["standing"]) == (None, None, "unknown")


def test_two_scales_have_multipliers_but_no_law(store: Store) -> None:
    save(store, multipliers={"adam": 1.0, "muon": 1.5}, widths=WIDTHS[:2])
    document = compare(store, ("race", "adam"), [("race", "muon")]).to_json()
    assert "a law of compute has 3 parameters" in document["baseline_law"]["refused"]
    (other,) = document["others"]
    assert [p["multiplier"] for p in other["points"]] == pytest.approx([1.5] * 2, rel=1e-6)
    assert [p["fitted"] for p in other["points"]] == [None, None]
    assert other["trend"] is None


def test_wrong_requests_are_refused_with_a_reason(race: Store) -> None:
    with pytest.raises(UnknownNameError, match="no study named 'rice'"):
        compare(race, ("rice", None), [("race", "muon")])
    with pytest.raises(UnknownNameError, match="no variant of race named 'mion'; did you mean"):
        compare(race, ("race", "adam"), [("race", "mion")])
    with pytest.raises(RequestError, match="has 2 variants; name one: race:adam, race:muon"):
        compare(race, ("race", None), [("race", "muon")])
    with pytest.raises(RequestError, match="nothing to compare with race:adam"):
        compare(race, ("race", "adam"), [("race", "adam")])


def test_what_cannot_be_compared_is_refused(race: Store) -> None:
    score = replace(RECORD, name="score", goal="max")
    save(race, score, multipliers={"adam": 1.0})
    with pytest.raises(AnalysisRefusal, match="of which more is better"):
        compare(race, ("race", "adam"), [("score", None)])
    bits = replace(RECORD, name="bits", metric="bits_per_byte")
    save(race, bits, multipliers={"adam": 1.0})
    with pytest.raises(AnalysisRefusal, match="only losses of one kind can be compared"):
        compare(race, ("race", "adam"), [("bits", None)])
    single = replace(RECORD, name="single")
    save(race, single, multipliers={"adam": 1.0}, widths=(64,))
    with pytest.raises(
        AnalysisRefusal, match="single:adam cannot be a baseline: it has one point"
    ):
        compare(race, ("single", None), [("race", "muon")])

"""`sweeper transfer` and `sweeper advise`, as a user would type them."""

from __future__ import annotations

from pathlib import Path

from cli_harness import Sweeper


def test_transfer_says_the_verdict_in_words(sweeper: Sweeper, finished: Path) -> None:
    answer = sweeper("transfer", finished)
    assert answer.code == 0
    assert "gaps of learning_rate to the largest scale, over width" in answer.out
    assert "settings are moved by -0.5 octaves per doubling, as claimed" in answer.out
    assert "verdict: fast and slow are not distinguishable" in answer.out
    assert "gaps close as width^-rate" in answer.out
    assert "rests on 72 of 72 trials" in answer.out
    assert "3 seeds a point" in answer.out
    assert max(map(len, answer.out.splitlines())) <= 100


def test_transfer_answers_in_json(sweeper: Sweeper, finished: Path) -> None:
    document = sweeper("transfer", "planted", "--estimator", "quadratic", "--json").document
    assert (document["study"], document["estimator"]) == ("planted", "quadratic")
    (group,) = document["groups"]
    assert [row["scale"] for row in group["gaps"]] == [32, 64]
    assert group["reference"]["scale"] == 128
    assert group["exponent"] == -0.5
    assert group["evidence"]["trials"] == 72


def test_transfer_and_advice_follow_the_scale_and_the_horizon_asked_for(
    sweeper: Sweeper, finished: Path
) -> None:
    document = sweeper("transfer", "planted", "--scale", "params", "--json").document
    assert document["scale"] == "params"
    assert document["groups"][0]["exponent"] == 0
    assert any("none is judged along params" in note for note in document["notes"])
    ended = sweeper("transfer", "planted", "--horizon", "100%", "--json").document
    assert ended["groups"][0]["settings"] == {"horizon_share": 1}
    largest = document["groups"][0]["reference"]["scale"]
    command = ("advise", "planted", "--target", 64 * largest, "--flops", 1e9, "--run-flops", 1e7)
    advice = sweeper(*command, "--scale", "params", "--cost-exponent", 1, "--json").document
    assert advice["scale"] == "params"


def test_a_limit_of_three_scales_is_refused(sweeper: Sweeper, finished: Path) -> None:
    answer = sweeper("transfer", "planted", "--reference", "limit")
    assert answer.code == 2
    assert "an extrapolated limit needs 4" in answer.err
    assert "Traceback" not in answer.err


def test_advice_from_a_study_names_a_proxy_and_what_it_rests_on(
    sweeper: Sweeper, finished: Path
) -> None:
    cost = 3 * 2 * 2048**2  # of the same order as a planted run
    command = ("advise", "planted", "--target-width", 2048, "--flops", 40 * cost)
    answer = sweeper(*command, "--run-flops", cost)
    assert answer.code == 0
    for words in ("tune at a proxy", "tune directly", "known optimum", "untuned", "assumed:"):
        assert words in answer.out
    assert max(map(len, answer.out.splitlines())) <= 100
    document = sweeper(*command, "--run-flops", cost, "--json").document
    assert (document["study"], document["scale"], document["target"]) == ("planted", "width", 2048)
    (group,) = document["groups"]
    assert group["recommended"] == group["options"][0]["strategy"]
    assert group["evidence"]["trials"] == 72
    assert document["notes"] == []
    assert "rests on 72 of 72 trials" in answer.out
    assert all(option["flops"] <= 40 * cost for option in group["options"])


def test_advice_without_a_study_gives_the_exponents(sweeper: Sweeper) -> None:
    given = ("--alpha", 0.52, "--beta", 0.26, "--cost-exponent", 2, "--run-flops", 1e18)
    document = sweeper("advise", "--target", 4096, "--flops", 1e19, *given, "--json").document
    (group,) = document["groups"]
    assert round(group["growth"]["transfer"], 4) == 0.2301
    assert group["growth"]["useful"] is False
    assert document["study"] is None
    assert group["evidence"] is None


def test_advice_that_lacks_something_says_what(sweeper: Sweeper, finished: Path) -> None:
    rest = ("--cost-exponent", 2, "--run-flops", 1e9)
    bare = sweeper("advise", "--target", 4096, "--flops", 1e19)
    assert bare.code == 2
    assert "--alpha, --beta, --cost-exponent, --run-flops must be given" in bare.err
    lost = sweeper("advise", "--target", 4096, "--flops", 1e19, "--hp", "learning_rate")
    assert lost.code == 2
    assert "name the study too" in lost.err
    along = sweeper("advise", "--target", 4096, "--flops", 1e19, "--scale", "params")
    assert along.code == 2
    assert "--scale chooses what is read off a study" in along.err
    below = sweeper("advise", "--target", -5, "--flops", 1e19, "--alpha", 1, "--beta", 1, *rest)
    assert below.code == 2
    assert "target -5: the scale of the model wanted is positive" in below.err
    inside = sweeper("advise", "planted", "--target", 64, "--flops", 1e19)
    assert inside.code == 2
    assert "within the study" in inside.err

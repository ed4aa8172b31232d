"""Searches run to their end on planted surfaces, without engine and store; and interrupted."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from sweeper.outcome import Outcome
from sweeper.search.base import Proposal, Search
from workloads.planted import surface

Answer = Callable[[Proposal], Outcome]


def answer(proposal: Proposal) -> Outcome:
    """Returns how a trial of the planted workload ends."""
    trial = proposal.trial.trial
    return ended(proposal, surface(trial.config, trial.seed))


def ended(proposal: Proposal, loss: float) -> Outcome:
    """Returns an outcome with a loss: diverged if that is infinite, a bug if it is NaN."""
    key = proposal.trial.trial.key
    if math.isinf(loss):
        return Outcome(key=key, attempt=1, kind="diverged")
    if math.isnan(loss):
        return Outcome(key=key, attempt=1, kind="bug", error="RuntimeError: it broke")
    return Outcome(key=key, attempt=1, kind="completed", metrics={"val_loss": loss})


def run_to_end(search: Search, answer: Answer = answer) -> list[Proposal]:
    """Tells the outcomes of each wave in the order of its proposals; returns all proposals."""
    made: list[Proposal] = []
    while wave := list(search.ask()):
        made += wave
        search.tell([answer(proposal) for proposal in wave])
    assert search.finished
    return made


def run_with_stops(
    make: Callable[[], Search], draw: random.Random, answer: Answer = answer
) -> list[Proposal]:
    """Returns all proposals of the last of several searches, each begun anew at some point, as
    after an interruption, and told the outcomes that are there, in any portions."""
    stored: dict[str, Outcome] = {}
    search, made = make(), list[Proposal]()
    while True:
        if draw.random() < 0.2:
            search, made = make(), []
        while new := list(search.ask()):
            made += new
            search.tell([stored[key] for p in new if (key := p.trial.trial.key) in stored])
        if search.finished:
            return made
        left = [p for p in made if p.trial.trial.key not in stored]
        some = draw.sample(left, draw.randint((len(left) + 1) // 2, len(left)))
        told = [answer(p) for p in some]
        stored |= {outcome.key: outcome for outcome in told}
        search.tell(told)


def log2_rates(proposals: Sequence[Proposal], scale: float, reason: str = "") -> list[float]:
    """Returns log2 of the learning rates of proposals, rising, each once."""
    rates = {
        round(math.log2(float(str(p.trial.trial.config["learning_rate"]))), 6)
        for p in proposals
        if p.trial.scale == scale and reason in ("", p.reason)
    }
    return sorted(rates)

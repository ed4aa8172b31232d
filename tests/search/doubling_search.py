"""A search that decides by what has come out: for tests of the seam."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.outcome import Outcome
from sweeper.search.base import Proposal
from sweeper.study import PlannedTrial, Study, plan_trial


class Doubling:
    """Doubles the learning rate at every width until the loss rises, or a trial gives none."""

    def __init__(self, study: Study, known: Sequence[PlannedTrial] = ()) -> None:
        self._study = study
        self._losses: dict[str, float | None] = {}
        self._ladders: dict[int, list[str]] = {}
        (variant,) = study.variants
        for width in study.axes(variant)["width"]:
            self._ladders[width] = []
        self._first = study.axes(variant)["learning_rate"][0]
        self._variant = variant

    @property
    def finished(self) -> bool:
        return not any(self._wants(keys) or self._waits(keys) for keys in self._ladders.values())

    def ask(self) -> Sequence[Proposal]:
        return [
            self._next(width, keys) for width, keys in self._ladders.items() if self._wants(keys)
        ]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self._losses[outcome.key] = outcome.metrics.get("val_loss")

    def _waits(self, keys: Sequence[str]) -> bool:
        return bool(keys) and keys[-1] not in self._losses

    def _wants(self, keys: Sequence[str]) -> bool:
        if self._waits(keys):
            return False
        if not keys:
            return True
        last = self._losses[keys[-1]]
        before = self._losses[keys[-2]] if len(keys) > 1 else float("inf")
        return last is not None and before is not None and last < before

    def _next(self, width: int, keys: list[str]) -> Proposal:
        rate = self._first * 2 ** len(keys)
        settings = {**self._study.fixed, "width": width, "learning_rate": rate}
        planned = plan_trial(self._study, self._variant, settings, seed=0)
        reason = "expanded" if keys else "seed"
        keys.append(planned.trial.key)
        return Proposal(trial=planned, reason=reason)

"""A llama of which one process misbehaves in the middle of its training."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from workloads.llama.card import LlamaCard
from workloads.workload import Measurement

if TYPE_CHECKING:
    from workloads.workload import TrainerFactory

STEP = 4
"""Steps before it happens."""


class FailingCard(LlamaCard):
    """The llama's card.

    Args:
        misbehave: ``raise``, ``memory``, ``die``, ``hang``, ``strange`` (raises what cannot be
            sent), ``apart`` (goes on with other weights) or nothing.
        rank: number of the process that does.
    """

    def __init__(self, misbehave: str = "", rank: int = 1) -> None:
        self.misbehave, self.rank = misbehave, rank

    def trainer(self) -> TrainerFactory:
        """Returns the factory of that trainer."""
        from workloads.llama.model import LlamaTrainer

        class FailingTrainer(LlamaTrainer):
            """Asks, after each step, what to do."""

            def __init__(self, card: FailingCard, *args: Any, **options: Any) -> None:
                super().__init__(card, *args, **options)
                self._how = card.misbehave if self._ranks.rank == card.rank else ""

            def run(self) -> Iterator[Sequence[Measurement]]:
                for number, said in enumerate(super().run(), 1):
                    yield said
                    if number == STEP:
                        _misbehave(self._how, self.parameters(0))

        return partial(FailingTrainer, self)


def _misbehave(how: str, parameters: dict[str, torch.Tensor]) -> None:
    match how:
        case "raise":
            raise LookupError("planted bug")
        case "memory":
            raise torch.OutOfMemoryError("planted shortage")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(600)
        case "apart":
            parameters["readout"].mul_(1.001)
        case "strange":

            class StrangeError(Exception):
                """Known here alone."""

            raise StrangeError("planted oddity")


CARD = FailingCard()
NAME = "failing_llama:CARD"

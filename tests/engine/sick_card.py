"""A planted workload that fails on some nodes, hangs in others, and trains everywhere else."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workloads.planted import PlantedCard, PlantedTrainer
from workloads.workload import Member

if TYPE_CHECKING:
    from workloads.workload import TrainerFactory

SICK = "SWEEPER_TEST_SICK"
"""Environment variable of a node: ``fails``, or ``hangs``."""


class SickCard(PlantedCard):
    """The planted card, with a trainer that depends on where it runs."""

    def trainer(self) -> TrainerFactory:
        """Returns the factory of that trainer."""
        return SickTrainer


class SickTrainer(PlantedTrainer):
    """The planted trainer, where it is let."""

    def __init__(self, members: Sequence[Member], **options: Any) -> None:
        if os.environ.get(SICK) == "fails":
            raise RuntimeError("no such driver")
        if os.environ.get(SICK) == "hangs":
            time.sleep(600)
        super().__init__(members, **options)


CARD = SickCard()
NAME = "sick_card:CARD"

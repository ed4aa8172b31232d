"""A planted workload that fails with all secrets of its environment in its message."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workloads.planted import PlantedCard, PlantedTrainer
from workloads.workload import Member

if TYPE_CHECKING:
    from workloads.workload import TrainerFactory

SECRETS = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class LeakingCard(PlantedCard):
    """The planted card, with a trainer that tells."""

    def trainer(self) -> TrainerFactory:
        """Returns the factory of that trainer."""
        return LeakingTrainer


class LeakingTrainer(PlantedTrainer):
    """The planted trainer; the lowest rate fails."""

    def __init__(self, members: Sequence[Member], **options: Any) -> None:
        if members[0].config["learning_rate"] < 0.02:
            told = " ".join(os.environ[name] for name in SECRETS)
            link = f"https://bucket/file?X-Amz-Signature={os.environ['HF_TOKEN'][::-1]}&a=1"
            raise RuntimeError(f"the server at https://me:hunter2222@host refused {told} {link}")
        super().__init__(members, **options)


CARD = LeakingCard()
NAME = "leaking_card:CARD"

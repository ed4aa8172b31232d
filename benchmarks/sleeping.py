"""A workload that sleeps, and slots that are coroutines: what a controller is measured with."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workloads.planted import PlantedCard
from workloads.workload import Measurement, Member, TrainerFactory

PROCESSES = 4
"""Actors whose coroutines are the slots."""

SLICE_SECONDS = 0.5
"""How often a slot tells of its trial (``SLICE_SECONDS`` of the worker's host)."""


class SleepingCard(PlantedCard):
    """Card of a workload that sleeps for ``step_seconds``."""

    name = "sleeping"

    def trainer(self) -> TrainerFactory:
        """Returns the factory of trainers that sleep."""
        return SleepingTrainer


class SleepingTrainer:
    """One step that sleeps."""

    def __init__(self, members: Sequence[Member], *, threads: int, device: str) -> None:
        self._seconds = float(members[0].config["step_seconds"])

    def run(self) -> Iterator[Sequence[Measurement]]:
        """Yields the only measurement."""
        time.sleep(self._seconds)
        yield [
            Measurement(member=0, step=1, tokens=1, metrics={"val_loss": 1.0}, status="completed")
        ]

    def save(self, member: int, path: Path) -> None:
        """Writes nothing of use: a trial is one step."""
        path.write_text("")

    def device_name(self) -> str:
        """Returns ``cpu``."""
        return "cpu"


SLEEPING = SleepingCard()


class Sleeper:
    """Slots as coroutines; an actor."""

    def pid(self) -> int:
        """Returns the process."""
        return os.getpid()

    async def sleep(self, seconds: float) -> None:
        """Returns after a trial: what a bare driver asks for."""
        await asyncio.sleep(seconds)

    async def serve(self, mailbox: Any, shape: Any, names: Sequence[str], seconds: float) -> int:
        """Returns how many trials the slots ran, once there are none left."""
        slots = [self._slot(mailbox, shape, name, seconds) for name in names]
        return sum(await asyncio.gather(*slots))

    async def _slot(self, mailbox: Any, shape: Any, name: str, seconds: float) -> int:
        from sweeper.engine import WorkerProcess

        place = f"node-{hash(name) % 4}"
        process = WorkerProcess(id=name, host=place, pid=os.getpid(), node=place, place=place)
        events: list[Any] = []
        done = 0
        while True:
            order = await mailbox.pull.remote(name, process, shape, events, 2.0)
            if order is None:
                return done
            left, pause = seconds, SLICE_SECONDS
            while left > 0:
                await asyncio.sleep(min(left, pause))
                left -= pause
                if left > 0:
                    reply = await mailbox.post.remote(name, [])
                    if reply.stop:
                        return done
                    pause = max(SLICE_SECONDS, reply.quiet)
            events = [_ended(order, place)]
            done += 1


def _ended(order: Any, place: str) -> Any:
    from sweeper.engine import Ended
    from sweeper.outcome import Outcome

    (task,) = order.tasks
    return Ended(
        order=order.number,
        outcome=Outcome(
            key=task.key,
            attempt=task.attempt,
            kind="completed",
            metrics={"val_loss": 1.0},
            step=1,
            tokens=1,
            flops=task.flops,
            device="cpu",
            host=place,
            environment={"threads": 1},
        ),
    )


@contextmanager
def sleepers() -> Iterator[list[Any]]:
    """Yields actors that sleep, on the cluster that is there."""
    import ray

    where = {"env_vars": {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}}
    made = ray.remote(Sleeper).options(num_cpus=0, max_concurrency=100_000, runtime_env=where)
    actors = [made.remote() for _ in range(PROCESSES)]
    ray.get([actor.pid.remote() for actor in actors])
    yield actors

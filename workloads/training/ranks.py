"""The processes that train one trial together, seen from one of them: what they share, and how
each is told what to do.

Legend: E members of the pack, B sequences (or examples) of a batch.
"""

from __future__ import annotations

import gc
import os
import pickle
import select
import shutil
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from multiprocessing.connection import Connection
from os import _exit
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
import torch.distributed as dist
from torch import Tensor

from workloads.training.model import Batch
from workloads.workload import Card, Measurement, Member, ProcessLostError

IDLE_SECONDS = 60.0
"""How long a process without a trial waits for the next one before it ends."""

BUCKET = 1 << 24
"""Numbers that are averaged at once: enough to hide the latency of a message, and few enough that
their copy is small beside the model."""

ALIGNED = 64
"""Numbers to whose multiples tensors start in a bucket: where one starts may decide the bits of
what is computed of it."""

_LEFT_TO_THE_LEAD = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
"""Signals that a terminal or a scheduler sends to every process of a job."""


class Ranks:
    """The place of this process among those that train a trial, and what they do together.

    Each has all weights, takes its share of every batch, and averages gradients with the others,
    so that all make the same update. Alone (the default) nothing is exchanged.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @classmethod
    def joined(
        cls, rank: int, size: int, *, device: str, meeting: str, patience_seconds: float
    ) -> Ranks:
        """Returns this process's place once all have found each other.

        Args:
            rank: number of this process.
            size: number of processes.
            device: ``cpu``, or ``cuda`` for the accelerator of that number.
            meeting: file by which they find each other.
            patience_seconds: how long each waits for the others before it gives them up.

        Raises:
            ProcessLostError: another process does not come.
            RuntimeError: there are fewer accelerators than processes.
        """
        here = None
        if device == "cuda":
            found = torch.cuda.device_count()
            if found < size:
                raise RuntimeError(f"a trial wants {size} GPUs, and its process sees {found}")
            torch.cuda.set_device(rank)  # what "cuda" means from here on
            here = torch.device("cuda", rank)
        with _others_at_hand():
            dist.init_process_group(
                "gloo" if here is None else "nccl",
                store=dist.FileStore(meeting, size),  # type: ignore[attr-defined]
                rank=rank,
                world_size=size,
                timeout=timedelta(seconds=patience_seconds),
                device_id=here,
            )
        ranks = cls(rank, size)
        ranks.total(torch.zeros(1, device=here or "cpu"))  # whoever cannot be reached is told now
        return ranks

    def parts(self, accumulation: int, batch_size: int) -> int:
        """Returns in how many equal parts this process takes its share of a batch: the fewest
        that are no larger than those of one process alone.

        Args:
            accumulation: parts of the whole batch.
            batch_size: B of the whole batch.
        """
        share = batch_size // self.size
        least = -(-accumulation // self.size)
        return next(parts for parts in range(least, share + 1) if share % parts == 0)

    def share(self, batch: Batch) -> Batch:
        """Returns this process's part of a batch, [E, B / size, ...].

        Raises:
            ValueError: the batch has no equal parts.
        """
        if batch.inputs.shape[1] % self.size:
            raise ValueError(
                f"a batch of {batch.inputs.shape[1]} does not divide into {self.size} equal parts"
            )
        inputs, targets = (each.chunk(self.size, 1)[self.rank] for each in batch)
        return Batch(inputs, targets)

    def average(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Returns the means over all processes, contiguous; each must give the same shapes."""
        if self.size == 1:
            return list(tensors)
        left, found = list(tensors), []
        while left:
            found += self._average_bucket(_next_bucket(left))
        return found

    def _average_bucket(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        sizes = [-(-each.numel() // ALIGNED) * ALIGNED for each in tensors]
        flat = tensors[0].new_zeros(sum(sizes))
        places = [
            part[: each.numel()].view(each.shape)
            for part, each in zip(torch.split(flat, sizes), tensors, strict=True)
        ]
        torch._foreach_copy_(places, list(tensors))
        self._reduce(flat, dist.ReduceOp.SUM)
        flat /= self.size
        return places

    def total(self, value: Tensor) -> Tensor:
        """Returns the sum over all processes, of the same shape."""
        return self._reduce(value.clone(), dist.ReduceOp.SUM)

    def largest(self, value: Tensor) -> Tensor:
        """Returns the largest over all processes, of the same shape."""
        return self._reduce(value.clone(), dist.ReduceOp.MAX)

    def require_same(self, value: Tensor, what: str) -> None:
        """Makes sure that all processes hold the same bits.

        Args:
            value: in float64, without NaN.
            what: what it was made of, in words.

        Raises:
            RuntimeError: they do not.
        """
        if self.size == 1:
            return
        found = [torch.empty_like(value) for _ in range(self.size)]
        with _others_at_hand():
            dist.all_gather(found, value.contiguous())
        apart = [rank for rank, each in enumerate(found) if not torch.equal(each, value)]
        if apart:
            raise RuntimeError(
                f"processes {self.rank} and {apart[0]} of this trial no longer hold the same "
                f"{what}: their devices round differently; give it devices of one kind"
            )

    def _reduce(self, value: Tensor, how: dist.ReduceOp.RedOpType) -> Tensor:
        if self.size > 1:
            with _others_at_hand():
                dist.all_reduce(value, how)
        return value


@contextmanager
def _others_at_hand() -> Iterator[None]:
    """Tells the loss of another process from an error of this one."""
    try:
        yield
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except RuntimeError as fault:  # gloo has no kind of its own
        said = str(fault).strip().partition("\n")[0]
        raise ProcessLostError(
            f"the other processes of the trial do not answer: {said}"
        ) from fault


def _next_bucket(left: list[Tensor]) -> list[Tensor]:
    """Takes tensors of one number format off the front of a list, one at least."""
    bucket, numbers = [left.pop(0)], 0
    while left and left[0].dtype == bucket[0].dtype:
        numbers += left[0].numel()
        if bucket[0].numel() + numbers > BUCKET:
            break
        bucket.append(left.pop(0))
    return bucket


class Served:
    """What the lead, which started this process, asks it to do; see :class:`Crew`.

    Attributes:
        resting: True between two trials.
    """

    def __init__(self, *, rank: int, size: int, threads: int, device: str) -> None:
        self._ranks = Ranks(rank, size)
        self._threads, self._device = threads, device
        self.resting = False
        self._trainer: Any = None
        self._steps: Iterator[Sequence[Measurement]] = iter(())

    def join(self, meeting: str, patience_seconds: float) -> None:
        """Finds the others by a file."""
        self._ranks = Ranks.joined(
            self._ranks.rank,
            self._ranks.size,
            device=self._device,
            meeting=meeting,
            patience_seconds=patience_seconds,
        )

    def build(self, card: Card, members: Sequence[Member]) -> str:
        """Makes the trainer of a pack; returns the name of the device."""
        self.resting, factory = False, cast(Any, card.trainer())
        self._trainer = factory(
            members, threads=self._threads, device=self._device, ranks=self._ranks
        )
        self._steps = self._trainer.run()
        return str(self._trainer.device_name())

    def step(self) -> Sequence[Measurement] | None:
        """Makes a step; returns what the trainer says, or None after the last one."""
        return next(self._steps, None)

    def save(self, member: int, path: Path) -> None:
        """Writes a checkpoint, by the first process for all."""
        if self._ranks.rank == 0:
            self._trainer.save(member, path)

    def let_go(self, member: int) -> None:
        """Trains a member no longer."""
        self._trainer.let_go(member)

    def drop(self) -> None:
        """Lets go of the trainer and its memory."""
        self.resting |= self._trainer is not None
        self._trainer, self._steps = None, iter(())
        gc.collect()
        if self._device == "cuda":
            torch.cuda.empty_cache()


def serve(*, socket: int, rank: int, size: int, threads: int, device: str, folder: str) -> None:
    """Does what the lead asks for until it is gone, or has had no trial for a while.

    Args:
        socket: file descriptor of the connection to the lead.
        rank: number of this process.
        size: number of processes.
        threads: processor threads of this process.
        device: ``cpu`` or ``cuda``.
        folder: of the processes alone; removed when the lead is gone, who else would do it.
    """
    for name in _LEFT_TO_THE_LEAD:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    lead = os.getppid()
    threading.Thread(target=_end_with, args=(lead, socket, folder), daemon=True).start()
    link, served = Connection(socket), Served(rank=rank, size=size, threads=threads, device=device)
    with suppress(EOFError, OSError):  # of a lead that is gone
        while link.poll(IDLE_SECONDS if served.resting else None):
            what, *arguments = link.recv()
            try:
                said = getattr(served, what)(*arguments)
                link.send((True, said if rank == 0 else None))
            except BaseException as fault:
                link.send((False, _packed(fault)))
    _leave(folder)


def _end_with(lead: int, socket: int, folder: str) -> None:
    """Ends this process as soon as the one that started it is gone, whatever it is doing."""
    end = select.poll()
    end.register(socket, 0)  # told of the other end's end alone
    while not end.poll(1000) and os.getppid() == lead:
        pass
    _leave(folder)


def _leave(folder: str) -> NoReturn:
    """Ends this process, without the destructors of a group whose others may have ended."""
    shutil.rmtree(folder, ignore_errors=True)
    _exit(0)


def _packed(fault: BaseException) -> tuple[bytes | None, str]:
    """Returns an exception in transportable form, None if it has none, and its traceback."""
    text = "".join(traceback.format_exception(fault))
    with suppress(Exception):
        if isinstance(fault, Exception):
            return pickle.dumps(fault), text
    return None, text

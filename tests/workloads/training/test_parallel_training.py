"""One trial in several processes: the numbers of one, and no process left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from failing_llama import STEP, FailingCard
from mlp_runs import member as image_member
from pack_runs import OPTIMIZER_RUNS, SMALL, history, measured, member, trainer

from workloads.llama.card import LLAMA
from workloads.mlp.card import MLP
from workloads.training.crew import ParallelTraining
from workloads.workload import Card, Measurement, Member, ProcessLostError

MUON = {"optimizer": "muon", "parametrization": "mup", "base_width": 16, "zero_init": False}
HALVES = {"accumulation": 2}
"""Two processes make the passes of one that takes a batch in two parts."""


@pytest.fixture
def parallel() -> Iterator[Callable[..., ParallelTraining]]:
    """Yields what trains members in two processes, which wait for the next test."""
    made: list[ParallelTraining] = []

    def make(*members: Member, card: Card = LLAMA, **options: Any) -> ParallelTraining:
        training = ParallelTraining(card, members, processes=2, threads=1, device="cpu", **options)
        made.append(training)
        return training

    yield make
    for training in made:
        training.close()


def alive(training: ParallelTraining) -> list[int]:
    """Returns the processes that train."""
    return [process.pid for process in training._crew._processes]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: list[int]) -> bool:
    until = time.monotonic() + 20
    while any(map(is_running, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    return not any(map(is_running, pids))


@pytest.mark.parametrize("changes", [{"optimizer": "adamw"}, MUON], ids=["adamw", "muon"])
def test_two_processes_have_the_losses_of_one(
    changes: dict[str, Any], parallel: Callable[..., ParallelTraining]
) -> None:
    alone, together = measured(trainer(member(**changes))), measured(parallel(member(**changes)))
    assert [each.step for each in together] == [each.step for each in alone]
    assert [each.mark for each in together] == [each.mark for each in alone]
    for one, two in zip(alone, together, strict=True):
        assert two.metrics == pytest.approx(one.metrics, rel=1e-5)
    assert history(alone) != history(together), "equal bits: nothing was shared out"


@pytest.mark.parametrize("name", ["adamw", "muon", "sophia", "muonclip", "soap"])
def test_two_processes_have_the_bits_of_one_that_takes_its_batch_in_two_parts(
    name: str, parallel: Callable[..., ParallelTraining]
) -> None:
    long = {"eval_tokens": 20_000, "context": 32}  # three parts of an evaluation
    each = member(**{**SMALL, **OPTIMIZER_RUNS[name], **HALVES, **long})
    assert history(measured(parallel(each))) == history(measured(trainer(each)))


def test_images_are_shared_out_as_tokens_are(parallel: Callable[..., ParallelTraining]) -> None:
    each = image_member(batch_size=16, steps=6, **HALVES)
    alone = MLP.trainer()([each], threads=1, device="cpu")
    expected = [said for step in alone.run() for said in step]
    assert history(measured(parallel(each, card=MLP))) == history(expected)


def test_the_accumulation_of_one_is_shared_out_too(
    parallel: Callable[..., ParallelTraining],
) -> None:
    each = member(**SMALL, batch_size=8, accumulation=4)
    alone, together = measured(trainer(each)), measured(parallel(each))
    assert together[-1].metrics == pytest.approx(alone[-1].metrics, rel=1e-5)


def test_a_divergence_is_told_once_and_ends_the_trial(
    parallel: Callable[..., ParallelTraining],
) -> None:
    each = member(learning_rate=2.0**60, **HALVES)
    together = measured(parallel(each))
    assert together[-1].status == "diverged"
    assert history(together) == history(measured(trainer(each)))


def test_a_checkpoint_goes_on_in_any_number_of_processes(
    parallel: Callable[..., ParallelTraining], tmp_path: Path
) -> None:
    changes = {**MUON, **HALVES}
    whole = history(measured(trainer(member(**changes))))
    found: list[Measurement] = []

    def go_on(make: Callable[..., Any], path: Path | None, until: int) -> Path:
        running = make(member(**changes, checkpoint=path))
        for said in running.run():
            found.extend(said)
            if found and found[-1].step == until:
                break
        saved = tmp_path / f"{until}"
        running.save(0, saved)
        return saved

    at_4 = go_on(trainer, None, 4)
    at_8 = go_on(parallel, at_4, 8)
    go_on(trainer, at_8, 12)
    assert history(found) == whole


def test_the_same_processes_give_the_same_bits_also_after_a_checkpoint(
    parallel: Callable[..., ParallelTraining], tmp_path: Path
) -> None:
    first, broken = parallel(member(**MUON)), parallel(member(**MUON))
    whole, found = history(measured(first)), []
    first.close()
    for said in broken.run():
        found += history(list(said))
        if found and found[-1][0] == 5:
            break
    broken.save(0, tmp_path / "checkpoint")
    broken.close()
    resumed = parallel(member(**MUON, checkpoint=tmp_path / "checkpoint"))
    assert [*found, *history(measured(resumed))] == whole


def test_processes_wait_for_the_next_trial_and_train_it(
    parallel: Callable[..., ParallelTraining],
) -> None:
    first = parallel(member(**SMALL))
    pids = alive(first)
    measured(first)
    first.close()
    second = parallel(member(**{**SMALL, "width": 32}))
    assert alive(second) == pids
    second.close()
    os.kill(pids[0], signal.SIGKILL)
    third = parallel(member(**SMALL))
    assert gone(pids)
    assert measured(third)[-1].status == "completed"


def test_a_trial_that_is_left_in_the_middle_leaves_the_processes_to_the_next(
    parallel: Callable[..., ParallelTraining],
) -> None:
    left = parallel(member(**SMALL))
    next(iter(left.run()))
    left.close()
    assert measured(parallel(member(**SMALL)))[-1].status == "completed"


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("raise", LookupError, "planted bug"),
        ("strange", RuntimeError, "StrangeError: planted oddity"),
        ("apart", RuntimeError, "no longer hold the same weights"),
        ("die", ProcessLostError, "process 1 of the 2 that train the trial was killed by SIGKILL"),
    ],
)
def test_what_one_process_meets_is_raised_and_ends_them_all(
    how: str, kind: type[Exception], said: str, parallel: Callable[..., ParallelTraining]
) -> None:
    training = parallel(member(), card=FailingCard(how))
    pids, steps = alive(training), 0
    with pytest.raises(kind, match=said) as caught:
        for _ in training.run():
            steps += 1
    assert steps == (5 if how == "apart" else STEP)  # unequal weights are found at step 6, a mark
    assert gone(pids)
    if how in ("raise", "strange"):
        assert "_misbehave" in str(caught.value.__cause__), "the traceback of the process"


def test_a_process_that_hangs_is_given_up(parallel: Callable[..., ParallelTraining]) -> None:
    training = parallel(member(), card=FailingCard("hang"), patience_seconds=5.0)
    pids = alive(training)
    with pytest.raises(ProcessLostError, match="do not answer"):
        for _ in training.run():
            pass
    assert gone(pids)


LEAD = """
import os, sys, time
from pack_runs import member
from workloads.llama.card import LLAMA
from workloads.training.crew import ParallelTraining
training = ParallelTraining(LLAMA, [member(steps=10**6)], processes=2, threads=1, device="cpu")
pids = [process.pid for process in training._crew._processes]
print(*pids, training._crew._folder, flush=True)
for _ in training.run():
    pass
"""


def test_processes_end_with_the_one_that_started_them_and_listen_on_loopback_alone(
    tmp_path: Path,
) -> None:
    outside = {"GLOO_SOCKET_IFNAME": socket.if_nameindex()[-1][1]}  # as for other programs
    path = {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path), **outside}
    lead = subprocess.Popen(
        [sys.executable, "-c", LEAD], stdout=subprocess.PIPE, text=True, env=os.environ | path
    )
    assert lead.stdout is not None
    with lead.stdout:
        *words, folder = lead.stdout.readline().split()
    pids = [int(word) for word in words]
    addresses = {address for pid in pids for address in listening(pid)}
    assert addresses == {"0100007F"}, "127.0.0.1, as /proc writes it"
    assert Path(folder).parent == tmp_path
    lead.kill()
    lead.wait()
    assert gone(pids)
    assert not list(tmp_path.iterdir())


def listening(pid: int) -> Iterator[str]:
    """Yields the addresses that a process listens on."""
    sockets = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(entry)
        if target.startswith("socket:["):
            sockets.add(target[len("socket:[") : -1])
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in sockets and fields[3] == "0A":
                yield fields[1].partition(":")[0]

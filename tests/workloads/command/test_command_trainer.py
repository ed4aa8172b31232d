"""The trainer of a trial that is a process: what it makes of what the process says."""

from __future__ import annotations

import io
import json
import math
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_card import command, program

from workloads.command.folder import CheckpointFolder, Snapshot
from workloads.command.trainer import CommandTrainer
from workloads.programs import NotNowError, OutOfMemoryError, TrialFailedError
from workloads.workload import Measurement, Member, ProcessLostError


def trainer_of(text: str, checkpoint: Path | None = None, **settings: Any) -> CommandTrainer:
    config = {"program": text, "learning_rate": 0.5, "width": 32, **settings}
    member = Member(config=config, seed=3, checkpoint=checkpoint, key="ab" * 32)
    return CommandTrainer([member], threads=1, device="cpu")


def said_by(text: str, **settings: Any) -> list[Measurement]:
    trainer = trainer_of(text, **settings)
    try:
        return [item for items in trainer.run() for item in items]
    finally:
        trainer.close()


def rows(said: list[Measurement]) -> list[tuple[int, dict[str, float]]]:
    curve = (item for item in said if item.status == "running" and not item.mark)
    return [(item.step, dict(item.metrics)) for item in curve]


LINES = (
    "import json, sys\nfor row in json.loads(sys.argv[1]): print(json.dumps(row), flush=True)\n"
)


def lines_of(*said: dict[str, Any], code: str = "", **stated: Any) -> str:
    text = json.dumps(said).replace("{", "{{").replace("}", "}}")
    return program(LINES + code, text, **stated)


def test_lines_of_json_are_the_curve_and_those_with_the_metric_are_marks() -> None:
    said = said_by(
        lines_of(
            {"step": 1, "train_loss": 3.0, "note": "x", "ok": True},
            {"step": 2, "tokens": 64, "train_loss": 2.0, "val_loss": 2.5},
            {"step": 2, "eval": {"acc": 0.5}},
        )
    )
    assert rows(said) == [
        (1, {"train_loss": 3.0}),
        (2, {"train_loss": 2.0, "val_loss": 2.5}),
        (2, {"eval/acc": 0.5}),
    ]
    assert [(m.step, m.tokens, m.metrics) for m in said if m.mark] == [(2, 64, {"val_loss": 2.5})]
    assert said[-1].status == "completed"
    assert said[-1].metrics == {"train_loss": 2.0, "val_loss": 2.5, "eval/acc": 0.5}


def test_lines_without_a_step_are_counted_and_one_among_others_is_of_their_last_step() -> None:
    counted = said_by(lines_of({"val_loss": 3.0}, {"val_loss": 2.0}))
    assert [item.step for item in counted if item.mark] == [1, 2]
    among = said_by(lines_of({"step": 10, "train_loss": 3.0}, {"val_loss": 2.0}))
    assert [(item.step, item.status) for item in among][-1] == (10, "completed")


def test_lines_are_read_by_a_regular_expression_on_both_streams_under_our_names() -> None:
    code = (
        "import sys\nprint('step:1/9 loss:2.5 junk')\nsys.stdout.flush()\n"
        "print('step:2/9 loss:1,250.5', file=sys.stderr)"
    )
    measured = {"lines": r"step:(?P<step>\d+).* loss:(?P<l>[\d.,]+)", "names": {"val_loss": "l"}}
    said = said_by(program(code, measured=measured))
    assert sorted(rows(said)) == [(1, {"val_loss": 2.5}), (2, {"val_loss": 1250.5})]


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"nan"', "1e999"])
@pytest.mark.parametrize("name", ["val_loss", "train_loss", "aux/Loss"])
def test_a_loss_that_is_not_finite_is_a_divergence_and_ends_the_process(
    name: str, value: str
) -> None:
    code = f"""
import time
print('{{"step": 1, "train_loss": 1.0}}')
print('{{"step": 2, "{name}": {value}}}', flush=True)
time.sleep(600)
"""
    said = said_by(program(code))
    assert [(item.step, item.status) for item in said][-1] == (2, "diverged")
    assert all(math.isfinite(v) for item in said for v in item.metrics.values())


def test_another_number_that_is_not_finite_is_left_out() -> None:
    said = said_by(lines_of({"step": 1, "grad_norm": math.inf, "val_loss": 1.0}))
    assert rows(said) == [(1, {"val_loss": 1.0})]
    assert said[-1].status == "completed"


def test_a_line_that_the_study_names_is_a_divergence_also_where_the_process_fails() -> None:
    code = "import sys\nprint('loss exploded at 17', file=sys.stderr)\nsys.exit(4)"
    said = said_by(program(code, measured={"diverged": "loss exploded"}))
    assert [item.status for item in said] == ["diverged"]


def test_a_failure_says_the_exit_code_what_was_raised_and_the_end_of_the_error_stream() -> None:
    code = "def train():\n    raise ValueError('no such schedule')\ntrain()"
    with pytest.raises(TrialFailedError) as caught:
        said_by(program(code))
    head, _, rest = str(caught.value).partition("\n\n")
    assert head == "exit code 1: ValueError: no such schedule"
    assert "line 3, in <module>" in rest


TORCHRUN = """
[rank1]: ValueError: odd width
[rank0]: RuntimeError: Connection closed by peer
Traceback (most recent call last):
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============
train.py FAILED
Failures:
[1]:
  rank      : 0 (local_rank: 0)
  traceback : Signal 15 (SIGTERM) received by PID 17304
Root Cause (first observed failure):
[0]:
  rank      : 1 (local_rank: 1)
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
============
"""


def test_the_cause_is_what_the_first_process_raised_and_not_what_its_launcher_made_of_it() -> None:
    with pytest.raises(TrialFailedError, match=r"\Aexit code 1: \[rank1\]: ValueError: odd"):
        said_by(program(f"import sys; sys.exit({TORCHRUN!r})"))


@pytest.mark.parametrize(
    "words",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate",
        "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory",
        "MemoryError",
    ],
)
def test_a_shortage_of_memory_is_told_by_its_words(words: str) -> None:
    with pytest.raises(OutOfMemoryError, match="exit code 1"):
        said_by(program(f"import sys; sys.exit({words!r})"))


def test_a_crash_is_said_by_its_signal() -> None:
    with pytest.raises(TrialFailedError, match=r"\Akilled by SIGABRT \(Aborted\)"):
        said_by(program("import os; os.kill(os.getpid(), 6)"))


@pytest.mark.parametrize("code", ["os.kill(os.getpid(), 9)", "sys.exit(137)"])
def test_a_process_that_somebody_else_kills_is_lost_and_has_not_failed(code: str) -> None:
    with pytest.raises(ProcessLostError, match=r"killed by SIGKILL \(Killed\)"):
        said_by(program(f"import os, sys; {code}"))


def test_steps_and_names_that_no_database_takes_do_no_harm() -> None:
    said = said_by(lines_of({"step": 3, "val_loss": 1.0}, {"step": 1e300, "a\0\ud800": 2.0}))
    assert [(item.step, [*item.metrics]) for item in said][:3] == [
        (3, ["val_loss"]),
        (3, ["val_loss"]),
        (3, ["a??"]),
    ]


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(TrialFailedError, match=r"exit code 127, .* cannot be started: .*no-such"):
        said_by(command("no-such-program"))


def test_an_end_without_the_metric_says_what_was_measured_and_where() -> None:
    with pytest.raises(TrialFailedError) as caught:
        said_by(lines_of({"step": 1, "eval/loss": 2.0, "lr": 0.1}))
    assert "without 'val_loss'" in str(caught.value)
    assert "measured: eval/loss, lr, in lines of JSON" in str(caught.value)


TELL = "import json, os, sys; print(json.dumps({'val_loss': 1.0})); "


def printed_by(code: str, *arguments: str, **stated: Any) -> str:
    trainer = trainer_of(program(TELL + code, *arguments, **stated))
    try:
        for _ in trainer.run():
            pass
        return trainer.output().splitlines()[-1]
    finally:
        trainer.close()


def test_values_reach_the_process_as_arguments_and_environment() -> None:
    names = ["{learning_rate}", "{width}", "{seed}", "{gpus}", "{processes}", "{threads}", "{key}"]
    assert printed_by("print(sys.argv[1:])", *names) == str(
        ["0.5", "32", "3", "0", "1", "1", "ab" * 32]
    )
    told = printed_by(
        "print(os.environ['LR'], os.environ['SWEEPER_KEY'][:4], os.environ['OMP_NUM_THREADS'], "
        "repr(os.environ['CUDA_VISIBLE_DEVICES']), open(os.environ['SWEEPER_CONFIG']).read())",
        variables={"LR": "{learning_rate}"},
    )
    assert told == "0.5 abab 1 '' " + json.dumps({"learning_rate": 0.5, "width": 32, "seed": 3})


def test_a_report_file_is_read_beside_whatever_the_results_are() -> None:
    code = """
import json, os
with open(os.environ["SWEEPER_REPORT"], "a") as report:
    report.write(json.dumps({"step": 5, "val_loss": 0.5}))
"""
    said = said_by(program(code, measured={"lines": "(?P<x>nothing)"}))
    assert (said[-1].step, said[-1].metrics) == (5, {"val_loss": 0.5})


def test_as_many_gpus_as_asked_for_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"program": program("pass")}

    def seen(given: str | None, processes: int) -> str:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if given is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        trainer = CommandTrainer(
            [Member(config=config, seed=0)], threads=1, device="cuda", processes=processes
        )
        trainer.close()
        return trainer._devices()

    assert seen(None, 2) == "0,1"
    assert seen("4,5,6,7", 2) == "4,5"
    assert seen("GPU-abc", 1) == "GPU-abc"


def test_a_step_that_goes_back_begins_the_curve_anew_there() -> None:
    said = said_by(
        lines_of(
            {"step": 1, "train_loss": 3.0},
            {"step": 2, "train_loss": 2.5},
            {"step": 1, "val_loss": 9.0},
            {"step": 1, "train_loss": 3.5},
            {"step": 2, "val_loss": 2.0},
        )
    )
    assert [(item.step, item.anew) for item in said if not item.mark][:-1] == [
        (1, False),
        (2, False),
        (1, False),
        (1, True),
        (2, False),
    ], "another metric that comes late is none that begins anew"


# Checkpoints ----------------------------------------------------------------------------------

LEARNS = """
import json, os, signal, sys, time
folder, until = sys.argv[1], int(sys.argv[2])
path = os.path.join(folder, "state.json")
step = json.load(open(path))["step"] if os.path.exists(path) else 0
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
while step < 6:
    step += 1
    print(json.dumps({"step": step, "val_loss": 1 / step}), flush=True)
    while step == until and not asked:
        time.sleep(0.01)
    if asked:
        os.makedirs(os.path.join(folder, "sub"), exist_ok=True)
        json.dump({"step": step}, open(path, "w"))
        os.symlink("../state.json", os.path.join(folder, "sub", "latest"))
        sys.exit(1)
"""
"""Six steps; waits after one of them, and writes its state when it is asked to end."""


def learner(until: int) -> str:
    return program(LEARNS, "{checkpoint}", str(until), resumable=True)


@pytest.fixture
def packed(tmp_path: Path) -> Iterator[Path]:
    """Yields a checkpoint of a program that was asked to end after three steps."""
    trainer = trainer_of(learner(3))
    steps = trainer.run()
    while not any(item.step == 3 for item in next(steps)):
        assert not trainer.has_checkpoint()
    said = trainer.wind_up()
    assert not any(item.status == "completed" for item in said)
    assert trainer.has_checkpoint()
    trainer.save(0, tmp_path / "checkpoint")
    assert not trainer.has_checkpoint(), "there is nothing new"
    trainer.close()
    yield tmp_path / "checkpoint"


def test_a_program_that_is_stopped_writes_its_checkpoint_and_goes_on_from_it(packed: Path) -> None:
    trainer = trainer_of(learner(0), packed)
    said = [item for items in trainer.run() for item in items]
    trainer.close()
    assert rows(said) == [(step, {"val_loss": 1 / step}) for step in (4, 5, 6)]
    assert said[0].anew, "what was said of this step before counts no more"
    assert said[-1].status == "completed"


def test_a_program_that_has_nothing_left_to_do_ends_with_what_it_said_before(packed: Path) -> None:
    trainer = trainer_of(program("pass", resumable=True), packed)
    (said,) = [item for items in trainer.run() for item in items]
    trainer.close()
    assert (said.step, said.metrics, said.status) == (3, {"val_loss": 1 / 3}, "completed")


def test_a_checkpoint_that_leads_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    with tarfile.open(bad, "w") as archive:
        for name, text in (
            ("state.json", b'{"latest": {}, "step": 1, "tokens": 1}'),
            ("files/../../../out", b"x"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    with pytest.raises(ValueError, match="no folder of a program's checkpoints"):
        trainer_of(learner(0), bad)
    bad.write_bytes(b"torn")
    with pytest.raises(ValueError, match="no folder of a program's checkpoints"):
        trainer_of(learner(0), bad)


def test_what_cannot_go_on_has_two_seconds_and_writes_nothing() -> None:
    trainer = trainer_of(program("import time; print(1, flush=True); time.sleep(600)"))
    next(trainer.run())
    assert not trainer.has_checkpoint()
    assert trainer.wind_up() == []
    assert not trainer.has_checkpoint()
    trainer.close()


STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(sys.argv[1] + "/state", "w") as file:
    while True:
        print(1, file=file, flush=True)
        print(1, flush=True)
        time.sleep(0.01)
"""


def test_a_checkpoint_that_is_being_written_when_its_program_is_killed_is_not_taken() -> None:
    trainer = trainer_of(program(STUBBORN, "{checkpoint}", resumable=True, grace=0.1))
    next(trainer.run())
    assert not trainer.has_checkpoint()
    trainer.wind_up()
    assert not trainer.has_checkpoint()
    trainer.close()


def test_a_folder_that_changes_while_it_is_packed_is_packed_later(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "folder")
    assert not folder.is_ready(running=False)
    (folder.path / "state").write_text("1")
    assert folder.is_ready(running=False)
    assert not folder.is_ready(running=True), "it is not at rest"
    os.utime(folder.path / "state", (1, 1))
    assert folder.is_ready(running=True)
    files = folder.files

    def changing() -> Snapshot:
        (folder.path / "state").write_text("more")
        return files()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "files", changing)
        with pytest.raises(NotNowError):
            folder.pack(tmp_path / "packed", {}, running=True)

    def cut_short(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        if entry.isfile():
            (folder.path / "state").write_text("")
        return entry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workloads.command.folder._plain", cut_short)
        with pytest.raises(NotNowError):
            folder.pack(tmp_path / "packed", {}, running=True)
    (folder.path / "state").write_text("more")
    folder.pack(tmp_path / "packed", {"step": 3}, running=False)
    assert not folder.is_ready(running=False)
    other = CheckpointFolder(tmp_path / "other")
    assert other.unpack(tmp_path / "packed") == {"step": 3}
    assert (other.path / "state").read_text() == "more"
    assert not other.is_ready(running=False), "that is what it began with"


def test_the_folder_of_a_trial_goes_with_it() -> None:
    trainer = trainer_of(program(TELL + "open(sys.argv[1] + '/big', 'w')", "{folder}"))
    for _ in trainer.run():
        pass
    folder = trainer._folder
    assert (folder / "big").exists()
    trainer.close()
    assert not folder.exists()

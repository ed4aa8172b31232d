"""What is told of machines that are asked before trials run there; the machines are made up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.engine.doctor import (
    Machine,
    Visit,
    answer_faults,
    clock_faults,
    device_faults,
    examine,
    file_faults,
    here,
    listed,
    version_faults,
)
from sweeper.engine.messages import Shape
from sweeper.engine.worker import Inspection
from sweeper.errors import StoreError
from sweeper.store.files.local import LocalFiles
from sweeper.store.files.protocol import read_token, token_file, write_token

A, B, C = (
    Machine(name=name, cpus=8, gpus=gpus) for name, gpus in zip("ABC", (0, 1, 4), strict=True)
)


def asking(
    places: Mapping[str, Path], late: Mapping[str, float] | None = None
) -> Callable[..., Any]:
    """Returns what asks machines of which each has a folder of its own under the same name, and a
    clock that is late by so many seconds."""

    def ask(machine: Machine, function: Callable[..., Any], files: Any, *rest: Any) -> Future[Any]:
        own = LocalFiles(places[machine.name])
        told = function(own, *rest)
        return here(lambda: replace(told, clock=told.clock - (late or {}).get(machine.name, 0.0)))

    return ask


def visits(folder: Path, *apart: str, late: Mapping[str, float] | None = None) -> list[Visit]:
    """Returns visits to A, B and C, whose files are those of the others but for some."""
    places = {name: folder / (name if name in apart else "shared") for name in "ABC"}
    files = LocalFiles(folder / "shared")
    return examine([A, B, C], files, asking(places, late), ask_devices=False)


def told(machine: Machine, **what: Any) -> Visit:
    return Visit(machine=machine, told=Inspection(host=machine.name, clock=time.time(), **what))


def test_machines_that_share_their_files_see_what_all_wrote_and_nothing_is_left(
    tmp_path: Path,
) -> None:
    found = visits(tmp_path)
    assert [visit.reading and visit.reading.missing for visit in found] == [(), (), ()]
    assert not list(file_faults(found, "/sweeps"))
    assert not list((tmp_path / "shared").iterdir())


def test_a_folder_that_is_another_one_on_each_machine_is_told_with_who_does_not_see_whom(
    tmp_path: Path,
) -> None:
    sentences = list(file_faults(visits(tmp_path, "B"), "/sweeps"))
    assert len(sentences) == 2
    assert "A and C do not see in /sweeps what B wrote" in sentences[0]
    assert "B does not see in /sweeps what A and C wrote" in sentences[1]
    assert "SWEEPER_FILES" in sentences[0]


def test_a_token_of_another_time_is_not_taken_for_that_of_now(tmp_path: Path) -> None:
    first = visits(tmp_path, "B")
    assert first[0].reading == replace(first[0].reading, missing=("B",))
    again = visits(tmp_path, "B")
    assert again[1].reading is not None
    assert again[1].reading.missing == ("A", "C"), "what an earlier doctor wrote is no token"


def test_a_place_that_cannot_be_written_is_told_once_for_all_machines(tmp_path: Path) -> None:
    (tmp_path / "shared").write_text("a file in the way")
    sentences = list(file_faults(visits(tmp_path), "/sweeps"))
    assert sum("cannot write" in sentence for sentence in sentences) == 1
    assert sentences[0].startswith("A, B and C cannot write the store's files: ")


def test_a_machine_that_does_not_answer_does_not_keep_the_others_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.engine.doctor.ANSWER_SECONDS", 0.05)
    ask = asking(dict.fromkeys("ABC", tmp_path))

    def some(machine: Machine, *rest: Any) -> Future[Any]:
        if machine is C:
            return Future()
        if machine is B:
            failed: Future[Any] = Future()
            failed.set_exception(ModuleNotFoundError("No module named 'sweeper'"))
            return failed
        return ask(machine, *rest)

    found = examine([A, B, C], LocalFiles(tmp_path), some, ask_devices=False)
    assert found[0].reading is not None
    assert not found[0].reading.missing, "of a machine that wrote nothing nobody misses a token"
    sentences = sorted(answer_faults(found))
    assert "B cannot be asked: ModuleNotFoundError: No module named 'sweeper'" in sentences[0]
    assert "C cannot be asked: it has not answered for" in sentences[1]


@pytest.mark.parametrize(("late", "way"), [(1.5, "behind"), (-3.0, "ahead of")])
def test_a_clock_that_is_more_than_a_second_away_is_told(
    late: float, way: str, tmp_path: Path
) -> None:
    (sentence,) = clock_faults(visits(tmp_path, late={"B": late}))
    assert f"the clock of B is {abs(late):.1f} s {way} that of this machine" in sentence
    assert not list(clock_faults(visits(tmp_path, late={"B": late / 4})))


def test_a_clock_is_not_blamed_for_an_answer_that_took_long(tmp_path: Path) -> None:
    def slow(machine: Machine, function: Callable[..., Any], *rest: Any) -> Future[Any]:
        answer: Future[Any] = Future()
        answer.set_result(replace(function(*rest), clock=time.time() + 0.02))
        time.sleep(0.05)
        return answer

    (visit,) = examine([A], LocalFiles(tmp_path), slow, ask_devices=False)
    assert visit.ahead == 0.0


def test_versions_that_differ_are_named_with_who_has_which() -> None:
    same = {"sweeper": "1", "python": "3.11.7"}
    found = [
        told(A, versions=same),
        told(B, versions=same),
        told(C, versions=same | {"sweeper": "2"}),
    ]
    (sentence,) = version_faults(found)
    assert sentence.startswith("sweeper is 1 on A and B and 2 on C: install the same")
    (sentence,) = version_faults([told(A, versions=same), told(B, versions=same | {"torch": "2"})])
    assert "torch is not there on A and 2 on B" in sentence


def test_gpus_that_torch_does_not_see_are_told() -> None:
    found = [
        told(A, devices=None),
        told(B, devices=(), device_fault="No module named 'torch'"),
        told(C, devices=("H100", "H100")),
    ]
    sentences = list(device_faults(found, []))
    assert sentences == [
        "torch does not tell the GPUs of B: No module named 'torch'",
        "torch sees 2 of the 4 GPUs of C: check `nvidia-smi` there, and that torch is built for "
        "CUDA",
    ]


def test_trials_that_fit_on_no_single_machine_are_told() -> None:
    found = [told(A), told(B), told(C)]
    fits, too_large = Shape(cpus=1, gpus=4), Shape(cpus=1, gpus=5)
    assert not list(device_faults(found, [fits, Shape(cpus=8)]))
    (sentence,) = device_faults(found, [fits, too_large])
    assert "trials need 1 CPUs and 5 GPUs each, and no machine has them" in sentence


def test_of_many_machines_a_sentence_names_some() -> None:
    names = [f"n{number}" for number in range(9)]
    assert listed(names) == "n0, n1, n2, n3 and 5 more"
    assert listed(names[:1]) == "n0"


def test_this_process_tells_its_versions_and_asks_torch_in_a_process_of_its_own(
    tmp_path: Path,
) -> None:
    def ask(machine: Machine, function: Callable[..., Any], *rest: Any) -> Future[Any]:
        return here(function, *rest)

    (visit,) = examine([B], LocalFiles(tmp_path), ask, ask_devices=True)
    assert visit.told is not None
    assert {"sweeper", "python", "ray", "torch"} <= visit.told.versions.keys()
    assert visit.told.device_fault is None
    assert visit.told.devices is not None


def test_a_place_that_cannot_be_left_clean_is_no_reason_to_fail(tmp_path: Path) -> None:
    class Kept(LocalFiles):
        def remove(self, name: str) -> None:
            raise StoreError("it cannot be removed")

    (visit,) = examine([A], Kept(tmp_path), lambda m, f, *rest: here(f, *rest), ask_devices=False)
    assert visit.reading is not None


def test_a_token_that_was_not_written_whole_is_none(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path)
    assert not read_token(files, "one")
    (tmp_path / token_file("one")).write_text("o")
    assert not read_token(files, "one")
    write_token(files, "one")
    assert read_token(files, "one")

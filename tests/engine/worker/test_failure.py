"""What exceptions say about."""

from __future__ import annotations

import errno

import pytest

from sweeper.engine.worker.attempt import disk_failure, is_out_of_memory


def raised(fault: Exception, *, cause: Exception | None = None) -> Exception:
    try:
        raise fault from cause
    except Exception as caught:
        return caught


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_disk_that_fails_is_found_at_any_depth(number: int) -> None:
    fault = OSError(number, "the disk's words")
    assert disk_failure(fault) is fault
    assert (
        disk_failure(raised(RuntimeError("outer"), cause=raised(KeyError(1), cause=fault)))
        is fault
    )
    try:
        try:
            raise fault
        except OSError:
            raise RuntimeError("while the first was dealt with")  # noqa: B904
    except RuntimeError as beside:
        assert disk_failure(beside) is fault


@pytest.mark.parametrize(
    "words",
    [
        "[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534",
        "PytorchStreamWriter failed writing file data/0: file write failed",
        "basic_ios::clear: iostream error",
    ],
)
def test_the_words_of_torchs_writer_are_a_failure_of_the_disk(words: str) -> None:
    found = disk_failure(RuntimeError(words))
    assert found is not None
    assert words in str(found)
    assert disk_failure(ValueError(words)) is None, "only torch's own kind of error"


@pytest.mark.parametrize(
    "fault",
    [
        RuntimeError("shapes differ"),
        FileNotFoundError(errno.ENOENT, "no such file"),
        raised(ValueError("new"), cause=KeyError("old")),
    ],
)
def test_everything_else_is_no_failure_of_the_disk(fault: Exception) -> None:
    assert disk_failure(fault) is None
    assert not is_out_of_memory(fault)


def test_a_suppressed_context_does_not_count() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "full")
        except OSError:
            raise KeyError("something else") from None
    except KeyError as fault:
        assert disk_failure(fault) is None


def test_exceptions_in_a_circle_end() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert disk_failure(first) is None


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError(),
        OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        raised(RuntimeError("in the step"), cause=MemoryError()),
    ],
)
def test_a_shortage_of_memory_is_told_apart(fault: Exception) -> None:
    assert is_out_of_memory(fault)
    assert disk_failure(fault) is None

"""What an exception in a worker says about: the disk, the memory, or the model itself."""

from __future__ import annotations

import errno
from collections.abc import Iterator

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE})
"""Full, over quota, over the limit of a file, read-only, failing, or a server that is gone."""

_TORCH_WRITER = ("PytorchStreamWriter failed", "unexpected pos", "iostream error")
"""Words of torch's writer of files, which knows no errno."""

_MEMORY_WORDS = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""Shortages of memory that torch and its libraries tell as errors of another kind."""


def disk_failure(fault: BaseException) -> OSError | None:
    """Returns the complaint of a disk that an exception comes from; None if it comes from
    anything else. Such a failure is no fault of the trial."""
    for each in _chain(fault):
        if isinstance(each, OSError) and each.errno in _DISK:
            return each
    for each in _chain(fault):
        if isinstance(each, RuntimeError) and any(word in str(each) for word in _TORCH_WRITER):
            return OSError(errno.EIO, f"the file could not be written in full ({each})")
    return None


def is_out_of_memory(fault: BaseException) -> bool:
    """Returns whether an exception comes from a shortage of memory, of the device or of the
    machine. torch's own words are matched by name, since torch is not imported here."""
    return any(
        isinstance(each, MemoryError)
        or (isinstance(each, OSError) and each.errno == errno.ENOMEM)
        or "OutOfMemoryError" in {kind.__name__ for kind in type(each).__mro__}
        or any(words in str(each) for words in _MEMORY_WORDS)
        for each in _chain(fault)
    )


def _chain(fault: BaseException) -> Iterator[BaseException]:
    """The exception and what it was raised from or beside, as a traceback shows them."""
    seen: set[int] = set()
    each: BaseException | None = fault
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)

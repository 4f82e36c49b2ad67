"""Freed memory is kept by the process instead of handed back to the system: the cheapest speed-up of PyTorch on a CPU.

glibc returns every big buffer to the kernel when it is freed and asks for it again a moment later, so each operation on a few
megabytes pays page faults for its output. Held memory costs nothing but its size.
"""

from __future__ import annotations

import ctypes
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Parameters of ``mallopt`` (malloc.h)."""

_LARGEST = (1 << 31) - 1
"""``mallopt`` takes an int."""

_GROWTH = 64 << 20
"""Bytes by which the heap grows at once."""


@cache
def keep_freed_memory() -> bool:
    """Make glibc serve all sizes from its heap and never shrink it. True where that worked, False where there is no glibc.

    For entry points (training, a server, a benchmark), before the big tensors: it holds for the whole process, and memory
    once used stays with it. Safe to call again and from any thread. Threads other than the main one have heaps of their
    own, of 64 MiB at most, so that bigger buffers made there are still handed back. glibc before 2.38 reuses aligned
    buffers, as PyTorch's are, badly where all have one size; with the mixed sizes of a network it faults no more (measured).
    """
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - other C libraries may have a mallopt that means something else
        mallopt = library.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = (_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, _GROWTH)
    taken = [mallopt(parameter, value) == 1 for parameter, value in settings]
    return all(taken)

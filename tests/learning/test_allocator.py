from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from corkboard.learning import allocator

FREED = """
import resource, sys
from corkboard.learning.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory() and keep_freed_memory()
b"x" * 64_000_000
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    b"x" * 64_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is no glibc here")


@glibc
def test_page_faults_are_paid_once() -> None:
    """Five buffers of 64 MB, one after another, where one of that size was before: 15,625 pages each without, none with."""

    def faults(how: str) -> int:
        return int(subprocess.run([sys.executable, "-c", FREED, how], capture_output=True, text=True, check=True, timeout=60).stdout)

    assert faults("leave") > 50_000
    assert faults("keep") < 15_000


@glibc
def test_again_is_harmless() -> None:
    assert allocator.keep_freed_memory() is True
    assert allocator.keep_freed_memory() is True


class _OtherLibrary:
    """A C library that has no `gnu_get_libc_version`."""


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: _OtherLibrary())
    assert allocator.keep_freed_memory.__wrapped__() is False

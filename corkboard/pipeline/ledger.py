"""What each step of a build cost, beside what the machine can do, so that a slow machine is seen as such."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

Progress = Callable[[str, int, int], None]
"""``progress(what, done, total)``: long work calls it as often as it likes; the caller draws rate and time to go."""


@dataclass
class Entry:
    """What one step cost, in seconds of processor and of clock."""

    step: str
    cpu_s: float
    wall_s: float
    note: str = ""


@dataclass
class Ledger:
    """CPU-seconds and wall-seconds by step, in the order they ended."""

    entries: list[Entry] = field(default_factory=list)

    @contextmanager
    def time(self, step: str, note: str = "") -> Iterator[None]:
        cpu, wall = cpu_seconds(), time.perf_counter()
        try:
            yield
        finally:
            self.entries.append(Entry(step, cpu_seconds() - cpu, time.perf_counter() - wall, note))

    @property
    def cpu_s(self) -> float:
        return sum(entry.cpu_s for entry in self.entries)

    @property
    def wall_s(self) -> float:
        return sum(entry.wall_s for entry in self.entries)

    def to_dict(self) -> dict:
        return {"steps": [vars(entry) for entry in self.entries], "cpu_s": self.cpu_s, "wall_s": self.wall_s, "machine": machine()}


def cpu_seconds() -> float:
    """User and system CPU-seconds of this process, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def machine(seconds: float = 0.3) -> dict:
    """Cores, and GFLOP/s of a float32 matrix product of 1024 x 1024 with the threads of this process, measured for about ``seconds``."""
    n = 1024
    a = np.ones((n, n), np.float32)
    a @ a
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        a @ a
        done += 1
    return {"cores": os.cpu_count() or 1, "matrix_gflop_per_s": round(done * 2 * n**3 / (time.perf_counter() - start) / 1e9, 1)}

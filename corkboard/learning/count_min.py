"""Count-min sketch (Cormode and Muthukrishnan, 2005): how often ids were seen, in fixed memory, never too low."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from corkboard.errors import InputError
from corkboard.seeds import generator

_MASK31 = np.uint64((1 << 31) - 1)


class CountMinSketch:
    """``depth`` rows of ``width`` counters; the same seed gives the same hashes in every process.

    The hash of OmniSearchSage: ``((x a) + ((x a) >> 32)) & (2^31 - 1) mod width`` with a random odd 63-bit a a row.
    """

    def __init__(self, depth: int, width: int, seed: int = 0):
        if depth < 1 or not 2 <= width <= 1 << 31:
            raise InputError("A sketch needs a depth of at least 1 and a width in [2, 2^31]", found=(depth, width))
        self.counts = np.zeros((depth, width), np.int64)
        self._multipliers = generator(seed, "count-min").integers(1, 1 << 62, depth, dtype=np.uint64) * np.uint64(2) + np.uint64(1)

    @property
    def total(self) -> int:
        """Entries counted so far."""
        return int(self.counts[0].sum())

    def _cells(self, ids: np.ndarray) -> np.ndarray:
        """int64 ``(depth, n)``."""
        product = np.asarray(ids).astype(np.uint64) * self._multipliers[:, None]  # wraps modulo 2^64
        return (((product + (product >> np.uint64(32))) & _MASK31) % np.uint64(self.counts.shape[1])).astype(np.int64)

    def update(self, ids: np.ndarray) -> None:
        """Count every entry of ``ids`` (integers, repeats count)."""
        for row, cells in enumerate(self._cells(ids)):
            np.add.at(self.counts[row], cells, 1)

    def count(self, ids: np.ndarray) -> np.ndarray:
        """int64 ``(n,)``: at least the true count, too high only by collisions."""
        cells = self._cells(ids)
        return np.take_along_axis(self.counts, cells, axis=1).min(axis=0)

    def share(self, ids: np.ndarray) -> np.ndarray:
        """float64 ``(n,)`` in [0, 1]: the share of all counted entries; 0 while nothing was counted."""
        return self.count(ids) / max(self.total, 1)

    def tensors(self) -> dict[str, np.ndarray]:
        """What a checkpoint holds of it."""
        return {"counts": self.counts, "multipliers": self._multipliers}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray]) -> CountMinSketch:
        """The sketch behind :meth:`tensors`."""
        sketch = cls(*tensors["counts"].shape)
        sketch.counts = np.array(tensors["counts"], np.int64)
        sketch._multipliers = np.array(tensors["multipliers"], np.uint64)
        return sketch

"""Random draws that several parts of the world need."""

from __future__ import annotations

import numpy as np


def draw_column(rng: np.random.Generator, weight: np.ndarray) -> np.ndarray:
    """int (n,): one column of each row of ``weight`` (n, k), with probability proportional to it."""
    cumulative = np.cumsum(weight, 1)
    return (rng.random(len(weight))[:, None] * cumulative[:, -1:] > cumulative).sum(1).clip(max=weight.shape[1] - 1)


def random_ids(rng: np.random.Generator, prefix: str, count: int) -> list[str]:
    """``count`` ids of 60 random bits: nothing can be read off them. Repeats are as good as impossible below millions."""
    text = rng.bytes(8 * count).hex()
    return [prefix + text[k : k + 15] for k in range(0, 16 * count, 16)]

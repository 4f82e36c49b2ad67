"""What a graph is better off without: boards about everything, and edges that say little of an item (Pixie, section 3.2 of the paper).

Topics and vectors come as arguments: any topic model, or clusters of content vectors, will do.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

_CHUNK = 1 << 20


def board_entropy(items: np.ndarray, boards: np.ndarray, time_ms: np.ndarray, topics: np.ndarray, newest: int) -> np.ndarray:
    """float64 ``(boards,)``: entropy, in nats, of the mean topics of the newest items of each board; 0 for a board without any.

    ``items``, ``boards`` and ``time_ms`` are ``(edges,)``; ``topics`` float32 ``(items, topics)``, rows that add up to 1, or to 0 where
    nothing is known of an item.
    """
    kept = _first_of_each(boards, -time_ms, newest)
    shape = (int(boards.max(initial=-1)) + 1, len(topics))
    matrix = sp.csr_array((np.ones(len(kept), np.float32), (boards[kept], items[kept])), shape=shape)
    sums = np.asarray(matrix @ topics, np.float64)
    shares = sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-12)
    return -np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)), axis=1)


def without_diverse_boards(entropy: np.ndarray, boards: np.ndarray, max_entropy: float) -> np.ndarray:
    """bool ``(edges,)``: edges of boards whose topics spread no further than ``max_entropy`` nats."""
    return (entropy <= max_entropy)[boards]


def most_alike(items: np.ndarray, boards: np.ndarray, item_vectors: np.ndarray, exponent: float) -> np.ndarray:
    """bool ``(edges,)``: of each item the ``ceil(degree ** exponent)`` edges to the boards most like it; equal ones by their number.

    A board is like an item as the mean of its items' vectors is; ``item_vectors`` float32 ``(items, dim)`` are of unit length.
    """
    matrix = sp.csr_array((np.ones(len(items), np.float32), (boards, items)), shape=(int(boards.max(initial=-1)) + 1, len(item_vectors)))
    means = np.asarray(matrix @ item_vectors, np.float32)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    alike = np.empty(len(items), np.float32)
    for begin in range(0, len(items), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        alike[part] = np.einsum("ed,ed->e", item_vectors[items[part]], means[boards[part]])
    degrees = np.bincount(items, minlength=len(item_vectors))
    most = np.ceil(degrees.astype(np.float64) ** exponent - 1e-9).astype(np.int64)
    return _first_mask(items, -alike, boards, most)


def _first_of_each(groups: np.ndarray, order: np.ndarray, count: int) -> np.ndarray:
    """int64: edges that are among the ``count`` first of their group by ``order``."""
    most = np.full(int(groups.max(initial=-1)) + 1, count)
    return np.flatnonzero(_first_mask(groups, order, np.arange(len(groups)), most))


def _first_mask(groups: np.ndarray, order: np.ndarray, ties: np.ndarray, most: np.ndarray) -> np.ndarray:
    """bool ``(edges,)``: among the ``most[group]`` first of their group, by ``order`` and then ``ties``."""
    sorted_ = np.lexsort((ties, order, groups))
    counts = np.bincount(groups, minlength=len(most))
    place = np.arange(len(groups)) - np.repeat(np.cumsum(counts) - counts, counts)
    mask = np.zeros(len(groups), bool)
    mask[sorted_] = place < most[groups[sorted_]]
    return mask

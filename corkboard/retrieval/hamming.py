"""Exact Hamming search over packed bits: popcount kernels, codes laid out for them, and cells of alike codes.

Codes lie 64 to a block, word by word, so that one instruction counts the same word of eight codes; several queries look at a block while
it is in the cache. A key is ``distance << 32 | rank``; ranks are all different, so there are no ties among keys, and what is nearest does
not depend on who looked first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from corkboard.retrieval.config import BinaryIndexConfig

LANES = 64
"""Codes in a block."""
_UNIT = 4
"""Codes are padded to a multiple of so many words of 64 bits."""
_GROUP = 64
"""So many queries look at a block while it is in the cache."""
NOBODY = np.uint32(0xFFFFFFFF)
_U1, U32, LOW = np.uint64(1), np.uint64(32), np.uint64(0xFFFFFFFF)
FAR = np.uint64(0xFFFFFFFFFFFFFFFF)
_EVERYBODY = np.ones(1, np.bool_)
Run = Callable[[Callable[..., Any], Sequence[tuple]], Iterable[Any]]
"""Does the work for every task and gives what came of each, in order."""


# ---------------------------------------------------------------------------------------------------------------------- kernels


@intrinsic
def popcount(typing_context, word):
    """The number of bits set in a uint64."""
    return types.uint64(types.uint64), lambda context, builder, signature, args: builder.ctpop(args[0])


@intrinsic
def lowest_bit(typing_context, word):
    """The place of the lowest bit set in a uint64."""
    return types.uint64(types.uint64), lambda context, builder, signature, args: builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))


@njit(inline="always")
def _four(words, b, w, lane, q0, q1, q2, q3):
    first = popcount(words[b, w, lane] ^ q0) + popcount(words[b, w + 1, lane] ^ q1)
    return first + (popcount(words[b, w + 2, lane] ^ q2) + popcount(words[b, w + 3, lane] ^ q3))


@njit(nogil=True, boundscheck=False, cache=True)
def block_distances(words, b, queries, q, out):
    """Hamming distances of query q of uint64 ``(q, words)`` to the codes in block b, into ``out`` uint64 ``(LANES,)``.

    Sixteen words at a time keep the query and the sums in registers; what is left goes by four. Whole arrays and indices are handed
    over instead of parts of arrays, whose making costs as much as a block's distances.
    """
    size = queries.shape[1]
    for lane in range(LANES):
        out[lane] = 0
    for w in range(0, size - 15, 16):
        q0, q1, q2, q3 = queries[q, w], queries[q, w + 1], queries[q, w + 2], queries[q, w + 3]
        q4, q5, q6, q7 = queries[q, w + 4], queries[q, w + 5], queries[q, w + 6], queries[q, w + 7]
        q8, q9, qa, qb = queries[q, w + 8], queries[q, w + 9], queries[q, w + 10], queries[q, w + 11]
        qc, qd, qe, qf = queries[q, w + 12], queries[q, w + 13], queries[q, w + 14], queries[q, w + 15]
        for lane in range(LANES):
            first = _four(words, b, w, lane, q0, q1, q2, q3) + _four(words, b, w + 4, lane, q4, q5, q6, q7)
            out[lane] += first + (_four(words, b, w + 8, lane, q8, q9, qa, qb) + _four(words, b, w + 12, lane, qc, qd, qe, qf))
    for w in range(size - size % 16, size, 4):
        q0, q1, q2, q3 = queries[q, w], queries[q, w + 1], queries[q, w + 2], queries[q, w + 3]
        for lane in range(LANES):
            out[lane] += _four(words, b, w, lane, q0, q1, q2, q3)


@njit(nogil=True, boundscheck=False, cache=True)
def _lanes_within(distances, bound):
    """uint64: a bit for every lane whose distance is ``bound`` at most. In a function of its own it becomes vector instructions."""
    within = np.uint64(0)
    for lane in range(LANES):
        within |= np.uint64(distances[lane] <= bound) << np.uint64(lane)
    return within


@njit(nogil=True, boundscheck=False, cache=True)
def _take(near, ranks, b, order, allowed, all_allowed, distances, keys, states, q, most):
    """Note which codes of block b in the lanes ``near`` are among the ``most`` nearest so far: ``distance << 32 | rank`` in ``keys[q]``.

    ``states[q]`` is how many keys there are and the key that a new one must be below.
    """
    count, limit = np.int64(states[q, 0]), states[q, 1]
    while near:
        lane = np.int64(lowest_bit(near))
        near &= near - _U1
        rank = ranks[b, lane]
        key = (distances[lane] << U32) | np.uint64(rank)
        if key < limit and rank != NOBODY and (all_allowed or allowed[order[rank]]):
            keys[q, count] = key
            count += 1
    if count > keys.shape[1] - LANES:
        _smallest_first(keys[q], count, most)
        count, limit = most, keys[q, :most].max()
    states[q, 0], states[q, 1] = np.uint64(count), limit


@njit(nogil=True, boundscheck=False, cache=True)
def _smallest_first(keys, count, most):
    """Move the ``most`` smallest of the first ``count`` keys, which are all different, to the front (Hoare's selection)."""
    first, last, place = 0, count - 1, most - 1
    while first < last:
        pivot, i, j = keys[(first + last) >> 1], first, last
        while i <= j:
            while keys[i] < pivot:
                i += 1
            while keys[j] > pivot:
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                i += 1
                j -= 1
        if place <= j:
            last = j
        elif place >= i:
            first = i
        else:
            return


@njit(nogil=True, boundscheck=False, cache=True)
def _scan_blocks(words, ranks, order, first, last, queries, allowed, all_allowed, most, keys, states):
    """Every query against the blocks from ``first`` to ``last``."""
    distances = np.empty(LANES, np.uint64)
    for b in range(first, last):
        for q in range(len(queries)):
            block_distances(words, b, queries, q, distances)
            near = _lanes_within(distances, states[q, 1] >> U32)
            if near:
                _take(near, ranks, b, order, allowed, all_allowed, distances, keys, states, q, most)


@njit(nogil=True, boundscheck=False, cache=True)
def _scan_cells(words, ranks, order, firsts, cells, queries, allowed, all_allowed, most, keys, states):
    """Every query against the blocks of its own ``cells`` ``(q, probes)``."""
    distances = np.empty(LANES, np.uint64)
    for q in range(len(queries)):
        for c in range(cells.shape[1]):
            for b in range(firsts[cells[q, c]], firsts[cells[q, c] + 1]):
                block_distances(words, b, queries, q, distances)
                near = _lanes_within(distances, states[q, 1] >> U32)
                if near:
                    _take(near, ranks, b, order, allowed, all_allowed, distances, keys, states, q, most)


@njit(nogil=True, boundscheck=False, fastmath=True, cache=True)
def products(queries, vectors, scales, rows, out):
    """Inner products of each query with the vectors in its rows, times the scale of the row; -inf where a row is -1."""
    for q in range(rows.shape[0]):
        for r in range(rows.shape[1]):
            row, total = rows[q, r], np.float32(0)
            if row < 0:
                out[q, r] = -np.inf
                continue
            vector = vectors[row]
            for i in range(queries.shape[1]):
                total += queries[q, i] * np.float32(vector[i])
            out[q, r] = total * scales[row if len(scales) > 1 else 0]


@njit(nogil=True, boundscheck=False, cache=True)
def _majority(codes, cells, centres):
    """Set every bit of a centre that more than half of its codes have; a centre without codes stays as it is."""
    bits, members = np.zeros((len(centres), 64 * centres.shape[1]), np.int32), np.zeros(len(centres), np.int64)
    for i in range(len(codes)):
        members[cells[i]] += 1
        for w in range(codes.shape[1]):
            word = codes[i, w]
            for b in range(64):
                bits[cells[i], 64 * w + b] += np.int32((word >> np.uint64(b)) & _U1)
    for c in range(len(centres)):
        for w in range(centres.shape[1] if members[c] else 0):
            word = np.uint64(0)
            for b in range(64):
                word |= np.uint64(2 * bits[c, 64 * w + b] > members[c]) << np.uint64(b)
            centres[c, w] = word


# ------------------------------------------------------------------------------------------------------------------------ codes


def words_of(codes: np.ndarray) -> np.ndarray:
    """uint8 ``(n, bytes)`` as uint64 ``(n, words)``, padded with zeros to whole units of four words."""
    codes = np.asarray(codes, np.uint8)
    size = 8 * _UNIT
    if codes.shape[1] % size:
        codes = np.pad(codes, ((0, 0), (0, -codes.shape[1] % size)))
    return np.ascontiguousarray(codes).view(np.uint64)


@dataclass(frozen=True)
class Layout:
    """Codes as they are searched. ``words`` ``(blocks, words, LANES)`` and ``ranks`` uint32 ``(blocks, LANES)``, cell after cell.

    ``order`` int32: the row of the item of every rank. ``centres`` uint64 ``(cells, words)``; cell c has the blocks
    ``firsts[c] : firsts[c + 1]``.
    """

    words: np.ndarray
    ranks: np.ndarray
    order: np.ndarray
    centres: np.ndarray
    firsts: np.ndarray

    @classmethod
    def of(cls, words: np.ndarray, order: np.ndarray, cells: np.ndarray, centres: np.ndarray) -> Layout:
        """``words`` uint64 ``(n, words)``, ``cells`` ``(len(order),)`` of the item of every rank."""
        by_cell = np.argsort(cells, kind="stable").astype(np.uint32)
        counts = np.bincount(cells, minlength=len(centres))
        blocks = -(-counts // LANES)
        firsts = np.concatenate([[0], np.cumsum(blocks)])
        begins = np.cumsum(counts) - counts
        places = np.arange(len(order)) + np.repeat(LANES * firsts[:-1] - begins, counts)
        ranks = np.full(LANES * firsts[-1], NOBODY)
        ranks[places] = by_cell
        ranks = ranks.reshape(-1, LANES)
        laid = np.zeros((len(ranks), words.shape[1], LANES), np.uint64)
        for first in range(0, len(ranks), 4096):  # a part at a time: the codes are not in memory twice more
            part = ranks[first : first + 4096]
            rows = order[np.where(part == NOBODY, 0, part)] if len(order) else np.zeros(part.shape, np.int32)
            laid[first : first + 4096] = words[rows].transpose(0, 2, 1)
        return cls(laid, ranks, order, centres, firsts)

    def nearest(self, queries: np.ndarray, most: int, allowed: np.ndarray | None, probes: int, run: Run, threads: int) -> np.ndarray:
        """uint64 ``(q, most)``: ``distance << 32 | rank``, smallest first, padded with ``FAR``. ``probes`` 0 reads every block."""
        blocks, found = len(self.words), np.full((len(queries), most), FAR)
        everybody = allowed is None
        allowed = _EVERYBODY if allowed is None else allowed
        cells = self._nearest_cells(queries, probes, run, threads) if probes else np.zeros((len(queries), 0), np.int64)
        if not probes and len(queries) < threads:  # few queries: each thread reads a part of the codes
            cuts, groups, parts = np.linspace(0, blocks, threads + 1).astype(np.int64), [(0, len(queries))], threads
        else:
            size = max(1, min(_GROUP, -(-len(queries) // threads)))
            cuts, parts = np.array([0, blocks]), 1
            groups = [(first, min(first + size, len(queries))) for first in range(0, len(queries), size)]

        def search(group: tuple[int, int], part: int) -> np.ndarray:
            mine = queries[group[0] : group[1]]
            keys, states = np.empty((len(mine), 4 * most + LANES), np.uint64), np.zeros((len(mine), 2), np.uint64)
            states[:, 1] = FAR
            common = (mine, allowed, everybody, most, keys, states)
            if probes:
                _scan_cells(self.words, self.ranks, self.order, self.firsts, cells[group[0] : group[1]], *common)
            else:
                _scan_blocks(self.words, self.ranks, self.order, cuts[part], cuts[part + 1], *common)
            keys[np.arange(keys.shape[1]) >= states[:, :1].astype(np.int64)] = FAR
            return np.partition(keys, most - 1, axis=1)[:, :most]

        tasks = [(group, part) for group in groups for part in range(parts)]
        for place, keys in enumerate(run(search, tasks)):
            first, last = tasks[place][0]
            found[first:last] = np.partition(np.concatenate([found[first:last], keys], axis=1), most - 1, axis=1)[:, :most]
        found.sort(axis=1)
        return found

    def _nearest_cells(self, queries: np.ndarray, probes: int, run: Run, threads: int) -> np.ndarray:
        keys = self._centres_layout.nearest(queries, min(probes, len(self.centres)), None, 0, run, threads)
        return (keys & LOW).astype(np.int64)

    @cached_property
    def _centres_layout(self) -> Layout:
        return flat(self.centres)


def flat(words: np.ndarray) -> Layout:
    """All codes in one cell, ranked by their place."""
    count = len(words)
    return Layout.of(words, np.arange(count, dtype=np.int32), np.zeros(count, np.int64), np.zeros((1, words.shape[1]), np.uint64))


def cells_of(words: np.ndarray, order: np.ndarray, config: BinaryIndexConfig, run: Run, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """The cell of every rank, int64, and the centres, uint64 ``(cells, words)``. The same items in another order get the same cells."""
    number = int(config.cells_per_root * len(order) ** 0.5)
    if len(order) < config.exact_below or number < 2:
        return np.zeros(len(order), np.int64), np.zeros((1, words.shape[1]), np.uint64)

    def assigned(ranks: slice, centres: Layout) -> np.ndarray:
        return (centres.nearest(words[order[ranks]], 1, None, 0, run, threads)[:, 0] & LOW).astype(np.int64)

    sample = slice(0, number * config.sample_per_cell)  # ranks are in no order
    centres = words[order[:number]].copy()
    for _ in range(config.iterations):
        _majority(words[order[sample]], assigned(sample, flat(centres)), centres)
    layout = flat(centres)
    cells = [assigned(slice(first, first + (1 << 16)), layout) for first in range(0, len(order), 1 << 16)]
    return np.concatenate(cells), centres


def distances(query: np.ndarray, words: np.ndarray) -> np.ndarray:
    """uint64: Hamming distances of uint64 ``(words,)`` to ``(n, words)``."""
    return np.bitwise_count(query ^ words).sum(axis=1, dtype=np.uint64)

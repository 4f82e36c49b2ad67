"""Pixie: recommendations and neighbours by random walks from items (Eksombatchai et al., WWW 2018)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numba import njit

from corkboard.errors import InputError
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.config import WalkConfig
from corkboard.graph.packed import Overlay, PackedGraph
from corkboard.graph.walks import DEGREE_BITS, PLACE_BITS, Ground, Tasks, Wish, walk_some
from corkboard.seeds import derive

_SHIFT, _COUNT = np.uint64(DEGREE_BITS), np.uint64((1 << DEGREE_BITS) - 1)
_PLACE, _PLACE_BITS = np.uint64((1 << PLACE_BITS) - 1), np.uint64(PLACE_BITS)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_AT_ONCE = 8_000_000
"""Visits whose lists are held in memory at once where neighbours of many nodes are made."""


class Pixie:
    """Walks on one graph. Everything it answers depends on its arguments, the overlay and the seed alone, not on the number of threads.

    ``overlay`` holds edges that are newer than the graph; rows from ``len(graph.left_ids)`` on are nodes that only it knows. Several
    threads may ask at once, and others may add edges meanwhile: a request walks on what was there when it began.
    """

    def __init__(
        self,
        graph: BipartiteGraph,
        config: WalkConfig | None = None,
        left_labels: np.ndarray | None = None,
        right_labels: np.ndarray | None = None,
        threads: int = 1,
    ):
        if (left_labels is None) != (right_labels is None):
            raise InputError("A biased walk needs labels of both sides", expected="left_labels and right_labels, or neither")
        self.config = config or WalkConfig()
        self.packed = PackedGraph.of(graph, left_labels, right_labels)
        self.overlay = Overlay(graph, self.packed)
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, "pixie")

    def recommend(
        self, rows: np.ndarray, weights: np.ndarray, k: int, seed: int, label: int = 0, boards: bool = False, only: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(rows int64, scores float32), best first, at most ``k``: what lies around the query items ``rows``, each counting ``weights[i]``.

        The score is ``(sum over queries of sqrt(visits)) ** 2``: what several of them lead to comes before what one leads to often; equal
        ones stand in the order of rows. Query items themselves are left out, and one that is named twice has the sum of its weights. With
        ``label`` walks keep mostly to nodes that have it; with ``boards`` right nodes are told; ``only`` is bool over rows and names those
        that may be. An unknown or lonely item brings nothing, and so does an empty query.
        """
        if label and not len(self.packed.labels):
            raise InputError("This graph has no labels to keep to", found=label)
        rows, weights = _distinct(np.asarray(rows, np.int64), np.asarray(weights, np.float64))
        visits = shares_of_visits(self._degrees(rows), weights, self.config.visits)
        asked = visits > 0
        found, begins, ends, _ = self._walk(rows[asked], visits[asked], seed, label, boards)
        places, scores = _boosted(found, begins, ends)
        return self._best(places, scores, k, only, None if boards else rows)

    def neighbours(self, rows: np.ndarray, k: int, visits: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` left nodes that walks from each of ``rows`` visit most: int32 ``(n, k)`` and their visits int32 ``(n, k)``.

        -1 and 0 where there are fewer. A node is no neighbour of its own; equal visits stand in the order of rows. All visits are made and
        none is capped: an encoder wants the same of every item.
        """
        rows = np.asarray(rows, np.int64)
        nodes, times = np.full((len(rows), k), -1, np.int32), np.zeros((len(rows), k), np.int32)
        block = max(1, _AT_ONCE // visits)
        for first in range(0, len(rows), block):
            part = rows[first : first + block]
            able = np.flatnonzero(self._degrees(part) > 0)
            found, begins, ends, _ = self._walk(part[able], np.full(len(able), visits), seed, 0, False, whole=True)
            chosen, often = np.zeros((len(able), k), np.int64), np.zeros((len(able), k), np.int32)
            self._in_threads(begins, _most_visited, found, begins, ends, self._words(part[able]), chosen, often)
            nodes[first + able] = np.where(often > 0, self.packed.nodes(chosen), -1)
            times[first + able] = often
        return nodes, times

    def _degrees(self, rows: np.ndarray) -> np.ndarray:
        """Edges of left nodes, newer ones included."""
        offsets = self.packed.offsets[0]
        known = (rows >= 0) & (rows < len(offsets) - 1)
        degrees = np.zeros(len(rows), np.int64)
        degrees[known] = offsets[rows[known] + 1] - offsets[rows[known]]
        if len(self.overlay):
            degrees += np.fromiter(map(self.overlay.degree, rows.tolist()), np.int64, len(rows))
        return degrees

    def _words(self, rows: np.ndarray) -> np.ndarray:
        return np.array([self.packed.word(0, row) for row in rows.tolist()], np.uint64)

    def _walk(
        self, rows: np.ndarray, visits: np.ndarray, seed: int, label: int, boards: bool, whole: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """``place << 26 | visits`` of what was visited, where the list of each row begins and ends, and the visits it made.

        ``whole``: without caps and early stops.
        """
        config, begins = self.config, np.concatenate([[0], np.cumsum(visits)]).astype(np.int64)
        found, ends, made = np.empty(begins[-1], np.uint64), np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        if len(rows):
            most = np.zeros(len(rows), np.int64)
            if not whole and config.board_share < 1:
                most = np.ceil(visits * np.maximum(config.board_share, 1 / self._degrees(rows))).astype(np.int64)
            seeds = np.array([derive(seed, "walk", row) for row in rows.tolist()], np.uint64)
            tasks = Tasks(self._words(rows), begins, seeds, most)
            restart, keep = (np.uint64(round(share * 2**32)) for share in (config.restart, config.bias))
            wish = Wish(restart, keep, np.uint16(label), boards, 0 if whole else config.enough_items, config.enough_visits)
            ground = Ground(self.packed.words, self.packed.labels, *self.overlay.tables())
            self._in_threads(begins, walk_some, ground, wish, tasks, found, ends, made)
        return found, begins, ends, made

    def _in_threads(self, begins: np.ndarray, some: Callable[..., None], *given: object) -> None:
        """``some(first, last, *given)`` for all tasks, a part in each thread; what a task gives does not depend on its part."""
        cuts = np.searchsorted(begins, np.linspace(0, begins[-1], self.threads + 1))
        parts = [(first, last) for first, last in pairwise(cuts.tolist()) if last > first]
        if len(parts) == 1:
            some(*parts[0], *given)
        else:
            for done in [self._pool.submit(some, first, last, *given) for first, last in parts]:
                done.result()

    def _best(
        self, places: np.ndarray, scores: np.ndarray, k: int, only: np.ndarray | None, own: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` best that may be told. Most of what was visited is never looked at: a node is told from its place only near the top."""
        scores, enough = scores.astype(np.float32), k + (0 if own is None else len(own))
        while True:
            top = _at_the_top(scores, enough)
            nodes, worth = self.packed.nodes(places[top]), scores[top]
            wanted = np.ones(len(nodes), bool) if own is None else ~np.isin(nodes, own)
            if only is not None:
                inside = nodes < len(only)
                wanted &= inside
                wanted[inside] &= only[nodes[inside]]
            if wanted.sum() >= k or len(top) == len(scores):
                nodes, worth = nodes[wanted], worth[wanted]
                best = np.lexsort((nodes, -worth))[:k]
                return nodes[best], worth[best]
            enough *= 8


def shares_of_visits(degrees: np.ndarray, weights: np.ndarray, visits: int) -> np.ndarray:
    """int64 ``(queries,)``: how many visits each query item gets; at least one, and none for an item without edges.

    A popular item needs more of them, but not in proportion: ``w * |E| * (C - log |E|)``. The paper has the largest degree of the graph
    for C, which makes it nearly proportional; here it is the largest log-degree of the query and 1.
    """
    logs = np.log(np.maximum(degrees, 1))
    size = weights * degrees * (logs.max(initial=0.0) + 1.0 - logs)
    return np.where(size > 0, np.maximum(np.floor(visits * size / max(float(size.sum()), 1e-12)), 1), 0).astype(np.int64)


def _distinct(rows: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row once, in order, with the sum of its weights; rows below 0 and weights that are not above it are left out."""
    if rows.shape != weights.shape:
        raise InputError("A query needs a weight for every item", found=(rows.shape, weights.shape))
    asked = (rows >= 0) & (weights > 0)
    rows, of = np.unique(rows[asked], return_inverse=True)
    return rows, np.bincount(of, weights[asked], len(rows))


def _at_the_top(scores: np.ndarray, count: int) -> np.ndarray:
    """Where the ``count`` largest scores are, and all that equal the smallest of them."""
    if count >= len(scores) or count < 1:
        return np.arange(len(scores))[: max(count, 0)]
    return np.flatnonzero(scores >= np.partition(scores, len(scores) - count)[len(scores) - count])


@njit(cache=True, nogil=True)
def _boosted(found, begins, ends):
    """Distinct places of all lists, int64, and ``(sum of sqrt(count)) ** 2`` of each, in the order they are met."""
    total = 0
    for task in range(len(ends)):
        total += ends[task] - begins[task]
    bits = 4
    while 2 * total > 1 << bits:
        bits += 1
    mask, shift = (1 << bits) - 1, np.uint64(64 - bits)
    slots = np.full(1 << bits, -1, np.int32)
    places, scores, distinct = np.empty(total, np.int64), np.zeros(total, np.float64), 0
    for task in range(len(ends)):
        for n in range(begins[task], ends[task]):
            place = np.int64(found[n] >> _SHIFT)
            slot = np.int64((np.uint64(place) * _GOLDEN) >> shift)
            while slots[slot] >= 0 and places[slots[slot]] != place:
                slot = (slot + 1) & mask
            if slots[slot] < 0:
                slots[slot] = distinct
                places[distinct] = place
                distinct += 1
            scores[slots[slot]] += np.sqrt(found[n] & _COUNT)
    return places[:distinct], scores[:distinct] ** 2


@njit(cache=True, nogil=True)
def _most_visited(first, last, found, begins, ends, own, chosen, often):
    """The places with the largest counts of each list but its own, into ``chosen`` and ``often`` ``(tasks, k)``; equal ones by place."""
    k = chosen.shape[1]
    for task in range(first, last):
        rank = np.empty(ends[task] - begins[task], np.uint64)
        size = 0
        for n in range(begins[task], ends[task]):
            place = found[n] >> _SHIFT
            if place != own[task] >> _SHIFT:
                rank[size] = ((found[n] & _COUNT) << _PLACE_BITS) | (_PLACE - place)
                size += 1
        ordered = np.sort(rank[:size])
        for n in range(min(k, size)):
            best = ordered[size - 1 - n]
            chosen[task, n] = np.int64(_PLACE - (best & _PLACE))
            often[task, n] = np.int32(best >> _PLACE_BITS)

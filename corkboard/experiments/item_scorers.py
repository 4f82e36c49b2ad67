"""Rows of the tables of item-to-item retrieval: vectors, walks, and whatever scores a history.

All answer over the rows of one catalogue. What a row knows nothing of, it scores 0 (or, among cosines, below all others): such items tie,
and ties are a fair draw.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from corkboard.artifacts import EmbeddingTable
from corkboard.experiments.scorers import RetrievalScorer
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.config import WalkConfig
from corkboard.graph.pixie import Pixie
from corkboard.retrieval.interactions import history_matrix
from corkboard.retrieval.neighbours import NeighbourTable
from corkboard.seeds import generator

UNKNOWN = -2.0
"""What an item without a vector scores: less than any cosine."""


class ItemScorer(Protocol):
    """Scores the catalogue for single items."""

    def score_items(self, rows: np.ndarray) -> np.ndarray:
        """float32 ``(n, items)`` for int64 ``(n,)`` catalogue rows, higher is better, -inf for "never list this"."""
        ...


class SetScorer(Protocol):
    """Scores the catalogue for sets of items, such as the items of a board."""

    def score_sets(self, sets: Sequence[np.ndarray]) -> np.ndarray:
        """float32 ``(len(sets), items)`` for int64 catalogue rows, newest first."""
        ...


class ItemSetScorer(ItemScorer, SetScorer, Protocol):
    """Scores the catalogue for both."""


@dataclass(frozen=True)
class VectorItems:
    """Cosines. ``vectors`` is float32 ``(items, dim)``, of unit length or zeros.

    A set is the mean of its vectors or, with ``closest``, each item counts as like the set as it is like the set's item closest to it.
    """

    vectors: np.ndarray
    closest: bool = False

    @classmethod
    def of(cls, table: EmbeddingTable, item_ids: Sequence[str], *, closest: bool = False) -> VectorItems:
        """The vectors of ``item_ids``; zeros for items that the table does not have."""
        return cls(table.lookup(item_ids)[0], closest)

    def score_items(self, rows: np.ndarray) -> np.ndarray:
        return self._known_first(self.vectors[rows] @ self.vectors.T)

    def score_sets(self, sets: Sequence[np.ndarray]) -> np.ndarray:
        if self.closest:
            scores = np.zeros((len(sets), len(self.vectors)), np.float32)
            for n, rows in enumerate(sets):
                if len(rows):
                    scores[n] = (self.vectors[rows] @ self.vectors.T).max(axis=0)
            return self._known_first(scores)
        means = np.zeros((len(sets), self.vectors.shape[1]), np.float32)
        for n, rows in enumerate(sets):
            if len(rows):
                means[n] = self.vectors[rows].mean(axis=0)
        return self._known_first(means @ self.vectors.T)

    def _known_first(self, scores: np.ndarray) -> np.ndarray:
        scores[:, ~self.vectors.any(axis=1)] = UNKNOWN
        return scores


@dataclass(frozen=True)
class HistoryItems:
    """Whatever scores a history, such as popularity and EASE: an item is a history of one, a set a history, newest first.

    ``own_rows`` is int64 ``(items,)``: the scorer's row of each item of the catalogue, -1 where it has none; those score 0.
    """

    scorer: RetrievalScorer
    own_rows: np.ndarray

    @classmethod
    def of(cls, scorer: RetrievalScorer, own_ids: Sequence[str], item_ids: Sequence[str]) -> HistoryItems:
        """``own_ids`` name the scorer's columns, ``item_ids`` those of the catalogue."""
        return cls(scorer, rows_in(own_ids, item_ids))

    def score_items(self, rows: np.ndarray) -> np.ndarray:
        return self.score_sets(list(np.asarray(rows, np.int64)[:, None]))

    def score_sets(self, sets: Sequence[np.ndarray]) -> np.ndarray:
        own = [rows[rows >= 0] for rows in (self.own_rows[np.asarray(rows, np.int64)] for rows in sets)]
        found = np.asarray(self.scorer.score_all(own), np.float32)
        if not found.shape[1]:
            return np.zeros((len(sets), len(self.own_rows)), np.float32)
        scores = found[:, np.maximum(self.own_rows, 0)]
        scores[:, self.own_rows < 0] = 0.0
        return scores


@dataclass(frozen=True)
class NeighbourItems:
    """Similarities of a neighbour table, such as item-kNN's, with all neighbours that it has; a set is the sum over its items.

    ``similar`` is float32 CSR ``(items, items)``.
    """

    similar: sp.csr_array

    @classmethod
    def of(cls, table: NeighbourTable, item_ids: Sequence[str]) -> NeighbourItems:
        """The table over another catalogue: items that it does not have are nobody's neighbour."""
        own, there = rows_in(item_ids, table.ids), table.rows >= 0
        from_, to = np.broadcast_to(own[:, None], table.rows.shape)[there], own[table.rows[there]]
        known = (from_ >= 0) & (to >= 0)
        shape = (len(item_ids), len(item_ids))
        return cls(sp.csr_array((table.scores[there][known], (from_[known], to[known])), shape=shape))

    def score_items(self, rows: np.ndarray) -> np.ndarray:
        return self.similar[np.asarray(rows, np.int64)].toarray()

    def score_sets(self, sets: Sequence[np.ndarray]) -> np.ndarray:
        return sp.csr_array(history_matrix(sets, self.similar.shape[0], np.inf, sys.maxsize) @ self.similar).toarray()


@dataclass(frozen=True)
class PixieItems:
    """Visits of walks on one graph. ``visits`` are those of a single item; a set has the walks of a request, ``pixie.config.visits``.

    ``nodes`` is int64 ``(items,)``: the left node of each item of the catalogue, -1 where the graph has none; ``items_of`` int64 ``(left
    nodes,)`` the way back. A single item lists the ``neighbours`` it visits most.
    """

    pixie: Pixie
    nodes: np.ndarray
    items_of: np.ndarray
    visits: int = 4_000
    neighbours: int = 300
    seed: int = 0

    @classmethod
    def of(
        cls,
        graph: BipartiteGraph,
        item_ids: Sequence[str],
        config: WalkConfig | None = None,
        *,
        visits: int = 4_000,
        seed: int = 0,
        threads: int = 1,
    ) -> PixieItems:
        """Walks on ``graph``, whose left nodes are items, in any order."""
        pixie = Pixie(graph, config, threads=threads)
        return cls(pixie, rows_in(graph.left_ids, item_ids), rows_in(item_ids, graph.left_ids), visits, seed=seed)

    def score_items(self, rows: np.ndarray) -> np.ndarray:
        scores = np.zeros((len(rows), len(self.nodes)), np.float32)
        asked = self.nodes[rows]
        places = np.flatnonzero(asked >= 0)
        count = min(self.neighbours, len(self.items_of))
        found, times = self.pixie.neighbours(asked[places], count, self.visits, self.seed)
        items = np.where(found >= 0, self.items_of[found], -1)
        known = items >= 0
        scores[np.broadcast_to(places[:, None], known.shape)[known], items[known]] = times[known]
        return scores

    def score_sets(self, sets: Sequence[np.ndarray]) -> np.ndarray:
        scores = np.zeros((len(sets), len(self.nodes)), np.float32)
        for n, rows in enumerate(sets):
            asked = self.nodes[rows]
            found, visits = self.pixie.recommend(asked, np.ones(len(asked)), len(self.items_of), self.seed)
            items = self.items_of[found]
            scores[n, items[items >= 0]] = visits[items >= 0]
        return scores


@dataclass(frozen=True)
class BoostedSum:
    """``(sum of sqrt(score)) ** 2`` over several scorers: Pixie's boost for what several query items lead to, here for several graphs."""

    parts: Sequence[ItemSetScorer]

    def score_items(self, rows: np.ndarray) -> np.ndarray:
        return _boosted([part.score_items(rows) for part in self.parts])

    def score_sets(self, sets: Sequence[np.ndarray]) -> np.ndarray:
        return _boosted([part.score_sets(sets) for part in self.parts])


@dataclass(frozen=True)
class ChanceItems:
    """A draw by seed for each query: what knowing nothing is worth."""

    items: int
    seed: int = 0

    def score_items(self, rows: np.ndarray) -> np.ndarray:
        return self.score_sets(list(np.asarray(rows, np.int64)[:, None]))

    def score_sets(self, sets: Sequence[np.ndarray]) -> np.ndarray:
        draws = [generator(self.seed, "chance", *rows.tolist()).random(self.items, np.float32) for rows in sets]
        return np.stack(draws) if draws else np.zeros((0, self.items), np.float32)


def pixie_rows(
    graphs: Mapping[str, BipartiteGraph],
    item_ids: Sequence[str],
    config: WalkConfig | None = None,
    *,
    alone: Sequence[str] = ("board",),
    visits: int = 4_000,
    seed: int = 0,
    threads: int = 1,
) -> dict[str, ItemSetScorer]:
    """Of graphs of items by name, a row for each of ``alone`` that there is, and, where there are several, one for all of them together.

    To save time they share the visits of a request, and walk half as long from a single item; recall@100 of pairs lost under .005 by it.
    """
    common: dict[str, Any] = {"seed": seed, "threads": threads}
    rows: dict[str, ItemSetScorer] = {
        f"Pixie, {name}": PixieItems.of(graphs[name], item_ids, config, visits=visits, **common) for name in alone if name in graphs
    }
    if len(graphs) > 1:
        config = config or WalkConfig()
        shared = config.model_copy(update={"visits": max(1, config.visits // len(graphs))})
        parts = [PixieItems.of(graph, item_ids, shared, visits=max(1, visits // 2), **common) for graph in graphs.values()]
        rows["Pixie, all graphs"] = BoostedSum(parts)
    return rows


def rows_in(own_ids: Sequence[str], item_ids: Sequence[str]) -> np.ndarray:
    """int64 ``(len(item_ids),)``: the row of each item in ``own_ids``, -1 where it has none."""
    row_of = {item_id: row for row, item_id in enumerate(own_ids)}
    return np.fromiter((row_of.get(item_id, -1) for item_id in item_ids), np.int64, len(item_ids))


def _boosted(scores: Sequence[np.ndarray]) -> np.ndarray:
    total = np.zeros_like(scores[0])
    for one in scores:
        total += np.sqrt(np.maximum(one, 0))
    return total**2

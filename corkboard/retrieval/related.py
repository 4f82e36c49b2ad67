"""The items beside an item: candidates of the related surface, for ``CandidateRequest.beside``.

They belong to the item, not to the user: who is asking decides the order later, in the ranker, and here only what is allowed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from corkboard.retrieval.blend import Retrieval, Retrieved
from corkboard.retrieval.candidates import CandidateRequest, Candidates, Source
from corkboard.retrieval.config import RelatedConfig
from corkboard.retrieval.index import Index
from corkboard.retrieval.neighbours import NeighbourTable
from corkboard.retrieval.sources import ITEMSAGE, RetrievalParts, faded_items, wanted_sources

if TYPE_CHECKING:
    from corkboard.retrieval.walks import WalkedGraph


class RelatedWalkSource:
    """Where random walks over boards lead from the item, and a little from the user's last actions where ``history_share`` says so."""

    name = "pixie"

    def __init__(self, walks: WalkedGraph, config: RelatedConfig):
        self._walks, self._config = walks, config

    def candidates(self, request: CandidateRequest, k: int) -> Candidates:
        """By visits; nothing for an item on no board."""
        return request.once(self.name, k, self._config.candidates, lambda most: self._walked(request, most))

    def _walked(self, request: CandidateRequest, k: int) -> Candidates:
        rows, weights = np.array([request.beside]), np.ones(1)
        share = self._config.history_share
        if share > 0:
            config = self._config
            lately, weighed = faded_items(request, config.history_actions, config.history_half_life_days, config.weights)
            lately, weighed = lately[lately != request.beside], weighed[lately != request.beside]
            rows = np.append(rows, lately)
            weights = np.append(1 - share, share * weighed / max(float(weighed.sum()), 1e-9))
        return _beside(request, *self._walks.recommend(rows, weights, k, request.allowed), k)


class RelatedVectorSource:
    """The nearest items in one index; or to the item's vector in one, the nearest in another of the same space (``searched``)."""

    def __init__(self, name: str, index: Index, searched: Index | None = None):
        """Raises :class:`SpaceMismatch` where the two are not of one space."""
        self.name, self._index, self._searched = name, index, index if searched is None else searched
        self._searched.space.require(index.space)

    def candidates(self, request: CandidateRequest, k: int) -> Candidates:
        """By cosine; nothing for an item without a vector."""
        vector = self._index.vectors_of(np.array([request.beside]))
        if not vector.any() or k < 1:
            return Candidates()
        near, cosines = self._searched.search(vector, k + 1, request.allowed, self._index.space)  # the item itself is the nearest
        there = near[0] >= 0
        return _beside(request, near[0][there], cosines[0][there], k)


class RelatedNeighbourSource:
    """The item's neighbours in a table, such as item-kNN's or that of shared boards."""

    def __init__(self, name: str, table: NeighbourTable):
        self.name, self._table = name, table

    def candidates(self, request: CandidateRequest, k: int) -> Candidates:
        """By similarity; nothing for an item that came after the table was made."""
        found, scores, _ = self._table.expand(np.array([request.beside]), np.ones(1, np.float32))
        return _beside(request, found, scores, k)


class RelatedRetrieval(Retrieval):
    """As :class:`Retrieval`, for the item ``beside`` of a request: it is never among the answers, and without it there are none."""

    def retrieve(self, request: CandidateRequest, k: int | None = None) -> Retrieved:
        """At most k allowed candidates beside the item; where its own sources have too few, the newest of what else is allowed."""
        if request.beside < 0:
            return super().retrieve(request, 0)
        return super().retrieve(replace(request, allowed=request.without(np.array([request.beside]))), k)


def related_retrieval(parts: RetrievalParts, config: RelatedConfig | None = None) -> RelatedRetrieval:
    """The sources that ``parts`` allow for, with a note for each that had to be left out. A source with quota 0 is neither."""
    config = config or RelatedConfig()
    vectors, content, knn, boards = parts.graph_vectors, parts.index, parts.item_knn, parts.boards
    possible: dict[str, Source | str] = {
        "pixie": "no graph" if parts.walks is None else RelatedWalkSource(parts.walks, config),
        "related_vectors": "no graph vectors" if vectors is None else RelatedVectorSource("related_vectors", vectors),
        "related_content": "no content index" if content is None else RelatedVectorSource("related_content", content),
        "item_knn": "no item-kNN" if knn is None else RelatedNeighbourSource("item_knn", knn),
        "same_board": "no board neighbours" if boards is None else RelatedNeighbourSource("same_board", boards),
    }
    products = parts.products
    possible[ITEMSAGE] = "no product vectors" if products is None or vectors is None else RelatedVectorSource(ITEMSAGE, vectors, products)
    sources, notes = wanted_sources(possible, config)
    return RelatedRetrieval(sources, config, notes)


def _beside(request: CandidateRequest, rows: np.ndarray, scores: np.ndarray, k: int) -> Candidates:
    """The k best, all found by the item and none of them the item."""
    others = rows != request.beside
    seeds = np.full(int(others.sum()), request.beside, np.int64)
    return Candidates.best(request, rows[others], scores[others], seeds, k)
